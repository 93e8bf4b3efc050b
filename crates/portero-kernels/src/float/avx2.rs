//! Eight floats in a register of AVX2, with FMA.

use std::arch::x86_64::*;

use super::vector::Vector;
use super::{LANES, Loop};

/// Proof that this processor has AVX2 and FMA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Avx2(());

impl Avx2 {
    /// If this processor has both.
    pub(super) fn found() -> Option<Self> {
        let both = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        both.then_some(Self(()))
    }

    /// Runs a kernel or a loop, compiled for these instructions.
    pub(super) fn run(self, work: impl Loop) {
        #[target_feature(enable = "avx2,fma")]
        fn compiled(vector: Avx2, work: impl Loop) {
            work.run(vector);
        }
        // SAFETY: the processor has them: `self` is made by `found` alone.
        unsafe { compiled(self, work) }
    }
}

// SAFETY, of all blocks in this implementation: the processor has the instructions, as `self` proves; a reference to
// eight floats may be read or written as 32 bytes of any alignment.
impl Vector for Avx2 {
    const EIGHTS: usize = 1;
    const SUMS: usize = 12;

    type Floats = [f32; LANES];
    type Register = __m256;
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn low(self, value: __m256) -> __m256 {
        value
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, value: __m256, to: &mut [f32; LANES]) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to.as_mut_ptr(), value) };
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn multiply_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn at_least(self, value: __m256, bound: __m256) -> __m256 {
        // The second operand wins where one is no number.
        // SAFETY: see above.
        unsafe { _mm256_max_ps(bound, value) }
    }

    #[inline(always)]
    fn at_most(self, value: __m256, bound: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_min_ps(bound, value) }
    }
}
