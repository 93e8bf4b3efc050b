//! What the picture of a camera should look like, learnt block by block.

use super::blocks::Blocks;
use super::pair::Pair;
use super::view::{Likeness, View, likeness};

/// From so many pictures a block is learnt.
const LEARN: u8 = 6;

/// The mean of many pictures.
#[derive(Debug, Default)]
pub(super) struct Reference {
    columns: usize,
    cells: Vec<f32>,
    details: Vec<f32>,
    /// Of how many pictures each block was made, at most [`LEARN`].
    pictures: Vec<u8>,
}

impl Reference {
    /// Whether it is of pictures of this one's size, and some of it is learnt.
    pub(super) fn is_learnt(&self, view: &View) -> bool {
        self.fits(view) && self.pictures.contains(&LEARN)
    }

    fn fits(&self, view: &View) -> bool {
        self.columns == view.columns && self.cells.len() == view.cells.len()
    }

    /// Moves towards a picture with this weight, faster where it is being learnt; one of another size starts it anew.
    pub(super) fn take(&mut self, view: &View, blocks: &Blocks, weight: f32) {
        if !self.fits(view) {
            let (cells, details) = (view.cells.clone(), view.details.clone());
            *self = Self { columns: view.columns, cells, details, pictures: vec![0; blocks.count()] };
        }
        for block in blocks.seen() {
            let pictures = &mut self.pictures[block.index];
            let weight = if *pictures < LEARN {
                *pictures += 1;
                1.0 / f32::from(*pictures)
            } else {
                weight
            };
            for (_, _, i) in block.cells(self.columns) {
                self.cells[i] += (view.cells[i] - self.cells[i]) * weight;
            }
            let details = &mut self.details[block.index];
            *details += (view.details[block.index] - *details) * weight;
        }
    }

    /// Forgets the blocks that were masked before and are not any more: nobody knows what they should look like.
    pub(super) fn uncover(&mut self, before: &Blocks, now: &Blocks) {
        for (index, pictures) in self.pictures.iter_mut().enumerate() {
            if before.is_masked(index) && !now.is_masked(index) {
                *pictures = 0;
            }
        }
    }

    /// The same for pictures of this one's size; how fine its details were is not known of them.
    pub(super) fn resized(&mut self, view: &View, blocks: &Blocks) {
        if self.fits(view) || self.cells.is_empty() || view.cells.is_empty() {
            return;
        }
        let (columns, rows) = (view.columns, view.cells.len() / view.columns);
        let own_rows = self.cells.len() / self.columns;
        let at =
            |i: usize| (i / columns * own_rows / rows) * self.columns + i % columns * self.columns / columns;
        let cells = (0..columns * rows).map(|i| self.cells[at(i)]).collect();
        let learnt = if self.pictures.contains(&LEARN) { LEARN } else { 0 };
        let (details, pictures) = (vec![0.0; blocks.count()], vec![learnt; blocks.count()]);
        *self = Self { columns, cells, details, pictures };
    }

    /// `None` when too little of what is known of it has a pattern.
    pub(super) fn likeness(&self, view: &View, blocks: &Blocks) -> Option<Likeness> {
        likeness(&self.cells, &self.details, view, blocks, |block| self.pictures[block] == LEARN)
    }

    /// How well the places of the edges agree, from about 0 for another scene to 1 for the same: infrared light
    /// changes what is bright, it does not move the edge of a door.
    pub(super) fn edges(&self, view: &View, blocks: &Blocks) -> f32 {
        let (own, seen) = (edges(&self.cells, self.columns), edges(&view.cells, view.columns));
        let cells = blocks.seen().filter(|block| self.pictures[block.index] == LEARN);
        Pair::of(cells.flat_map(|block| block.cells(self.columns)).map(|(_, _, i)| (own[i], seen[i])))
            .correlation
    }
}

/// How steep the picture is at each cell, as a root so that a few hard edges do not outweigh all others, and spread to
/// the cells around.
fn edges(cells: &[f32], columns: usize) -> Vec<f32> {
    let columns = columns.max(1);
    let at = |i: usize| cells.get(i).copied();
    let steep: Vec<f32> = (0..cells.len())
        .map(|i| {
            let right = if i % columns + 1 < columns { at(i + 1) } else { None };
            let steps = [right, at(i + columns)].into_iter().flatten().map(|next| (next - cells[i]).abs());
            steps.sum::<f32>().sqrt()
        })
        .collect();
    let mut spread = steep;
    for shift in [1, columns] {
        let before = spread.clone();
        for (i, value) in spread.iter_mut().enumerate() {
            let back = i.checked_sub(shift).map_or(0.0, |i| before[i]);
            *value += back + before.get(i + shift).copied().unwrap_or(0.0);
        }
    }
    spread
}
