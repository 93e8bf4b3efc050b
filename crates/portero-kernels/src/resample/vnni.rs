//! For AVX-512 with VNNI: four rows in one multiplication.
//!
//! `vpdpbusd` takes signed bytes as weights. A weight is two of them, and there is a sum for each.

use std::arch::x86_64::*;

use super::super::Level;
use super::Sum;

/// Samples that are blended at a time.
const RUN: usize = 64;

/// Rows whose weights are split at a time.
const ROWS: usize = 4;

/// Most groups of so many rows.
const GROUPS: usize = 16;

/// The largest weight that is two signed bytes.
const MOST: i16 = 127 * 256 + 127;

/// Whether it is a sum for this kernel.
pub(super) fn takes(sum: &Sum<'_>, outputs: usize) -> bool {
    outputs >= RUN && sum.weights.len() <= ROWS * GROUPS && sum.weights.iter().all(|weight| *weight <= MOST)
}

/// [`super::blend`] of a sum that this kernel [takes].
pub(super) fn blend(level: Level, sum: &Sum<'_>, output: &mut [u8]) {
    assert_eq!(level, Level::Vnni);
    assert!(takes(sum, output.len()));
    // SAFETY: the first assertion; `Level::Vnni` exists only on a processor that has all its instructions.
    unsafe { fours(sum, output) }
}

/// The upper and the lower bytes of four weights; the lower ones are signed too.
fn split(weights: &[i16]) -> [i32; 2] {
    let (mut upper, mut lower) = ([0u8; ROWS], [0u8; ROWS]);
    for ((upper, lower), &weight) in upper.iter_mut().zip(&mut lower).zip(weights) {
        let low = weight as i8;
        (*upper, *lower) = (((i32::from(weight) - i32::from(low)) >> 8) as u8, low as u8);
    }
    [upper, lower].map(i32::from_le_bytes)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn fours(sum: &Sum<'_>, output: &mut [u8]) {
    let (none, half) = (_mm512_setzero_si512(), _mm512_set1_epi32(1 << (sum.shift - 1)));
    let shift = _mm_cvtsi32_si128(sum.shift as i32);
    let mut groups = [[0; 2]; GROUPS];
    for (group, weights) in groups.iter_mut().zip(sum.weights.chunks(ROWS)) {
        *group = split(weights);
    }
    let groups = &groups[..sum.weights.len().div_ceil(ROWS)];
    let load = |row: usize, at: usize| {
        // Behind the last row that one once more, with a weight of zero.
        let row = row.min(sum.weights.len() - 1);
        let samples = &sum.rows[row * sum.step + at..][..RUN];
        // SAFETY: there are so many samples.
        unsafe { _mm512_loadu_si512(samples.as_ptr().cast()) }
    };
    let mut at = 0;
    while at < output.len() {
        // The last run overlaps the one before where it must.
        at = at.min(output.len() - RUN);
        let (mut upper, mut lower) = ([none; 4], [half; 4]);
        for (group, weights) in groups.iter().enumerate() {
            let [a, b, c, d] = [0, 1, 2, 3].map(|row| load(group * ROWS + row, at));
            let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
            let samples = [
                _mm512_unpacklo_epi16(ab, cd),
                _mm512_unpackhi_epi16(ab, cd),
                _mm512_unpacklo_epi16(ab_high, cd_high),
                _mm512_unpackhi_epi16(ab_high, cd_high),
            ];
            let [weight_upper, weight_lower] = weights.map(|bytes| _mm512_set1_epi32(bytes));
            for ((upper, lower), samples) in upper.iter_mut().zip(&mut lower).zip(samples) {
                *upper = _mm512_dpbusd_epi32(*upper, samples, weight_upper);
                *lower = _mm512_dpbusd_epi32(*lower, samples, weight_lower);
            }
        }
        let whole = |i: usize| {
            let sum = _mm512_add_epi32(_mm512_slli_epi32::<8>(upper[i]), lower[i]);
            _mm512_sra_epi32(sum, shift)
        };
        // Packing brings back the order that unpacking has changed.
        let (a, b) = (_mm512_packs_epi32(whole(0), whole(1)), _mm512_packs_epi32(whole(2), whole(3)));
        let bytes = _mm512_packus_epi16(a, b);
        let out = &mut output[at..][..RUN];
        // SAFETY: there are so many bytes.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), bytes) };
        at += RUN;
    }
}
