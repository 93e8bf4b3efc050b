//! Eight floats at a time: what the kernels need of a processor.

use super::LANES;

/// A processor's instructions on registers of eight floats. The value is the proof that the processor has them.
pub(super) trait Vector: Copy {
    /// Eight floats.
    type Register: Copy;

    /// The same in every place.
    fn splat(self, value: f32) -> Self::Register;

    /// From memory.
    fn load(self, from: &[f32; LANES]) -> Self::Register;

    /// To memory.
    fn store(self, value: Self::Register, to: &mut [f32; LANES]);

    /// `a + b`.
    fn add(self, a: Self::Register, b: Self::Register) -> Self::Register;

    /// `a * b`.
    fn multiply(self, a: Self::Register, b: Self::Register) -> Self::Register;

    /// `a * b + c`, rounded once or twice.
    fn multiply_add(self, a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register;

    /// `value`, or `bound` where it is less. What is no number stays so.
    fn at_least(self, value: Self::Register, bound: Self::Register) -> Self::Register;

    /// `value`, or `bound` where it is more. What is no number stays so.
    fn at_most(self, value: Self::Register, bound: Self::Register) -> Self::Register;
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn each(lane: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(lane)
}

impl Vector for Portable {
    type Register = [f32; LANES];

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Register {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::Register {
        *from
    }

    #[inline(always)]
    fn store(self, value: Self::Register, to: &mut [f32; LANES]) {
        *to = value;
    }

    #[inline(always)]
    fn add(self, a: Self::Register, b: Self::Register) -> Self::Register {
        each(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn multiply(self, a: Self::Register, b: Self::Register) -> Self::Register {
        each(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn multiply_add(self, a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register {
        // Fused only where that is one instruction; elsewhere it would be a call for every float.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            each(|i| a[i].mul_add(b[i], c[i]))
        } else {
            each(|i| a[i] * b[i] + c[i])
        }
    }

    #[inline(always)]
    fn at_least(self, value: Self::Register, bound: Self::Register) -> Self::Register {
        each(|i| if value[i] < bound[i] { bound[i] } else { value[i] })
    }

    #[inline(always)]
    fn at_most(self, value: Self::Register, bound: Self::Register) -> Self::Register {
        each(|i| if value[i] > bound[i] { bound[i] } else { value[i] })
    }
}
