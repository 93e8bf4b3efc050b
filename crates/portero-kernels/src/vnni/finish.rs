//! From sums to bytes, four registers at a time.

use std::arch::x86_64::*;

use crate::requant::{Lanes, Table};

/// What all blocks of a layer share.
pub(super) struct Finish {
    zero: __m512i,
    /// Dwords of four packed registers, back in their order.
    order: __m512i,
    table: Option<[__m512i; 4]>,
}

impl Finish {
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn of(zero: u8, table: Option<&Table>) -> Self {
        let quarter = |table: &Table, i: usize| {
            // SAFETY: the table has four times 64 bytes.
            unsafe { _mm512_loadu_si512(table.bytes.as_ptr().add(i * 64).cast()) }
        };
        Self {
            zero: _mm512_set1_epi16(i16::from(zero)),
            order: _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
            table: table.map(|table| std::array::from_fn(|i| quarter(table, i))),
        }
    }

    /// The bytes of four times sixteen sums, which began with their biases, end to end.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) fn bytes(&self, sums: [__m512i; 4], scales: [__m512; 4]) -> __m512i {
        // Within the range of an integer: `Requant::holds`.
        let round = |i: usize| _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums[i]), scales[i]));
        let low = _mm512_adds_epi16(_mm512_packs_epi32(round(0), round(1)), self.zero);
        let high = _mm512_adds_epi16(_mm512_packs_epi32(round(2), round(3)), self.zero);
        // Packing works on each quarter of a register by itself: four channels of each of the four follow one another.
        let bytes = _mm512_permutexvar_epi32(self.order, _mm512_packus_epi16(low, high));
        let Some([a, b, c, d]) = self.table else { return bytes };
        // Each looks at the lower seven bits.
        let (lower, upper) = (_mm512_permutex2var_epi8(a, bytes, b), _mm512_permutex2var_epi8(c, bytes, d));
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), lower, upper)
    }
}

/// Biases and scales of one block of channels, in registers.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) bias: __m512i,
    pub(super) scale: __m512,
}

impl Block {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(lanes: &Lanes, block: usize) -> Self {
        let (bias, scale) = (&lanes.bias[block * 16..][..16], &lanes.scale[block * 16..][..16]);
        // SAFETY: both slices have 16 elements of 4 bytes.
        unsafe {
            Self { bias: _mm512_loadu_si512(bias.as_ptr().cast()), scale: _mm512_loadu_ps(scale.as_ptr()) }
        }
    }
}

/// The `i`-th sixteen bytes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn quarter(bytes: __m512i, i: usize) -> __m128i {
    match i {
        0 => _mm512_castsi512_si128(bytes),
        1 => _mm512_extracti32x4_epi32::<1>(bytes),
        2 => _mm512_extracti32x4_epi32::<2>(bytes),
        _ => _mm512_extracti32x4_epi32::<3>(bytes),
    }
}
