//! What needs no packed weights: residual add, gate, average, and the two ends of a quantised stretch.
//!
//! Each is one plain loop. For AVX2 and more the same source is compiled a second time with those instructions:
//! floats are multiplied and added one by one, so that both give the same bytes.

use super::requant::byte;
#[cfg(target_arch = "x86_64")]
use super::vnni;
use super::{Isa, LANES, Level, Plane};

/// Defines a kernel whose AVX2 form is its portable form compiled for AVX2.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $body:ident($($arg:ident: $type:ty),*)) => {
        $(#[$doc])*
        fn $name(isa: Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $type),*) {
                $body($($arg),*);
            }
            match isa.level() {
                Level::Portable => $body($($arg),*),
                // NEON is part of what the compiler takes for granted there.
                #[cfg(target_arch = "aarch64")]
                Level::Neon | Level::Dot => $body($($arg),*),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 | Level::Vnni => {
                    #[expect(unsafe_code, reason = "calls code compiled for AVX2")]
                    // SAFETY: these levels exist only on a processor that has AVX2.
                    unsafe { avx2($($arg),*) }
                }
            }
        }
    };
}

/// The sum of two quantised pictures, quantised anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Residual {
    /// Scale over the output's scale, and zero point, of each side.
    pub sides: [(f32, u8); 2],
    /// Zero point of the output.
    pub zero: u8,
}

impl Residual {
    /// Adds byte by byte; all three have one length.
    pub fn run(&self, isa: Isa, a: &[u8], b: &[u8], output: &mut [u8]) {
        residual(isa, self, a, b, output);
    }
}

kernel!(residual, residual_body(op: &Residual, a: &[u8], b: &[u8], output: &mut [u8]));

#[inline(always)]
fn residual_body(op: &Residual, a: &[u8], b: &[u8], output: &mut [u8]) {
    let [(scale_a, zero_a), (scale_b, zero_b)] = op.sides;
    for ((out, a), b) in output.iter_mut().zip(a).zip(b) {
        let a = (f32::from(*a) - f32::from(zero_a)) * scale_a;
        let b = (f32::from(*b) - f32::from(zero_b)) * scale_b;
        *out = byte(a + b, op.zero);
    }
}

/// A picture multiplied by one factor per channel: the end of squeeze-and-excitation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// Product of the inputs' scales over the output's.
    pub scale: f32,
    /// Zero points of picture, factors and output.
    pub zeros: [u8; 3],
}

impl Gate {
    /// `factors` is one pixel of `output`'s stride; `input` and `output` have one length.
    pub fn run(&self, isa: Isa, input: &[u8], factors: &[u8], output: &mut [u8]) {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            level @ Level::Vnni => vnni::gate(level, self, input, factors, output),
            _ => gate_loop(isa, self, input, factors, output),
        }
    }
}

kernel!(gate_loop, gate_body(op: &Gate, input: &[u8], factors: &[u8], output: &mut [u8]));

#[inline(always)]
fn gate_body(op: &Gate, input: &[u8], factors: &[u8], output: &mut [u8]) {
    let [zero, zero_factor, zero_out] = op.zeros.map(i32::from);
    let stride = factors.len();
    for (out, pixel) in output.chunks_exact_mut(stride).zip(input.chunks_exact(stride)) {
        for ((out, value), factor) in out.iter_mut().zip(pixel).zip(factors) {
            let product = (i32::from(*value) - zero) * (i32::from(*factor) - zero_factor);
            *out = byte(product as f32 * op.scale, zero_out as u8);
        }
    }
}

/// The average of each channel over the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// The input's scale over the output's.
    pub scale: f32,
    /// Zero points of input and output.
    pub zeros: [u8; 2],
}

impl Average {
    /// `input` holds whole pixels of `output`'s length, at most 2^23 of them.
    pub fn run(&self, isa: Isa, input: &[u8], output: &mut [u8]) {
        average(isa, self, input, output);
    }
}

kernel!(average, average_body(op: &Average, input: &[u8], output: &mut [u8]));

#[inline(always)]
fn average_body(op: &Average, input: &[u8], output: &mut [u8]) {
    /// Pixels whose sum sixteen bits hold.
    const RUN: usize = 256;
    let stride = output.len();
    let pixels = (input.len() / stride) as i32;
    let scale = op.scale / pixels as f32;
    for (block, out) in output.chunks_mut(LANES).enumerate() {
        let mut sums = [0i32; LANES];
        for run in input.chunks(RUN * stride) {
            let mut some = [0u16; LANES];
            for pixel in run.chunks_exact(stride) {
                let values = &pixel[block * LANES..];
                // A length that the compiler knows makes vectors of the loop.
                match values.first_chunk::<LANES>() {
                    Some(values) => add(&mut some, values),
                    None => add(&mut some, values),
                }
            }
            for (sum, some) in sums.iter_mut().zip(some) {
                *sum += i32::from(some);
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = byte((sum - pixels * i32::from(op.zeros[0])) as f32 * scale, op.zeros[1]);
        }
    }
}

#[inline(always)]
fn add(sums: &mut [u16; LANES], values: &[u8]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += u16::from(*value);
    }
}

/// Planes of floats (channel, height, width) to bytes: `clamp(round(value / scale) + zero)`. Padding channels
/// get the zero point.
///
/// # Panics
/// If a slice is shorter than `plane` needs.
pub fn quantise(isa: Isa, plane: &Plane, scale: f32, zero: u8, input: &[f32], output: &mut [u8]) {
    let (pixels, stride) = (plane.pixels(), plane.stride());
    if plane.channels == 3 {
        let (red, rest) = input.split_at(pixels);
        return quantise_colours(isa, (scale, zero), red, &rest[..pixels], &rest[pixels..], output);
    }
    output[..plane.bytes()].fill(zero);
    for (channel, values) in input[..pixels * plane.channels].chunks_exact(pixels).enumerate() {
        quantise_plane(isa, (scale, zero), values, &mut output[channel..], stride);
    }
}

kernel!(quantise_plane, quantise_body(to: (f32, u8), input: &[f32], output: &mut [u8], stride: usize));

#[inline(always)]
fn quantise_body(to: (f32, u8), input: &[f32], output: &mut [u8], stride: usize) {
    /// Values at a time: rounded as vectors first, then put in their places.
    const RUN: usize = 64;
    let mut bytes = [0u8; RUN];
    for (values, out) in input.chunks(RUN).zip(output.chunks_mut(RUN * stride)) {
        for (byte_, value) in bytes.iter_mut().zip(values) {
            *byte_ = byte(value / to.0, to.1);
        }
        for (out, byte) in out.iter_mut().step_by(stride).zip(&bytes[..values.len()]) {
            *out = *byte;
        }
    }
}

kernel!(
    quantise_colours,
    quantise_colours_body(to: (f32, u8), red: &[f32], green: &[f32], blue: &[f32], output: &mut [u8])
);

/// Three channels at once, a pixel being one word.
#[inline(always)]
fn quantise_colours_body(to: (f32, u8), red: &[f32], green: &[f32], blue: &[f32], output: &mut [u8]) {
    let word = |value: &f32| u32::from(byte(value / to.0, to.1));
    let (pixels, _) = output.as_chunks_mut::<4>();
    for (((pixel, red), green), blue) in pixels.iter_mut().zip(red).zip(green).zip(blue) {
        let colours = word(red) | word(green) << 8 | word(blue) << 16 | u32::from(to.1) << 24;
        *pixel = colours.to_le_bytes();
    }
}

/// Bytes to planes of floats (channel, height, width): `(byte - zero) * scale`.
///
/// # Panics
/// If a slice is shorter than `plane` needs.
pub fn dequantise(plane: &Plane, scale: f32, zero: u8, input: &[u8], output: &mut [f32]) {
    let (pixels, stride) = (plane.pixels(), plane.stride());
    for (channel, values) in output[..pixels * plane.channels].chunks_exact_mut(pixels).enumerate() {
        for (value, byte) in values.iter_mut().zip(input[channel..].iter().step_by(stride)) {
            *value = (f32::from(*byte) - f32::from(zero)) * scale;
        }
    }
}
