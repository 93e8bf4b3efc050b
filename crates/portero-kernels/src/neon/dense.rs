//! Dense convolutions: tiles of a few pixels by one block of channels, in registers.
//!
//! All pixels of a block follow one another: its weights, 16 KiB at most in the networks that there are, stay in the
//! first cache.

use std::arch::aarch64::*;
use std::arch::asm;
use std::array::from_fn;

use super::finish::Finish;
use super::{flip, share};
use crate::LANES;
use crate::convolution::Layer;
use crate::dense::groups;

/// Inputs that stand side by side in the weights.
const GROUP: usize = 4;
/// Bytes of the weights of one group.
const STEP: usize = LANES * GROUP;
/// Most pixels of a tile with the dot product: sixteen sums of four channels, out of 32 registers.
const DOT_TILE: usize = 4;
/// Most pixels of a tile without: sixteen sums of two channels, twice over.
const LONG_TILE: usize = 2;

/// What all tiles of a block share.
struct Job<'a> {
    finish: Finish,
    input: &'a [u8],
    /// Of this block.
    weights: &'a [i8],
    /// Groups in a row of the window.
    row: usize,
    /// Bytes from one row of the input to the next.
    pitch: usize,
    /// Bytes from one pixel of the output to the next.
    stride: usize,
}

impl Job<'_> {
    /// Sixteen bytes of input; behind its end, zeros. No call and no panic: either would cost the loops their registers.
    #[inline]
    #[target_feature(enable = "neon")]
    fn load(&self, at: usize) -> int8x16_t {
        let from = at.min(self.input.len().saturating_sub(16));
        // SAFETY: `tiles` has asserted that there are 16 bytes, and `from` is no later than the last 16.
        let bytes = unsafe { vld1q_u8(self.input.as_ptr().add(from)) };
        if from == at {
            return flip(bytes);
        }
        // SAFETY: the array has the 16 bytes.
        let places = unsafe { vld1q_u8([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].as_ptr()) };
        flip(vqtbl1q_u8(bytes, vaddq_u8(places, vdupq_n_u8((at - from) as u8))))
    }

    /// Calls `step` for up to `most` groups at a time of those that a window covers: with their distance from the
    /// window's corner in bytes, and their weights.
    #[inline(always)]
    fn walk(&self, most: usize, mut step: impl FnMut(usize, &[i8])) {
        for (down, row) in self.weights.chunks(self.row * STEP).enumerate() {
            for (along, weights) in row.chunks(most * STEP).enumerate() {
                step(down * self.pitch + along * most * GROUP, weights);
            }
        }
    }
}

/// Cuts each block of the output into tiles of up to `most` pixels. `tile` gets the corners of the pixels' windows,
/// and the output from the block's first channel on.
#[inline]
#[target_feature(enable = "neon")]
fn tiles(
    layer: &Layer,
    packed: &[i8],
    input: &[u8],
    output: &mut [u8],
    most: usize,
    tile: impl Fn(&Job<'_>, &[usize], &mut [u8]),
) {
    assert!(input.len() >= 16);
    let window = &layer.window;
    let stride = window.output.stride();
    let groups = groups(window, GROUP);
    let mut corners = [0; DOT_TILE];
    for (block, weights) in packed.chunks_exact(groups * STEP).enumerate() {
        let job = Job {
            finish: Finish::new(&layer.lanes, block),
            input,
            weights,
            row: window.row() / GROUP,
            pitch: window.bordered().width * window.input.stride(),
            stride,
        };
        let count = output.len() / stride;
        let mut at = 0;
        while at < count {
            let pixels = share(count - at, most);
            for (corner, pixel) in corners.iter_mut().zip(at..at + pixels) {
                *corner = window.corner(pixel);
            }
            let target = &mut output[at * stride..(at + pixels) * stride];
            tile(&job, &corners[..pixels], &mut target[block * LANES..]);
            at += pixels;
        }
    }
}

/// The form for processors that have the dot product.
#[target_feature(enable = "neon,dotprod")]
pub(super) fn with_dot(layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    tiles(layer, packed, input, output, DOT_TILE, |job, corners, target| match corners.len() {
        1 => dot_tile::<1>(job, corners, target),
        2 => dot_tile::<2>(job, corners, target),
        3 => dot_tile::<3>(job, corners, target),
        _ => dot_tile::<DOT_TILE>(job, corners, target),
    });
}

#[inline(never)]
#[target_feature(enable = "neon,dotprod")]
fn dot_tile<const P: usize>(job: &Job<'_>, corners: &[usize], target: &mut [u8]) {
    let mut sums = [job.finish.bias; P];
    job.walk(4, |at, weights| {
        let values: [int8x16_t; P] = from_fn(|p| job.load(corners[p] + at));
        dot::<P, 0>(&mut sums, &values, &weights[..STEP]);
        if weights.len() > STEP {
            dot::<P, 1>(&mut sums, &values, &weights[STEP..2 * STEP]);
        }
        if weights.len() > 2 * STEP {
            dot::<P, 2>(&mut sums, &values, &weights[2 * STEP..3 * STEP]);
        }
        if weights.len() > 3 * STEP {
            dot::<P, 3>(&mut sums, &values, &weights[3 * STEP..4 * STEP]);
        }
    });
    job.finish.store(sums, target, job.stride);
}

/// Adds the products of the `G`-th group of each pixel's values with the group's weights.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const P: usize, const G: usize>(
    sums: &mut [[int32x4_t; 4]; P],
    values: &[int8x16_t; P],
    weights: &[i8],
) {
    for (four, weights) in weights.as_chunks::<16>().0.iter().enumerate() {
        let weights = four_outputs(weights);
        for (sums, values) in sums.iter_mut().zip(values) {
            // SAFETY: the instruction changes nothing but the first register, and this function has it. (Its
            // intrinsic, `vdotq_laneq_s32`, is not stable yet.)
            unsafe {
                asm!(
                    "sdot {0:v}.4s, {1:v}.16b, {2:v}.4b[{3}]",
                    inout(vreg) sums[four],
                    in(vreg) weights,
                    in(vreg) *values,
                    const G,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
    }
}

/// The form for every processor.
#[target_feature(enable = "neon")]
pub(super) fn with_long(layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    tiles(layer, packed, input, output, LONG_TILE, |job, corners, target| {
        match (corners.len(), layer.pairs) {
            (1, true) => long_tile::<1, true>(job, corners, target),
            (1, false) => long_tile::<1, false>(job, corners, target),
            (_, true) => long_tile::<LONG_TILE, true>(job, corners, target),
            (_, false) => long_tile::<LONG_TILE, false>(job, corners, target),
        }
    });
}

/// `PAIRS` is [`Layer::pairs`]: then the products of two groups are added up in 16 bits.
#[inline(never)]
#[target_feature(enable = "neon")]
fn long_tile<const P: usize, const PAIRS: bool>(job: &Job<'_>, corners: &[usize], target: &mut [u8]) {
    // Of each output, the sum over the first two members of all groups, and that over the other two.
    let mut sums = [[vdupq_n_s32(0); 8]; P];
    job.walk(2, |at, weights| {
        // The second group of an odd number weighs nothing.
        let Some((a, rest)) = weights.split_first_chunk::<STEP>() else { return };
        let b = rest.first_chunk().unwrap_or(&[0; STEP]);
        let values: [_; P] = from_fn(|p| {
            let values = vreinterpretq_s32_s8(job.load(corners[p] + at));
            [vdupq_laneq_s32::<0>(values), vdupq_laneq_s32::<1>(values)].map(|v| vreinterpretq_s8_s32(v))
        });
        for (four, (a, b)) in a.as_chunks().0.iter().zip(b.as_chunks().0).enumerate() {
            let (a, b) = (four_outputs(a), four_outputs(b));
            for (sums, [with_a, with_b]) in sums.iter_mut().zip(values) {
                let mut low = vmull_s8(vget_low_s8(with_a), vget_low_s8(a));
                let mut high = vmull_high_s8(with_a, a);
                if PAIRS {
                    low = vmlal_s8(low, vget_low_s8(with_b), vget_low_s8(b));
                    high = vmlal_high_s8(high, with_b, b);
                } else {
                    sums[2 * four] = vpadalq_s16(sums[2 * four], low);
                    sums[2 * four + 1] = vpadalq_s16(sums[2 * four + 1], high);
                    low = vmull_s8(vget_low_s8(with_b), vget_low_s8(b));
                    high = vmull_high_s8(with_b, b);
                }
                sums[2 * four] = vpadalq_s16(sums[2 * four], low);
                sums[2 * four + 1] = vpadalq_s16(sums[2 * four + 1], high);
            }
        }
    });
    let sums = sums.map(|halves| {
        let whole = |four: usize| vpaddq_s32(halves[2 * four], halves[2 * four + 1]);
        from_fn(|four| vaddq_s32(job.finish.bias[four], whole(four)))
    });
    job.finish.store(sums, target, job.stride);
}

/// The weights of a group and four outputs.
#[inline]
#[target_feature(enable = "neon")]
fn four_outputs(weights: &[i8; 16]) -> int8x16_t {
    // SAFETY: the array has the 16 bytes.
    unsafe { vld1q_s8(weights.as_ptr()) }
}
