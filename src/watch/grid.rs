//! A frame as a coarse picture of its light.

/// The side of a cell in pixels.
pub const CELL: usize = 8;

/// Of a cell's rows every other one is read: half the work, and its mean is hardly noisier.
const ROW_STEP: usize = 2;

/// Mean luma of cells of 8x8 pixels, in units of 1/16 (0..=4080). Pixels that fill no whole cell at the right and
/// lower edge are left out; a frame smaller than a cell is one cell.
///
/// Luma is Y' of ITU-R BT.601 in full range: `0.299 R + 0.587 G + 0.114 B`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LumaGrid {
    columns: usize,
    rows: usize,
    cells: Vec<u16>,
}

/// Weights in 1/256 for the bytes of eight RGB pixels.
const WEIGHTS: [i16; 3 * CELL] = {
    let mut weights = [77; 3 * CELL];
    let mut i = 0;
    while i < CELL {
        weights[3 * i + 1] = 150;
        weights[3 * i + 2] = 29;
        i += 1;
    }
    weights
};

impl LumaGrid {
    /// The grid of an RGB picture; `rgb` must hold `width * height * 3` bytes, both sides at least 1.
    #[must_use]
    pub fn of(rgb: &[u8], width: u32, height: u32) -> Self {
        let (width, height) = (width as usize, height as usize);
        let (columns, rows) = (width / CELL, height / CELL);
        if columns == 0 || rows == 0 {
            return Self::of_tiny(rgb);
        }
        let mut cells = Vec::with_capacity(columns * rows);
        let mut sums = vec![0i32; columns];
        for band in rgb.chunks_exact(width * 3 * CELL).take(rows) {
            sums.fill(0);
            for row in band.chunks_exact(width * 3).step_by(ROW_STEP) {
                for (sum, pixels) in sums.iter_mut().zip(row.as_chunks::<{ 3 * CELL }>().0) {
                    *sum += weighted(pixels);
                }
            }
            let samples = (CELL * CELL / ROW_STEP) as i32;
            cells.extend(sums.iter().map(|sum| (sum / (samples * 16)) as u16));
        }
        Self { columns, rows, cells }
    }

    fn of_tiny(rgb: &[u8]) -> Self {
        let sum: u64 =
            rgb.iter().zip(WEIGHTS[..3].iter().cycle()).map(|(&c, &w)| u64::from(c) * w as u64).sum();
        let pixels = (rgb.len() / 3).max(1) as u64;
        Self { columns: 1, rows: 1, cells: vec![(sum / (pixels * 16)) as u16] }
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

/// The luma of eight pixels, summed, in 1/256.
fn weighted(pixels: &[u8; 3 * CELL]) -> i32 {
    pixels.iter().zip(&WEIGHTS).map(|(&c, &w)| i32::from(c) * i32::from(w)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_the_mean_luma_of_its_own_pixels() {
        let (width, height) = (20, 17);
        let rgb: Vec<u8> = (0..width * height)
            .flat_map(|i| match (i % width / 8, i / width / 8) {
                (0, 0) => [255, 255, 255],
                (1, 0) => [255, 0, 0],
                (0, 1) => [0, 255, 0],
                (1, 1) => [10, 20, 30],
                _ => [99, 99, 99],
            })
            .collect();
        let grid = LumaGrid::of(&rgb, width, height);
        assert_eq!((grid.columns(), grid.rows()), (2, 2));
        let expected = [255.0, 0.299 * 255.0, 0.587 * 255.0, 0.299 * 10.0 + 0.587 * 20.0 + 0.114 * 30.0];
        for (&cell, luma) in grid.cells().iter().zip(expected) {
            assert!((f64::from(cell) / 16.0 - luma).abs() < 0.5, "{cell} for {luma}");
        }
    }

    #[test]
    fn a_tiny_frame_is_one_cell() {
        let grid = LumaGrid::of(&[200; 3 * 5 * 3], 5, 3);
        assert_eq!((grid.columns(), grid.rows(), grid.cells()), (1, 1, &[3200][..]));
    }
}
