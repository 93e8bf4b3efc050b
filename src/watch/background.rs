//! What the scene looks like when nothing happens.
//!
//! Each cell keeps a running mean that follows slowly, and slower still where something is different just now, so
//! that a visitor who stands still is not taken for furniture at once. When most of the scene changes, it is
//! first asked whether only its light did: a lamp, a cloud or the camera's exposure changes all cells by one gain
//! and one offset, and what fits that is learnt at once; what moves under the new light still counts as moved.

use std::time::Duration;

use super::{Changed, LumaGrid};
use crate::domain::Stamp;

/// How long a background is learnt, and from how many frames at least, before it is compared with.
const LEARN_TIME: Duration = Duration::from_secs(1);
const LEARN_FRAMES: u32 = 3;
/// Time constants of the running mean, in seconds: where nothing is different, and where something is.
const FOLLOW_S: f32 = 8.0;
const ABSORB_S: f32 = 60.0;
/// A larger share of changed cells is looked at as a change of light.
const MOST: f32 = 0.4;
/// Cells within this many units of 1/16 of black or white are clipped and say nothing about a change of light.
const CLIPPED: std::ops::Range<f32> = 64.0..3900.0;
/// A change of light must explain this share of the cells.
const EXPLAINED: f32 = 0.7;

/// The running mean of a scene.
#[derive(Debug)]
pub(super) struct Background {
    columns: usize,
    mean: Vec<f32>,
    frames: u32,
    first: Option<Stamp>,
    last: Option<Stamp>,
    relit: u64,
}

impl Background {
    pub(super) fn new() -> Self {
        Self { columns: 0, mean: Vec::new(), frames: 0, first: None, last: None, relit: 0 }
    }

    /// How often the light changed.
    pub(super) fn relit(&self) -> u64 {
        self.relit
    }

    /// Which cells differ by at least `min_change` luma steps; `None` while the background is being learnt. Then
    /// takes the grid into the background.
    pub(super) fn compare(&mut self, grid: &LumaGrid, now: Stamp, min_change: u8) -> Option<Changed> {
        if self.columns != grid.columns() || self.mean.len() != grid.cells().len() {
            let relit = self.relit;
            *self =
                Self { columns: grid.columns(), mean: vec![0.0; grid.cells().len()], relit, ..Self::new() };
        }
        let since_last = self.last.replace(now).map_or(Duration::ZERO, |last| now.since(last));
        let first = *self.first.get_or_insert(now);
        if self.frames < LEARN_FRAMES || now.since(first) < LEARN_TIME {
            self.learn(grid);
            return None;
        }
        let threshold = f32::from(min_change.max(1)) * 16.0;
        let mut cells = self.differences(grid, threshold);
        if share(&cells) > MOST && self.follow_light(grid, threshold) {
            self.relit += 1;
            cells = self.differences(grid, threshold);
        }
        self.adapt(grid, &cells, since_last.as_secs_f32());
        Some(Changed { columns: grid.columns(), rows: grid.rows(), cells })
    }

    /// The plain mean of the first frames.
    fn learn(&mut self, grid: &LumaGrid) {
        self.frames += 1;
        let weight = 1.0 / self.frames as f32;
        for (mean, &cell) in self.mean.iter_mut().zip(grid.cells()) {
            *mean += (f32::from(cell) - *mean) * weight;
        }
    }

    fn differences(&self, grid: &LumaGrid, threshold: f32) -> Vec<bool> {
        let pairs = self.mean.iter().zip(grid.cells());
        pairs.map(|(mean, &cell)| (f32::from(cell) - mean).abs() >= threshold).collect()
    }

    fn adapt(&mut self, grid: &LumaGrid, changed: &[bool], seconds: f32) {
        let (follow, absorb) = ((seconds / FOLLOW_S).min(1.0), (seconds / ABSORB_S).min(1.0));
        for ((mean, &cell), &changed) in self.mean.iter_mut().zip(grid.cells()).zip(changed) {
            *mean += (f32::from(cell) - *mean) * if changed { absorb } else { follow };
        }
    }

    /// When one gain and one offset explain most cells, applies them to the background and says so.
    ///
    /// The fit is made twice, the second time without the cells that the first left unexplained, so that a few
    /// moving ones do not bend it.
    fn follow_light(&mut self, grid: &LumaGrid, threshold: f32) -> bool {
        let usable = |mean: f32, cell: f32| CLIPPED.contains(&mean) && CLIPPED.contains(&cell);
        let pairs = || self.mean.iter().zip(grid.cells()).map(|(&mean, &cell)| (mean, f32::from(cell)));
        let Some(rough) = Line::fit(pairs().filter(|&(m, c)| usable(m, c))) else { return false };
        let near = |line: Line| move |&(m, c): &(f32, f32)| (line.at(m) - c).abs() < 2.0 * threshold;
        let Some(line) = Line::fit(pairs().filter(|&(m, c)| usable(m, c)).filter(near(rough))) else {
            return false;
        };
        let explained = pairs().filter(|&(m, c)| (line.at(m) - c).abs() < threshold).count();
        if (explained as f32) < EXPLAINED * self.mean.len() as f32 {
            return false;
        }
        for mean in &mut self.mean {
            *mean = line.at(*mean);
        }
        true
    }
}

fn share(cells: &[bool]) -> f32 {
    cells.iter().filter(|&&changed| changed).count() as f32 / cells.len().max(1) as f32
}

/// `y = gain * x + offset`, kept within the range of luma.
#[derive(Debug, Clone, Copy)]
struct Line {
    gain: f32,
    offset: f32,
}

impl Line {
    /// Least squares; `None` for fewer than two points. A scene of one shade gets an offset only. A gain outside
    /// 0.2 to 5 is no light but another scene.
    fn fit(points: impl Iterator<Item = (f32, f32)>) -> Option<Self> {
        let (mut n, mut x, mut y, mut xx, mut xy) = (0.0f64, 0.0, 0.0, 0.0, 0.0);
        for (px, py) in points {
            let (px, py) = (f64::from(px), f64::from(py));
            (n, x, y, xx, xy) = (n + 1.0, x + px, y + py, xx + px * px, xy + px * py);
        }
        if n < 2.0 {
            return None;
        }
        let spread = xx - x * x / n;
        let gain = if spread > n { (xy - x * y / n) / spread } else { 1.0 };
        (0.2..=5.0).contains(&gain).then(|| Self { gain: gain as f32, offset: ((y - gain * x) / n) as f32 })
    }

    fn at(self, x: f32) -> f32 {
        (self.gain * x + self.offset).clamp(0.0, 4080.0)
    }
}
