//! From pixels to the input tensor.
//!
//! The trainer uses this very code, so that a model meets at the door what it met in training. Resizing is an
//! anti-aliased triangle filter (`Convolution(Bilinear)`, the same as Pillow's `BILINEAR`), in 8 bits.
//!
//! A frame that came as planes of luma and chroma is resized as such, and only what remains becomes RGB: a third of the work.
//! Resizing and the change of colours are both linear, so it is the same picture but for rounding (a test holds the mean
//! difference below one step of 255).

mod planes;

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use planes::Scaler;

use super::{Cause, Channels, Input, Resize};
use crate::domain::{Frame, NormRect, PixelRect, yuv};

/// Crops, resizes and normalises; keeps its buffers between calls.
pub struct Preprocessor {
    input: Input,
    resizer: Resizer,
    /// What an RGB frame becomes.
    scaled: Image<'static>,
    /// What a planar frame becomes.
    scaler: Scaler,
    /// A row of Y, U and V, then the same in the order of the model's channels.
    row: [Vec<u8>; 6],
}

impl Preprocessor {
    /// For one model's input.
    #[must_use]
    pub fn new(input: Input) -> Self {
        let scaled = Image::new(input.width, input.height, PixelType::U8x3);
        let row = std::array::from_fn(|_| vec![0; input.width as usize]);
        Self { input, resizer: Resizer::new(), scaled, scaler: Scaler::default(), row }
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
    /// the manifest's channels. `planes` must hold [`Preprocessor::len`] floats.
    ///
    /// # Errors
    /// What the resizer refuses; it does not happen for a [`Frame`].
    pub fn fill(&mut self, frame: &Frame, rect: NormRect, planes: &mut [f32]) -> Result<(), Cause> {
        let crop = self.seen(rect.to_pixels(frame.width(), frame.height()));
        let size = self.fitted_size(crop);
        if let Some(samples) = frame.planes() {
            self.scaler.resize(&mut self.resizer, &samples, crop, size)?;
            self.join(size, planes);
            return Ok(());
        }
        if (self.scaled.width(), self.scaled.height()) != size {
            self.scaled = Image::new(size.0, size.1, PixelType::U8x3);
        }
        let source = ImageRef::new(frame.width(), frame.height(), frame.rgb(), PixelType::U8x3)?;
        // A cropped view, not the resizer's own crop option: that lets the filter reach beyond the zone's edge.
        let zone = CroppedImage::new(&source, crop.x, crop.y, crop.width, crop.height)?;
        self.resizer.resize(&zone, &mut self.scaled, &options())?;
        self.normalise(planes);
        Ok(())
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
    fn fitted_size(&self, crop: PixelRect) -> (u32, u32) {
        let (width, height) = (self.input.width, self.input.height);
        match self.input.resize {
            Resize::Stretch | Resize::Crop => (width, height),
            Resize::Letterbox => {
                let scale = (f64::from(width) / f64::from(crop.width))
                    .min(f64::from(height) / f64::from(crop.height));
                let fit = |side: u32, limit: u32| ((f64::from(side) * scale).round() as u32).clamp(1, limit);
                (fit(crop.width, width), fit(crop.height, height))
            }
        }
    }

    /// Interleaved bytes to normalised planes, centred.
    fn normalise(&self, planes: &mut [f32]) {
        let place = Place::of(&self.input, (self.scaled.width(), self.scaled.height()), planes);
        let rows = self.scaled.buffer().chunks_exact(place.width * 3);
        for (plane, out) in planes.chunks_exact_mut(place.area).enumerate() {
            let (ramp, channel) = (Ramp::of(&self.input, plane), self.input.channels.order()[plane]);
            for (row, out) in rows.clone().zip(place.rows(out)) {
                for (value, pixel) in out.iter_mut().zip(row.as_chunks::<3>().0) {
                    *value = ramp.at(pixel[channel]);
                }
            }
        }
    }

    /// Scaled samples of Y, U and V to normalised planes, centred.
    fn join(&mut self, size: (u32, u32), planes: &mut [f32]) {
        let place = Place::of(&self.input, size, planes);
        let channels = self.input.channels.order();
        let ramps = [0, 1, 2].map(|plane| Ramp::of(&self.input, plane));
        let [y, u, v, red, green, blue] = &mut self.row.each_mut().map(|row| &mut row[..place.width]);
        let (first, rest) = planes.split_at_mut(place.area);
        let (second, third) = rest.split_at_mut(place.area);
        let rows = place.rows(first).zip(place.rows(second)).zip(place.rows(third));
        for (row, ((first, second), third)) in rows.enumerate() {
            self.scaler.row(row, place.height, [y, u, v]);
            yuv::yuv444_to_channels(y, u, v, [red, green, blue]);
            for ((out, channel), ramp) in [first, second, third].into_iter().zip(channels).zip(&ramps) {
                let samples = [&*red, &*green, &*blue][channel];
                for (value, &sample) in out.iter_mut().zip(samples.iter()) {
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
    fn of(input: &Input, (width, height): (u32, u32), planes: &mut [f32]) -> Self {
        if (width, height) != (input.width, input.height) {
            planes.fill(0.0);
        }
        let (stride, area) = (input.width as usize, input.width as usize * input.height as usize);
        let (left, top) = ((input.width - width) / 2, (input.height - height) / 2);
        let [left, top, width, height] = [left, top, width, height].map(|n| n as usize);
        Self { area, stride, left, top, width, height }
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

fn options() -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CameraId, FrameRef, FrameSeq, Pixels, Stamp};

    fn frame(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Frame {
        let rgb = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y));
        let at = FrameRef { seq: FrameSeq(0), stamp: Stamp::new(0, 0) };
        Frame::new(CameraId::new("c").unwrap(), at, width, height, rgb.collect::<Vec<u8>>()).unwrap()
    }

    fn input(resize: Resize, channels: Channels) -> Input {
        Input { width: 8, height: 8, channels, resize, mean: [127.5; 3], std: [127.5; 3] }
    }

    fn planes(input: Input, frame: &Frame, rect: NormRect) -> Vec<f32> {
        let mut pre = Preprocessor::new(input);
        let mut out = vec![9.0; pre.len()];
        pre.fill(frame, rect, &mut out).unwrap();
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
        let at = FrameRef { seq: FrameSeq(0), stamp: Stamp::new(0, 0) };
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
