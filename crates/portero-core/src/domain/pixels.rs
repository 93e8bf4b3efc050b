//! The pixels of a picture, in the layout in which a camera gave them.

use super::yuv;

/// The bytes of a picture, 8 bits per sample, rows from the top without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pixels {
    /// `width * height` RGB triples.
    Rgb(Vec<u8>),
    /// I420: the plane of luma, then U and V at half the width and height, rounded up; ITU-R BT.601, limited range.
    Yuv420p(Vec<u8>),
}

impl From<Vec<u8>> for Pixels {
    fn from(rgb: Vec<u8>) -> Self {
        Pixels::Rgb(rgb)
    }
}

/// The three planes of a picture in I420.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    /// Width of the picture in pixels; that of U and V is half of it, rounded up.
    pub width: usize,
    /// Height, likewise.
    pub height: usize,
    /// Luma, 16 is black and 235 white.
    pub y: &'a [u8],
    /// Blue less luma, around 128.
    pub u: &'a [u8],
    /// Red less luma, around 128.
    pub v: &'a [u8],
}

impl Planes<'_> {
    /// Width and height of U and V in pixels.
    #[must_use]
    pub fn chroma_size(&self) -> (usize, usize) {
        (self.width.div_ceil(2), self.height.div_ceil(2))
    }
}

impl Pixels {
    /// The layout's usual name.
    #[must_use]
    pub fn layout(&self) -> &'static str {
        match self {
            Pixels::Rgb(_) => "RGB",
            Pixels::Yuv420p(_) => "I420",
        }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let (Pixels::Rgb(bytes) | Pixels::Yuv420p(bytes)) = self;
        bytes.len()
    }

    /// Whether there is not a single one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes a picture of this size takes in this layout; wide enough for any two sides.
    #[must_use]
    pub fn wanted(&self, width: u32, height: u32) -> u128 {
        let area = |width: u32, height: u32| u128::from(width) * u128::from(height);
        match self {
            Pixels::Rgb(_) => area(width, height) * 3,
            Pixels::Yuv420p(_) => area(width, height) + 2 * area(width.div_ceil(2), height.div_ceil(2)),
        }
    }

    /// The planes of a picture of this size, which it must have; `None` in another layout.
    pub(super) fn planes(&self, width: usize, height: usize) -> Option<Planes<'_>> {
        let Pixels::Yuv420p(bytes) = self else { return None };
        let (y, uv) = bytes.split_at_checked(width * height)?;
        let (u, v) = uv.split_at_checked(width.div_ceil(2) * height.div_ceil(2))?;
        Some(Planes { width, height, y, u, v })
    }

    /// Makes the pixels `columns` of a row black. Where half a chroma sample is meant, the whole of it loses its colour.
    pub(super) fn black_out(
        &mut self,
        (width, height): (usize, usize),
        row: usize,
        columns: std::ops::Range<usize>,
    ) {
        match self {
            Pixels::Rgb(bytes) => {
                bytes[(row * width + columns.start) * 3..(row * width + columns.end) * 3].fill(0);
            }
            Pixels::Yuv420p(bytes) => {
                let (y, uv) = bytes.split_at_mut(width * height);
                y[row * width..][columns.clone()].fill(yuv::BLACK);
                let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
                for plane in uv.chunks_exact_mut(half_width * half_height) {
                    plane[row / 2 * half_width..][columns.start / 2..columns.end.div_ceil(2)]
                        .fill(yuv::NEUTRAL);
                }
            }
        }
    }
}
