//! For AVX2: two rows in one multiplication, blocks of sixteen rows turned by unpacking them.

use std::arch::x86_64::*;

use super::super::Level;
use super::{SIDE, Sum};

/// Samples that are blended at a time: no output is shorter.
pub(super) const RUN: usize = 32;

/// Rows of a block that is turned.
const ROWS: usize = 16;

/// [`super::blend`].
pub(super) fn blend(level: Level, sum: &Sum<'_>, output: &mut [u8]) {
    assert!(matches!(level, Level::Avx2 | Level::Vnni));
    // SAFETY: the assertion above; these levels exist only on a processor that has AVX2.
    unsafe { pairs(sum, output) }
}

/// [`super::turn`].
pub(super) fn turn(level: Level, extent: [usize; 2], input: &[u8], output: &mut [u8]) {
    assert!(matches!(level, Level::Avx2 | Level::Vnni));
    // SAFETY: the assertion above; these levels exist only on a processor that has AVX2.
    unsafe { blocks(extent, input, output) }
}

/// Samples of two rows side by side, as words, are what `vpmaddwd` multiplies and adds up.
#[target_feature(enable = "avx2")]
fn pairs(sum: &Sum<'_>, output: &mut [u8]) {
    let (zero, half) = (_mm256_setzero_si256(), _mm256_set1_epi32(1 << (sum.shift - 1)));
    let shift = _mm_cvtsi32_si128(sum.shift as i32);
    let load = |row: usize, at: usize| {
        let samples = &sum.rows[row * sum.step + at..][..RUN];
        // SAFETY: there are so many samples.
        unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) }
    };
    let mut at = 0;
    while at < output.len() {
        // The last run overlaps the one before where it must.
        at = at.min(output.len() - RUN);
        let mut sums = [half; 4];
        for (pair, weights) in sum.weights.chunks(2).enumerate() {
            // Behind the last row that one once more, with a weight of zero.
            let second = weights.get(1).copied().unwrap_or(0);
            let both = _mm256_set1_epi32(i32::from(weights[0]) & 0xffff | i32::from(second) << 16);
            let (a, b) = (load(2 * pair, at), load(2 * pair + weights.len() - 1, at));
            let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
            let words = [
                _mm256_unpacklo_epi8(low, zero),
                _mm256_unpackhi_epi8(low, zero),
                _mm256_unpacklo_epi8(high, zero),
                _mm256_unpackhi_epi8(high, zero),
            ];
            for (sum, words) in sums.iter_mut().zip(words) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(words, both));
            }
        }
        let [a, b, c, d] = sums.map(|sum| _mm256_sra_epi32(sum, shift));
        // Packing brings back the order that unpacking has changed.
        let bytes = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
        let out = &mut output[at..][..RUN];
        // SAFETY: there are so many bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes) };
        at += RUN;
    }
}

/// Blocks of sixteen rows and twice as many columns, which each half of a register holds half of.
#[target_feature(enable = "avx2")]
fn blocks([width, height]: [usize; 2], input: &[u8], output: &mut [u8]) {
    for (column, columns) in output.chunks_exact_mut(SIDE * height).enumerate() {
        for (row, rows) in input.chunks_exact(ROWS * width).enumerate() {
            let load = |line: usize| {
                let samples = &rows[line * width + column * SIDE..][..SIDE];
                // SAFETY: there are so many samples.
                unsafe { _mm256_loadu_si256(samples.as_ptr().cast()) }
            };
            let mut block: [__m256i; ROWS] = std::array::from_fn(load);
            // Each time a row and the one eight below it are interleaved; after four times rows are columns.
            for _ in 0..4 {
                block = std::array::from_fn(|line| {
                    let (a, b) = (block[line / 2], block[line / 2 + ROWS / 2]);
                    if line % 2 == 0 { _mm256_unpacklo_epi8(a, b) } else { _mm256_unpackhi_epi8(a, b) }
                });
            }
            for (line, register) in block.into_iter().enumerate() {
                let halves = [_mm256_castsi256_si128(register), _mm256_extracti128_si256::<1>(register)];
                for (half, bytes) in halves.into_iter().enumerate() {
                    let out = &mut columns[(half * ROWS + line) * height + row * ROWS..][..ROWS];
                    // SAFETY: there are so many bytes.
                    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) };
                }
            }
        }
    }
}
