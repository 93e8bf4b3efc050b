//! From pixels to the input tensor.
//!
//! The trainer uses this very code, so that a model meets at the door what it met in training. Resizing is an
//! anti-aliased triangle filter (`Convolution(Bilinear)`, the same as Pillow's `BILINEAR`), in 8 bits.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::{Cause, Channels, Input, Resize};
use crate::domain::{Frame, NormRect, PixelRect};

/// Crops, resizes and normalises; keeps its buffers between calls.
pub struct Preprocessor {
    input: Input,
    resizer: Resizer,
    scaled: Image<'static>,
}

impl Preprocessor {
    /// For one model's input.
    #[must_use]
    pub fn new(input: Input) -> Self {
        let scaled = Image::new(input.width, input.height, PixelType::U8x3);
        Self { input, resizer: Resizer::new(), scaled }
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
        let (width, height) = self.fitted_size(crop);
        if (self.scaled.width(), self.scaled.height()) != (width, height) {
            self.scaled = Image::new(width, height, PixelType::U8x3);
        }
        let source = ImageRef::new(frame.width(), frame.height(), frame.rgb(), PixelType::U8x3)?;
        // A cropped view, not the resizer's own crop option: that lets the filter reach beyond the zone's edge.
        let zone = CroppedImage::new(&source, crop.x, crop.y, crop.width, crop.height)?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize(&zone, &mut self.scaled, &options)?;
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
        let (width, height) = (self.input.width as usize, self.input.height as usize);
        let (fit_w, fit_h) = (self.scaled.width() as usize, self.scaled.height() as usize);
        let (left, top) = ((width - fit_w) / 2, (height - fit_h) / 2);
        if (fit_w, fit_h) != (width, height) {
            planes.fill(0.0);
        }
        let order = match self.input.channels {
            Channels::Rgb => [0, 1, 2],
            Channels::Bgr => [2, 1, 0],
        };
        let rows = self.scaled.buffer().chunks_exact(fit_w * 3);
        for (plane, out) in planes.chunks_exact_mut(width * height).enumerate() {
            let scale = 1.0 / self.input.std[plane];
            let offset = -self.input.mean[plane] * scale;
            let channel = order[plane];
            for (row, y) in rows.clone().zip(top..) {
                let out = &mut out[y * width + left..][..fit_w];
                for (value, pixel) in out.iter_mut().zip(row.chunks_exact(3)) {
                    *value = f32::from(pixel[channel]) * scale + offset;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CameraId, FrameRef, FrameSeq, Stamp};

    fn frame(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Frame {
        let rgb = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y));
        let at = FrameRef { seq: FrameSeq(0), stamp: Stamp::new(0, 0) };
        Frame::new(CameraId::new("c").unwrap(), at, width, height, rgb.collect()).unwrap()
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
