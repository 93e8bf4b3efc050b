//! From pixels to a detector's input: scaled to fit into the upper left corner, the rest grey.
//!
//! Scaling is bilinear without anti-aliasing, as OpenCV's `resize` does it and the networks were trained with.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::{Cause, Channels};
use portero_core::domain::Frame;

/// The grey beside the picture.
const GREY: f32 = 114.0;

/// Scales pictures into the input; keeps its buffers between calls.
pub(super) struct Letterbox {
    width: u32,
    height: u32,
    channels: Channels,
    resizer: Resizer,
    scaled: Image<'static>,
}

impl Letterbox {
    /// For an input of this size.
    pub(super) fn new(width: u32, height: u32, channels: Channels) -> Self {
        let scaled = Image::new(width, height, PixelType::U8x3);
        Self { width, height, channels, resizer: Resizer::new(), scaled }
    }

    /// Writes `frame` to `planes`, three planes of `height * width` values of 0..=255. Returns how many pixels of the
    /// input one of the frame takes.
    pub(super) fn fill(&mut self, frame: &Frame, planes: &mut [f32]) -> Result<f32, Cause> {
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        let scale = (width / f64::from(frame.width())).min(height / f64::from(frame.height()));
        let fit = |side: u32, most: u32| ((f64::from(side) * scale) as u32).clamp(1, most);
        let fitted = (fit(frame.width(), self.width), fit(frame.height(), self.height));
        if (self.scaled.width(), self.scaled.height()) != fitted {
            self.scaled = Image::new(fitted.0, fitted.1, PixelType::U8x3);
        }
        let source = ImageRef::new(frame.width(), frame.height(), frame.rgb(), PixelType::U8x3)?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Interpolation(FilterType::Bilinear));
        self.resizer.resize(&source, &mut self.scaled, &options)?;
        let (width, height) = (self.width as usize, self.height as usize);
        for (channel, plane) in self.channels.order().into_iter().zip(planes.chunks_exact_mut(width * height))
        {
            plane.fill(GREY);
            let rows = self.scaled.buffer().chunks_exact(fitted.0 as usize * 3);
            for (row, out) in rows.zip(plane.chunks_exact_mut(width)) {
                for (value, pixel) in out.iter_mut().zip(row.chunks_exact(3)) {
                    *value = f32::from(pixel[channel]);
                }
            }
        }
        Ok(scale as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_core::domain::{CameraId, FrameRef, FrameSeq, Stamp};

    #[test]
    fn the_picture_lies_in_the_corner_in_the_stated_order_and_the_rest_is_grey() {
        let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
        let rgb: Vec<u8> = std::iter::repeat_n([200, 100, 50], 32 * 16).flatten().collect();
        let frame = Frame::new(CameraId::new("c").unwrap(), at, 32, 16, rgb).unwrap();
        let mut planes = vec![0.0; 3 * 64];
        let scale = Letterbox::new(8, 8, Channels::Bgr).fill(&frame, &mut planes).unwrap();
        assert_eq!(scale, 0.25);
        for (plane, value) in planes.chunks_exact(64).zip([50.0, 100.0, 200.0]) {
            assert!(plane[..32].iter().all(|v| *v == value));
            assert!(plane[32..].iter().all(|v| *v == 114.0));
        }
    }
}
