//! A frame as a small picture of its light.

use std::ops::Range;

use portero_core::domain::{Frame, yuv};

/// The small picture is at most about this many cells wide.
const WIDEST: u32 = 240;

/// Mean luma of square cells, in units of 1/16 (0..=4080). Cells are 4 pixels wide in frames of up to 960 pixels,
/// 8 up to 1,920, then 16. Pixels that fill no whole cell at the right and lower edge are left out; a frame smaller
/// than a cell is one cell.
///
/// Luma is Y' of ITU-R BT.601 in full range: `0.299 R + 0.587 G + 0.114 B`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LumaGrid {
    cell: usize,
    columns: usize,
    rows: usize,
    cells: Vec<u16>,
}

/// Bytes of eight RGB pixels.
const EIGHT: usize = 24;

/// Weights in 1/256 for the bytes of eight pixels.
const WEIGHTS: [i16; EIGHT] = {
    let mut weights = [0; EIGHT];
    let mut i = 0;
    while i < EIGHT {
        weights[i] = [77, 150, 29][i % 3];
        i += 1;
    }
    weights
};

/// The side of a cell in a frame of this width, in pixels.
fn cell_side(width: u32) -> usize {
    width.div_ceil(WIDEST).next_power_of_two().clamp(4, 16) as usize
}

impl LumaGrid {
    /// The grid of a frame. Planar frames have their luma ready; of the others it is computed.
    #[must_use]
    pub fn of(frame: &Frame) -> Self {
        let cell = cell_side(frame.width());
        let (columns, rows) = (frame.width() as usize / cell, frame.height() as usize / cell);
        if columns == 0 || rows == 0 {
            return Self::of_tiny(frame.rgb(), cell);
        }
        let mut cells = vec![0u16; columns * rows];
        let bands = cells.chunks_exact_mut(columns);
        match frame.planes() {
            Some(planes) => {
                for (band, cells) in planes.y.chunks_exact(planes.width * cell).zip(bands) {
                    let rows = two_rows(band, planes.width, cell);
                    match cell {
                        4 => lumas::<1>(rows, cells),
                        8 => lumas::<2>(rows, cells),
                        _ => lumas::<4>(rows, cells),
                    }
                }
            }
            None => {
                let stride = frame.width() as usize * 3;
                let mut pair = vec![0i16; stride];
                for (band, cells) in frame.rgb().chunks_exact(stride * cell).zip(bands) {
                    let (above, below) = two_rows(band, stride, cell);
                    for ((sum, a), b) in pair.iter_mut().zip(above).zip(below) {
                        *sum = i16::from(*a) + i16::from(*b);
                    }
                    match cell {
                        4 => fours(&pair, cells),
                        _ => eights(&pair, cell / 8, cells),
                    }
                }
            }
        }
        Self { cell, columns, rows, cells }
    }

    fn of_tiny(rgb: &[u8], cell: usize) -> Self {
        let sum: u64 =
            rgb.iter().zip(WEIGHTS[..3].iter().cycle()).map(|(&c, &w)| u64::from(c) * w as u64).sum();
        let pixels = (rgb.len() / 3).max(1) as u64;
        Self { cell, columns: 1, rows: 1, cells: vec![(sum / (pixels * 16)) as u16] }
    }

    /// The side of a cell in pixels.
    #[must_use]
    pub fn cell(&self) -> usize {
        self.cell
    }

    /// Cells in a row, at least 1.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows of cells, at least 1.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The means, row by row from the top, in 1/16 of a luma step.
    #[must_use]
    pub fn cells(&self) -> &[u16] {
        &self.cells
    }
}

/// The two rows of a band of cells that are read: noise is hardly larger than with all, the work a half or less.
fn two_rows(band: &[u8], stride: usize, cell: usize) -> (&[u8], &[u8]) {
    (&band[..stride], &band[stride * (cell / 2)..][..stride])
}

/// Cells of `WORDS` times 4 pixels from two rows of limited-range luma.
fn lumas<const WORDS: usize>((above, below): (&[u8], &[u8]), cells: &mut [u16]) {
    let words = |row| <[u8]>::as_chunks::<4>(row).0.as_chunks::<WORDS>().0.iter();
    for (cell, (above, below)) in cells.iter_mut().zip(words(above).zip(words(below))) {
        let pairs: u32 = above.iter().chain(below).map(|&four| pairs(four)).sum();
        *cell = (pairs + (pairs >> 16)) as u16;
    }
    // 16 is black, 235 white; 1/16 of a step is the unit. The sums are of at most 32 samples, 13 bits.
    let samples = 8 * WORDS as u16;
    let step = ((16 * 255) << 13) / (219 * u32::from(samples));
    for cell in cells {
        let above = cell.saturating_sub(16 * samples) * 8;
        *cell = (((u32::from(above) * step) >> 16) as u16).min(4080);
    }
}

/// The bytes of a word added up in twos, in its halves.
fn pairs(four: [u8; 4]) -> u32 {
    let word = u32::from_le_bytes(four);
    (word & 0x00ff_00ff) + ((word >> 8) & 0x00ff_00ff)
}

/// Cells of 4 pixels from two rows added up: in 1/16 of a step, 8 samples each.
fn fours(pair: &[i16], cells: &mut [u16]) {
    for (cell, four) in cells.iter_mut().zip(pair.as_chunks::<{ EIGHT / 2 }>().0) {
        let sum: i32 = four.iter().zip(&WEIGHTS).map(|(&c, &w)| i32::from(c) * i32::from(w)).sum();
        *cell = (sum / 128) as u16;
    }
}

/// Cells of `n` times 8 pixels from two rows added up.
fn eights(pair: &[i16], n: usize, cells: &mut [u16]) {
    let samples = (16 * n) as i32;
    for (cell, eights) in cells.iter_mut().zip(pair.as_chunks::<EIGHT>().0.chunks_exact(n.max(1))) {
        let sum: i32 = eights.iter().map(weighted).sum();
        *cell = (sum / (samples * 16)) as u16;
    }
}

/// The luma of eight pixels of two rows, summed, in 1/256.
fn weighted(pixels: &[i16; EIGHT]) -> i32 {
    pixels.iter().zip(&WEIGHTS).map(|(&c, &w)| i32::from(c) * i32::from(w)).sum()
}

/// Of a picture every 16th pixel of every 16th row is asked for its colour.
const SPARSE: usize = 16;

/// Below this colourfulness a picture is grey, above the other it has colours; between, nothing is said.
const GREY: f32 = 2.0;
const COLOURED: f32 = 5.0;

/// Whether a picture has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// It has.
    Some,
    /// It is grey, as under infrared light.
    None,
    /// Neither can be said.
    Unclear,
}

/// Whether an RGB picture has colours.
pub(super) fn colours(frame: &Frame) -> Colours {
    match colourfulness(frame) {
        grey if grey < GREY => Colours::None,
        coloured if coloured > COLOURED => Colours::Some,
        _ => Colours::Unclear,
    }
}

/// How colourful a picture is: the mean difference between the largest and the smallest channel, 0..=255. A
/// camera that has switched to infrared light gives about 0.
fn colourfulness(frame: &Frame) -> f32 {
    let spread = |[r, g, b]: [u8; 3]| u32::from(r.max(g).max(b) - r.min(g).min(b));
    let width = frame.width() as usize;
    let (mut sum, mut count) = (0, 0u32);
    for y in (0..frame.height() as usize).step_by(SPARSE) {
        count += width.div_ceil(SPARSE) as u32;
        match frame.planes() {
            Some(planes) => {
                let (halves, row) = (planes.chroma_size().0, &planes.y[y * width..][..width]);
                let chroma = y / 2 * halves..(y / 2 + 1) * halves;
                let (u, v) = (&planes.u[chroma.clone()], &planes.v[chroma]);
                let chroma = u.iter().step_by(SPARSE / 2).zip(v.iter().step_by(SPARSE / 2));
                let pixels = row.iter().step_by(SPARSE).zip(chroma);
                sum += pixels.map(|(&y, (&u, &v))| spread(yuv::pixel(y, u, v))).sum::<u32>();
            }
            None => {
                let row = &frame.rgb().as_chunks::<3>().0[y * width..][..width];
                sum += row.iter().step_by(SPARSE).map(|&pixel| spread(pixel)).sum::<u32>();
            }
        }
    }
    sum as f32 / count.max(1) as f32
}

/// The cells from `lo` to `hi`, in fractions of `n` cells; at least one.
pub(super) fn span(lo: f32, hi: f32, n: usize) -> Range<usize> {
    let start = ((lo * n as f32) as usize).min(n - 1);
    start..((hi * n as f32).ceil() as usize).clamp(start + 1, n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_core::domain::{CameraId, FrameRef, FrameSeq, Pixels, Stamp};

    fn frame(width: u32, height: u32, pixels: impl Into<Pixels>) -> Frame {
        let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
        Frame::new(CameraId::new("c").unwrap(), at, width, height, pixels).unwrap()
    }

    fn picture(width: u32, height: u32, side: u32) -> Vec<u8> {
        (0..width * height)
            .flat_map(|i| match (i % width / side, i / width / side) {
                (0, 0) => [255, 255, 255],
                (1, 0) => [255, 0, 0],
                (0, 1) => [0, 255, 0],
                (1, 1) => [10, 20, 30],
                _ => [99, 99, 99],
            })
            .collect()
    }

    #[test]
    fn a_cell_is_the_mean_luma_of_its_own_pixels() {
        for (width, height, side) in [(12, 11, 4), (10, 9, 4), (1900, 20, 8), (4000, 33, 16)] {
            let grid = LumaGrid::of(&frame(width, height, picture(width, height, side)));
            let size = ((width / side) as usize, (height / side) as usize);
            assert_eq!((grid.cell(), (grid.columns(), grid.rows())), (side as usize, size));
            let expected = [255.0, 0.299 * 255.0, 0.587 * 255.0, 0.299 * 10.0 + 0.587 * 20.0 + 0.114 * 30.0];
            let second = &grid.cells()[grid.columns()..];
            let found = [grid.cells()[0], grid.cells()[1], second[0], second[1]];
            for (cell, luma) in found.into_iter().zip(expected) {
                assert!((f64::from(cell) / 16.0 - luma).abs() < 0.5, "{cell} for {luma} at side {side}");
            }
        }
    }

    #[test]
    fn planar_frames_give_the_cells_of_the_same_frame_in_rgb() {
        for (width, height) in [(18u32, 13u32), (1302, 25), (4000, 40)] {
            let (w, h) = (width as usize, height as usize);
            let mut yuv: Vec<u8> = (0..w * h).map(|i| (16 + (i % w * 3 + i / w * 29) % 220) as u8).collect();
            yuv.resize(w * h + 2 * w.div_ceil(2) * h.div_ceil(2), 128);
            let planar = frame(width, height, Pixels::Yuv420p(yuv));
            let same = frame(width, height, planar.rgb().to_vec());
            let (a, b) = (LumaGrid::of(&planar), LumaGrid::of(&same));
            assert_eq!((a.columns(), a.rows(), a.cell()), (b.columns(), b.rows(), b.cell()));
            for (a, b) in a.cells().iter().zip(b.cells()) {
                assert!(a.abs_diff(*b) <= 16, "{a} and {b} in {width}x{height}");
            }
            assert_eq!(colourfulness(&planar), 0.0);
        }
        let orange = [vec![120u8; 40 * 40], vec![90; 20 * 20], vec![190; 20 * 20]].concat();
        let planar = frame(40, 40, Pixels::Yuv420p(orange));
        assert_eq!(colourfulness(&planar), colourfulness(&frame(40, 40, planar.rgb().to_vec())));
    }

    #[test]
    fn a_tiny_frame_is_one_cell() {
        let grid = LumaGrid::of(&frame(3, 3, vec![200; 3 * 3 * 3]));
        assert_eq!((grid.columns(), grid.rows(), grid.cells()), (1, 1, &[3200][..]));
    }

    #[test]
    fn grey_is_without_colour() {
        assert_eq!(colourfulness(&frame(40, 40, vec![90; 40 * 40 * 3])), 0.0);
        let orange: Vec<u8> = [200, 120, 40].repeat(40 * 40);
        assert_eq!(colourfulness(&frame(40, 40, orange)), 160.0);
    }
}
