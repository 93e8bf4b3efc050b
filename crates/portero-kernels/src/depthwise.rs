//! A convolution of each channel with a window of its own: packing of the weights, and the loops in plain Rust.

use super::convolution::Layer;
#[cfg(target_arch = "aarch64")]
use super::neon;
#[cfg(target_arch = "x86_64")]
use super::{LANES, avx2, requant, vnni};
use super::{Level, Window};

/// Packed weights, in the form that the level reads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Packed {
    /// `[channel][tap]`, as they came.
    Plain(Vec<i8>),
    #[cfg(target_arch = "x86_64")]
    Pairs(Pairs),
    #[cfg(target_arch = "x86_64")]
    Shifted(vnni::Shifted),
    #[cfg(target_arch = "aarch64")]
    Taps(neon::Taps),
}

/// Taps in pairs.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pairs {
    /// `[block of 16 channels][pair of taps][16 channels in the level's order][2]`.
    pub(super) weights: Vec<i16>,
    /// Where each tap lies from the window's corner, in bytes; an odd number of taps repeats the last, which has
    /// a weight of 0 there.
    pub(super) offsets: Vec<usize>,
}

impl Packed {
    /// `weights` are `[channel][row][column]`.
    pub(super) fn new(level: Level, window: &Window, weights: &[i8]) -> Self {
        match level {
            Level::Portable => Self::Plain(weights.to_vec()),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Self::Pairs(Pairs::new(level, window, weights)),
            #[cfg(target_arch = "x86_64")]
            Level::Vnni => Self::Shifted(vnni::Shifted::new(window, weights)),
            #[cfg(target_arch = "aarch64")]
            Level::Neon | Level::Dot => Self::Taps(neon::Taps::new(level, window, weights)),
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Pairs {
    fn new(level: Level, window: &Window, weights: &[i8]) -> Self {
        let (channels, taps) = (window.input.channels, window.taps());
        let weight = |c: usize, tap: usize| {
            if c < channels && tap < taps { i16::from(weights[c * taps + tap]) } else { 0 }
        };
        let weights = requant::pack(channels.div_ceil(LANES), taps.div_ceil(2), 2, level.order(), weight);
        let offsets = (0..taps.next_multiple_of(2)).map(|tap| offset(window, tap.min(taps - 1))).collect();
        Self { weights, offsets }
    }
}

/// Where a tap lies from the window's corner, in bytes.
pub(super) fn offset(window: &Window, tap: usize) -> usize {
    (tap / window.size.1 * window.bordered().width + tap % window.size.1) * window.input.stride()
}

/// One picture, without its border.
pub(super) fn run(level: Level, layer: &Layer, packed: &Packed, input: &[u8], output: &mut [u8]) {
    let bordered = |run: &mut dyn FnMut(&[u8])| layer.window.with_border(input, layer.zero, run);
    match packed {
        Packed::Plain(weights) => bordered(&mut |input| portable(layer, weights, input, output)),
        #[cfg(target_arch = "x86_64")]
        Packed::Pairs(pairs) => bordered(&mut |input| avx2::depthwise(level, layer, pairs, input, output)),
        #[cfg(target_arch = "x86_64")]
        Packed::Shifted(shifted) => vnni::depthwise(level, layer, shifted, input, output),
        #[cfg(target_arch = "aarch64")]
        Packed::Taps(taps) => bordered(&mut |input| neon::depthwise(level, layer, taps, input, output)),
    }
}

fn portable(layer: &Layer, weights: &[i8], input: &[u8], output: &mut [u8]) {
    let (stride, taps) = (layer.window.output.stride(), layer.window.taps());
    for (pixel, bytes) in output.chunks_exact_mut(stride).enumerate() {
        let corner = layer.window.corner(pixel);
        for (channel, byte) in bytes.iter_mut().enumerate() {
            let weights = weights.chunks_exact(taps).nth(channel).unwrap_or(&[]);
            let tap = |(tap, weight): (usize, &i8)| {
                i32::from(input[corner + offset(&layer.window, tap) + channel]) * i32::from(*weight)
            };
            *byte = layer.requant.finish(weights.iter().enumerate().map(tap).sum(), channel);
        }
    }
}
