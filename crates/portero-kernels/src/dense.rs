//! A convolution that mixes all channels: packing of the weights, and the loops in plain Rust.

use super::convolution::Layer;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::{LANES, Level, Window, requant};
#[cfg(target_arch = "x86_64")]
use super::{avx2, vnni};

/// Groups of `group` inputs that a sum is made of, padding included; that behind the last tap is left out.
pub(super) fn groups(window: &Window, group: usize) -> usize {
    (window.taps() - 1) * window.input.stride() / group + window.input.channels.div_ceil(group)
}

/// Packs `[output][input channel][row][column]` to
/// `[block of 16 outputs][group of inputs][16 outputs in the level's order][member of the group]`.
pub(super) fn pack(level: Level, window: &Window, weights: &[i8]) -> Vec<i8> {
    let (inputs, outputs) = (window.input.channels, window.output.channels);
    let (stride, taps) = (window.input.stride(), window.taps());
    let weight = |o: usize, k: usize| {
        let (tap, channel) = (k / stride, k % stride);
        if o < outputs && channel < inputs { weights[(o * inputs + channel) * taps + tap] } else { 0 }
    };
    let groups = groups(window, level.group());
    requant::pack(outputs.div_ceil(LANES), groups, level.group(), level.order(), weight)
}

/// `input` has its border; of a window that [is a point](Window::is_point) it is any number of pictures.
pub(super) fn run(level: Level, layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    match level {
        Level::Portable => portable(layer, packed, input, output),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::dense(level, layer, packed, input, output),
        #[cfg(target_arch = "x86_64")]
        Level::Vnni => vnni::dense(level, layer, packed, input, output),
        #[cfg(target_arch = "aarch64")]
        Level::Neon | Level::Dot => neon::dense(level, layer, packed, input, output),
    }
}

fn portable(layer: &Layer, packed: &[i8], input: &[u8], output: &mut [u8]) {
    let window = &layer.window;
    let (out, stride, row, width) =
        (window.output, window.input.stride(), window.row(), window.bordered().width);
    let depth = groups(window, 1);
    for (pixel, bytes) in output.chunks_exact_mut(out.stride()).enumerate() {
        let corner = window.corner(pixel);
        for (block, packed) in packed.chunks_exact(depth * LANES).enumerate() {
            let mut sums = [0i32; LANES];
            for (down, packed) in packed.chunks(row * LANES).enumerate() {
                let line = &input[corner + down * width * stride..];
                for (weights, value) in packed.chunks_exact(LANES).zip(line) {
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += i32::from(*value) * i32::from(*weight);
                    }
                }
            }
            let channels = block * LANES..;
            for ((byte, sum), channel) in bytes[block * LANES..].iter_mut().zip(sums).zip(channels) {
                *byte = layer.requant.finish(sum, channel);
            }
        }
    }
}
