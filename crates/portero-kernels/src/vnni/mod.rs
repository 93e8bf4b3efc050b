//! The convolutions, and the gate, for AVX-512 with VNNI and VBMI.
//!
//! `vpdpbusd` multiplies four unsigned bytes by four signed ones in each of sixteen lanes and adds all four products
//! to the lane's 32-bit sum, without loss. So bytes need not be widened, and a register of sums is one block of
//! channels in its natural order.

mod dense;
mod depthwise;
mod finish;
mod gate;

pub(super) use depthwise::Shifted;

use super::Level;
use super::convolution::Layer;
use super::mixing::Gate;

/// [`super::dense::run`].
pub(super) fn dense(level: Level, layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    assert_eq!(level, Level::Vnni);
    // SAFETY: the assertion above; `Level::Vnni` exists only on a processor that has all its instructions.
    unsafe { dense::tiles(layer, packed, input, output) }
}

/// [`super::depthwise::run`].
pub(super) fn depthwise(level: Level, layer: &Layer, shifted: &Shifted, input: &[u8], output: &mut [u8]) {
    assert_eq!(level, Level::Vnni);
    // SAFETY: the assertion above; `Level::Vnni` exists only on a processor that has all its instructions.
    unsafe { depthwise::blocks(layer, shifted, input, output) }
}

/// [`Gate::run`].
pub(super) fn gate(level: Level, op: &Gate, input: &[u8], factors: &[u8], output: &mut [u8]) {
    assert_eq!(level, Level::Vnni);
    // SAFETY: the assertion above; `Level::Vnni` exists only on a processor that has all its instructions.
    unsafe { gate::pixels(op, input, factors, output) }
}
