//! What a camera does to a picture: other framing, resolution, light, focus, noise, compression.
//!
//! Resolution and framing go through the daemon's preprocessing; the rest works on the scaled pixels, as 0 to 255,
//! before they are normalised.

use std::borrow::Cow;

use portero_core::domain::{Frame, NormRect};
use portero_infer::{Input, Preprocessor};
use serde::{Deserialize, Serialize};

use super::effects::{blur, dim, grey, hide, jitter, jpeg, low_light, mirror, monochrome, noise, tilt};
use super::picture::{Cause, frame, raw_input, scale};

/// Ready-made augmentations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Augment {
    /// Pictures as they are.
    None,
    /// Small shifts and mirroring.
    Light,
    /// Random resized crops, mirroring, colour jitter.
    Standard,
    /// The same, and what surveillance meets: few pixels, tilt, blur, low light, infrared-like grey, noise, JPEG,
    /// something in front.
    Surveillance,
    /// The same with more of what a camera sees at night: half of it without colour, more of it dark.
    Night,
}

/// How often and how much. Probabilities are 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Augmentation {
    /// The smallest share of the picture's area that a crop takes; 1 takes all of it.
    pub(crate) min_area: f32,
    /// Mirrored left to right.
    pub(crate) flip: f32,
    /// Fewer pixels, as of a poorer or more distant camera.
    pub(crate) coarse: f32,
    /// Tilted by up to 8 degrees.
    pub(crate) tilt: f32,
    /// Brightness, contrast and saturation change by a factor within 1 ± this, each colour's share by a third of it.
    pub(crate) jitter: f32,
    pub(crate) grey: f32,
    pub(crate) low_light: f32,
    /// Less light and a sensor's noise at the picture's own pixels, before it is scaled; instead of `low_light`.
    pub(crate) dim: f32,
    pub(crate) blur: f32,
    pub(crate) noise: f32,
    /// Brightness alone, noise included.
    pub(crate) monochrome: f32,
    pub(crate) jpeg: f32,
    /// A flat rectangle hides a small part.
    pub(crate) hide: f32,
}

impl From<Augment> for Augmentation {
    fn from(preset: Augment) -> Self {
        let none = Self {
            min_area: 1.0,
            flip: 0.0,
            coarse: 0.0,
            tilt: 0.0,
            jitter: 0.0,
            grey: 0.0,
            low_light: 0.0,
            dim: 0.0,
            blur: 0.0,
            noise: 0.0,
            monochrome: 0.0,
            jpeg: 0.0,
            hide: 0.0,
        };
        match preset {
            Augment::None => none,
            Augment::Light => Self { min_area: 0.8, flip: 0.5, ..none },
            Augment::Standard => Self { min_area: 0.35, flip: 0.5, jitter: 0.4, ..none },
            Augment::Surveillance => Self {
                min_area: 0.35,
                flip: 0.5,
                coarse: 0.25,
                tilt: 0.15,
                jitter: 0.4,
                grey: 0.25,
                low_light: 0.25,
                dim: 0.0,
                blur: 0.25,
                noise: 0.25,
                monochrome: 0.0,
                jpeg: 0.25,
                hide: 0.08,
            },
            Augment::Night => {
                let day: Self = Augment::Surveillance.into();
                Self { grey: 0.15, monochrome: 0.4, low_light: 0.25, dim: 0.25, ..day }
            }
        }
    }
}

impl Augmentation {
    /// What `preset` does, with crops of at least `min_area` of the picture where that is given.
    pub(crate) fn of(preset: Augment, min_area: Option<f32>) -> Self {
        let ready: Self = preset.into();
        Self { min_area: min_area.unwrap_or(ready.min_area), ..ready }
    }
}

/// Fills input tensors; keeps its buffers between pictures.
pub(super) struct Augmenter {
    input: Input,
    /// To 0..=255, still without mean and deviation.
    raw: Preprocessor,
    /// The daemon's own, with them.
    normal: Preprocessor,
    scratch: Vec<f32>,
}

impl Augmenter {
    pub(super) fn new(input: &Input) -> Self {
        let raw = Input { resize: input.resize, ..raw_input(input.width, input.height) };
        Self {
            input: input.clone(),
            raw: Preprocessor::new(raw),
            normal: Preprocessor::new(input.clone()),
            scratch: vec![],
        }
    }

    /// The daemon's preprocessing of the whole picture.
    pub(super) fn plain(&mut self, picture: &Frame, planes: &mut [f32]) {
        self.normal.fill(picture, NormRect::FULL, planes);
    }

    /// One draw of `how` over `picture`: the same seed gives the same planes.
    pub(super) fn fill(
        &mut self,
        how: &Augmentation,
        picture: &Frame,
        seed: u64,
        planes: &mut [f32],
    ) -> Result<(), Cause> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rect = crop(how.min_area, &mut rng);
        if *how == (Augmentation { min_area: how.min_area, flip: how.flip, ..Augment::None.into() }) {
            // Nothing that needs pixels: normalise on the way, as the daemon does.
            self.normal.fill(picture, rect, planes);
            if rng.f32() < how.flip {
                mirror(planes, self.input.width as usize);
            }
            return Ok(());
        }
        let mut taken = Cow::Borrowed(picture);
        if rng.f32() < how.coarse {
            taken = Cow::Owned(coarser(picture, &mut rng)?);
        }
        let dimmed = how.dim > 0.0 && rng.f32() < how.dim;
        if dimmed {
            let rgb = dim(taken.rgb(), &mut rng);
            taken = Cow::Owned(frame(taken.width(), taken.height(), rgb)?);
        }
        self.raw.fill(&taken, rect, planes);
        let (width, height) = (self.input.width as usize, self.input.height as usize);
        if rng.f32() < how.flip {
            mirror(planes, width);
        }
        if rng.f32() < how.tilt {
            let angle = (rng.f32() * 2.0 - 1.0) * 8.0_f32.to_radians();
            tilt(planes, width, angle, &mut self.scratch);
        }
        jitter(planes, how.jitter, &mut rng);
        if rng.f32() < how.grey {
            grey(planes, &mut rng);
        }
        if rng.f32() < how.low_light && !dimmed {
            low_light(planes, &mut rng);
        }
        if rng.f32() < how.blur {
            // Sigmas are for a side of 224 pixels.
            let sigma = rng.f32().mul_add(2.0, 0.5) * width as f32 / 224.0;
            blur(planes, width, sigma, &mut self.scratch);
        }
        if rng.f32() < how.noise {
            noise(planes, rng.f32().mul_add(16.0, 2.0), &mut rng);
        }
        if how.monochrome > 0.0 && rng.f32() < how.monochrome {
            monochrome(planes);
        }
        if rng.f32() < how.jpeg {
            jpeg(planes, (width, height), rng.u8(15..=60))?;
        }
        if rng.f32() < how.hide {
            hide(planes, width, &mut rng);
        }
        for (plane, values) in planes.chunks_exact_mut(width * height).enumerate() {
            let (mean, scale) = (self.input.mean[plane], 1.0 / self.input.std[plane]);
            values.iter_mut().for_each(|v| *v = (v.clamp(0.0, 255.0) - mean) * scale);
        }
        Ok(())
    }
}

/// A part of the picture with at least `min_area` of its area, its sides in a ratio of 3:4 to 4:3 to the picture's.
fn crop(min_area: f32, rng: &mut fastrand::Rng) -> NormRect {
    if min_area >= 1.0 {
        return NormRect::FULL;
    }
    let area = rng.f32().mul_add(1.0 - min_area, min_area);
    let ratio = ((rng.f32() * 2.0 - 1.0) * (4.0_f32 / 3.0).ln()).exp();
    let (width, height) = ((area * ratio).sqrt().min(1.0), (area / ratio).sqrt().min(1.0));
    let (x, y) = (rng.f32() * (1.0 - width), rng.f32() * (1.0 - height));
    NormRect::new(x, y, (x + width).min(1.0), (y + height).min(1.0)).unwrap_or(NormRect::FULL)
}

/// No picture is made smaller than this by [`coarser`].
const COARSEST_PX: f32 = 40.0;

/// The picture with 0.3 to 0.8 of its pixels along each side.
fn coarser(picture: &Frame, rng: &mut fastrand::Rng) -> Result<Frame, Cause> {
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let least = (COARSEST_PX / width.min(height)).min(1.0);
    let factor = rng.f32().mul_add(0.5, 0.3).max(least);
    scale(picture, (width * factor).round() as u32, (height * factor).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> Input {
        Input { mean: [127.5; 3], std: [127.5; 3], ..raw_input(32, 32) }
    }

    fn photo() -> Frame {
        let pixel = |x: u32, y: u32| [(x * 5) as u8, (y * 6) as u8, ((x + y) * 3) as u8];
        frame(40, 36, (0..36).flat_map(|y| (0..40).flat_map(move |x| pixel(x, y))).collect()).unwrap()
    }

    fn draw(how: &Augmentation, seed: u64) -> Vec<f32> {
        let mut augmenter = Augmenter::new(&input());
        let mut planes = vec![0.0; 3 * 32 * 32];
        augmenter.fill(how, &photo(), seed, &mut planes).unwrap();
        planes
    }

    #[test]
    fn no_augmentation_is_what_the_daemon_sees() {
        let mut expected = vec![0.0; 3 * 32 * 32];
        Preprocessor::new(input()).fill(&photo(), NormRect::FULL, &mut expected);
        assert_eq!(draw(&Augment::None.into(), 1), expected);
    }

    #[test]
    fn a_seed_decides_everything_and_values_stay_in_range() {
        let how: Augmentation = Augment::Night.into();
        for seed in 0..60 {
            let planes = draw(&how, seed);
            assert_eq!(planes, draw(&how, seed), "seed {seed}");
            assert!(planes.iter().all(|v| (-1.0..=1.0).contains(v)), "seed {seed}");
        }
        assert_ne!(draw(&how, 1), draw(&how, 2));
    }

    #[test]
    fn each_one_does_what_it_is_called() {
        let only = |change: fn(&mut Augmentation)| {
            let mut how = Augment::None.into();
            change(&mut how);
            draw(&how, 5)
        };
        let plain = draw(&Augment::None.into(), 5);
        let mean = |planes: &[f32]| planes.iter().sum::<f32>() / planes.len() as f32;
        let roughness = |planes: &[f32]| planes.windows(2).map(|w| (w[1] - w[0]).abs()).sum::<f32>();

        let mut mirrored = only(|a| a.flip = 1.0);
        mirror(&mut mirrored, 32);
        assert_eq!(mirrored, plain);
        let grey = only(|a| a.grey = 1.0);
        assert_eq!(grey[..1024], grey[1024..2048]);
        let luma = only(|a| a.monochrome = 1.0);
        assert_eq!(luma[..1024], luma[2048..]);
        assert!((mean(&luma) - mean(&plain)).abs() < 0.05);
        assert!(mean(&only(|a| a.low_light = 1.0)) < mean(&plain) - 0.1);
        // From -1 for black: at most half of the light is left, and a tenth of it.
        let left = (mean(&only(|a| a.dim = 1.0)) + 1.0) / (mean(&plain) + 1.0);
        assert!((0.1..0.55).contains(&left), "{left}");
        assert!(roughness(&only(|a| a.blur = 1.0)) < roughness(&plain));
        assert!(roughness(&only(|a| a.noise = 1.0)) > roughness(&plain));
        let jpeg = only(|a| a.jpeg = 1.0);
        assert!(jpeg != plain && (mean(&jpeg) - mean(&plain)).abs() < 0.05);
        let tilted = only(|a| a.tilt = 1.0);
        assert!(tilted != plain && (mean(&tilted) - mean(&plain)).abs() < 0.05);
        let hidden = only(|a| a.hide = 1.0);
        // What is not hidden went through the same arithmetic in another order.
        let changed = hidden.iter().zip(&plain).filter(|(a, b)| (*a - *b).abs() > 0.05).count() as f32
            / plain.len() as f32;
        assert!((0.003..0.08).contains(&changed), "{changed} of the picture is hidden");
    }

    #[test]
    fn a_coarser_picture_is_the_same_with_fewer_pixels() {
        let size = (400, 300);
        let picture = frame(size.0, size.1, vec![77; 3 * 400 * 300]).unwrap();
        for seed in 0..20 {
            let small = coarser(&picture, &mut fastrand::Rng::with_seed(seed)).unwrap();
            assert!(
                (90..=240).contains(&small.height()) && small.width() > small.height(),
                "{}",
                small.height()
            );
            assert!(small.rgb().iter().all(|v| *v == 77));
        }
        let tiny = coarser(&photo(), &mut fastrand::Rng::with_seed(1)).unwrap();
        assert_eq!((tiny.width(), tiny.height()), (40, 36), "what is small already stays as it is");
    }
}
