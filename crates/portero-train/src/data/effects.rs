//! What a camera does to pixels: each function works in place on three planes, red, green and blue, with values of 0
//! to 255 that may leave that range until the end.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::picture::{Cause, decode};

pub(super) fn mirror(planes: &mut [f32], width: usize) {
    planes.chunks_exact_mut(width).for_each(<[f32]>::reverse);
}

/// Turns the picture about its middle by `angle` radians; the edge repeats.
pub(super) fn tilt(planes: &mut [f32], width: usize, angle: f32, scratch: &mut Vec<f32>) {
    let height = planes.len() / 3 / width;
    let (sin, cos) = angle.sin_cos();
    let (mid_x, mid_y) = ((width - 1) as f32 / 2.0, (height - 1) as f32 / 2.0);
    for plane in planes.chunks_exact_mut(width * height) {
        scratch.clear();
        scratch.extend_from_slice(plane);
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            let dy = y as f32 - mid_y;
            for (x, value) in row.iter_mut().enumerate() {
                let dx = x as f32 - mid_x;
                let from_x = (cos * dx - sin * dy + mid_x).clamp(0.0, (width - 1) as f32);
                let from_y = (sin * dx + cos * dy + mid_y).clamp(0.0, (height - 1) as f32);
                *value = between(scratch, width, from_x, from_y);
            }
        }
    }
}

/// The value at a place within `plane`, between its four neighbours.
fn between(plane: &[f32], width: usize, x: f32, y: f32) -> f32 {
    let (left, top) = (x as usize, y as usize);
    let (right, below) = (x - left as f32, y - top as f32);
    let at = top * width + left;
    // At the last column or row the share of the next one is 0.
    let value = |i: usize| plane[i.min(plane.len() - 1)];
    let upper = value(at) * (1.0 - right) + value(at + 1) * right;
    let lower = value(at + width) * (1.0 - right) + value(at + width + 1) * right;
    upper * (1.0 - below) + lower * below
}

/// Something flat stands in front: a rectangle of 7 to 20 percent of the width and 7 to 35 percent of the height.
pub(super) fn hide(planes: &mut [f32], width: usize, rng: &mut fastrand::Rng) {
    let height = planes.len() / 3 / width;
    let mut side = |whole: usize, most: f32| {
        let length = (rng.f32().mul_add(most - 0.07, 0.07) * whole as f32) as usize;
        let from = (rng.f32() * (whole - length) as f32) as usize;
        from..from + length
    };
    let (columns, rows) = (side(width, 0.2), side(height, 0.35));
    let level = rng.f32() * 200.0;
    for plane in planes.chunks_exact_mut(width * height) {
        for row in rows.clone() {
            plane[row * width..][columns.clone()].fill(level);
        }
    }
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

pub(super) fn jitter(planes: &mut [f32], amount: f32, rng: &mut fastrand::Rng) {
    if amount <= 0.0 {
        return;
    }
    let mut factor = || (rng.f32() * 2.0 - 1.0).mul_add(amount, 1.0);
    let (brightness, contrast, saturation) = (factor(), factor(), factor());
    let shares = [factor(), factor(), factor()].map(|f| (f - 1.0) / 3.0 + 1.0);
    let mean = planes.iter().sum::<f32>() / planes.len() as f32;
    each_pixel(planes, |[r, g, b]| {
        let rgb = [r * shares[0], g * shares[1], b * shares[2]];
        let grey = luma(rgb);
        rgb.map(|v| ((v - grey).mul_add(saturation, grey) - mean).mul_add(contrast, mean) * brightness)
    });
}

/// A camera without colour.
pub(super) fn monochrome(planes: &mut [f32]) {
    each_pixel(planes, |rgb| [luma(rgb); 3]);
}

/// An infrared-lit camera at night: one plane, mostly red light, harder contrast.
pub(super) fn grey(planes: &mut [f32], rng: &mut fastrand::Rng) {
    let red = rng.f32().mul_add(0.4, 0.3);
    let contrast = rng.f32().mul_add(0.5, 0.9);
    each_pixel(planes, |[r, g, b]| {
        let value = red * r + (1.0 - red) * (0.8 * g + 0.2 * b);
        [((value - 110.0) * contrast + 110.0).clamp(0.0, 255.0); 3]
    });
}

/// Little light: a gamma above one, a gain below it, and the noise that comes with it.
pub(super) fn low_light(planes: &mut [f32], rng: &mut fastrand::Rng) {
    let gamma = rng.f32().mul_add(1.2, 1.2);
    let gain = rng.f32().mul_add(0.5, 0.3);
    planes.iter_mut().for_each(|v| *v = 255.0 * gain * (v.max(0.0) / 255.0).powf(gamma));
    noise(planes, rng.f32().mul_add(6.0, 2.0), rng);
}

/// The bytes of a picture taken with 0.15 to 0.5 of the light: rounded as a sensor rounds, with noise of a deviation of
/// 2 to 6 at every pixel.
pub(super) fn dim(rgb: &[u8], rng: &mut fastrand::Rng) -> Vec<u8> {
    let gain = rng.f32().mul_add(0.35, 0.15);
    let mut values: Vec<f32> = rgb.iter().map(|v| gain * f32::from(*v)).collect();
    noise(&mut values, rng.f32().mul_add(4.0, 2.0), rng);
    values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect()
}

/// Adds noise of the deviation `sigma`: the sum of four uniform bytes, near enough to a normal distribution.
pub(super) fn noise(planes: &mut [f32], sigma: f32, rng: &mut fastrand::Rng) {
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
pub(super) fn blur(planes: &mut [f32], width: usize, sigma: f32, scratch: &mut Vec<f32>) {
    let reach = (sigma * 2.5).ceil().max(1.0) as usize;
    let weight = |i: usize| (-(i as f32 - reach as f32).powi(2) / (2.0 * sigma * sigma)).exp();
    let weights: Vec<f32> = (0..=2 * reach).map(weight).collect();
    let sum: f32 = weights.iter().sum();
    let kernel: Vec<f32> = weights.iter().map(|weight| weight / sum).collect();
    let height = planes.len() / 3 / width;
    for plane in planes.chunks_exact_mut(width * height) {
        for row in plane.chunks_exact_mut(width) {
            scratch.clear();
            scratch.extend(std::iter::repeat_n(row[0], reach));
            scratch.extend_from_slice(row);
            scratch.extend(std::iter::repeat_n(row[width - 1], reach));
            for (value, window) in row.iter_mut().zip(scratch.windows(kernel.len())) {
                *value = window.iter().zip(&kernel).map(|(v, weight)| v * weight).sum();
            }
        }
        scratch.clear();
        scratch.extend_from_slice(plane);
        for (y, row) in plane.chunks_exact_mut(width).enumerate() {
            row.fill(0.0);
            for (k, weight) in kernel.iter().enumerate() {
                let from = (y + k).saturating_sub(reach).min(height - 1) * width;
                for (value, other) in row.iter_mut().zip(&scratch[from..from + width]) {
                    *value += weight * other;
                }
            }
        }
    }
}

/// Through a JPEG file of this quality and back.
pub(super) fn jpeg(planes: &mut [f32], (width, height): (usize, usize), quality: u8) -> Result<(), Cause> {
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
    use super::*;

    #[test]
    fn a_quarter_turn_puts_the_corners_where_they_belong() {
        let mut planes = vec![0.0; 3 * 16];
        planes[3] = 7.0;
        tilt(&mut planes, 4, std::f32::consts::FRAC_PI_2, &mut vec![]);
        let brightest = planes[..16].iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        assert_eq!(brightest.0, 0, "{planes:?}");
        assert!((brightest.1 - 7.0).abs() < 1e-3, "{planes:?}");
    }
}
