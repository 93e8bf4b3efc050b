//! Kernels for quantised networks: bytes in, bytes out, sums in 32-bit integers.
//!
//! A picture is bytes in the order height, width, channel; the channels of a pixel are padded to a whole number
//! of registers ([`Plane::stride`]), with weights of zero for what is padding. Weights are signed bytes with one
//! scale per output channel, packed once for the instructions that will read them. Each kernel exists as plain Rust, which is the reference and runs
//! everywhere, and where it pays for the instructions of some processors, chosen at run time ([`Isa`]); the tests hold
//! all forms equal bit for bit. Sums are exact: nothing saturates on the way.
//!
//! A picture of bytes is made smaller or larger by [`blend`] and [`turn`]; networks of floats run in [`float`].
//!
//! ```
//! use portero_kernels::{Convolution, Isa, Plane, Requant, Window};
//!
//! // Two channels of 2 x 2 pixels; each output is the sum of both. Pixels of up to four channels are four bytes apart.
//! let plane = Plane { height: 2, width: 2, channels: 2 };
//! let output = Plane { channels: 1, ..plane };
//! let window = Window { input: plane, output, size: (1, 1), step: (1, 1), before: (0, 0) };
//! let requant = Requant::new(&[0], &[1.0], 0).expect("one finite scale above 0 for each output");
//! let sum = Convolution::dense(Isa::best(), window, 0, &[1, 1], requant).expect("the lengths fit");
//!
//! let input = [1, 2, 0, 0, 3, 4, 0, 0, 5, 6, 0, 0, 7, 8, 0, 0];
//! let mut found = vec![0; output.bytes()];
//! sum.run(&input, &mut found);
//! assert_eq!([found[0], found[4], found[8], found[12]], [3, 7, 11, 15]);
//! ```
//!
//! All `unsafe` code of Portero is here. This crate knows neither tract nor ONNX, reads no file and no variable of the
//! environment, and starts no thread; some kernels keep memory for the next call in thread-local buffers.

mod aligned;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector loads and stores by address; each block says why it stays in bounds")]
mod avx2;
mod convolution;
mod dense;
mod depthwise;
pub mod float;
mod isa;
#[cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "a call of the C library; the block says why it is allowed")
)]
mod memory;
mod mixing;
#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "vector loads and stores by address; each block says why it stays in bounds")]
mod neon;
mod requant;
mod resample;
mod scratch;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector loads and stores by address; each block says why it stays in bounds")]
mod vnni;
mod window;

pub use aligned::Aligned;
pub use convolution::Convolution;
pub use isa::Isa;
use isa::Level;
pub use memory::give_back;
pub use mixing::{Average, Gate, Residual, dequantise, quantise};
use requant::Lanes;
pub use requant::{Requant, Table, byte};
pub use resample::{SIDE, blend, turn};
pub use window::{Plane, Window};

/// Channels of a block: convolutions make so many at once, and pixels are padded to whole blocks.
pub const LANES: usize = 16;
