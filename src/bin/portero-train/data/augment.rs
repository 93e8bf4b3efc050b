//! What a camera does to a picture: other framing, light, focus, noise, compression.
//!
//! Framing is a crop that goes through the daemon's preprocessing; the rest works on the scaled pixels, as 0 to 255,
//! before they are normalised.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use portero::domain::{Frame, NormRect};
use portero::infer::{Input, Preprocessor};
use serde::{Deserialize, Serialize};

use super::picture::{Cause, decode, raw_input};

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
    /// The same, and what surveillance meets: blur, low light, infrared-like grey, noise, JPEG.
    Surveillance,
}

/// How often and how much. Probabilities are 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Augmentation {
    /// The smallest share of the picture's area that a crop takes; 1 takes all of it.
    pub(crate) min_area: f32,
    /// Mirrored left to right.
    pub(crate) flip: f32,
    /// Brightness, contrast and saturation change by a factor within 1 ± this.
    pub(crate) jitter: f32,
    pub(crate) grey: f32,
    pub(crate) low_light: f32,
    pub(crate) blur: f32,
    pub(crate) noise: f32,
    pub(crate) jpeg: f32,
}

impl From<Augment> for Augmentation {
    fn from(preset: Augment) -> Self {
        let none = Self {
            min_area: 1.0,
            flip: 0.0,
            jitter: 0.0,
            grey: 0.0,
            low_light: 0.0,
            blur: 0.0,
            noise: 0.0,
            jpeg: 0.0,
        };
        match preset {
            Augment::None => none,
            Augment::Light => Self { min_area: 0.8, flip: 0.5, ..none },
            Augment::Standard => Self { min_area: 0.35, flip: 0.5, jitter: 0.4, ..none },
            Augment::Surveillance => Self {
                min_area: 0.35,
                flip: 0.5,
                jitter: 0.4,
                grey: 0.25,
                low_light: 0.2,
                blur: 0.25,
                noise: 0.25,
                jpeg: 0.25,
            },
        }
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

    /// Lends the daemon's preprocessing.
    pub(super) fn normalising<T>(&mut self, work: impl FnOnce(&mut Preprocessor) -> T) -> T {
        work(&mut self.normal)
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
            self.normal.fill(picture, rect, planes)?;
            if rng.f32() < how.flip {
                mirror(planes, self.input.width as usize);
            }
            return Ok(());
        }
        self.raw.fill(picture, rect, planes)?;
        let (width, height) = (self.input.width as usize, self.input.height as usize);
        if rng.f32() < how.flip {
            mirror(planes, width);
        }
        jitter(planes, how.jitter, &mut rng);
        if rng.f32() < how.grey {
            grey(planes, &mut rng);
        }
        if rng.f32() < how.low_light {
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
        if rng.f32() < how.jpeg {
            jpeg(planes, (width, height), rng.u8(15..=60))?;
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

fn mirror(planes: &mut [f32], width: usize) {
    planes.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}

/// The three planes of an interleaved-by-plane picture.
fn split(planes: &mut [f32]) -> (&mut [f32], &mut [f32], &mut [f32]) {
    let area = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    (red, green, blue)
}

/// Calls `change` with each pixel.
fn each_pixel(planes: &mut [f32], mut change: impl FnMut([f32; 3]) -> [f32; 3]) {
    let (red, green, blue) = split(planes);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        [*r, *g, *b] = change([*r, *g, *b]);
    }
}

fn luma([r, g, b]: [f32; 3]) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

fn jitter(planes: &mut [f32], amount: f32, rng: &mut fastrand::Rng) {
    if amount <= 0.0 {
        return;
    }
    let mut factor = || (rng.f32() * 2.0 - 1.0).mul_add(amount, 1.0);
    let (brightness, contrast, saturation) = (factor(), factor(), factor());
    let mean = planes.iter().sum::<f32>() / planes.len() as f32;
    each_pixel(planes, |rgb| {
        let grey = luma(rgb);
        rgb.map(|v| ((v - grey).mul_add(saturation, grey) - mean).mul_add(contrast, mean) * brightness)
    });
}

/// An infrared-lit camera at night: one plane, mostly red light, harder contrast.
fn grey(planes: &mut [f32], rng: &mut fastrand::Rng) {
    let red = rng.f32().mul_add(0.4, 0.3);
    let contrast = rng.f32().mul_add(0.5, 0.9);
    each_pixel(planes, |[r, g, b]| {
        let value = red * r + (1.0 - red) * (0.8 * g + 0.2 * b);
        [((value - 110.0) * contrast + 110.0).clamp(0.0, 255.0); 3]
    });
}

/// Little light: a gamma above one, a gain below it, and the noise that comes with it.
fn low_light(planes: &mut [f32], rng: &mut fastrand::Rng) {
    let gamma = rng.f32().mul_add(1.2, 1.2);
    let gain = rng.f32().mul_add(0.5, 0.3);
    planes.iter_mut().for_each(|v| *v = 255.0 * gain * (v.max(0.0) / 255.0).powf(gamma));
    noise(planes, rng.f32().mul_add(6.0, 2.0), rng);
}

/// Adds noise of the deviation `sigma`: the sum of four uniform bytes, near enough to a normal distribution.
fn noise(planes: &mut [f32], sigma: f32, rng: &mut fastrand::Rng) {
    // Four bytes have a mean of 510 and a deviation of 147.8.
    let scale = sigma / 147.8;
    for pair in planes.chunks_mut(2) {
        let bits = rng.u64(..);
        for (value, word) in pair.iter_mut().zip([bits as u32, (bits >> 32) as u32]) {
            let sum: u32 = word.to_le_bytes().iter().map(|b| u32::from(*b)).sum();
            *value += (sum as f32 - 510.0) * scale;
        }
    }
}

/// A separable Gaussian blur; the edge repeats.
fn blur(planes: &mut [f32], width: usize, sigma: f32, scratch: &mut Vec<f32>) {
    let reach = (sigma * 2.5).ceil().max(1.0) as isize;
    let weight = |d: isize| (-((d * d) as f32) / (2.0 * sigma * sigma)).exp();
    let kernel: Vec<f32> = (-reach..=reach).map(weight).collect();
    let sum: f32 = kernel.iter().sum();
    let height = planes.len() / 3 / width;
    for plane in planes.chunks_exact_mut(width * height) {
        scratch.clear();
        scratch.extend_from_slice(plane);
        filter(scratch, plane, width, height, (1, width), &kernel, sum);
        scratch.copy_from_slice(plane);
        filter(scratch, plane, width, height, (width, 1), &kernel, sum);
    }
}

/// Filters along the direction in which neighbours are `step.0` apart and have `along` places.
fn filter(
    from: &[f32],
    to: &mut [f32],
    width: usize,
    height: usize,
    step: (usize, usize),
    kernel: &[f32],
    sum: f32,
) {
    let (along, lines) = if step.0 == 1 { (width, height) } else { (height, width) };
    let reach = kernel.len() / 2;
    for line in 0..lines {
        for i in 0..along {
            let value: f32 = kernel
                .iter()
                .enumerate()
                .map(|(k, weight)| {
                    weight * from[line * step.1 + (i + k).saturating_sub(reach).min(along - 1) * step.0]
                })
                .sum();
            to[line * step.1 + i * step.0] = value / sum;
        }
    }
}

/// Through a JPEG file of this quality and back.
fn jpeg(planes: &mut [f32], (width, height): (usize, usize), quality: u8) -> Result<(), Cause> {
    let mut rgb = Vec::with_capacity(planes.len());
    each_pixel(planes, |pixel| {
        rgb.extend(pixel.map(|v| v.round().clamp(0.0, 255.0) as u8));
        pixel
    });
    let mut file = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut file, quality);
    encoder.encode(&rgb, width as u32, height as u32, ExtendedColorType::Rgb8)?;
    let back = decode(&file)?;
    let mut pixels = back.rgb().chunks_exact(3);
    each_pixel(planes, |old| pixels.next().map_or(old, |p| [p[0], p[1], p[2]].map(f32::from)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::picture::frame;
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
        Preprocessor::new(input()).fill(&photo(), NormRect::FULL, &mut expected).unwrap();
        assert_eq!(draw(&Augment::None.into(), 1), expected);
    }

    #[test]
    fn a_seed_decides_everything_and_values_stay_in_range() {
        let how: Augmentation = Augment::Surveillance.into();
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
        assert!(mean(&only(|a| a.low_light = 1.0)) < mean(&plain) - 0.1);
        assert!(roughness(&only(|a| a.blur = 1.0)) < roughness(&plain));
        assert!(roughness(&only(|a| a.noise = 1.0)) > roughness(&plain));
        let jpeg = only(|a| a.jpeg = 1.0);
        assert!(jpeg != plain && (mean(&jpeg) - mean(&plain)).abs() < 0.05);
    }
}
