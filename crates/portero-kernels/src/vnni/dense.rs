//! Dense convolutions: tiles of up to eight pixels by up to four blocks of channels.

use std::arch::x86_64::*;

use super::finish::{Block, Finish, quarter};
use crate::LANES;
use crate::convolution::Layer;
use crate::dense::groups;

/// Most pixels of a tile.
const PIXELS: usize = 8;
/// Pixels of which all channels are made before the next: their inputs stay near.
const CHUNK: usize = 48;
/// Most blocks of channels of a tile.
const BLOCKS: usize = 4;
/// Most sums of a tile, in registers: the other eight hold weights, a broadcast input, and spare.
const SUMS: usize = 24;
/// Inputs that one instruction adds up.
const GROUP: usize = 4;
/// Bytes of the weights of one group.
const STEP: usize = LANES * GROUP;

/// What all tiles of a run share.
struct Job<'a> {
    layer: &'a Layer,
    finish: Finish,
    input: &'a [u8],
    packed: &'a [i8],
    /// Groups that make a sum.
    groups: usize,
    /// Groups in a row of the window; the last row may have fewer.
    row: usize,
    /// Bytes from one row of the input to the next.
    pitch: usize,
}

/// The size of the next piece, none above `most`, sizes evened out: five and five are quicker than six and four.
fn share(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn tiles(layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    let window = &layer.window;
    let (stride, width) = (window.input.stride(), window.bordered().width);
    let out = window.output;
    let blocks = out.channels.div_ceil(LANES);
    let groups = groups(window, GROUP);
    let job = Job {
        layer,
        finish: Finish::of(layer.lanes.zero, layer.requant.table()),
        input,
        packed,
        groups,
        row: window.row() / GROUP,
        pitch: width * stride,
    };
    assert_eq!(packed.len(), blocks * groups * STEP);
    let mut place = Place { x: 0, corner: 0 };
    let mut corners = [0; CHUNK];
    for target in output.chunks_mut(CHUNK * out.stride()) {
        let pixels = target.len() / out.stride();
        for corner in &mut corners[..pixels] {
            *corner = place.corner;
            place.next(layer, job.pitch);
        }
        let mut block = 0;
        while block < blocks {
            let width = (blocks - block).min(BLOCKS);
            let mut first = 0;
            while first < pixels {
                let height = share(pixels - first, (SUMS / width).min(PIXELS));
                let tile = match width {
                    1 => narrow::<1>(height),
                    2 => narrow::<2>(height),
                    3 => narrow::<3>(height),
                    _ => narrow::<4>(height),
                };
                let target = &mut target[first * out.stride()..(first + height) * out.stride()];
                // SAFETY: this function has the instructions.
                unsafe { tile(&job, &corners[first..first + height], block, target) };
                first += height;
            }
            block += width;
        }
    }
}

/// The corner of an output pixel's window, in bytes.
struct Place {
    x: usize,
    corner: usize,
}

impl Place {
    /// Goes on to the next pixel. A window that is a point goes on over the end of a picture.
    fn next(&mut self, layer: &Layer, pitch: usize) {
        let window = &layer.window;
        let across = window.step.1 * window.input.stride();
        self.x += 1;
        self.corner += across;
        if self.x == window.output.width && !window.is_point() {
            self.corner = self.corner + window.step.0 * pitch - self.x * across;
            self.x = 0;
        }
    }
}

type Tile = unsafe fn(&Job<'_>, &[usize], usize, &mut [u8]);

/// The tile of `B` blocks for so many pixels.
fn narrow<const B: usize>(pixels: usize) -> Tile {
    match pixels {
        1 => tile::<1, B>,
        2 => tile::<2, B>,
        3 => tile::<3, B>,
        4 => tile::<4, B>,
        5 => tile::<5, B>,
        6 => tile::<6, B>,
        7 => tile::<7, B>,
        _ => tile::<8, B>,
    }
}

/// `P` pixels by `B` blocks from `block` on; `target` holds the pixels.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
fn tile<const P: usize, const B: usize>(job: &Job<'_>, corners: &[usize], block: usize, target: &mut [u8]) {
    let corners: &[usize; P] = corners.first_chunk().expect("a corner for each pixel");
    let constants: [Block; B] = std::array::from_fn(|b| Block::new(&job.layer.lanes, block + b));
    let mut sums: [[__m512i; B]; P] = [constants.map(|c| c.bias); P];
    let weights = &job.packed[block * job.groups * STEP..][..B * job.groups * STEP];
    let rows = job.groups.div_ceil(job.row);
    let last = (rows - 1) * job.pitch + (job.groups - (rows - 1) * job.row) * GROUP;
    // A row of the window is no longer than one of the input: the last row reaches farthest.
    assert!(job.row * GROUP <= job.pitch);
    assert!(corners.iter().all(|corner| corner + last <= job.input.len()));
    let mut group = 0;
    for down in 0..rows {
        let along = job.row.min(job.groups - group);
        for step in 0..along {
            let at = down * job.pitch + step * GROUP;
            let weights: [__m512i; B] = std::array::from_fn(|b| {
                // SAFETY: `B` times `groups` steps of 64 bytes were cut above, and `group < groups`.
                unsafe { _mm512_loadu_si512(weights.as_ptr().add((b * job.groups + group) * STEP).cast()) }
            });
            for (corner, sums) in corners.iter().zip(&mut sums) {
                // SAFETY: the farthest group of each corner ends within the input: asserted above.
                let four = unsafe { job.input.as_ptr().add(corner + at).cast::<i32>().read_unaligned() };
                let four = _mm512_set1_epi32(four);
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm512_dpbusd_epi32(*sum, four, weights);
                }
            }
            group += 1;
        }
    }
    let stride = job.layer.window.output.stride();
    let scales = constants.map(|c| c.scale);
    store(&job.finish, &sums, scales, target, block * LANES, stride);
}

/// Writes the bytes of the sums: those of pixel `p` and block `b` at `from + p * stride + b * 16`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
fn store<const P: usize, const B: usize>(
    finish: &Finish,
    sums: &[[__m512i; B]; P],
    scales: [__m512; B],
    target: &mut [u8],
    from: usize,
    stride: usize,
) {
    if stride < LANES {
        for (p, pixel) in target.chunks_exact_mut(stride).enumerate().take(P) {
            let mut bytes = [0u8; 4 * LANES];
            // SAFETY: the array has the 64 bytes.
            unsafe {
                let four = finish.bytes([sums[p][0]; 4], [scales[0]; 4]);
                _mm512_storeu_si512(bytes.as_mut_ptr().cast(), four);
            }
            pixel.copy_from_slice(&bytes[..stride]);
        }
        return;
    }
    assert!(from + (P - 1) * stride + B * LANES <= target.len());
    let mut at = |p: usize, b: usize| {
        debug_assert!(p < P && b < B);
        // SAFETY: the last sixteen bytes of the last pixel lie within the target: asserted above.
        unsafe { target.as_mut_ptr().add(from + p * stride + b * LANES) }
    };
    // Four registers at a time, of one pixel or several; where there are fewer, one fills up.
    let pixels = if B == 1 {
        4
    } else if B == 2 {
        2
    } else {
        1
    };
    for first in (0..P).step_by(pixels) {
        let item = |i: usize| ((first + i / B).min(P - 1), if B == 3 { i.min(2) } else { i % B });
        let bytes = finish
            .bytes([0, 1, 2, 3].map(|i| sums[item(i).0][item(i).1]), [0, 1, 2, 3].map(|i| scales[item(i).1]));
        // SAFETY: each is a pixel below `P` with as many blocks behind it as are written: see `at`.
        unsafe {
            match B {
                1 => {
                    for i in 0..4 {
                        if first + i < P {
                            _mm_storeu_si128(at(first + i, 0).cast(), quarter(bytes, i));
                        }
                    }
                }
                2 => {
                    _mm256_storeu_si256(at(first, 0).cast(), _mm512_castsi512_si256(bytes));
                    if first + 1 < P {
                        let upper = _mm512_extracti64x4_epi64::<1>(bytes);
                        _mm256_storeu_si256(at(first + 1, 0).cast(), upper);
                    }
                }
                3 => {
                    _mm256_storeu_si256(at(first, 0).cast(), _mm512_castsi512_si256(bytes));
                    _mm_storeu_si128(at(first, 2).cast(), quarter(bytes, 2));
                }
                _ => _mm512_storeu_si512(at(first, 0).cast(), bytes),
            }
        }
    }
}
