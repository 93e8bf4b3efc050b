//! From sums to bytes.

use std::arch::aarch64::*;

use crate::LANES;
use crate::requant::{Lanes, Table};

/// The requantisation of one block, in registers.
pub(super) struct Finish {
    pub(super) bias: [int32x4_t; 4],
    scale: [float32x4_t; 4],
    zero: int16x8_t,
}

impl Finish {
    #[target_feature(enable = "neon")]
    pub(super) fn new(lanes: &Lanes, block: usize) -> Self {
        let bias = &lanes.bias[block * LANES..][..LANES];
        let scale = &lanes.scale[block * LANES..][..LANES];
        // SAFETY: both slices have 16 elements of 4 bytes.
        unsafe {
            Self {
                bias: [0, 4, 8, 12].map(|i| vld1q_s32(bias.as_ptr().add(i))),
                scale: [0, 4, 8, 12].map(|i| vld1q_f32(scale.as_ptr().add(i))),
                zero: vdupq_n_s16(i16::from(lanes.zero)),
            }
        }
    }

    /// Writes the bytes of each pixel's sixteen sums, biases included, `stride` apart, or as many as `target` has room for.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn store<const P: usize>(&self, sums: [[int32x4_t; 4]; P], target: &mut [u8], stride: usize) {
        for (p, bytes) in sums.map(|sums| self.bytes(sums)).into_iter().enumerate() {
            let target = &mut target[p * stride..];
            if target.len() >= LANES {
                // SAFETY: the condition of this branch.
                unsafe { vst1q_u8(target.as_mut_ptr(), bytes) };
            } else {
                let mut last = [0u8; LANES];
                // SAFETY: the array has the 16 bytes.
                unsafe { vst1q_u8(last.as_mut_ptr(), bytes) };
                target.copy_from_slice(&last[..target.len()]);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn bytes(&self, sums: [int32x4_t; 4]) -> uint8x16_t {
        // Within the range of an integer: `Requant::holds`.
        let round = |i: usize| vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums[i]), self.scale[i]));
        let words =
            |i: usize| vqaddq_s16(vcombine_s16(vqmovn_s32(round(i)), vqmovn_s32(round(i + 1))), self.zero);
        vcombine_u8(vqmovun_s16(words(0)), vqmovun_s16(words(2)))
    }
}

/// Replaces each byte by its entry. `tbl` and `tbx` look up in 64 entries; `tbx` leaves alone what lies beyond.
#[target_feature(enable = "neon")]
pub(super) fn look_up(table: &Table, bytes: &mut [u8]) {
    let (chunks, rest) = bytes.as_chunks_mut::<16>();
    // SAFETY: the table has four times 64 bytes.
    let quarters = [0, 64, 128, 192].map(|at| unsafe { vld1q_u8_x4(table.bytes.as_ptr().add(at)) });
    let step = vdupq_n_u8(64);
    for chunk in chunks {
        // SAFETY: the chunk has the 16 bytes.
        let mut index = unsafe { vld1q_u8(chunk.as_ptr()) };
        let mut found = vqtbl4q_u8(quarters[0], index);
        for quarter in &quarters[1..] {
            // Goes round below 0, and so to numbers beyond the table.
            index = vsubq_u8(index, step);
            found = vqtbx4q_u8(found, *quarter, index);
        }
        // SAFETY: the chunk has the 16 bytes.
        unsafe { vst1q_u8(chunk.as_mut_ptr(), found) };
    }
    for byte in rest {
        *byte = table.get(*byte);
    }
}
