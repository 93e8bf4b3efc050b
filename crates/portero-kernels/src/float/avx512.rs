//! Sixteen floats in a register of AVX-512. What is left of eight goes by AVX2, whose instructions may use all
//! thirty-two registers here.

use std::arch::x86_64::*;

use super::Work;
use super::avx2::Avx2;
use super::vector::Vector;

/// Proof that this processor has AVX-512 with its forms on shorter registers, and what [`Avx2`] proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Avx512(Avx2);

impl Avx512 {
    /// If this processor has all of it.
    pub(super) fn found() -> Option<Self> {
        use std::arch::is_x86_feature_detected as has;
        let wide = has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw");
        Avx2::found().filter(|_| wide).map(Self)
    }

    /// What it has of eight floats.
    pub(super) fn narrow(self) -> Avx2 {
        self.0
    }

    /// Runs a kernel, compiled for these instructions.
    pub(super) fn run(self, work: impl Work) {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
        fn compiled(vector: Avx512, work: impl Work) {
            work.run(vector);
        }
        // SAFETY: the processor has them: `self` is made by `found` alone.
        unsafe { compiled(self, work) }
    }
}

// SAFETY, of all blocks in this implementation: the processor has the instructions, as `self` proves; a reference to
// sixteen floats may be read or written as 64 bytes of any alignment.
impl Vector for Avx512 {
    const EIGHTS: usize = 2;
    const SUMS: usize = 24;

    type Floats = [f32; 16];
    type Register = __m512;
    type Half = Avx2;

    #[inline(always)]
    fn half(self) -> Avx2 {
        self.0
    }

    #[inline(always)]
    fn low(self, value: __m512) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm512_castps512_ps256(value) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &[f32; 16]) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, value: __m512, to: &mut [f32; 16]) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) };
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn multiply_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn at_least(self, value: __m512, bound: __m512) -> __m512 {
        // The second operand wins where one is no number.
        // SAFETY: see above.
        unsafe { _mm512_max_ps(bound, value) }
    }

    #[inline(always)]
    fn at_most(self, value: __m512, bound: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_min_ps(bound, value) }
    }
}
