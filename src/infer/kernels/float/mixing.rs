//! What has no weights: sum of two pictures, gate, average, and the way from and to planes.

use super::ramp::Ramp;
use super::vector::Vector;
use super::{LANES, Simd, Work, stride};
use crate::infer::kernels::Plane;

/// The sum of two pictures, with an activation. All three have one length.
pub(crate) fn add(simd: Simd, ramp: Ramp, a: &[f32], b: &[f32], output: &mut [f32]) {
    struct Add<'a>(Ramp, &'a [f32], &'a [f32], &'a mut [f32]);
    impl Work for Add<'_> {
        #[inline(always)]
        fn run<V: Vector>(self, v: V) {
            let ramp = self.0.load(v);
            let (a, b) = (self.1.as_chunks::<LANES>().0, self.2.as_chunks::<LANES>().0);
            for ((out, a), b) in self.3.as_chunks_mut::<LANES>().0.iter_mut().zip(a).zip(b) {
                v.store(ramp.of(v, v.add(v.load(a), v.load(b))), out);
            }
        }
    }
    simd.run(Add(ramp, a, b, output));
}

/// A picture of pixels as long as `factors` times one factor per channel, with an activation.
pub(crate) fn gate(simd: Simd, ramp: Ramp, picture: &[f32], factors: &[f32], output: &mut [f32]) {
    struct Gate<'a>(Ramp, &'a [f32], &'a [f32], &'a mut [f32]);
    impl Work for Gate<'_> {
        #[inline(always)]
        fn run<V: Vector>(self, v: V) {
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
    simd.run(Gate(ramp, picture, factors, output));
}

/// The mean of all pixels, each as long as `output`.
pub(crate) fn average(simd: Simd, picture: &[f32], output: &mut [f32]) {
    struct Average<'a>(&'a [f32], &'a mut [f32]);
    impl Work for Average<'_> {
        #[inline(always)]
        fn run<V: Vector>(self, v: V) {
            let Self(picture, output) = self;
            let stride = output.len();
            output.fill(0.0);
            for pixel in picture.chunks_exact(stride) {
                for (sum, x) in output.as_chunks_mut::<LANES>().0.iter_mut().zip(pixel.as_chunks::<LANES>().0)
                {
                    v.store(v.add(v.load(sum), v.load(x)), sum);
                }
            }
            let factor = v.splat(stride as f32 / picture.len() as f32);
            for sum in output.as_chunks_mut::<LANES>().0 {
                v.store(v.multiply(v.load(sum), factor), sum);
            }
        }
    }
    simd.run(Average(picture, output));
}

/// Planes to pixels: `channel, height, width` to `height, width, channel`.
pub(crate) fn from_planes(plane: &Plane, planes: &[f32], output: &mut [f32]) {
    let stride = stride(plane.channels);
    for (channel, values) in planes.chunks_exact(plane.pixels()).enumerate() {
        for (pixel, value) in output.chunks_exact_mut(stride).zip(values) {
            pixel[channel] = *value;
        }
    }
}

/// Pixels to planes.
pub(crate) fn to_planes(plane: &Plane, picture: &[f32], output: &mut [f32]) {
    let stride = stride(plane.channels);
    for (channel, values) in output.chunks_exact_mut(plane.pixels()).enumerate() {
        for (pixel, value) in picture.chunks_exact(stride).zip(values) {
            *value = pixel[channel];
        }
    }
}
