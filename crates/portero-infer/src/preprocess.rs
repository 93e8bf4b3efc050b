//! From pixels to the input tensor.
//!
//! The trainer uses this very code, so that a model meets at the door what it met in training. Resizing is an
//! anti-aliased triangle filter (`Convolution(Bilinear)`, the same as Pillow's `BILINEAR`), in 8 bits.
//!
//! A frame that came as planes of luma and chroma is resized as such, and only what remains becomes RGB: a third of the work.
//! Resizing and the change of colours are both linear, so it is the same picture but for rounding (a test holds the mean
//! difference below one step of 255).

mod filter;
mod resample;

use resample::{Part, Resampler, Samples};

use super::{Channels, Input, Resize, instructions};
use portero_core::domain::{Frame, NormRect, PixelRect, yuv};
use portero_kernels::Isa;

/// Crops, resizes and normalises; keeps its buffers between calls.
pub struct Preprocessor {
    input: Input,
    /// For luma, or for red, green and blue.
    first: Resampler,
    chroma: Resampler,
    /// A row of red, green and blue.
    row: [Vec<u8>; 3],
}

impl Preprocessor {
    /// For one model's input.
    #[must_use]
    pub fn new(input: Input) -> Self {
        // A name that is none was refused when the model was loaded; all give the same picture.
        let isa = instructions::chosen().unwrap_or(Isa::PORTABLE);
        let row = std::array::from_fn(|_| vec![0; input.width as usize]);
        Self { input, first: Resampler::new(isa), chroma: Resampler::new(isa), row }
    }

    /// How many floats the input tensor has: `3 * height * width`.
    #[must_use]
    pub fn len(&self) -> usize {
        3 * self.input.height as usize * self.input.width as usize
    }

    /// Never: an input has pixels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Writes the part `rect` of `frame` to `planes`: three planes of `height * width` floats, in the order of
    /// the manifest's channels.
    ///
    /// # Panics
    /// If `planes` holds fewer than [`Preprocessor::len`] floats.
    pub fn fill(&mut self, frame: &Frame, rect: NormRect, planes: &mut [f32]) {
        let crop = self.seen(rect.to_pixels(frame.width(), frame.height()));
        let size = self.fitted_size(crop);
        let width = frame.width() as usize;
        let planar = frame.planes();
        if let Some(samples) = &planar {
            let luma = Samples { planes: [samples.y], width, depth: 1 };
            self.first.resize(&luma, &Part::of_pixels(crop), size);
            let chroma = Samples { planes: [samples.u, samples.v], width: samples.chroma_size().0, depth: 1 };
            self.chroma.resize(&chroma, &Part::of_chroma(crop), size);
        } else {
            let pixels = Samples { planes: [frame.rgb()], width, depth: 3 };
            self.first.resize(&pixels, &Part::of_pixels(crop), size);
        }
        self.normalise(size, planar.is_some(), planes);
    }

    /// The part of the crop that goes into the input.
    fn seen(&self, crop: PixelRect) -> PixelRect {
        if self.input.resize != Resize::Crop {
            return crop;
        }
        let (width, height) = (f64::from(self.input.width), f64::from(self.input.height));
        let scale = (f64::from(crop.width) / width).min(f64::from(crop.height) / height) * 7.0 / 8.0;
        let side = |wanted: f64, all: u32| ((wanted * scale).round() as u32).clamp(1, all);
        let (width, height) = (side(width, crop.width), side(height, crop.height));
        let (x, y) = (crop.x + (crop.width - width) / 2, crop.y + (crop.height - height) / 2);
        PixelRect { x, y, width, height }
    }

    /// The size the crop takes within the input.
    fn fitted_size(&self, crop: PixelRect) -> (usize, usize) {
        let (width, height) = (self.input.width, self.input.height);
        let (width, height) = match self.input.resize {
            Resize::Stretch | Resize::Crop => (width, height),
            Resize::Letterbox => {
                let scale = (f64::from(width) / f64::from(crop.width))
                    .min(f64::from(height) / f64::from(crop.height));
                let fit = |side: u32, limit: u32| ((f64::from(side) * scale).round() as u32).clamp(1, limit);
                (fit(crop.width, width), fit(crop.height, height))
            }
        };
        (width as usize, height as usize)
    }

    /// Scaled samples to normalised planes, centred.
    fn normalise(&mut self, size: (usize, usize), planar: bool, planes: &mut [f32]) {
        let place = Place::of(&self.input, size, planes);
        let order = self.input.channels.order();
        let ramps = [0, 1, 2].map(|plane| Ramp::of(&self.input, plane));
        let (first, rest) = planes.split_at_mut(place.area);
        let (second, third) = rest.split_at_mut(place.area);
        let rows = place.rows(first).zip(place.rows(second)).zip(place.rows(third));
        for (row, ((first, second), third)) in rows.enumerate() {
            let colours = if planar {
                let [red, green, blue] = self.row.each_mut().map(|row| &mut row[..place.width]);
                let (u, v) = (self.chroma.row(0, row), self.chroma.row(1, row));
                yuv::yuv444_to_channels(self.first.row(0, row), u, v, [&mut *red, &mut *green, &mut *blue]);
                [&*red, &*green, &*blue]
            } else {
                [0, 1, 2].map(|channel| self.first.row(channel, row))
            };
            for ((out, channel), ramp) in [first, second, third].into_iter().zip(order).zip(&ramps) {
                for (value, &sample) in out.iter_mut().zip(colours[channel]) {
                    *value = ramp.at(sample);
                }
            }
        }
    }
}

impl Channels {
    /// The channel of RGB that each plane holds.
    pub(super) const fn order(self) -> [usize; 3] {
        match self {
            Self::Rgb => [0, 1, 2],
            Self::Bgr => [2, 1, 0],
        }
    }
}

/// Where in the input a scaled picture lies.
#[derive(Clone, Copy)]
struct Place {
    /// Pixels of the input.
    area: usize,
    /// Pixels of a row of the input.
    stride: usize,
    left: usize,
    top: usize,
    /// Of the picture.
    width: usize,
    height: usize,
}

impl Place {
    /// In the middle; what it leaves of the planes is filled with the mean.
    fn of(input: &Input, (width, height): (usize, usize), planes: &mut [f32]) -> Self {
        let (stride, rows) = (input.width as usize, input.height as usize);
        if (width, height) != (stride, rows) {
            planes.fill(0.0);
        }
        let (left, top) = ((stride - width) / 2, (rows - height) / 2);
        Self { area: stride * rows, stride, left, top, width, height }
    }

    /// The picture's rows in a plane of the input.
    fn rows(self, plane: &mut [f32]) -> impl Iterator<Item = &mut [f32]> {
        let rows = plane.chunks_exact_mut(self.stride).skip(self.top).take(self.height);
        rows.map(move |row| &mut row[self.left..][..self.width])
    }
}

/// From a byte to what the network is given.
struct Ramp {
    scale: f32,
    offset: f32,
}

impl Ramp {
    fn of(input: &Input, plane: usize) -> Self {
        let scale = 1.0 / input.std[plane];
        Self { scale, offset: -input.mean[plane] * scale }
    }

    fn at(&self, byte: u8) -> f32 {
        f32::from(byte) * self.scale + self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_core::domain::{CameraId, FrameRef, FrameSeq, Pixels, Stamp};

    fn frame(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Frame {
        let rgb = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y));
        let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
        Frame::new(CameraId::new("c").unwrap(), at, width, height, rgb.collect::<Vec<u8>>()).unwrap()
    }

    fn input(resize: Resize, channels: Channels) -> Input {
        Input { width: 8, height: 8, channels, resize, mean: [127.5; 3], std: [127.5; 3] }
    }

    fn planes(input: Input, frame: &Frame, rect: NormRect) -> Vec<f32> {
        let mut pre = Preprocessor::new(input);
        let mut out = vec![9.0; pre.len()];
        pre.fill(frame, rect, &mut out);
        out
    }

    #[test]
    fn planes_come_in_the_stated_order_and_range() {
        let red = frame(16, 16, |_, _| [255, 0, 0]);
        let rgb = planes(input(Resize::Stretch, Channels::Rgb), &red, NormRect::FULL);
        assert_eq!((rgb[0], rgb[64], rgb[128]), (1.0, -1.0, -1.0));
        let bgr = planes(input(Resize::Stretch, Channels::Bgr), &red, NormRect::FULL);
        assert_eq!((bgr[0], bgr[64], bgr[128]), (-1.0, -1.0, 1.0));
    }

    #[test]
    fn a_planar_frame_is_seen_as_the_same_frame_in_rgb() {
        let (w, h) = (161usize, 121usize);
        // Colours that exist: what RGB cannot show is cut off before resizing in one way, after it in the other.
        let wave = |i: usize, x: f64, y: f64, height: f64| {
            let (column, row) = ((i % w) as f64, (i / w) as f64);
            (128.0 + height * ((column * x).sin() + (row * y).cos())) as u8
        };
        let mut yuv: Vec<u8> = (0..w * h).map(|i| wave(i, 0.9, 0.21, 30.0)).collect();
        let chroma = w.div_ceil(2) * h.div_ceil(2);
        yuv.extend(
            (0..chroma)
                .map(|i| wave(i, 0.05, 0.03, 10.0))
                .chain((0..chroma).map(|i| wave(i, 0.02, 0.07, 10.0))),
        );
        let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
        let frame =
            |pixels: Pixels| Frame::new(CameraId::new("c").unwrap(), at, w as u32, h as u32, pixels).unwrap();
        let planar = frame(Pixels::Yuv420p(yuv));
        let rgb = frame(planar.rgb().to_vec().into());
        let zones = [
            NormRect::FULL,
            NormRect::new(0.31, 0.17, 0.83, 0.6).unwrap(),
            NormRect::new(0.5, 0.5, 0.52, 0.52).unwrap(),
        ];
        for (zone, resize) in
            zones.iter().flat_map(|z| [Resize::Stretch, Resize::Letterbox, Resize::Crop].map(|r| (z, r)))
        {
            let input = || Input { width: 40, height: 40, ..input(resize, Channels::Rgb) };
            let (a, b) = (planes(input(), &planar, *zone), planes(input(), &rgb, *zone));
            let steps = || a.iter().zip(&b).map(|(a, b)| (a - b).abs() * 127.5);
            let (mean, worst) = (steps().sum::<f32>() / a.len() as f32, steps().fold(0.0, f32::max));
            assert!(mean < 1.0 && worst < 12.0, "{zone:?} {resize:?}: mean {mean}, worst {worst}");
        }
    }

    #[test]
    fn only_the_crop_is_seen() {
        let halves = frame(32, 16, |x, _| if x < 16 { [0; 3] } else { [255; 3] });
        let right = NormRect::new(0.5, 0.0, 1.0, 1.0).unwrap();
        let out = planes(input(Resize::Stretch, Channels::Rgb), &halves, right);
        assert!(out.iter().all(|v| *v == 1.0), "the left half leaked in: {out:?}");
    }

    #[test]
    fn a_letterbox_is_filled_with_the_mean() {
        let wide = frame(16, 8, |_, _| [255; 3]);
        let out = planes(input(Resize::Letterbox, Channels::Rgb), &wide, NormRect::FULL);
        assert!(out[..16].iter().all(|v| *v == 0.0), "two rows of padding above");
        assert!(out[16..48].iter().all(|v| *v == 1.0), "four rows of picture");
        assert!(out[48..64].iter().all(|v| *v == 0.0), "two rows of padding below");
    }

    #[test]
    fn a_crop_sees_the_centre_in_its_own_shape() {
        // 14 of 16 pixels are seen, of 32 the middle ones: 9 to 22.
        let wide =
            frame(
                32,
                16,
                |x, y| if (9..23).contains(&x) && (1..15).contains(&y) { [255; 3] } else { [0; 3] },
            );
        let out = planes(input(Resize::Crop, Channels::Rgb), &wide, NormRect::FULL);
        assert!(out.iter().all(|v| *v == 1.0), "something outside the centre leaked in: {out:?}");
        let small = frame(1, 3, |_, _| [255; 3]);
        let out = planes(input(Resize::Crop, Channels::Rgb), &small, NormRect::FULL);
        assert!(out.iter().all(|v| *v == 1.0));
    }
}
