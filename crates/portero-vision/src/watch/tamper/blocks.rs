//! The blocks of a picture, and which of them a mask touches.

use crate::watch::LumaGrid;
use crate::watch::raster::touched;
use portero_core::domain::Polygon;

/// A block of cells; its edges in cells, right and lower ones exclusive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// Its place among all blocks, row by row.
    pub(super) index: usize,
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Block {
    /// The side of a whole block in cells; those at the right and lower edge may be smaller.
    pub(super) const SIDE: usize = 8;

    /// Column, row and index of each of its cells in a picture of `columns` cells in a row.
    pub(super) fn cells(&self, columns: usize) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (left, right) = (self.left, self.right);
        (self.top..self.bottom).flat_map(move |y| (left..right).map(move |x| (x, y, y * columns + x)))
    }

    /// Its middle.
    pub(super) fn centre(&self) -> (f32, f32) {
        let middle = |lo: usize, hi: usize| (lo + hi - 1) as f32 / 2.0;
        (middle(self.left, self.right), middle(self.top, self.bottom))
    }
}

/// The blocks of pictures of one size.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    columns: usize,
    rows: usize,
    /// Those that a mask touches: its edge would be a pattern that nothing can cover.
    masked: Vec<bool>,
}

impl Blocks {
    pub(super) fn of(grid: &LumaGrid, masks: &[Polygon]) -> Self {
        Self::sized(grid.columns(), grid.rows(), masks)
    }

    fn sized(columns: usize, rows: usize, masks: &[Polygon]) -> Self {
        let across = columns.div_ceil(Block::SIDE);
        let mut masked = vec![false; across * rows.div_ceil(Block::SIDE)];
        for run in masks.iter().flat_map(|mask| touched(mask, columns, rows)) {
            let first = run.row / Block::SIDE * across;
            let (left, right) = (run.columns.start / Block::SIDE, run.columns.end.div_ceil(Block::SIDE));
            masked[first + left..first + right].fill(true);
        }
        Self { columns, rows, masked }
    }

    /// The same blocks under other masks.
    pub(super) fn masked_by(&self, masks: &[Polygon]) -> Self {
        Self::sized(self.columns, self.rows, masks)
    }

    pub(super) fn fit(&self, grid: &LumaGrid) -> bool {
        (self.columns, self.rows) == (grid.columns(), grid.rows())
    }

    pub(super) fn is_masked(&self, index: usize) -> bool {
        self.masked[index]
    }

    pub(super) fn count(&self) -> usize {
        self.masked.len()
    }

    /// Those that no mask touches.
    pub(super) fn seen(&self) -> impl Iterator<Item = Block> {
        let across = self.columns.div_ceil(Block::SIDE).max(1);
        let block = move |index: usize| {
            let (top, left) = (index / across * Block::SIDE, index % across * Block::SIDE);
            let (right, bottom) =
                ((left + Block::SIDE).min(self.columns), (top + Block::SIDE).min(self.rows));
            Block { index, left, top, right, bottom }
        };
        (0..self.count()).filter(|&index| !self.masked[index]).map(block)
    }
}
