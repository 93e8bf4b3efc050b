//! Whether only the light changed: a lamp, a cloud, the camera's exposure.
//!
//! Light multiplies and adds, it does not move anything. What one gain and one offset make of the old picture is
//! the old picture in another light. Where one such line for the whole picture does not do, as with a lamp that
//! reaches into a corner only, each tile is tried with a line of its own; but a tile without a pattern proves
//! nothing there, a coat before a white wall looks like light.

/// Cells within these units of 1/16 of black or white are clipped and say nothing about a change of light.
const CLIPPED: std::ops::Range<f32> = 64.0..3900.0;
/// A change of light must explain this share: of all cells, or of the tiles that changed.
const EXPLAINED: f32 = 0.7;
/// The side of a tile in cells.
const TILE: usize = 16;
/// A tile has a pattern when its cells spread by this much, in 1/16 of a luma step.
const PATTERN: f32 = 48.0;
/// Of the changed tiles at least this share must have a pattern, or nothing is known.
const TELLING: f32 = 0.34;

/// A scene as it was remembered and as it is now, in rows of `columns` cells.
pub(super) struct Scenes<'a> {
    pub(super) columns: usize,
    pub(super) mean: &'a [f32],
    pub(super) cells: &'a [u16],
    /// Which cells differ.
    pub(super) changed: &'a [bool],
    /// A smaller difference is none, in 1/16 of a luma step.
    pub(super) threshold: f32,
}

impl Scenes<'_> {
    /// The remembered scene in the new light, when light explains the change.
    pub(super) fn relit(&self) -> Option<Vec<f32>> {
        self.by_one_line().or_else(|| self.by_tiles())
    }

    fn by_one_line(&self) -> Option<Vec<f32>> {
        let all = || 0..self.mean.len();
        let line = self.fit(all)?;
        let explained = all().filter(|&i| self.is_explained(line, i)).count();
        if (explained as f32) < EXPLAINED * self.mean.len() as f32 {
            return None;
        }
        Some(self.mean.iter().map(|&mean| line.at(mean)).collect())
    }

    fn by_tiles(&self) -> Option<Vec<f32>> {
        let rows = self.mean.len() / self.columns.max(1);
        let mut relit = self.mean.to_vec();
        let (mut changed, mut telling, mut explained) = (0, 0, 0);
        for (top, left) in
            (0..rows).step_by(TILE).flat_map(|y| (0..self.columns).step_by(TILE).map(move |x| (y, x)))
        {
            let (bottom, right) = ((top + TILE).min(rows), (left + TILE).min(self.columns));
            let tile = || (top..bottom).flat_map(move |y| (left..right).map(move |x| y * self.columns + x));
            let count = (bottom - top) * (right - left);
            let differing = tile().filter(|&i| self.changed[i]).count();
            if differing * 4 < count {
                continue;
            }
            changed += 1;
            if self.spread(tile(), count) < PATTERN {
                continue;
            }
            telling += 1;
            let Some(line) = self.fit(tile) else { continue };
            if tile().filter(|&i| self.is_explained(line, i)).count() as f32 >= EXPLAINED * count as f32 {
                explained += 1;
                tile().for_each(|i| relit[i] = line.at(self.mean[i]));
            }
        }
        let is_light = telling > 0
            && telling as f32 >= TELLING * changed as f32
            && explained as f32 >= EXPLAINED * telling as f32;
        is_light.then_some(relit)
    }

    /// The standard deviation of the remembered cells.
    fn spread(&self, cells: impl Iterator<Item = usize>, count: usize) -> f32 {
        let (sum, squares) = cells.fold((0.0, 0.0), |(sum, squares), i| {
            let mean = f64::from(self.mean[i]);
            (sum + mean, squares + mean * mean)
        });
        let n = count.max(1) as f64;
        (squares / n - (sum / n).powi(2)).max(0.0).sqrt() as f32
    }

    fn is_explained(&self, line: Line, i: usize) -> bool {
        (line.at(self.mean[i]) - f32::from(self.cells[i])).abs() < self.threshold
    }

    /// The line that best explains these cells. It is fitted twice, the second time without the cells that the
    /// first left unexplained, so that a few moving ones do not bend it.
    fn fit<I: Iterator<Item = usize>>(&self, cells: impl Fn() -> I) -> Option<Line> {
        let pairs = || cells().map(|i| (self.mean[i], f32::from(self.cells[i])));
        let usable = |&(mean, cell): &(f32, f32)| CLIPPED.contains(&mean) && CLIPPED.contains(&cell);
        let rough = Line::fit(pairs().filter(usable))?;
        let near = |&(mean, cell): &(f32, f32)| (rough.at(mean) - cell).abs() < 2.0 * self.threshold;
        Line::fit(pairs().filter(usable).filter(near))
    }
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
