//! The motion gate: which regions are worth a look in this frame, and what moves in them.

use super::background::{Background, Comparison};
use super::grid::{LumaGrid, span};
use super::raster::{Run, touched};
use super::sight::{Finding, Sight};
use super::{Crops, MotionSettings, SURROUNDINGS, Watched, boxes, share};
use portero_core::domain::{Frame, NormRect, Region, Sighting, Stamp};

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

    /// Other settings; the background stays. `regions` is their number when they, or the areas that are told of, have
    /// changed: they are drawn anew.
    pub(super) fn reconfigure(&mut self, settings: MotionSettings, crops: Crops, regions: Option<usize>) {
        (self.settings, self.crops) = (settings, crops);
        if let Some(regions) = regions {
            (self.regions, self.size) = (vec![State::default(); regions], (0, 0));
        }
    }

    pub(super) fn moving(&self) -> &[NormRect] {
        &self.moving
    }

    pub(super) fn relit(&self) -> u64 {
        self.background.relit()
    }

    /// What is to be looked at in this frame, and what is told of it by `sight`.
    pub(super) fn open_regions(
        &mut self,
        frame: &Frame,
        grid: &LumaGrid,
        regions: &[Watched],
        sight: &mut Option<Sight>,
    ) -> (Vec<Region>, Option<Sighting>) {
        let now = frame.at().stamp;
        self.draw(grid, regions, sight);
        let settings = &self.settings;
        let hold = settings.hold;
        self.moving.clear();
        let mut tell = |finding: Finding<'_>| sight.as_mut().map(|sight| sight.tell(now, finding, hold));
        let sighting;
        match self.background.compare(frame, grid, settings.min_change, settings.shadows) {
            Comparison::Learning => {
                self.regions.iter_mut().for_each(|state| state.looked = Some(now));
                let all = regions.iter().map(|watched| watched.region.clone()).collect();
                return (all, tell(Finding::Learning));
            }
            Comparison::Switching => sighting = tell(Finding::Switching),
            Comparison::Different(mut found) => {
                self.moving = boxes::find(&mut found, settings.min_size);
                sighting = tell(Finding::Different(&found, &self.moving));
                for (state, watched) in self.regions.iter_mut().zip(regions) {
                    if share(&found, &state.runs) >= settings.min_area {
                        state.moved = Some(now);
                        state.thing = largest_in(&self.moving, watched);
                    }
                }
            }
        }
        let crops = self.crops;
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
        (self.regions.iter_mut().zip(regions).filter_map(open).collect(), sighting)
    }

    /// Draws the regions, and the areas of `sight`, on a grid of this size.
    fn draw(&mut self, grid: &LumaGrid, regions: &[Watched], sight: &mut Option<Sight>) {
        let size = (grid.columns(), grid.rows());
        if self.size == size {
            return;
        }
        self.size = size;
        if let Some(sight) = sight {
            sight.draw(size.0, size.1);
        }
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

/// The largest thing that moves in a region.
fn largest_in(moving: &[NormRect], watched: &Watched) -> Option<NormRect> {
    let within = |thing: &&NormRect| thing.intersection(&watched.region.rect).is_some();
    moving.iter().find(within).copied()
}
