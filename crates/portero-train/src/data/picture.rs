//! One picture: decoding, making it small enough to keep, and what it looks like.
//!
//! All scaling is the daemon's [`Preprocessor`].

use image::ImageReader;
use portero_core::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Stamp};
use portero_infer::{Channels, Input, Preprocessor, Resize};
use std::io::Cursor;

use super::Part;

/// What a decoder or the preprocessor says.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// No photo is larger; a picture that claims to be is refused before memory is taken for it.
const MAX_SIDE_PX: u32 = 16_384;

/// Decodes JPEG, PNG, WebP, BMP or PNM, whichever the bytes say.
pub(crate) fn decode(bytes: &[u8]) -> Result<Frame, Cause> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    reader.limits(limits);
    let picture = reader.decode()?.into_rgb8();
    let (width, height) = picture.dimensions();
    frame(width, height, picture.into_raw())
}

/// A frame of no camera.
pub(super) fn frame(width: u32, height: u32, rgb: Vec<u8>) -> Result<Frame, Cause> {
    let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
    Ok(Frame::new(CameraId::new("trainer")?, at, width, height, rgb)?)
}

/// An input that leaves the values as they are, 0 to 255.
pub(super) fn raw_input(width: u32, height: u32) -> Input {
    Input { width, height, channels: Channels::Rgb, resize: Resize::Stretch, mean: [0.0; 3], std: [1.0; 3] }
}

/// Scales a whole picture.
pub(super) fn scale(picture: &Frame, width: u32, height: u32) -> Result<Frame, Cause> {
    let mut pre = Preprocessor::new(raw_input(width, height));
    let mut planes = vec![0.0; pre.len()];
    pre.fill(picture, NormRect::FULL, &mut planes);
    let area = planes.len() / 3;
    let rgb = (0..area).flat_map(|i| [planes[i], planes[area + i], planes[2 * area + i]]);
    frame(width, height, rgb.map(|value| value as u8).collect())
}

/// The size in which a picture of `size` is kept for `part`. For training the shorter side is an eighth above
/// the input's, so that a crop still has its pixels. For val and test it is exactly what the daemon's
/// preprocessing makes of it, so that filling it in again changes nothing; where that cuts the centre out, the
/// picture is kept whole and so small that nothing is left to scale.
pub(super) fn fit_for(part: Part, size: (u32, u32), input: &Input) -> (u32, u32) {
    let (width, height) = (f64::from(size.0), f64::from(size.1));
    let (wide, high) = (f64::from(input.width), f64::from(input.height));
    let side = |value: f64| (value.round() as u32).max(1);
    match (part, input.resize) {
        (Part::Train, _) => {
            let factor = (wide * 1.125 / width).max(high * 1.125 / height);
            if factor >= 1.0 { size } else { (side(width * factor), side(height * factor)) }
        }
        (_, Resize::Stretch) => (input.width, input.height),
        (_, Resize::Crop) => {
            let factor = (wide / width).max(high / height) * 8.0 / 7.0;
            if factor >= 1.0 { size } else { (side(width * factor), side(height * factor)) }
        }
        (_, Resize::Letterbox) => {
            let factor = (wide / width).min(high / height);
            (side(width * factor).min(input.width), side(height * factor).min(input.height))
        }
    }
}

/// `picture` in the size that [`fit_for`] says.
pub(super) fn fit(picture: Frame, part: Part, input: &Input) -> Result<Frame, Cause> {
    let size = (picture.width(), picture.height());
    let wanted = fit_for(part, size, input);
    if wanted == size { Ok(picture) } else { scale(&picture, wanted.0, wanted.1) }
}

const LOOK_SIDE: u32 = 16;

/// A difference hash (each bit: is the left of two grey cells brighter; 9x8 cells) and a grey thumbnail of 16x16.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    hash: u64,
    thumb: [u8; (LOOK_SIDE * LOOK_SIDE) as usize],
}

impl Look {
    /// How `picture` looks.
    pub(super) fn of(picture: &Frame) -> Result<Self, Cause> {
        let grey = |width, height| -> Result<Vec<f32>, Cause> {
            let small = scale(picture, width, height)?;
            Ok(small.rgb().chunks_exact(3).map(luma).collect())
        };
        let cells = grey(9, 8)?;
        let bits = cells.chunks_exact(9).flat_map(|row| row.windows(2).map(|pair| pair[0] > pair[1]));
        let hash = bits.fold(0, |hash, bit| hash << 1 | u64::from(bit));
        let mut thumb = [0; (LOOK_SIDE * LOOK_SIDE) as usize];
        for (to, from) in thumb.iter_mut().zip(grey(LOOK_SIDE, LOOK_SIDE)?) {
            *to = from as u8;
        }
        Ok(Self { hash, thumb })
    }

    /// Whether two pictures look the same: at most 6 of 64 bits differ, and the thumbnails by at most 4 of 255
    /// levels on average.
    pub(crate) fn resembles(&self, other: &Look) -> bool {
        if (self.hash ^ other.hash).count_ones() > 6 {
            return false;
        }
        let difference: u32 =
            self.thumb.iter().zip(&other.thumb).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        difference <= 4 * LOOK_SIDE * LOOK_SIDE
    }
}

fn luma(rgb: &[u8]) -> f32 {
    0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: u32, height: u32, lift: u8) -> Frame {
        let rgb = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let value = |x: u32, y: u32| ((x * 3 + y * 5) % 200) as u8 + lift;
        frame(width, height, rgb.flat_map(|(x, y)| [value(x, y); 3]).collect()).unwrap()
    }

    #[test]
    fn val_pictures_are_kept_as_the_daemon_sees_them() {
        let original = ramp(301, 187, 0);
        for resize in [Resize::Stretch, Resize::Letterbox] {
            let input = Input { resize, ..raw_input(64, 64) };
            let planes = |picture: &Frame| {
                let mut pre = Preprocessor::new(input.clone());
                let mut planes = vec![0.0; pre.len()];
                pre.fill(picture, NormRect::FULL, &mut planes);
                planes
            };
            let kept = fit(original.clone(), Part::Test, &input).unwrap();
            assert!(kept.width() <= 64 && kept.height() <= 64);
            assert_eq!(planes(&kept), planes(&original), "{resize:?}");
        }
    }

    #[test]
    fn where_the_centre_is_cut_out_val_pictures_are_scaled_only_once() {
        let light = (0..187_u32).flat_map(|y| (0..301_u32).flat_map(move |x| [(x / 3 + y / 2) as u8; 3]));
        let original = frame(301, 187, light.collect()).unwrap();
        let input = Input { resize: Resize::Crop, ..raw_input(64, 64) };
        let mut pre = Preprocessor::new(input.clone());
        let [mut direct, mut kept] = [vec![0.0; pre.len()], vec![0.0; pre.len()]];
        pre.fill(&original, NormRect::FULL, &mut direct);
        let small = fit(original.clone(), Part::Val, &input).unwrap();
        assert_eq!((small.width(), small.height()), (118, 73));
        pre.fill(&small, NormRect::FULL, &mut kept);
        let apart = direct.iter().zip(&kept).map(|(a, b)| (a - b).abs()).sum::<f32>() / kept.len() as f32;
        assert!(apart < 2.0, "the centre differs by {apart} levels on average");
    }

    #[test]
    fn training_pictures_keep_more_pixels_than_the_input_and_are_never_enlarged() {
        let input = raw_input(224, 224);
        assert_eq!(fit_for(Part::Train, (4000, 3000), &input), (336, 252));
        assert_eq!(fit_for(Part::Train, (64, 128), &input), (64, 128));
    }

    #[test]
    fn a_brighter_rescaled_copy_resembles_and_another_picture_does_not() {
        let look = |picture: &Frame| Look::of(picture).unwrap();
        let original = look(&ramp(160, 120, 0));
        assert!(original.resembles(&look(&ramp(160, 120, 3))));
        let flat = frame(160, 120, vec![90; 160 * 120 * 3]).unwrap();
        assert!(!original.resembles(&look(&flat)));
    }

    #[test]
    fn what_is_no_picture_is_an_error() {
        assert!(decode(b"no picture at all").is_err());
        assert!(decode(&[]).is_err());
    }
}
