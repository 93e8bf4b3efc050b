//! A picture in blocks, and how like another it is.
//!
//! A block's pattern is what is left of its cells when their mean and their slope are taken away: light that falls
//! off across a hand before the lens is no pattern.

use super::blocks::{Block, Blocks};
use super::pair::{Pair, quantile};
use crate::watch::LumaGrid;
use portero_core::domain::{Frame, Tamper, yuv};

/// A block has a pattern when its cells spread by this much, in 1/16 of a luma step.
const PATTERN: f32 = 40.0;
/// With a smaller share of blocks with a pattern nothing can be said.
const TELLING: f32 = 0.08;
/// A block has kept its pattern from this correlation on.
const KEPT: f32 = 0.5;
/// A block is flat when this share of its spread is left.
const FLAT: f32 = 0.25;
/// A picture without a pattern is dark below this mean, in 1/16 of a luma step; above it, light reaches the sensor
/// and something is before the lens.
const DARK: f32 = 12.0 * 16.0;
/// Of a block's rows of pixels every so many-th is asked for its details.
const ROW_STEP: usize = 4;

/// A picture: its cells, and how much detail each block has.
#[derive(Debug)]
pub(super) struct View {
    pub(super) columns: usize,
    pub(super) cells: Vec<f32>,
    pub(super) details: Vec<f32>,
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
    /// How much the brightness differs from block to block, beside how much it did.
    pub(super) relief: f32,
}

impl View {
    pub(super) fn of(frame: &Frame, grid: &LumaGrid, blocks: &Blocks) -> Self {
        let cells = grid.cells().iter().map(|&cell| f32::from(cell)).collect();
        Self { columns: grid.columns(), cells, details: details(frame, grid, blocks) }
    }

    /// What a picture without any pattern is; `None` of one with a pattern, and of one that is masked as a whole.
    pub(super) fn blank(&self, blocks: &Blocks) -> Option<Tamper> {
        let (mut patterned, mut all, mut sum) = (0.0, 0.0, 0.0);
        for block in blocks.seen() {
            let pair = Pair::of_patterns(&block, &self.cells, &self.cells, self.columns);
            all += 1.0;
            sum += pair.means.0;
            patterned += f32::from(u8::from(pair.spreads.0 >= PATTERN));
        }
        if all == 0.0 || patterned >= TELLING * all {
            return None;
        }
        Some(if sum < DARK * all { Tamper::Dark } else { Tamper::Covered })
    }
}

/// The mean difference of neighbouring pixels in each block, less what noise gives everywhere.
fn details(frame: &Frame, grid: &LumaGrid, blocks: &Blocks) -> Vec<f32> {
    let side = grid.cell() * Block::SIDE;
    let (across, down) = (grid.columns().div_ceil(Block::SIDE), grid.rows().div_ceil(Block::SIDE));
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
    let seen: Vec<f32> = blocks.seen().filter_map(|block| details.get(block.index).copied()).collect();
    let noise = quantile(&seen, 0.1).unwrap_or(0.0);
    details.iter_mut().for_each(|detail| *detail = (*detail - noise).max(0.0));
    details
}

/// How like `view` is to what its blocks should look like; `known` says of which blocks that is known. `None` when
/// too few of those have a pattern.
pub(super) fn likeness(
    cells: &[f32],
    details: &[f32],
    view: &View,
    blocks: &Blocks,
    known: impl Fn(usize) -> bool,
) -> Option<Likeness> {
    let (mut pairs, mut means, mut all) = (Vec::new(), Vec::new(), 0.0);
    for block in blocks.seen() {
        all += 1.0;
        if !known(block.index) {
            continue;
        }
        let pair = Pair::of_patterns(&block, cells, &view.cells, view.columns);
        means.push(pair.means);
        if pair.spreads.0 >= PATTERN {
            pairs.push((block.index, pair));
        }
    }
    if (pairs.len() as f32) < TELLING * all || pairs.is_empty() {
        return None;
    }
    let (kept, rest): (Vec<_>, Vec<_>) = pairs.iter().partition(|(_, pair)| pair.correlation >= KEPT);
    let contrast: Vec<f32> = kept.iter().map(|(_, pair)| pair.spreads.1 / pair.spreads.0).collect();
    let contrast = quantile(&contrast, 0.5).unwrap_or(1.0);
    let flat = |pair: &Pair| pair.spreads.1 < FLAT * contrast.min(1.0) * pair.spreads.0;
    let lost = rest.iter().filter(|(_, pair)| flat(pair)).count();
    let sharpest = |of: &[&(usize, Pair)]| {
        let ratio = |&&(block, _): &&(usize, Pair)| {
            (details[block] > 0.5).then(|| view.details[block] / details[block])
        };
        quantile(&of.iter().filter_map(ratio).collect::<Vec<_>>(), 0.5)
    };
    let everywhere: Vec<_> = pairs.iter().collect();
    let left = sharpest(&kept).or_else(|| sharpest(&everywhere)).unwrap_or(1.0);
    let n = pairs.len() as f32;
    let whole = Pair::of(means.into_iter());
    Some(Likeness {
        kept: kept.len() as f32 / n,
        lost: lost as f32 / n,
        details: left / contrast.max(0.1),
        whole: whole.correlation,
        relief: whole.spreads.1 / whole.spreads.0.max(1.0),
    })
}
