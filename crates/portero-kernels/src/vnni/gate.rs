//! A picture times one factor per channel.

use std::arch::x86_64::*;

use super::finish::{Finish, quarter};
use crate::LANES;
use crate::mixing::Gate;

/// Four blocks of channels at a time, of every pixel before the next four.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi")]
pub(super) fn pixels(op: &Gate, input: &[u8], factors: &[u8], output: &mut [u8]) {
    let stride = factors.len();
    assert!(
        stride.is_multiple_of(LANES) && input.len() == output.len() && input.len().is_multiple_of(stride)
    );
    let finish = Finish::of(op.zeros[2], None);
    let [zero, zero_factor] = [op.zeros[0], op.zeros[1]].map(|zero| _mm512_set1_epi32(i32::from(zero)));
    let scales = [_mm512_set1_ps(op.scale); 4];
    for first in (0..stride).step_by(4 * LANES) {
        let blocks = ((stride - first) / LANES).min(4);
        // Behind the last block that one once more.
        let places = [0, 1, 2, 3].map(|b: usize| first + b.min(blocks - 1) * LANES);
        let wide = |bytes: &[u8], at: usize| {
            // SAFETY: each place is that of sixteen channels of a pixel, of which `bytes` holds all.
            _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(bytes[at..at + LANES].as_ptr().cast()) })
        };
        let factors = places.map(|at| _mm512_sub_epi32(wide(factors, at), zero_factor));
        for (pixel, out) in input.chunks_exact(stride).zip(output.chunks_exact_mut(stride)) {
            let product =
                |b: usize| _mm512_mullo_epi32(_mm512_sub_epi32(wide(pixel, places[b]), zero), factors[b]);
            let bytes = finish.bytes([product(0), product(1), product(2), product(3)], scales);
            if blocks == 4 {
                // SAFETY: four blocks from `first` on lie within the pixel.
                unsafe { _mm512_storeu_si512(out[first..first + 4 * LANES].as_mut_ptr().cast(), bytes) };
            } else {
                for (b, at) in places.into_iter().enumerate().take(blocks) {
                    // SAFETY: as above.
                    unsafe { _mm_storeu_si128(out[at..at + LANES].as_mut_ptr().cast(), quarter(bytes, b)) };
                }
            }
        }
    }
}
