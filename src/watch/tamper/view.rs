//! A picture in blocks, and how like another it is.

use crate::domain::{Frame, yuv};
use crate::watch::LumaGrid;

/// The side of a block in cells.
const BLOCK: usize = 8;
/// A block has a pattern when its cells spread by this much, in 1/16 of a luma step.
const PATTERN: f32 = 48.0;
/// With a smaller share of blocks with a pattern nothing can be said.
const TELLING: f32 = 0.08;
/// A block has kept its pattern from this correlation on.
const KEPT: f32 = 0.5;
/// A block is flat when this share of its spread is left.
const FLAT: f32 = 0.25;
/// Of a block's rows of pixels every so many-th is asked for its details.
const ROW_STEP: usize = 4;

/// A picture: its cells, and how much detail each block has.
#[derive(Debug)]
pub(super) struct View {
    columns: usize,
    cells: Vec<f32>,
    details: Vec<f32>,
}

/// What the picture should look like: the mean of many.
#[derive(Debug, Default)]
pub(super) struct Reference {
    columns: usize,
    pictures: u32,
    cells: Vec<f32>,
    details: Vec<f32>,
}

/// How like a picture is to its reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Likeness {
    /// The share of blocks that have kept their pattern, of those that had one.
    pub(super) kept: f32,
    /// The share of blocks that have become flat.
    pub(super) lost: f32,
    /// How much of the fine detail is left, where a pattern is.
    pub(super) details: f32,
    /// The correlation of the picture as a whole, seen from afar.
    pub(super) whole: f32,
}

impl View {
    pub(super) fn of(frame: &Frame, grid: &LumaGrid) -> Self {
        let cells = grid.cells().iter().map(|&cell| f32::from(cell)).collect();
        Self { columns: grid.columns(), cells, details: details(frame, grid) }
    }
}

/// The mean difference of neighbouring pixels in each block, less what noise gives everywhere.
fn details(frame: &Frame, grid: &LumaGrid) -> Vec<f32> {
    let side = grid.cell() * BLOCK;
    let (across, down) = (grid.columns().div_ceil(BLOCK), grid.rows().div_ceil(BLOCK));
    let mut sums = vec![(0u32, 0u32); across * down];
    // Green serves as luma where luma is not at hand; the step of limited-range luma is a little larger.
    let (samples, pixel, gain) = match frame.planes() {
        Some(planes) => (planes.y, 1, yuv::LUMA_GAIN),
        None => (frame.rgb(), 3, 1.0),
    };
    let rows = samples.chunks_exact(frame.width() as usize * pixel);
    for (y, row) in rows.enumerate().skip(1).step_by(ROW_STEP) {
        let Some(blocks) = sums.get_mut(y / side * across..).and_then(|rest| rest.get_mut(..across)) else {
            break;
        };
        let lumas = || row.iter().skip(pixel / 2).step_by(pixel);
        for (x, (left, right)) in lumas().zip(lumas().skip(1)).enumerate() {
            let Some((sum, count)) = blocks.get_mut(x / side) else { break };
            *sum += u32::from(left.abs_diff(*right));
            *count += 1;
        }
    }
    let mut details: Vec<f32> =
        sums.iter().map(|(sum, count)| *sum as f32 * gain / (*count).max(1) as f32).collect();
    let noise = quantile(&details, 0.1).unwrap_or(0.0);
    details.iter_mut().for_each(|detail| *detail = (*detail - noise).max(0.0));
    details
}

impl Reference {
    /// Whether it is made of enough pictures of this one's size.
    pub(super) fn is_learnt(&self, view: &View, enough: u32) -> bool {
        self.fits(view) && self.pictures >= enough
    }

    /// Of how many pictures it was made.
    pub(super) fn pictures(&self) -> u32 {
        self.pictures
    }

    fn fits(&self, view: &View) -> bool {
        self.columns == view.columns && self.cells.len() == view.cells.len()
    }

    /// Moves towards a picture; one of another size starts it anew.
    pub(super) fn take(&mut self, view: &View, weight: f32) {
        if !self.fits(view) {
            let (cells, details) = (view.cells.clone(), view.details.clone());
            *self = Self { columns: view.columns, pictures: 1, cells, details };
            return;
        }
        self.pictures = self.pictures.saturating_add(1);
        let follow = |mean: &mut Vec<f32>, new: &[f32]| {
            mean.iter_mut().zip(new).for_each(|(mean, new)| *mean += (new - *mean) * weight);
        };
        follow(&mut self.cells, &view.cells);
        follow(&mut self.details, &view.details);
    }

    /// `None` when too little of the reference has a pattern: in the dark, or before a wall.
    pub(super) fn likeness(&self, view: &View) -> Option<Likeness> {
        let across = self.columns.div_ceil(BLOCK);
        let rows = self.cells.len() / self.columns.max(1);
        let (mut pairs, mut means) = (Vec::new(), Vec::new());
        let blocks = rows.div_ceil(BLOCK) * across;
        for block in 0..blocks {
            let (top, left) = (block / across * BLOCK, block % across * BLOCK);
            let (bottom, right) = ((top + BLOCK).min(rows), (left + BLOCK).min(self.columns));
            let cells = (top..bottom).flat_map(|y| (left..right).map(move |x| y * self.columns + x));
            let pair = Pair::of(cells.map(|i| (self.cells[i], view.cells[i])));
            means.push(pair.means);
            if pair.spreads.0 >= PATTERN {
                pairs.push((block, pair));
            }
        }
        if (pairs.len() as f32) < TELLING * blocks as f32 {
            return None;
        }
        let (kept, rest): (Vec<_>, Vec<_>) = pairs.iter().partition(|(_, pair)| pair.correlation >= KEPT);
        let contrast: Vec<f32> = kept.iter().map(|(_, pair)| pair.spreads.1 / pair.spreads.0).collect();
        let contrast = quantile(&contrast, 0.5).unwrap_or(1.0);
        let flat = |pair: &Pair| pair.spreads.1 < FLAT * contrast.min(1.0) * pair.spreads.0;
        let lost = rest.iter().filter(|(_, pair)| flat(pair)).count();
        let sharpest = |of: &[&(usize, Pair)]| {
            let ratio = |&&(block, _): &&(usize, Pair)| {
                (self.details[block] > 0.5).then(|| view.details[block] / self.details[block])
            };
            quantile(&of.iter().filter_map(ratio).collect::<Vec<_>>(), 0.5)
        };
        let all: Vec<_> = pairs.iter().collect();
        let left = sharpest(&kept).or_else(|| sharpest(&all)).unwrap_or(1.0);
        let n = pairs.len() as f32;
        Some(Likeness {
            kept: kept.len() as f32 / n,
            lost: lost as f32 / n,
            details: left / contrast.max(0.1),
            whole: Pair::of(means.into_iter()).correlation,
        })
    }
}

/// Two sets of values that belong together.
#[derive(Debug)]
struct Pair {
    means: (f32, f32),
    spreads: (f32, f32),
    /// Pearson's, 0 when one of them does not spread.
    correlation: f32,
}

impl Pair {
    fn of(values: impl Iterator<Item = (f32, f32)>) -> Self {
        let (mut n, mut x, mut y, mut xx, mut yy, mut xy) = (0.0f64, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (a, b) in values {
            let (a, b) = (f64::from(a), f64::from(b));
            (n, x, y) = (n + 1.0, x + a, y + b);
            (xx, yy, xy) = (xx + a * a, yy + b * b, xy + a * b);
        }
        let n = f64::max(n, 1.0);
        let (x, y) = (x / n, y / n);
        let (dx, dy) = ((xx / n - x * x).max(0.0).sqrt(), (yy / n - y * y).max(0.0).sqrt());
        let correlation = if dx * dy > 1.0 { (xy / n - x * y) / (dx * dy) } else { 0.0 };
        Self { means: (x as f32, y as f32), spreads: (dx as f32, dy as f32), correlation: correlation as f32 }
    }
}

/// The value below which `share` of the values lie.
fn quantile(values: &[f32], share: f32) -> Option<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get(((sorted.len() as f32 - 1.0).max(0.0) * share) as usize).copied()
}
