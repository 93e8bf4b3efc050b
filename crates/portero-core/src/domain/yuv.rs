//! YCbCr to RGB.
//!
//! ITU-R BT.601-7, limited range (luma 16..=235, chroma 16..=240 around 128):
//! `R = 1.164 (Y-16) + 1.596 (V-128)`, `G = 1.164 (Y-16) - 0.392 (U-128) - 0.813 (V-128)`,
//! `B = 1.164 (Y-16) + 2.017 (U-128)`. The factors are 255/219, and 255/224 times 2(1-Kr), 2(1-Kb) and their
//! shares in green, with Kr = 0.299 and Kb = 0.114. Computed in 16-bit integers with 5 fractional bits, in loops
//! that the compiler turns into vector code; off by at most 1 from the rounded real result. Chroma is repeated,
//! not interpolated.

use super::Planes;

/// The luma of black.
pub(super) const BLACK: u8 = 16;

/// The chroma of what has no colour.
pub(super) const NEUTRAL: u8 = 128;

/// How many steps of full-range luma one step of limited-range luma is.
pub const LUMA_GAIN: f32 = 255.0 / 219.0;

/// Pixels worked on at once, so that what lies between two steps stays in the first-level cache.
const BLOCK: usize = 256;

const Y_SHIFT: u32 = 7;
const RV_SHIFT: u32 = 7;
const GREEN_SHIFT: u32 = 8;
const BU_SHIFT: u32 = 8;
const Y_GAIN: i16 = factor(255.0 / 219.0, Y_SHIFT);
const RV: i16 = factor(255.0 / 224.0 * 1.402, RV_SHIFT);
const GU: i16 = factor(-255.0 / 224.0 * 1.772 * 0.114 / 0.587, GREEN_SHIFT);
const GV: i16 = factor(-255.0 / 224.0 * 1.402 * 0.299 / 0.587, GREEN_SHIFT);
const BU: i16 = factor(255.0 / 224.0 * 1.772, BU_SHIFT);

/// The factor by which [`scaled`] multiplies so that 5 fractional bits remain: `value * 2^(16 + 5 - shift)`.
const fn factor(value: f64, shift: u32) -> i16 {
    (value * (1 << (21 - shift)) as f64) as i16
}

/// `(sample - zero) * factor` with 5 fractional bits: one multiplication of the upper halves.
fn scaled(sample: u8, zero: i16, shift: u32, factor: i16) -> i16 {
    let centred = (i16::from(sample) - zero) << shift;
    ((i32::from(centred) * i32::from(factor)) >> 16) as i16
}

/// What a sample of chroma adds to red, green and blue.
fn tint(u: u8, v: u8) -> [i16; 3] {
    let green = scaled(u, 128, GREEN_SHIFT, GU) + scaled(v, 128, GREEN_SHIFT, GV);
    [scaled(v, 128, RV_SHIFT, RV), green, scaled(u, 128, BU_SHIFT, BU)]
}

/// A sample of luma, with the half that rounds.
fn light(y: u8) -> i16 {
    scaled(y, 16, Y_SHIFT, Y_GAIN) + 16
}

/// One channel of a pixel, 0 to 255.
fn channel(light: i16, tint: i16) -> u16 {
    ((light + tint) >> 5).clamp(0, 255) as u16
}

/// What chroma adds to red, green and blue, for each pixel of a block.
struct Chroma {
    red: [i16; BLOCK],
    green: [i16; BLOCK],
    blue: [i16; BLOCK],
}

impl Chroma {
    const ZERO: Chroma = Chroma { red: [0; BLOCK], green: [0; BLOCK], blue: [0; BLOCK] };

    /// Takes up to `BLOCK / 2` chroma samples; each serves two pixels.
    fn load(&mut self, u: &[u8], v: &[u8]) {
        let pairs = self.red.as_chunks_mut::<2>().0.iter_mut();
        let pairs = pairs.zip(self.green.as_chunks_mut::<2>().0).zip(self.blue.as_chunks_mut::<2>().0);
        for (((red, green), blue), (&u, &v)) in pairs.zip(u.iter().zip(v)) {
            [*red, *green, *blue] = tint(u, v).map(|tint| [tint; 2]);
        }
    }

    /// Joins up to `BLOCK` luma samples with this chroma into RGB triples.
    fn join(&self, y: &[u8], rgb: &mut [u8]) {
        let (mut red_green, mut blue) = ([0u16; BLOCK], [0u16; BLOCK]);
        let outputs = red_green.iter_mut().zip(&mut blue);
        let chroma = self.red.iter().zip(&self.green).zip(&self.blue);
        for (((rg, b), &y), ((&cr, &cg), &cb)) in outputs.zip(y).zip(chroma) {
            let light = light(y);
            *rg = channel(light, cr) | channel(light, cg) << 8;
            *b = channel(light, cb);
        }
        pack(&red_green[..y.len()], &blue[..y.len()], rgb);
    }
}

/// One pixel in RGB.
#[must_use]
pub fn pixel(y: u8, u: u8, v: u8) -> [u8; 3] {
    tint(u, v).map(|tint| channel(light(y), tint) as u8)
}

/// Interleaves `0xGGRR` and `0x00BB` into RGB triples, four pixels in twelve bytes.
fn pack(red_green: &[u16], blue: &[u16], rgb: &mut [u8]) {
    let ((rg_fours, rg_rest), (b_fours, b_rest)) = (red_green.as_chunks::<4>(), blue.as_chunks::<4>());
    let (twelves, _) = rgb.as_chunks_mut::<12>();
    for ((rg, b), out) in rg_fours.iter().zip(b_fours).zip(twelves) {
        let (rg, b) = (rg.map(u64::from), b.map(u64::from));
        let low = rg[0] | b[0] << 16 | rg[1] << 24 | b[1] << 40 | rg[2] << 48;
        let high = b[2] | rg[3] << 8 | b[3] << 24;
        out[..8].copy_from_slice(&low.to_le_bytes());
        out[8..].copy_from_slice(&high.to_le_bytes()[..4]);
    }
    let tail = rgb.get_mut(rg_fours.len() * 12..).unwrap_or_default();
    for ((rg, &b), out) in rg_rest.iter().zip(b_rest).zip(tail.as_chunks_mut::<3>().0) {
        let [r, g] = rg.to_le_bytes();
        *out = [r, g, b as u8];
    }
}

/// A planar picture in RGB.
#[must_use]
pub(super) fn planes_to_rgb(planes: &Planes<'_>) -> Vec<u8> {
    let (width, half_width) = (planes.width, planes.chroma_size().0);
    let mut rgb = vec![0; width * planes.height * 3];
    let mut chroma = Chroma::ZERO;
    let halves = planes.u.chunks_exact(half_width).zip(planes.v.chunks_exact(half_width));
    for ((rgb, y), (u, v)) in rgb.chunks_mut(width * 6).zip(planes.y.chunks(width * 2)).zip(halves) {
        for (block, (u, v)) in u.chunks(BLOCK / 2).zip(v.chunks(BLOCK / 2)).enumerate() {
            chroma.load(u, v);
            for (rgb, y) in rgb.chunks_exact_mut(width * 3).zip(y.chunks_exact(width)) {
                let span = block * BLOCK..width.min((block + 1) * BLOCK);
                chroma.join(&y[span.clone()], &mut rgb[span.start * 3..span.end * 3]);
            }
        }
    }
    rgb
}

/// Red, green and blue of samples of Y, U and V, one of each per pixel; as many as all six have.
pub fn yuv444_to_channels(y: &[u8], u: &[u8], v: &[u8], [red, green, blue]: [&mut [u8]; 3]) {
    let channels = red.iter_mut().zip(green).zip(blue);
    for (((red, green), blue), (&y, (&u, &v))) in channels.zip(y.iter().zip(u.iter().zip(v))) {
        let (light, [r, g, b]) = (light(y), tint(u, v));
        (*red, *green, *blue) = (channel(light, r) as u8, channel(light, g) as u8, channel(light, b) as u8);
    }
}

/// Takes a packed frame (Y0 U Y1 V, rows of an even number of pixels) apart into I420; an odd width drops the last
/// luma of each row. Two rows share the mean of their chroma. `None` unless `yuyv` holds exactly such a frame and both
/// sides are at least 1.
#[must_use]
pub fn yuyv_to_planes(yuyv: &[u8], width: usize, height: usize) -> Option<Vec<u8>> {
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let stride = half_width.checked_mul(4)?;
    if width == 0 || height == 0 || yuyv.len() != stride.checked_mul(height)? {
        return None;
    }
    let (luma, chroma) = (width * height, half_width * half_height);
    let mut planes = vec![0; luma + 2 * chroma];
    let (y, uv) = planes.split_at_mut(luma);
    for (y, row) in y.chunks_exact_mut(width).zip(yuyv.chunks_exact(stride)) {
        for (y, &[sample, _]) in y.iter_mut().zip(row.as_chunks::<2>().0) {
            *y = sample;
        }
    }
    let (u, v) = uv.split_at_mut(chroma);
    let halves = u.chunks_exact_mut(half_width).zip(v.chunks_exact_mut(half_width));
    for ((u, v), rows) in halves.zip(yuyv.chunks(2 * stride)) {
        let (above, below) = rows.split_at(stride);
        let below = if below.is_empty() { above } else { below };
        let pairs = above.as_chunks::<4>().0.iter().zip(below.as_chunks::<4>().0);
        for ((u, v), (&above, &below)) in u.iter_mut().zip(v).zip(pairs) {
            let (above, below) = (u32::from_le_bytes(above) >> 8, u32::from_le_bytes(below) >> 8);
            let sums = (above & 0x00ff_00ff) + (below & 0x00ff_00ff) + 0x0001_0001;
            (*u, *v) = ((sums >> 1) as u8, (sums >> 17) as u8);
        }
    }
    Some(planes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Pixels;

    fn yuv420p_to_rgb(yuv: &[u8], width: usize, height: usize) -> Vec<u8> {
        planes_to_rgb(&Pixels::Yuv420p(yuv.to_vec()).planes(width, height).unwrap())
    }

    /// The formula of the module's page, in real numbers.
    fn reference(y: u8, u: u8, v: u8) -> [u8; 3] {
        let (y, u, v) = (1.16438 * (f64::from(y) - 16.0), f64::from(u) - 128.0, f64::from(v) - 128.0);
        [y + 1.59603 * v, y - 0.39176 * u - 0.81297 * v, y + 2.01723 * u]
            .map(|c| c.round().clamp(0.0, 255.0) as u8)
    }

    fn close(rgb: &[u8], expected: [u8; 3]) -> bool {
        rgb.iter().zip(expected).all(|(&a, b)| a.abs_diff(b) <= 1)
    }

    #[test]
    fn every_colour_is_within_one_of_the_formula() {
        let steps = || (0..=255u8).step_by(5);
        for (u, v) in steps().flat_map(|u| steps().map(move |v| (u, v))) {
            let mut yuv: Vec<u8> = (0..=255).collect();
            yuv.extend([u; 128].iter().chain(&[v; 128]));
            let rgb = yuv420p_to_rgb(&yuv, 256, 1);
            for (y, rgb) in (0..=255).zip(rgb.chunks(3)) {
                assert!(close(rgb, reference(y, u, v)), "{y} {u} {v}: {rgb:?}, not {:?}", reference(y, u, v));
            }
            let mut channels = [[0; 256]; 3];
            let y: Vec<u8> = (0..=255).collect();
            yuv444_to_channels(&y, &[u; 256], &[v; 256], channels.each_mut().map(|c| &mut c[..]));
            let [red, green, blue] = &channels;
            let each = red.iter().zip(green).zip(blue).flat_map(|((r, g), b)| [*r, *g, *b]);
            assert!(each.eq(rgb.iter().copied()));
        }
    }

    #[test]
    fn every_pixel_gets_its_own_luma_and_chroma_at_any_size() {
        for (width, height) in [(1usize, 1usize), (2, 2), (3, 5), (255, 3), (257, 2), (514, 3), (767, 1)] {
            let (half_w, half_h) = (width.div_ceil(2), height.div_ceil(2));
            let y = |x: usize, row: usize| 16 + ((x * 7 + row * 31) % 220) as u8;
            let u = |x: usize, row: usize| 40 + ((x * 3 + row * 17) % 160) as u8;
            let v = |x: usize, row: usize| 200 - ((x * 5 + row * 11) % 160) as u8;
            let plane = |w: usize, h: usize, f: &dyn Fn(usize, usize) -> u8| -> Vec<u8> {
                (0..w * h).map(|i| f(i % w, i / w)).collect()
            };
            let yuv =
                [plane(width, height, &y), plane(half_w, half_h, &u), plane(half_w, half_h, &v)].concat();
            let rgb = yuv420p_to_rgb(&yuv, width, height);
            let packed: Vec<u8> = (0..half_w * height)
                .flat_map(|i| {
                    let (x, row) = (i % half_w, i / half_w);
                    [y(2 * x, row), u(x, row), y(2 * x + 1, row), v(x, row)]
                })
                .collect();
            let from_packed = yuyv_to_planes(&packed, width, height).unwrap();
            for (i, planar) in rgb.chunks(3).enumerate() {
                let (x, row) = (i % width, i / width);
                let expected = reference(y(x, row), u(x / 2, row / 2), v(x / 2, row / 2));
                assert!(close(planar, expected), "{width}x{height}: {x},{row}");
            }
            let of_two = |f: &dyn Fn(usize, usize) -> u8, x, row: usize| {
                u16::midpoint(f(x, 2 * row).into(), u16::from(f(x, (2 * row + 1).min(height - 1))) + 1) as u8
            };
            let unpacked = [
                plane(width, height, &y),
                plane(half_w, half_h, &|x, row| of_two(&u, x, row)),
                plane(half_w, half_h, &|x, row| of_two(&v, x, row)),
            ];
            assert_eq!(from_packed, unpacked.concat(), "{width}x{height}");
        }
    }

    #[test]
    fn frames_of_the_wrong_length_are_refused() {
        assert!(yuyv_to_planes(&[0; 7], 2, 2).is_none());
        assert!(yuyv_to_planes(&[], 0, 0).is_none());
    }
}
