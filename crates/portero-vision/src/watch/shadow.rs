//! Shadows: darker, but with the pattern of the ground they fall on.
//!
//! A shadow takes a share of the light and leaves the pattern of the ground; a thing hides it (the idea of comparing
//! with the background's pattern: Jacques, Jung, Musse 2005, "Background subtraction and shadow detection in grayscale
//! video sequences"). So the neighbourhood of a darker cell is fitted as a share of the ground: the share must differ
//! from nothing by far more than noise would make it, must be about the share of light that is left, and what the fit
//! leaves over must be no more than noise. Where the ground has no pattern, nothing can be shown, and the cell stays
//! different: in doubt it is somebody.

use super::LumaGrid;
use super::background::count;

/// How much of the light a shadow leaves.
const LEFT: std::ops::Range<f32> = 0.35..0.97;
/// Cells on each side that are compared with the ground.
const REACH: usize = 3;
/// From so many cells a neighbourhood says anything.
const FEWEST: f32 = 12.0;
/// The pattern must stand out of the noise by so many of its standard deviations.
const STANDS_OUT: f32 = 4.0;
/// How far the pattern's share and the light's may differ.
const SAME_SHARE: f32 = 0.25;
/// What the fit leaves over may have so many times the variance of the noise.
const LEFT_OVER: f32 = 3.0;
/// No camera has less noise than this, in 1/16 of a luma step.
const LEAST_NOISE: f32 = 8.0;
/// The standard deviation of normal noise per mean deviation.
const SIGMA: f32 = 1.25;

/// What the ground looks like, and how much each cell usually strays from it.
pub(super) struct Ground<'a> {
    pub(super) mean: &'a [f32],
    pub(super) deviation: &'a [f32],
}

impl Ground<'_> {
    /// Takes the shadows out of the cells that differ.
    pub(super) fn remove_shadows(&self, grid: &LumaGrid, different: &mut [bool]) {
        let (columns, rows) = (grid.columns(), grid.rows());
        if columns <= 2 * REACH || rows <= 2 * REACH {
            return;
        }
        let darker = |i: usize| LEFT.contains(&(f32::from(grid.cells()[i]) / self.mean[i].max(1.0)));
        let mut inner = Vec::new();
        for (y, row) in different.chunks_exact(columns).enumerate().take(rows - REACH).skip(REACH) {
            if count(row) > 0 {
                inner.extend((REACH..columns - REACH).filter(|&x| row[x]).map(|x| y * columns + x));
            }
        }
        // Cells on the edge are half shadow, half ground, and would spoil the fit of their neighbours.
        let mut core = vec![false; different.len()];
        for &i in &inner {
            core[i] = [i - columns, i - 1, i + 1, i + columns].iter().all(|&j| different[j]);
        }
        let found: Vec<usize> = inner
            .iter()
            .copied()
            .filter(|&i| core[i] && darker(i) && self.shows_through(grid, &core, i))
            .collect();
        if found.is_empty() {
            return;
        }
        let mut shadow = vec![false; different.len()];
        found.iter().for_each(|&i| shadow[i] = true);
        // The rim of a shadow is neither ground nor shadow: it goes with what it mostly adjoins.
        let rim = |&i: &usize| {
            let around = [
                i - columns - 1,
                i - columns,
                i - columns + 1,
                i - 1,
                i + 1,
                i + columns - 1,
                i + columns,
                i + columns + 1,
            ];
            let (shaded, other) = around.iter().fold((0, 0), |(shaded, other), &j| {
                (shaded + u32::from(shadow[j]), other + u32::from(different[j] && !shadow[j]))
            });
            !shadow[i] && darker(i) && shaded >= 2 && shaded >= other
        };
        let rim: Vec<usize> = inner.iter().copied().filter(rim).collect();
        found.iter().chain(&rim).for_each(|&i| different[i] = false);
    }

    /// Whether the ground's pattern shows through in the `core` cells around `centre`.
    fn shows_through(&self, grid: &LumaGrid, core: &[bool], centre: usize) -> bool {
        let (columns, cells) = (grid.columns(), grid.cells());
        let side = 2 * REACH + 1;
        let corner = centre - REACH * columns - REACH;
        // Around the centre's values, so that the sums of squares stay small beside the spread.
        let (ground_at, now_at) = (self.mean[centre], f32::from(cells[centre]));
        let (mut n, mut g, mut c) = (0.0f32, 0.0f32, 0.0f32);
        let (mut gg, mut cc, mut gc) = (0.0f32, 0.0f32, 0.0f32);
        for start in (corner..).step_by(columns).take(side) {
            for i in (start..start + side).filter(|&i| core[i]) {
                let (ground, now) = (self.mean[i] - ground_at, f32::from(cells[i]) - now_at);
                n += 1.0;
                g += ground;
                c += now;
                gg += ground * ground;
                cc += now * now;
                gc += ground * now;
            }
        }
        if n < FEWEST {
            return false;
        }
        let noise = (self.deviation[centre] * SIGMA).max(LEAST_NOISE);
        let (ground, now, common) = (gg - g * g / n, cc - c * c / n, gc - g * c / n);
        if common <= 0.0 || common * common < (STANDS_OUT * noise).powi(2) * ground {
            return false;
        }
        let share = common / ground;
        let light = (now_at + c / n) / (ground_at + g / n).max(1.0);
        let left_over = (now - common * share).max(0.0) / n;
        (share - light).abs() <= SAME_SHARE && left_over <= LEFT_OVER * noise * noise
    }
}
