//! What has no weights: sum of two pictures, gate, average, and the way from and to planes.

use super::ramp::Ramp;
use super::vector::Narrow;
use super::{LANES, Loop, Simd, stride};
use crate::Plane;

/// The sum of two pictures, with an activation. All three have one length.
pub fn add(simd: Simd, ramp: Ramp, a: &[f32], b: &[f32], output: &mut [f32]) {
    struct Add<'a>(Ramp, &'a [f32], &'a [f32], &'a mut [f32]);
    impl Loop for Add<'_> {
        #[inline(always)]
        fn run<V: Narrow>(self, v: V) {
            let ramp = self.0.load(v);
            let (a, b) = (self.1.as_chunks::<LANES>().0, self.2.as_chunks::<LANES>().0);
            for ((out, a), b) in self.3.as_chunks_mut::<LANES>().0.iter_mut().zip(a).zip(b) {
                v.store(ramp.of(v, v.add(v.load(a), v.load(b))), out);
            }
        }
    }
    simd.repeat(Add(ramp, a, b, output));
}

/// A picture of pixels as long as `factors` times one factor per channel, with an activation.
pub fn gate(simd: Simd, ramp: Ramp, picture: &[f32], factors: &[f32], output: &mut [f32]) {
    struct Gate<'a>(Ramp, &'a [f32], &'a [f32], &'a mut [f32]);
    impl Loop for Gate<'_> {
        #[inline(always)]
        fn run<V: Narrow>(self, v: V) {
            let ramp = self.0.load(v);
            let factors = self.2.as_chunks::<LANES>().0;
            let stride = self.2.len();
            for (out, pixel) in self.3.chunks_exact_mut(stride).zip(self.1.chunks_exact(stride)) {
                let (out, pixel) = (out.as_chunks_mut::<LANES>().0, pixel.as_chunks::<LANES>().0);
                for ((out, pixel), factor) in out.iter_mut().zip(pixel).zip(factors) {
                    v.store(ramp.of(v, v.multiply(v.load(pixel), v.load(factor))), out);
                }
            }
        }
    }
    simd.repeat(Gate(ramp, picture, factors, output));
}

/// The mean of all pixels, each as long as `output`.
pub fn average(simd: Simd, picture: &[f32], output: &mut [f32]) {
    struct Average<'a>(&'a [f32], &'a mut [f32]);
    impl Loop for Average<'_> {
        #[inline(always)]
        fn run<V: Narrow>(self, v: V) {
            let stride = self.1.len();
            let factor = v.splat(stride as f32 / self.0.len() as f32);
            let mut at = 0;
            // Sums stay in registers: through memory, each would wait for the one before.
            while at < stride {
                at += match (stride - at) / LANES {
                    8.. => column::<V, 8>(v, self.0, self.1, at, factor),
                    4.. => column::<V, 4>(v, self.0, self.1, at, factor),
                    2.. => column::<V, 2>(v, self.0, self.1, at, factor),
                    _ => column::<V, 1>(v, self.0, self.1, at, factor),
                }
            }
        }
    }
    simd.repeat(Average(picture, output));
}

/// Sums `R` registers from `at` on over all pixels, times `factor`. Answers with how many floats these are.
#[inline(always)]
fn column<V: Narrow, const R: usize>(
    v: V,
    picture: &[f32],
    output: &mut [f32],
    at: usize,
    factor: V::Register,
) -> usize {
    let mut sums = [v.splat(0.0); R];
    for pixel in picture.chunks_exact(output.len()) {
        for (sum, x) in sums.iter_mut().zip(V::pack(&pixel[at..])) {
            *sum = v.add(*sum, v.load(x));
        }
    }
    for (sum, to) in sums.into_iter().zip(V::pack_mut(&mut output[at..])) {
        v.store(v.multiply(sum, factor), to);
    }
    R * LANES
}

/// Planes to pixels: `channel, height, width` to `height, width, channel`.
pub fn from_planes(plane: &Plane, planes: &[f32], output: &mut [f32]) {
    let stride = stride(plane.channels);
    for (channel, values) in planes.chunks_exact(plane.pixels()).enumerate() {
        for (pixel, value) in output.chunks_exact_mut(stride).zip(values) {
            pixel[channel] = *value;
        }
    }
}

/// Pixels to planes.
pub fn to_planes(plane: &Plane, picture: &[f32], output: &mut [f32]) {
    let stride = stride(plane.channels);
    for (channel, values) in output.chunks_exact_mut(plane.pixels()).enumerate() {
        for (pixel, value) in picture.chunks_exact(stride).zip(values) {
            *value = pixel[channel];
        }
    }
}
