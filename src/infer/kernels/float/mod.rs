//! Kernels for networks of floats: 32-bit floats in, 32-bit floats out.
//!
//! A picture is floats in the order height, width, channel; the channels of a pixel are padded to a whole number
//! of registers of eight ([`stride`]), with weights of zero for what is padding. What padding holds does not
//! matter. A convolution may also read planes, as the network's input comes: channel, height, width.
//!
//! Every kernel is written once, generic over a [`Vector`]: eight floats and what can be done with them. To add a
//! processor is to write that trait for it, and its line in [`Simd`]. Forms with a fused multiply-add round once
//! where the portable one rounds twice, so the tests compare within a tolerance.

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "calls instructions whose presence the type proves")]
mod avx2;
mod convolution;
#[expect(unsafe_code, reason = "reads inputs by offset; each block says why it stays in bounds")]
mod dense;
#[expect(unsafe_code, reason = "reads inputs by offset; each block says why it stays in bounds")]
mod depthwise;
mod mixing;
mod ramp;
#[cfg(test)]
mod tests;
mod vector;

pub(crate) use convolution::{Convolution, Source};
pub(crate) use mixing::{add, average, from_planes, gate, to_planes};
pub(crate) use ramp::Ramp;

use vector::{Portable, Vector};

use super::Plane;

/// Floats in a register.
pub(super) const LANES: usize = 8;

/// What a register holds, where a load of it never straddles two lines of the cache.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(32))]
struct Lanes([f32; LANES]);

impl Lanes {
    /// Packs floats, with zeros to a whole number of registers.
    fn pack(floats: impl IntoIterator<Item = f32>) -> Vec<Self> {
        let mut floats = floats.into_iter().peekable();
        let mut packed = Vec::new();
        while floats.peek().is_some() {
            packed.push(Self(std::array::from_fn(|_| floats.next().unwrap_or(0.0))));
        }
        packed
    }
}

/// Floats from one pixel to the next.
#[must_use]
pub(crate) fn stride(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

/// Floats of a picture.
#[must_use]
pub(crate) fn len(plane: &Plane) -> usize {
    plane.pixels() * stride(plane.channels)
}

/// Which instructions the kernels for floats may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Simd(Level);

/// Made by [`Simd`] alone: what stands in it proves that this processor has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

impl Simd {
    /// Plain Rust only.
    pub(crate) const PORTABLE: Self = Self(Level::Portable);

    /// The best that this processor has.
    #[must_use]
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = avx2::Avx2::found() {
            return Self(Level::Avx2(avx2));
        }
        Self::PORTABLE
    }

    /// Runs a kernel with these instructions.
    fn run(self, work: impl Work) {
        match self.0 {
            Level::Portable => work.run(Portable),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(avx2) => avx2.run(work),
        }
    }
}

/// A kernel with its arguments. Everything that `run` calls is to be `#[inline(always)]`: only so is it compiled
/// with the instructions that the vector stands for.
trait Work {
    fn run<V: Vector>(self, vector: V);
}
