//! Kernels for networks of floats: 32-bit floats in, 32-bit floats out.
//!
//! A picture is floats in the order height, width, channel; the channels of a pixel are padded to a whole number
//! of registers of eight ([`stride`]), with weights of zero for what is padding. What padding holds does not
//! matter. A convolution may also read planes, as the network's input comes: channel, height, width.
//!
//! Every kernel is written once, generic over a `Vector`: eight or sixteen floats and what can be done with them. To add a
//! processor is to write that trait for it, and its line in [`Simd`]. Forms with a fused multiply-add round once
//! where the portable one rounds twice, so the tests compare within a tolerance.

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "calls instructions whose presence the type proves")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "calls instructions whose presence the type proves")]
mod avx512;
mod convolution;
#[expect(unsafe_code, reason = "reads inputs by offset; each block says why it stays in bounds")]
mod dense;
mod depthwise;
mod mixing;
mod ramp;
#[cfg(test)]
mod tests;
mod vector;

pub use convolution::{Convolution, Source};
pub use mixing::{add, average, from_planes, gate, to_planes};
pub use ramp::Ramp;

use vector::{Narrow, Portable, Vector};

use super::Plane;

/// Floats in a register.
pub(super) const LANES: usize = 8;

/// Floats from one pixel to the next.
#[must_use]
pub fn stride(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// Floats of a picture.
#[must_use]
pub fn len(plane: &Plane) -> usize {
    plane.pixels() * stride(plane.channels)
}

/// Which instructions the kernels for floats may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Simd(Level);

/// Made by [`Simd`] alone: what stands in it proves that this processor has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
}

impl Simd {
    /// Plain Rust only.
    pub const PORTABLE: Self = Self(Level::Portable);

    /// All that this processor has, worst first.
    pub fn all() -> Vec<Self> {
        let mut found = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            found.extend(avx2::Avx2::found().map(|avx2| Self(Level::Avx2(avx2))));
            found.extend(avx512::Avx512::found().map(|avx512| Self(Level::Avx512(avx512))));
        }
        found
    }

    /// The best that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::all().last().copied().unwrap_or(Self::PORTABLE)
    }

    /// How many times eight floats are in a register.
    fn eights(self) -> usize {
        match self.0 {
            Level::Portable => Portable::EIGHTS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => avx2::Avx2::EIGHTS,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => avx512::Avx512::EIGHTS,
        }
    }

    /// Runs a kernel with these instructions.
    fn run(self, work: impl Work) {
        match self.0 {
            Level::Portable => Work::run(work, Portable),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(avx2) => avx2.run(work),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(avx512) => avx512.run(work),
        }
    }

    /// Runs a loop with those of these instructions that take eight floats.
    fn repeat(self, work: impl Loop) {
        match self.0 {
            Level::Portable => work.run(Portable),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(avx2) => avx2.run(work),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(avx512) => avx512.narrow().run(work),
        }
    }
}

/// A kernel with its arguments. Everything that `run` calls is to be `#[inline(always)]`: only so is it compiled
/// with the instructions that the vector stands for.
trait Work {
    fn run<V: Vector>(self, vector: V);
}

/// The same of a loop that is bound by memory: it goes by eight floats.
trait Loop {
    fn run<V: Narrow>(self, vector: V);
}

/// A kernel goes by eight floats, too.
impl<W: Work> Loop for W {
    #[inline(always)]
    fn run<V: Narrow>(self, vector: V) {
        Work::run(self, vector);
    }
}
