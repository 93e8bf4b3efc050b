//! How two sets of values that belong together spread, and whether they do so alike.

use super::blocks::Block;

/// What two sets of values that belong together have in common.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) means: (f32, f32),
    pub(super) spreads: (f32, f32),
    /// Pearson's, 0 when one of them does not spread.
    pub(super) correlation: f32,
}

impl Pair {
    pub(super) fn of(values: impl Iterator<Item = (f32, f32)>) -> Self {
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

    /// Of the patterns of two pictures of `columns` cells in a row within a block.
    pub(super) fn of_patterns(block: &Block, one: &[f32], other: &[f32], columns: usize) -> Self {
        let (a, b) = (Slope::of(block, one, columns), Slope::of(block, other, columns));
        let cells = block.cells(columns);
        let pair = Self::of(cells.map(|(x, y, i)| (one[i] - a.at(x, y), other[i] - b.at(x, y))));
        Self { means: (a.mean, b.mean), ..pair }
    }
}

/// The plane that fits a block best.
struct Slope {
    mean: f32,
    across: f32,
    down: f32,
    centre: (f32, f32),
}

impl Slope {
    fn of(block: &Block, cells: &[f32], columns: usize) -> Self {
        let centre = block.centre();
        let (mut n, mut sum, mut across, mut down, mut xx, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (x, y, i) in block.cells(columns) {
            let (dx, dy, value) = (x as f32 - centre.0, y as f32 - centre.1, cells[i]);
            (n, sum) = (n + 1.0, sum + value);
            (across, down) = (across + dx * value, down + dy * value);
            (xx, yy) = (xx + dx * dx, yy + dy * dy);
        }
        Self {
            mean: sum / f32::max(n, 1.0),
            across: across / f32::max(xx, 1.0),
            down: down / f32::max(yy, 1.0),
            centre,
        }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        let (dx, dy) = (x as f32 - self.centre.0, y as f32 - self.centre.1);
        self.mean + self.across * dx + self.down * dy
    }
}

/// The value below which `share` of the values lie.
pub(super) fn quantile(values: &[f32], share: f32) -> Option<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get(((sorted.len() as f32 - 1.0).max(0.0) * share) as usize).copied()
}
