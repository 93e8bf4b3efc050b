//! Depthwise convolutions: up to four neighbouring pixels by one block of channels, in registers.

use std::arch::aarch64::*;

use super::finish::Finish;
use super::{flip, share};
use crate::convolution::Layer;
use crate::depthwise::offset;
use crate::{LANES, Level, Window, requant};

/// Most pixels of a tile.
const TILE: usize = 4;

/// Packed weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Taps {
    /// `[block of 16 channels][tap][16 channels]`.
    weights: Vec<i8>,
    /// Where each tap lies from the window's corner, in bytes.
    offsets: Vec<usize>,
}

impl Taps {
    /// `weights` are `[channel][row][column]`.
    pub(crate) fn new(level: Level, window: &Window, weights: &[i8]) -> Self {
        let (channels, taps) = (window.input.channels, window.taps());
        let weight = |channel: usize, tap: usize| weights.get(channel * taps + tap).copied().unwrap_or(0);
        Self {
            weights: requant::pack(channels.div_ceil(LANES), taps, 1, level.order(), weight),
            offsets: (0..taps).map(|tap| offset(window, tap)).collect(),
        }
    }
}

/// All but the table.
#[target_feature(enable = "neon")]
pub(super) fn rows(layer: &Layer, taps: &Taps, input: &[u8], output: &mut [u8]) {
    let window = &layer.window;
    let out = window.output;
    let stride = out.stride();
    let (down, across) = (window.step.0 * window.bordered().width * stride, window.step.1 * stride);
    let reach = (out.width - 1) * across + taps.offsets.iter().max().copied().unwrap_or(0) + stride;
    let each = taps.offsets.len() * LANES;
    assert!(taps.weights.len() == stride / LANES * each && stride.is_multiple_of(LANES));
    for (y, line) in output.chunks_exact_mut(out.width * stride).enumerate() {
        let rows = &input[y * down..][..reach];
        for (block, weights) in taps.weights.chunks_exact(each).enumerate() {
            let job = Job { layer, finish: Finish::new(&layer.lanes, block), taps, weights, across, stride };
            let mut x = 0;
            while x < out.width {
                let pixels = share(out.width - x, TILE);
                let corner = &rows[x * across + block * LANES..];
                let target = &mut line[x * stride + block * LANES..];
                // SAFETY: `rows` ends `reach` bytes behind its start, and so 16 channels of the farthest tap of the
                // last pixel, `x + pixels - 1 < out.width`, lie within it. `weights` has 16 for every tap.
                unsafe {
                    match pixels {
                        1 => tile::<1>(&job, corner, target),
                        2 => tile::<2>(&job, corner, target),
                        3 => tile::<3>(&job, corner, target),
                        _ => tile::<TILE>(&job, corner, target),
                    }
                }
                x += pixels;
            }
        }
    }
}

/// What all tiles of a block share.
struct Job<'a> {
    layer: &'a Layer,
    finish: Finish,
    taps: &'a Taps,
    /// Of this block.
    weights: &'a [i8],
    /// Bytes from one pixel's window to the next.
    across: usize,
    /// Bytes from one pixel of the output to the next.
    stride: usize,
}

/// `P` neighbouring pixels of 16 channels: `input` starts at the first one's corner, `target` at its first channel.
///
/// # Safety
/// `input` holds 16 bytes at `p * across + offset` for every `p` below `P` and every offset, and `weights` 16 numbers
/// for every offset.
#[inline(never)]
#[target_feature(enable = "neon")]
unsafe fn tile<const P: usize>(job: &Job<'_>, input: &[u8], target: &mut [u8]) {
    // SAFETY: the caller's promise.
    let value =
        |p: usize, offset: usize| unsafe { flip(vld1q_u8(input.as_ptr().add(p * job.across + offset))) };
    // SAFETY: the caller's promise.
    let weights = |tap: usize| unsafe { vld1q_s8(job.weights.as_ptr().add(tap * LANES)) };
    let mut sums = [job.finish.bias; P];
    let two = if job.layer.pairs { 2 } else { 1 };
    for (i, offsets) in job.taps.offsets.chunks(two).enumerate() {
        let first = weights(two * i);
        if let &[a, b] = offsets {
            let second = weights(two * i + 1);
            for (p, sums) in sums.iter_mut().enumerate() {
                let (a, b) = (value(p, a), value(p, b));
                let low = vmull_s8(vget_low_s8(a), vget_low_s8(first));
                let low = vmlal_s8(low, vget_low_s8(b), vget_low_s8(second));
                add(sums, low, vmlal_high_s8(vmull_high_s8(a, first), b, second));
            }
        } else {
            for (p, sums) in sums.iter_mut().enumerate() {
                let a = value(p, offsets[0]);
                add(sums, vmull_s8(vget_low_s8(a), vget_low_s8(first)), vmull_high_s8(a, first));
            }
        }
    }
    job.finish.store(sums, target, job.stride);
}

/// Adds the numbers of eight channels, and of the next eight.
#[inline]
#[target_feature(enable = "neon")]
fn add(sums: &mut [int32x4_t; 4], low: int16x8_t, high: int16x8_t) {
    sums[0] = vaddw_s16(sums[0], vget_low_s16(low));
    sums[1] = vaddw_high_s16(sums[1], low);
    sums[2] = vaddw_s16(sums[2], vget_low_s16(high));
    sums[3] = vaddw_high_s16(sums[3], high);
}
