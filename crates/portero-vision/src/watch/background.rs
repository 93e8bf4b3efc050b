//! What the scene looks like when nothing happens.
//!
//! Each cell keeps a running mean and how much it usually strays from it, both following slowly, and slower still
//! where something is different just now, so that a visitor who stands still is not taken for furniture at once
//! and a tree in the wind is not taken for a visitor. When much of the scene changes, it is first asked whether
//! only its light did ([`light`](super::light)); what fits is learnt at once, and what moves under the new light
//! still counts as moved. A camera that switches between colour and infrared light shows another picture of the
//! same scene: it is learnt anew, and until that is done nothing counts as moved.

use std::time::Duration;

use super::LumaGrid;
use super::grid::{Colours, colours};
use super::light::Scenes;
use super::shadow::Ground;
use portero_core::domain::{Frame, Stamp};

/// How long a background is learnt, and from how many frames at least, before it is compared with.
const LEARN_TIME: Duration = Duration::from_secs(1);
const LEARN_FRAMES: u32 = 3;
/// Time constants of the running mean, in seconds: where nothing is different, and where something is.
const FOLLOW_S: f32 = 8.0;
const ABSORB_S: f32 = 60.0;
/// A cell differs when it is further from its mean than so many of its usual deviations, …
const DEVIATIONS: f32 = 4.0;
/// … but a restless cell needs at most so many times the smallest change that counts.
const RESTLESS: f32 = 3.0;
/// Cells that differ by far do so by so many times what would be enough.
const FAR: f32 = 3.0;
/// A larger share of changed cells is looked at as a change of light.
const MUCH: f32 = 0.25;

/// The cells in which something is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreground {
    pub(super) columns: usize,
    pub(super) cells: Vec<bool>,
    /// Those of them that differ by far: things without the halo that blur, compression and reflexes put around
    /// them.
    pub(super) strong: Vec<bool>,
}

/// How a frame compares with the background.
#[derive(Debug)]
pub(super) enum Comparison {
    /// There is no background to compare with yet.
    Learning,
    /// The camera has switched between colour and infrared; nothing can be said, and nothing has moved.
    Switching,
    /// What is different.
    Different(Foreground),
}

/// The running mean of a scene.
#[derive(Debug)]
pub(super) struct Background {
    columns: usize,
    mean: Vec<f32>,
    deviation: Vec<f32>,
    frames: u32,
    first: Option<Stamp>,
    last: Option<Stamp>,
    colours: Colours,
    switching: bool,
    relit: u64,
}

impl Background {
    pub(super) fn new() -> Self {
        Self {
            columns: 0,
            mean: Vec::new(),
            deviation: Vec::new(),
            frames: 0,
            first: None,
            last: None,
            colours: Colours::Unclear,
            switching: false,
            relit: 0,
        }
    }

    /// How often the light changed.
    pub(super) fn relit(&self) -> u64 {
        self.relit
    }

    /// Which cells differ by at least `min_change` luma steps; then takes the grid into the background. `shadows`:
    /// whether shadows count as different.
    pub(super) fn compare(
        &mut self,
        frame: &Frame,
        grid: &LumaGrid,
        min_change: u8,
        shadows: bool,
    ) -> Comparison {
        let now = frame.at().stamp;
        if self.columns != grid.columns() || self.mean.len() != grid.cells().len() {
            self.forget(grid);
        }
        if self.switches(colours(frame)) {
            self.forget(grid);
            self.switching = true;
            self.relit += 1;
        }
        let since_last = self.last.replace(now).map_or(Duration::ZERO, |last| now.since(last));
        let first = *self.first.get_or_insert(now);
        if self.frames < LEARN_FRAMES || now.since(first) < LEARN_TIME {
            self.learn(grid);
            return if self.switching { Comparison::Switching } else { Comparison::Learning };
        }
        self.switching = false;
        let least = f32::from(min_change.max(1)) * 16.0;
        let mut cells = self.differences(grid, least);
        if share(&cells) > MUCH && self.follow_light(grid, &cells, least) {
            self.relit += 1;
            cells = self.differences(grid, least);
        }
        let mut strong = self.differences(grid, least * FAR);
        self.adapt(grid, &cells, since_last.as_secs_f32());
        if !shadows {
            Ground { mean: &self.mean, deviation: &self.deviation }.remove_shadows(grid, &mut cells);
        }
        strong.iter_mut().zip(&cells).for_each(|(strong, cell)| *strong &= cell);
        Comparison::Different(Foreground { columns: grid.columns(), cells, strong })
    }

    /// Starts again with frames of this size.
    fn forget(&mut self, grid: &LumaGrid) {
        let (relit, colours) = (self.relit, self.colours);
        let zeros = vec![0.0; grid.cells().len()];
        let deviation = zeros.clone();
        *self = Self { columns: grid.columns(), mean: zeros, deviation, relit, colours, ..Self::new() };
    }

    /// Whether the camera has gone from colours to grey or back.
    fn switches(&mut self, now: Colours) -> bool {
        if now == Colours::Unclear {
            return false;
        }
        let before = std::mem::replace(&mut self.colours, now);
        before != Colours::Unclear && before != now
    }

    /// The plain mean of the first frames.
    fn learn(&mut self, grid: &LumaGrid) {
        self.frames += 1;
        let weight = 1.0 / self.frames as f32;
        for ((mean, deviation), &cell) in self.mean.iter_mut().zip(&mut self.deviation).zip(grid.cells()) {
            let off = f32::from(cell) - *mean;
            *mean += off * weight;
            if self.frames > 1 {
                *deviation += (off.abs() - *deviation) * weight;
            }
        }
    }

    fn differences(&self, grid: &LumaGrid, least: f32) -> Vec<bool> {
        let most = least * RESTLESS;
        let mut different = vec![false; grid.cells().len()];
        let learnt = self.mean.iter().zip(&self.deviation).zip(grid.cells());
        for (different, ((mean, deviation), &cell)) in different.iter_mut().zip(learnt) {
            *different = (f32::from(cell) - mean).abs() >= (deviation * DEVIATIONS).clamp(least, most);
        }
        different
    }

    fn adapt(&mut self, grid: &LumaGrid, changed: &[bool], seconds: f32) {
        let (follow, absorb) = ((seconds / FOLLOW_S).min(1.0), (seconds / ABSORB_S).min(1.0));
        let learnt = self.mean.iter_mut().zip(&mut self.deviation);
        for (((mean, deviation), &cell), &changed) in learnt.zip(grid.cells()).zip(changed) {
            let weight = if changed { absorb } else { follow };
            let off = f32::from(cell) - *mean;
            *mean += off * weight;
            *deviation += (off.abs() - *deviation) * weight;
        }
    }

    /// When light explains the change, applies it to the background and says so.
    fn follow_light(&mut self, grid: &LumaGrid, changed: &[bool], threshold: f32) -> bool {
        let (columns, cells) = (self.columns, grid.cells());
        let relit = Scenes { columns, mean: &self.mean, cells, changed, threshold }.relit();
        relit.map(|mean| self.mean = mean).is_some()
    }
}

fn share(cells: &[bool]) -> f32 {
    count(cells) as f32 / cells.len().max(1) as f32
}

/// How many of the cells are set.
pub(super) fn count(cells: &[bool]) -> usize {
    // In bytes, of which many are added at once.
    cells.chunks(255).map(|some| usize::from(some.iter().map(|&cell| u8::from(cell)).sum::<u8>())).sum()
}
