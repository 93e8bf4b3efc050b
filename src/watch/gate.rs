//! The motion gate: which regions are worth a look in this frame, and what moves in them.

use super::background::{Background, Comparison, Foreground, count};
use super::grid::{LumaGrid, span};
use super::raster::{Run, touched};
use super::{Crops, MotionSettings, Watched, boxes};
use crate::domain::{Frame, NormRect, Region, Stamp};

/// A crop that follows a thing shows this share of its width and height on each side of it.
const SURROUNDINGS: f32 = 0.3;

#[derive(Debug)]
pub(super) struct Gate {
    settings: MotionSettings,
    crops: Crops,
    background: Background,
    regions: Vec<State>,
    /// The columns and rows that the regions' runs were drawn for.
    size: (usize, usize),
    moving: Vec<NormRect>,
}

/// What the gate remembers of a region.
#[derive(Debug, Clone, Default)]
struct State {
    /// The cells in which motion counts.
    runs: Vec<Run>,
    /// When motion was last seen.
    moved: Option<Stamp>,
    /// When it was last worth a look.
    looked: Option<Stamp>,
    /// Where the largest moving thing was when there was one.
    thing: Option<NormRect>,
}

impl Gate {
    pub(super) fn new(settings: MotionSettings, crops: Crops, regions: usize) -> Self {
        Self {
            settings,
            crops,
            background: Background::new(),
            regions: vec![State::default(); regions],
            size: (0, 0),
            moving: Vec::new(),
        }
    }

    pub(super) fn moving(&self) -> &[NormRect] {
        &self.moving
    }

    pub(super) fn relit(&self) -> u64 {
        self.background.relit()
    }

    /// What is to be looked at in this frame.
    pub(super) fn open_regions(
        &mut self,
        frame: &Frame,
        grid: &LumaGrid,
        regions: &[Watched],
    ) -> Vec<Region> {
        let now = frame.at().stamp;
        self.draw(grid, regions);
        let settings = &self.settings;
        self.moving.clear();
        match self.background.compare(frame, grid, settings.min_change, settings.shadows) {
            Comparison::Learning => {
                self.regions.iter_mut().for_each(|state| state.looked = Some(now));
                return regions.iter().map(|watched| watched.region.clone()).collect();
            }
            Comparison::Switching => {}
            Comparison::Different(mut found) => {
                self.moving = boxes::find(&mut found, settings.min_size);
                for (state, watched) in self.regions.iter_mut().zip(regions) {
                    if share(&found, &state.runs) >= settings.min_area {
                        state.moved = Some(now);
                        state.thing = largest_in(&self.moving, watched);
                    }
                }
            }
        }
        let (hold, crops) = (self.settings.hold, self.crops);
        let open = |(state, watched): (&mut State, &Watched)| {
            let held = state.moved.is_some_and(|at| now.since(at) <= hold);
            let due = |every| state.looked.is_none_or(|at| now.since(at) >= every);
            if !held && !watched.every.is_some_and(due) {
                return None;
            }
            state.looked = Some(now);
            let region = watched.region.clone();
            let rect = match (crops, state.thing) {
                (Crops::Motion, Some(thing)) if held => {
                    thing.grown(SURROUNDINGS).intersection(&region.rect).unwrap_or(region.rect)
                }
                _ => region.rect,
            };
            Some(Region { rect, ..region })
        };
        self.regions.iter_mut().zip(regions).filter_map(open).collect()
    }

    /// Draws the regions on a grid of this size.
    fn draw(&mut self, grid: &LumaGrid, regions: &[Watched]) {
        let size = (grid.columns(), grid.rows());
        if self.size == size {
            return;
        }
        self.size = size;
        for (state, watched) in self.regions.iter_mut().zip(regions) {
            state.runs = match &watched.shape {
                Some(shape) => touched(shape, size.0, size.1),
                None => rectangle(&watched.region.rect, size.0, size.1),
            };
        }
    }
}

/// The rows of a rectangle.
fn rectangle(rect: &NormRect, columns: usize, rows: usize) -> Vec<Run> {
    let [x0, y0, x1, y1] = rect.corners();
    span(y0, y1, rows).map(|row| Run { row, columns: span(x0, x1, columns) }).collect()
}

/// The share of cells that differ among those of `runs`.
fn share(found: &Foreground, runs: &[Run]) -> f32 {
    let cells = |run: &Run| &found.cells[run.row * found.columns..][run.columns.clone()];
    let (differing, all) = runs.iter().fold((0, 0), |(differing, all), run| {
        let cells = cells(run);
        (differing + count(cells), all + cells.len())
    });
    differing as f32 / all.max(1) as f32
}

/// The largest thing that moves in a region.
fn largest_in(moving: &[NormRect], watched: &Watched) -> Option<NormRect> {
    let within = |thing: &&NormRect| thing.intersection(&watched.region.rect).is_some();
    moving.iter().find(within).copied()
}
