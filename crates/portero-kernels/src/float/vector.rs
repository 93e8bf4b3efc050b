//! Some floats at a time: what the kernels need of a processor.

use super::LANES;

/// A processor's instructions on registers of eight or sixteen floats. The value is the proof that the processor has
/// them.
pub(super) trait Vector: Copy {
    /// How many times eight floats are in a register.
    const EIGHTS: usize;

    /// How many registers a kernel may fill with sums, and still have some for what it multiplies.
    const SUMS: usize;

    /// What a register holds, in memory.
    type Floats: Floats;

    /// That many floats.
    type Register: Copy;

    /// Instructions on registers of eight floats: the same, if these are of eight.
    type Half: Narrow;

    /// For what is left when registers are dealt out.
    fn half(self) -> Self::Half;

    /// The first eight.
    fn low(self, value: Self::Register) -> <Self::Half as Vector>::Register;

    /// Memory in registers; what is left over is not in it.
    #[inline(always)]
    fn pack(floats: &[f32]) -> &[Self::Floats] {
        Self::Floats::pack(floats)
    }

    /// The same, to be written to.
    #[inline(always)]
    fn pack_mut(floats: &mut [f32]) -> &mut [Self::Floats] {
        Self::Floats::pack_mut(floats)
    }

    /// The same in every place.
    fn splat(self, value: f32) -> Self::Register;

    /// From memory.
    fn load(self, from: &Self::Floats) -> Self::Register;

    /// To memory.
    fn store(self, value: Self::Register, to: &mut Self::Floats);

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

/// So many floats as a register holds.
pub(super) trait Floats: Copy + Sized {
    /// See [`Vector::pack`].
    fn pack(floats: &[f32]) -> &[Self];

    /// See [`Vector::pack_mut`].
    fn pack_mut(floats: &mut [f32]) -> &mut [Self];
}

impl<const N: usize> Floats for [f32; N] {
    #[inline(always)]
    fn pack(floats: &[f32]) -> &[Self] {
        floats.as_chunks().0
    }

    #[inline(always)]
    fn pack_mut(floats: &mut [f32]) -> &mut [Self] {
        floats.as_chunks_mut().0
    }
}

/// Instructions on registers of eight floats.
pub(super) trait Narrow: Vector<Floats = [f32; LANES], Half = Self> {}

impl<V: Vector<Floats = [f32; LANES], Half = Self>> Narrow for V {}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable;

#[inline(always)]
fn each(lane: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(lane)
}

impl Vector for Portable {
    const EIGHTS: usize = 1;
    const SUMS: usize = 12;

    type Floats = [f32; LANES];
    type Register = [f32; LANES];
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }

    #[inline(always)]
    fn low(self, value: Self::Register) -> Self::Register {
        value
    }

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
