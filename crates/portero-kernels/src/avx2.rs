//! The convolutions for AVX2.
//!
//! A register holds eight 32-bit sums, two of them sixteen channels in the order of `ORDER`. `vpmaddwd` takes
//! two inputs at once: it multiplies sixteen 16-bit numbers and adds neighbours, without loss.

use std::arch::x86_64::*;

use super::convolution::Layer;
use super::dense::groups;
use super::depthwise::Pairs;
use super::requant::{Lanes, Table};
use super::{LANES, Level, scratch};

/// Pixels of a tile: with 16 channels each, twelve of the sixteen registers hold sums.
const TILE: usize = 6;

/// [`super::dense::run`].
pub(super) fn dense(level: Level, layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    assert_eq!(level, Level::Avx2);
    // SAFETY: the assertion above; `Level::Avx2` exists only on a processor that has it.
    unsafe { dense_tiles(layer, packed, input, output) }
}

/// [`super::depthwise::run`] on an input with its border.
pub(super) fn depthwise(level: Level, layer: &Layer, pairs: &Pairs, input: &[u8], output: &mut [u8]) {
    assert_eq!(level, Level::Avx2);
    // SAFETY: the assertion above; `Level::Avx2` exists only on a processor that has it.
    unsafe { depthwise_rows(layer, pairs, input, output) }
}

#[target_feature(enable = "avx2")]
fn dense_tiles(layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    let window = &layer.window;
    let (stride, row, width) = (window.input.stride(), window.row(), window.bordered().width);
    let (pairs, pitch) = (groups(window, 2), window.size.0 * row / 2);
    let out = window.output;
    let blocks = out.channels.div_ceil(LANES);
    // What neighbouring windows cover lies end to end, from one picture to the next.
    let adjoining = window.is_point();
    let count = output.len() / out.stride();
    let mut at = 0;
    // Eight words more, as `widen` writes whole registers.
    scratch::pairs(TILE * pitch + 8, |patches| {
        while at < count {
            let left = count - at;
            // The rest is shared out evenly: five and five are quicker than six and four.
            let pixels = left.div_ceil(left.div_ceil(TILE));
            if adjoining {
                widen(input, at * stride, pixels * stride, patches);
            } else {
                for p in 0..pixels {
                    let (y, x) = ((at + p) / out.width, (at + p) % out.width);
                    let from = (y * window.step.0 * width + x * window.step.1) * stride;
                    for down in 0..window.size.0 {
                        let to = &mut patches[p * pitch + down * row / 2..];
                        widen(input, from + down * width * stride, row, to);
                    }
                }
            }
            let end = at + pixels;
            let target = &mut output[at * out.stride()..end * out.stride()];
            for block in 0..blocks {
                let weights = &packed[block * pairs * 2 * LANES..][..pairs * 2 * LANES];
                let tile = match pixels {
                    1 => tile::<1>,
                    2 => tile::<2>,
                    3 => tile::<3>,
                    4 => tile::<4>,
                    5 => tile::<5>,
                    _ => tile::<TILE>,
                };
                tile(patches, pitch, weights, &Finish::new(&layer.lanes, block), block, target, out.stride());
            }
            if let Some(table) = layer.requant.table() {
                look_up(table, target);
            }
            at = end;
        }
    });
}

/// Widens `len` bytes of `input` at `from` to pairs of 16 bits. `to` has room for `len / 2 + 8` words; what lies
/// behind the first `len / 2` is overwritten.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(input: &[u8], from: usize, len: usize, to: &mut [i32]) {
    assert!(from + len <= input.len() && len.div_ceil(16) * 8 <= to.len());
    for at in (0..len).step_by(16) {
        let bytes = if from + at + 16 <= input.len() {
            // SAFETY: the condition of this branch.
            unsafe { _mm_loadu_si128(input.as_ptr().add(from + at).cast()) }
        } else {
            let mut last = [0u8; 16];
            last[..len - at].copy_from_slice(&input[from + at..from + len]);
            // SAFETY: the array has the 16 bytes.
            unsafe { _mm_loadu_si128(last.as_ptr().cast()) }
        };
        // SAFETY: eight words from `at / 2` end at `len.div_ceil(16) * 8` at most, asserted above.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().add(at / 2).cast(), _mm256_cvtepu8_epi16(bytes)) };
    }
}

/// `P` pixels by 16 channels: `patches` holds `P` rows of `pitch` words, `weights` say how many of them count,
/// `target` starts at the first pixel.
#[target_feature(enable = "avx2")]
fn tile<const P: usize>(
    patches: &[i32],
    pitch: usize,
    weights: &[i8],
    finish: &Finish,
    block: usize,
    target: &mut [u8],
    stride: usize,
) {
    let pairs = weights.len() / (2 * LANES);
    assert!(patches.len() >= P * pitch && pairs <= pitch);
    let mut sums = [finish.bias; P];
    for pair in 0..pairs {
        // SAFETY: 32 bytes of weights a pair.
        let (low, high) = unsafe {
            let at = weights.as_ptr().add(pair * 2 * LANES);
            (_mm_loadu_si128(at.cast()), _mm_loadu_si128(at.add(LANES).cast()))
        };
        let (low, high) = (_mm256_cvtepi8_epi16(low), _mm256_cvtepi8_epi16(high));
        for (p, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `P` rows of `pitch` words, and a pair lies within its row: asserted above.
            let values = _mm256_set1_epi32(unsafe { *patches.get_unchecked(p * pitch + pair) });
            sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(values, low));
            sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(values, high));
        }
    }
    for (p, [low, high]) in sums.into_iter().enumerate() {
        finish.store(low, high, target, p * stride + block * LANES);
    }
}

/// The requantisation of one block, in registers.
struct Finish {
    bias: [__m256i; 2],
    scale: [__m256; 2],
    zero: __m256i,
}

impl Finish {
    #[target_feature(enable = "avx2")]
    fn new(lanes: &Lanes, block: usize) -> Self {
        let bias = &lanes.bias[block * LANES..][..LANES];
        let scale = &lanes.scale[block * LANES..][..LANES];
        // SAFETY: both slices have 16 elements of 4 bytes.
        unsafe {
            Self {
                bias: [0, 8].map(|i| _mm256_loadu_si256(bias.as_ptr().add(i).cast())),
                scale: [0, 8].map(|i| _mm256_loadu_ps(scale.as_ptr().add(i))),
                zero: _mm256_set1_epi16(i16::from(lanes.zero)),
            }
        }
    }

    /// Writes the bytes of sixteen sums, which began with the bias, to `target[at..]`, or as many as it has room for.
    #[target_feature(enable = "avx2")]
    fn store(&self, low: __m256i, high: __m256i, target: &mut [u8], at: usize) {
        // Within the range of an integer: `Requant::holds`.
        let round = |sum, scale| _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale));
        let (low, high) = (round(low, self.scale[0]), round(high, self.scale[1]));
        let words = _mm256_adds_epi16(_mm256_packs_epi32(low, high), self.zero);
        let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        if at + LANES <= target.len() {
            // SAFETY: the condition of this branch.
            unsafe { _mm_storeu_si128(target.as_mut_ptr().add(at).cast(), bytes) };
        } else {
            let mut last = [0u8; LANES];
            // SAFETY: the array has the 16 bytes.
            unsafe { _mm_storeu_si128(last.as_mut_ptr().cast(), bytes) };
            let room = target.len() - at;
            target[at..].copy_from_slice(&last[..room]);
        }
    }
}

#[target_feature(enable = "avx2")]
fn depthwise_rows(layer: &Layer, pairs: &Pairs, input: &[u8], output: &mut [u8]) {
    let Pairs { weights: packed, offsets } = pairs;
    let window = &layer.window;
    let out = window.output;
    let stride = out.stride();
    let (down, across) = (window.step.0 * window.bordered().width * stride, window.step.1 * stride);
    let reach = (out.width - 1) * across + offsets.iter().max().copied().unwrap_or(0) + stride;
    assert_eq!(packed.len(), stride * offsets.len());
    assert!(stride.is_multiple_of(LANES) && offsets.len().is_multiple_of(2));
    for (y, line) in output.chunks_exact_mut(out.width * stride).enumerate() {
        let rows = &input[y * down..y * down + reach];
        for block in 0..stride / LANES {
            let finish = Finish::new(&layer.lanes, block);
            let weights = &packed[block * offsets.len() * LANES..][..offsets.len() * LANES];
            let mut x = 0;
            while x < out.width {
                let left = out.width - x;
                let pixels = left.div_ceil(left.div_ceil(4));
                let run = match pixels {
                    1 => depthwise_pixels::<1>,
                    2 => depthwise_pixels::<2>,
                    3 => depthwise_pixels::<3>,
                    _ => depthwise_pixels::<4>,
                };
                let corner = x * across + block * LANES;
                let target = &mut line[x * stride + block * LANES..];
                // SAFETY: `rows` ends `reach` bytes behind its start, and so 16 channels of the farthest tap of the
                // last pixel, `x + pixels - 1 < out.width`, lie within it. `weights` is cut to fit.
                unsafe { run(&rows[corner..], across, offsets, weights, &finish, target, stride) };
                x += pixels;
            }
        }
        if let Some(table) = layer.requant.table() {
            look_up(table, line);
        }
    }
}

/// `P` neighbouring pixels of 16 channels: `input` starts at the first one's corner, `target` at its first channel.
///
/// # Safety
/// `input` holds 16 bytes at `p * across + offset` for every `p` below `P` and every offset, and `weights` 16 numbers
/// for every offset.
#[target_feature(enable = "avx2")]
unsafe fn depthwise_pixels<const P: usize>(
    input: &[u8],
    across: usize,
    offsets: &[usize],
    weights: &[i16],
    finish: &Finish,
    target: &mut [u8],
    stride: usize,
) {
    let mut sums = [finish.bias; P];
    for (pair, taps) in offsets.chunks_exact(2).enumerate() {
        // SAFETY: 32 weights a pair, as the caller promises.
        let [w_low, w_high] = unsafe {
            let at: *const __m256i = weights.as_ptr().add(pair * 2 * LANES).cast();
            [_mm256_loadu_si256(at), _mm256_loadu_si256(at.add(1))]
        };
        for (p, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let [a, b] = [taps[0], taps[1]].map(|tap| unsafe {
                _mm256_cvtepu8_epi16(_mm_loadu_si128(input.as_ptr().add(p * across + tap).cast()))
            });
            sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w_low));
            sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w_high));
        }
    }
    for (p, [low, high]) in sums.into_iter().enumerate() {
        finish.store(low, high, target, p * stride);
    }
}

/// Replaces each byte by its entry. `vpshufb` looks up in sixteen entries and gives 0 where the sign bit is set:
/// a byte meets the rows up to its own one after another, and their differences add up to its row.
#[target_feature(enable = "avx2")]
fn look_up(table: &Table, bytes: &mut [u8]) {
    let (chunks, rest) = bytes.as_chunks_mut::<32>();
    let sixteen = _mm256_set1_epi8(16);
    for chunk in chunks {
        // SAFETY: the chunk has the 32 bytes.
        let value = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) };
        let mut found = _mm256_setzero_si256();
        for half in 0..2 {
            // In the second half the upper bytes lose their sign bit and the lower ones get it.
            let mut index = if half == 0 { value } else { _mm256_xor_si256(value, _mm256_set1_epi8(-128)) };
            for row in &table.steps[half * 8..][..8] {
                // SAFETY: the row has the 32 bytes.
                let row = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
                found = _mm256_xor_si256(found, _mm256_shuffle_epi8(row, index));
                index = _mm256_subs_epi8(index, sixteen);
            }
        }
        // SAFETY: the chunk has the 32 bytes.
        unsafe { _mm256_storeu_si256(chunk.as_mut_ptr().cast(), found) };
    }
    for byte in rest {
        *byte = table.get(*byte);
    }
}
