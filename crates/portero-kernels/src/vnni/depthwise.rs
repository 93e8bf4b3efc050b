//! Depthwise convolutions: four neighbouring columns of sixteen channels are one register.
//!
//! The input is copied block by block into registers of `[16 channels][4 columns]`, with its border. An output pixel
//! begins at any of the four columns: there are weights for each such shift, padded with zeros to whole registers,
//! and so `vpdpbusd` adds up to four taps of a row for all sixteen channels without moving a byte.

use std::arch::x86_64::*;

use super::finish::{Block, Finish, quarter};
use crate::aligned::Aligned;
use crate::convolution::Layer;
use crate::{LANES, Window, scratch};

/// Columns of a register, and pixels of a tile.
const COLUMNS: usize = 4;
/// Bytes of a register.
const STEP: usize = LANES * COLUMNS;

/// Weights for every shift: `[block of 16 channels][row of the window][shift][register][16 channels][4 columns]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shifted {
    weights: Aligned<i8>,
    /// Registers that a row of the window may touch.
    registers: usize,
    /// Different shifts.
    shifts: usize,
}

impl Shifted {
    /// `weights` are `[channel][row][column]`.
    pub(crate) fn new(window: &Window, weights: &[i8]) -> Self {
        let (channels, (rows, columns), step) = (window.input.channels, window.size, window.step.1);
        let shifts = match step % COLUMNS {
            0 => 1,
            2 => 2,
            _ => 4,
        };
        let farthest = (0..shifts).map(|j| j * step % COLUMNS).max().unwrap_or(0);
        let registers = (farthest + columns).div_ceil(COLUMNS);
        let mut packed = vec![0; channels.div_ceil(LANES) * rows * shifts * registers * STEP];
        for (line, weights) in weights.chunks_exact(columns).enumerate() {
            let (channel, row) = (line / rows, line % rows);
            for (shift, column) in (0..shifts).flat_map(|s| (0..columns).map(move |c| (s, c))) {
                let at = shift * step % COLUMNS + column;
                let register = (channel / LANES * rows + row) * shifts + shift;
                let register = register * registers + at / COLUMNS;
                packed[register * STEP + channel % LANES * COLUMNS + at % COLUMNS] = weights[column];
            }
        }
        Self { weights: Aligned::new(&packed), registers, shifts }
    }
}

/// The copy of a block.
struct Copy {
    rows: usize,
    /// Registers of a row.
    registers: usize,
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn blocks(layer: &Layer, shifted: &Shifted, input: &[u8], output: &mut [u8]) {
    let Window { input: plane, output: out, size, step, .. } = layer.window;
    let stride = out.stride();
    let finish = Finish::of(layer.lanes.zero, layer.requant.table());
    let tiles = out.width.div_ceil(COLUMNS);
    let copy = Copy {
        rows: (out.height - 1) * step.0 + size.0,
        // Tile `t` begins at register `t * step`, its last pixel `3 * step / 4` farther.
        registers: (tiles - 1) * step.1 + 3 * step.1 / COLUMNS + shifted.registers,
    };
    assert_eq!(input.len(), plane.bytes());
    assert_eq!(plane.stride(), stride);
    let each = size.0 * shifted.shifts * shifted.registers * STEP;
    scratch::lines(copy.rows * copy.registers * STEP, |memory| {
        for block in 0..stride / LANES {
            fill(&copy, &layer.window, layer.zero, &input[block * LANES..], memory);
            let job = Job {
                finish: &finish,
                block: Block::new(&layer.lanes, block),
                weights: &shifted.weights[block * each..][..each],
                shifted,
                pitch: copy.registers * STEP,
                rows: size.0,
                columns: size.1,
                step: step.1,
                stride,
            };
            for (y, line) in output.chunks_exact_mut(out.width * stride).enumerate() {
                let from = &memory[y * step.0 * job.pitch..][..size.0 * job.pitch];
                job.line(from, &mut line[block * LANES..], out.width);
            }
        }
    });
}

/// Copies a block of channels, which `input` begins with, in its border of `zero`.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn fill(copy: &Copy, window: &Window, zero: u8, input: &[u8], memory: &mut [u8]) {
    let plane = window.input;
    let stride = plane.stride();
    let blank = _mm_set1_epi8(zero as i8);
    // `[4 columns][16 channels]` to `[16 channels][4 columns]`.
    let order: [u8; STEP] = std::array::from_fn(|i| (i % COLUMNS * LANES + i / COLUMNS) as u8);
    // SAFETY: the array has the 64 bytes.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    for (y, line) in memory.chunks_exact_mut(copy.registers * STEP).enumerate() {
        let Some(from) = y.checked_sub(window.before.0).filter(|y| *y < plane.height) else {
            line.fill(zero);
            continue;
        };
        // The last pixel ends with this block, not with its stride.
        let row = &input[from * plane.width * stride..][..(plane.width - 1) * stride + LANES];
        for (register, to) in line.chunks_exact_mut(STEP).enumerate() {
            let column = |i: usize| {
                let x = (register * COLUMNS + i).wrapping_sub(window.before.1);
                if x < plane.width {
                    // SAFETY: sixteen bytes at `x * stride` end in the row, as `x` is at most its last pixel.
                    unsafe { _mm_loadu_si128(row.as_ptr().add(x * stride).cast()) }
                } else {
                    blank
                }
            };
            let low = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(column(0)), column(1));
            let high = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(column(2)), column(3));
            let four = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            // SAFETY: the chunk has the 64 bytes.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_permutexvar_epi8(order, four)) };
        }
    }
}

/// One block of channels.
struct Job<'a> {
    finish: &'a Finish,
    block: Block,
    /// Of this block.
    weights: &'a [i8],
    shifted: &'a Shifted,
    /// Bytes from one row of the copy to the next.
    pitch: usize,
    rows: usize,
    columns: usize,
    step: usize,
    stride: usize,
}

impl Job<'_> {
    /// A row of the output, of `width` pixels, whose windows lie in `from`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    fn line(&self, from: &[u8], target: &mut [u8], width: usize) {
        let mut x = 0;
        while x < width {
            let from = &from[x / COLUMNS * self.step * STEP..];
            let target = &mut target[x * self.stride..];
            if width - x > COLUMNS {
                self.shaped::<2>(from, target, (width - x).min(2 * COLUMNS));
                x += 2 * COLUMNS;
            } else {
                self.shaped::<1>(from, target, width - x);
                x += COLUMNS;
            }
        }
    }

    /// A tile in the form for this window, or in that for all.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    fn shaped<const G: usize>(&self, from: &[u8], target: &mut [u8], pixels: usize) {
        match (self.columns, self.step) {
            (3, 1) => self.tile::<G, 3, 1>(from, target, pixels),
            (3, 2) => self.tile::<G, 3, 2>(from, target, pixels),
            (5, 1) => self.tile::<G, 5, 1>(from, target, pixels),
            (5, 2) => self.tile::<G, 5, 2>(from, target, pixels),
            _ => self.tile::<G, 0, 0>(from, target, pixels),
        }
    }

    /// `G` times four pixels, of which `pixels` are stored; `K` columns and steps of `S`, if these are not 0.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    fn tile<const G: usize, const K: usize, const S: usize>(
        &self,
        from: &[u8],
        target: &mut [u8],
        pixels: usize,
    ) {
        let (columns, step) = if K > 0 { (K, S) } else { (self.columns, self.step) };
        let shifts = if S == 1 {
            4
        } else if S == 2 {
            2
        } else {
            self.shifted.shifts
        };
        let registers = if K > 0 { 2 } else { self.shifted.registers };
        let each = shifts * registers * STEP;
        let reach = ((G - 1) * step + 3 * step / COLUMNS + registers) * STEP;
        assert!((self.rows - 1) * self.pitch + reach <= from.len());
        assert!(self.rows * each <= self.weights.len());
        let mut sums = [[self.block.bias; COLUMNS]; G];
        for row in 0..self.rows {
            for register in 0..registers {
                for pixel in 0..COLUMNS {
                    let shift = pixel * step % COLUMNS;
                    if register * COLUMNS >= shift + columns {
                        continue;
                    }
                    let at = row * each + (pixel % shifts * registers + register) * STEP;
                    // SAFETY: registers of the rows lie within the weights: asserted above.
                    let weights = unsafe { _mm512_loadu_si512(self.weights.as_ptr().add(at).cast()) };
                    for (group, sums) in sums.iter_mut().enumerate() {
                        let at = (group * step + pixel * step / COLUMNS + register) * STEP;
                        // SAFETY: the farthest register of the last row is `reach` bytes from its start: asserted above.
                        let values =
                            unsafe { _mm512_loadu_si512(from.as_ptr().add(row * self.pitch + at).cast()) };
                        sums[pixel] = _mm512_dpbusd_epi32(sums[pixel], values, weights);
                    }
                }
            }
        }
        assert!(pixels > 0 && (pixels - 1) * self.stride + LANES <= target.len());
        for (group, sums) in sums.into_iter().enumerate() {
            let bytes = self.finish.bytes(sums, [self.block.scale; COLUMNS]);
            for i in 0..COLUMNS {
                let pixel = group * COLUMNS + i;
                if pixel < pixels {
                    // SAFETY: sixteen bytes of the last pixel end within the target: asserted above.
                    unsafe {
                        let to = target.as_mut_ptr().add(pixel * self.stride);
                        _mm_storeu_si128(to.cast(), quarter(bytes, i));
                    }
                }
            }
        }
    }
}
