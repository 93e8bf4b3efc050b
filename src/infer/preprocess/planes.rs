//! Resizes planes of luma and chroma.
//!
//! fast_image_resize filters bytes below each other far quicker than bytes beside each other, unless these come in pixels of four.
//! So the height is resized first, then four rows are woven into one row of such pixels, of which the width is resized. It is
//! the same filter in the same order with the same rounding as for each plane as a whole.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{PixelType, Resizer};

use super::options;
use crate::domain::{PixelRect, Planes};
use crate::infer::Cause;

/// Rows that are woven together.
const WOVEN: usize = 4;

/// Scaled samples of Y, U and V.
#[derive(Default)]
pub(super) struct Scaler {
    width: usize,
    luma: Rows,
    chroma: Rows,
}

/// Rows on their way from one size to another.
#[derive(Default)]
struct Rows {
    /// As high as wanted, as wide as they came.
    low: Vec<u8>,
    /// The same, woven.
    woven: Vec<u8>,
    /// As high and wide as wanted, woven.
    scaled: Vec<u8>,
}

/// A part of a plane in samples: whole ones along its edges, of which it may take halves.
struct Part {
    whole: PixelRect,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Scaler {
    /// Resizes the part `crop` of a picture to `width` times `height`.
    ///
    /// # Errors
    /// What the resizer refuses; it does not happen for a frame.
    pub(super) fn resize(
        &mut self,
        resizer: &mut Resizer,
        planes: &Planes<'_>,
        crop: PixelRect,
        (width, height): (u32, u32),
    ) -> Result<(), Cause> {
        self.width = width as usize;
        let luma = [(planes.y, planes.width)];
        self.luma.resize(resizer, &luma, &Part::of_luma(crop), (width, height))?;
        let half_width = planes.chroma_size().0;
        let chroma = [(planes.u, half_width), (planes.v, half_width)];
        self.chroma.resize(resizer, &chroma, &Part::of_chroma(crop), (width, height))
    }

    /// Writes row `row` of the scaled picture; the slices must be as long as it is wide.
    pub(super) fn row(&self, row: usize, height: usize, [y, u, v]: [&mut [u8]; 3]) {
        self.luma.row(row, self.width, y);
        self.chroma.row(row, self.width, u);
        self.chroma.row(height + row, self.width, v);
    }
}

impl Rows {
    /// Resizes the same part of each of the planes, given with their widths; their rows follow one another.
    fn resize(
        &mut self,
        resizer: &mut Resizer,
        planes: &[(&[u8], usize)],
        part: &Part,
        (width, height): (u32, u32),
    ) -> Result<(), Cause> {
        let (columns, rows) = (part.whole.width as usize, planes.len() * height as usize);
        let woven_rows = rows.div_ceil(WOVEN);
        self.low.resize(woven_rows * WOVEN * columns, 0);
        self.woven.resize(woven_rows * WOVEN * columns, 0);
        self.scaled.resize(woven_rows * WOVEN * width as usize, 0);
        let lows = self.low.chunks_exact_mut(columns * height as usize);
        for ((plane, plane_width), low) in planes.iter().zip(lows) {
            let plane_height = plane.len() / plane_width;
            let plane = ImageRef::new(*plane_width as u32, plane_height as u32, plane, PixelType::U8)?;
            // A cropped view, not the resizer's own crop option: that lets the filter reach beyond the zone's edge.
            let PixelRect { x, y, width, height: whole } = part.whole;
            let zone = CroppedImage::new(&plane, x, y, width, whole)?;
            let mut low = Image::from_slice_u8(width, height, low, PixelType::U8)?;
            let tall = options().crop(0.0, part.top, f64::from(width), part.height);
            resizer.resize(&zone, &mut low, &tall)?;
        }
        weave(&self.low, columns, &mut self.woven);
        let woven = ImageRef::new(columns as u32, woven_rows as u32, &self.woven, PixelType::U8x4)?;
        let mut scaled = Image::from_slice_u8(width, woven_rows as u32, &mut self.scaled, PixelType::U8x4)?;
        // Four rows, not three colours and how much they cover.
        let wide = options().use_alpha(false).crop(part.left, 0.0, part.width, woven_rows as f64);
        resizer.resize(&woven, &mut scaled, &wide)?;
        Ok(())
    }

    /// Takes a row of `width` samples out of those it is woven with.
    fn row(&self, row: usize, width: usize, out: &mut [u8]) {
        let shift = 8 * (row % WOVEN) as u32;
        let pixels = self.scaled[row / WOVEN * WOVEN * width..].as_chunks::<WOVEN>().0;
        for (out, &pixel) in out.iter_mut().zip(pixels) {
            *out = (u32::from_le_bytes(pixel) >> shift) as u8;
        }
    }
}

impl Part {
    fn of_luma(crop: PixelRect) -> Self {
        let (width, height) = (f64::from(crop.width), f64::from(crop.height));
        Self { whole: crop, left: 0.0, top: 0.0, width, height }
    }

    /// The samples of which some part lies in the crop, and the crop within these, in halves of a sample.
    fn of_chroma(crop: PixelRect) -> Self {
        let (x, y) = (crop.x / 2, crop.y / 2);
        let (right, bottom) = ((crop.x + crop.width).div_ceil(2), (crop.y + crop.height).div_ceil(2));
        let half = |n: u32| f64::from(n) / 2.0;
        let (left, top) = (half(crop.x) - f64::from(x), half(crop.y) - f64::from(y));
        let whole = PixelRect { x, y, width: right - x, height: bottom - y };
        Self { whole, left, top, width: half(crop.width), height: half(crop.height) }
    }
}

/// Weaves every four rows of `width` samples into one of pixels with a sample of each.
fn weave(rows: &[u8], width: usize, woven: &mut [u8]) {
    let fours = rows.chunks_exact(WOVEN * width).zip(woven.chunks_exact_mut(WOVEN * width));
    for (four, out) in fours {
        let (a, b) = four.split_at(2 * width);
        let ((a, b), (c, d)) = (a.split_at(width), b.split_at(width));
        let samples = a.iter().zip(b).zip(c.iter().zip(d));
        for (out, ((&a, &b), (&c, &d))) in out.as_chunks_mut::<WOVEN>().0.iter_mut().zip(samples) {
            let [a, b, c, d] = [a, b, c, d].map(u32::from);
            *out = (a | b << 8 | c << 16 | d << 24).to_le_bytes();
        }
    }
}
