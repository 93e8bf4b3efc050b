//! The convolutions for NEON, in two forms: with the instructions that every 64-bit ARM processor has (Cortex-A53,
//! A72), and with the dot product (Cortex-A55, A76 and newer).
//!
//! Both multiply signed bytes. So the input, moved by 128, is read as signed bytes: that flips its highest bit, and the
//! biases make up for it ([`Level::origin`]).

mod dense;
mod depthwise;
mod finish;

use std::arch::aarch64::{int8x16_t, uint8x16_t, vdupq_n_u8, veorq_u8, vreinterpretq_s8_u8};

pub(super) use depthwise::Taps;

use super::Level;
use super::convolution::Layer;

/// [`super::dense::run`].
pub(super) fn dense(level: Level, layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    assert!(matches!(level, Level::Neon | Level::Dot));
    let mut few = [0; 16];
    let input = if input.len() < few.len() {
        few[..input.len()].copy_from_slice(input);
        &few
    } else {
        input
    };
    // SAFETY: the assertion above; these levels exist only on a processor that has NEON and, for `Level::Dot`, the dot
    // product.
    unsafe {
        if level == Level::Dot {
            dense::with_dot(layer, packed, input, output);
        } else {
            dense::with_long(layer, packed, input, output);
        }
        if let Some(table) = layer.requant.table() {
            finish::look_up(table, output);
        }
    }
}

/// [`super::depthwise::run`] on an input with its border. The dot product is of no use here.
pub(super) fn depthwise(level: Level, layer: &Layer, taps: &Taps, input: &[u8], output: &mut [u8]) {
    assert!(matches!(level, Level::Neon | Level::Dot));
    // SAFETY: the assertion above; these levels exist only on a processor that has NEON.
    unsafe {
        depthwise::rows(layer, taps, input, output);
        if let Some(table) = layer.requant.table() {
            finish::look_up(table, output);
        }
    }
}

/// Bytes as distances from 128.
#[inline]
#[target_feature(enable = "neon")]
fn flip(bytes: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)))
}

/// How many of the pixels that are left come next, at most `most`: shared out evenly.
fn share(left: usize, most: usize) -> usize {
    left.div_ceil(left.div_ceil(most))
}
