//! What is worth a look: privacy masks, zones, and what moves in them.
//!
//! Every due frame of a camera passes a [`Mask`] and then a [`Watcher`]. Without the gate each becomes a [`Look`] at all
//! regions that rules ask about; with it, only regions in which something moved lately are looked at. This room is
//! pure: it does no I/O, reads no clock (frames carry their stamps) and must not decide anything but what to look
//! at. When in doubt it looks: a look too many costs milliseconds, a look too few a burglar.

mod background;
mod boxes;
mod gate;
mod grid;
mod light;
mod mask;
mod raster;
mod repeat;
mod shadow;
mod sight;
mod tamper;

use std::sync::Arc;
use std::time::Duration;

use background::{Foreground, count};
use gate::Gate;
pub use grid::LumaGrid;
pub use mask::Mask;
use raster::Run;
use repeat::Repeats;
use sight::{Finding, Sight};
pub use tamper::TamperSettings;
use tamper::TamperWatch;

use portero_core::domain::{Frame, Look, NormRect, Polygon, Region, Tamper, Withheld, ZoneId};

/// A crop that follows a thing shows this share of its width and height on each side of it.
const SURROUNDINGS: f32 = 0.3;

/// What one camera's frames are looked at for.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The regions that rules ask about, each once: a zone's bounding box, or the whole picture.
    pub regions: Vec<Watched>,
    /// The motion gate; `None` looks at every due frame.
    pub motion: Option<MotionSettings>,
    /// What the classifier is shown of a region in which something moves.
    pub crops: Crops,
    /// What is blacked out in every frame; see [`Mask`].
    pub masks: Vec<Polygon>,
    /// Whether somebody has laid hands on the camera; `None` does not ask.
    pub tamper: Option<TamperSettings>,
    /// What is told of every frame, whatever is worth a classification; `None` tells nothing.
    pub tracking: Option<Tracking>,
    /// Whether pictures that were seen before are told from new ones: what they show opens no door.
    pub replay: bool,
}

/// What is told of every frame: the things in it and how much of an area is covered. The latter, and the things that
/// move, need the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracking {
    /// How things are found.
    pub follow: Follow,
    /// Areas whose covered share is told.
    pub areas: Vec<Area>,
}

/// How the things in a picture are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// They are not.
    Nothing,
    /// They are what moves.
    Motion {
        /// The classifier is to say of so many of them, the largest first, what they are.
        crops: usize,
    },
    /// By the detector, while something moves and for a while after; without the gate in every frame.
    Detector {
        /// And this often although nothing moves.
        every: Option<Duration>,
    },
}

/// An area whose covered share is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Area {
    /// Its zone; `None` for the whole picture.
    pub zone: Option<ZoneId>,
    /// Its shape; `None` for the whole picture.
    pub shape: Option<Polygon>,
}

impl Settings {
    /// Looks at these regions, and does nothing else.
    #[must_use]
    pub fn new(regions: Vec<Watched>, motion: Option<MotionSettings>) -> Self {
        let (crops, masks) = (Crops::Zone, Vec::new());
        Self { regions, motion, crops, masks, tamper: None, tracking: None, replay: false }
    }
}

/// A region with what the gate needs to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// What the classifier is to see.
    pub region: Region,
    /// Where motion counts; `None` takes the region's whole rectangle.
    pub shape: Option<Polygon>,
    /// It is looked at this often although nothing moves.
    pub every: Option<Duration>,
}

impl Watched {
    /// The whole picture, looked at when something moves.
    #[must_use]
    pub fn picture() -> Self {
        Self { region: Region { zone: None, rect: NormRect::FULL }, shape: None, every: None }
    }
}

/// What the classifier is shown of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Crops {
    /// All of it.
    #[default]
    Zone,
    /// The largest thing that moves in it, with some of its surroundings.
    Motion,
}

/// When a change between frames counts as motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionSettings {
    /// Share of changed cells, of all cells of a region, that opens the gate; 0..=1.
    pub min_area: f32,
    /// Change of a cell's mean luma (0..=255) that counts as changed.
    pub min_change: u8,
    /// What covers a smaller share of the picture does not move, it flickers; 0..=1.
    pub min_size: f32,
    /// Whether shadows count as motion.
    pub shadows: bool,
    /// The gate stays open this long after the last motion.
    pub hold: Duration,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self {
            min_area: 0.01,
            min_change: 12,
            min_size: 0.0005,
            shadows: false,
            hold: Duration::from_secs(2),
        }
    }
}

/// How many frames a watcher has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WatchCounts {
    /// Frames that became a look.
    pub looks: u64,
    /// Frames in which nothing was worth a look.
    pub gated: u64,
    /// Times that the light of the whole scene changed and was learnt anew.
    pub relit: u64,
}

/// Decides what to look at in one camera's frames.
#[derive(Debug)]
pub struct Watcher {
    settings: Settings,
    gate: Option<Gate>,
    /// Kept, though nobody asks, when it was asked for before: what is known of the scene stays known.
    tamper: Option<TamperWatch>,
    sight: Option<Sight>,
    repeats: Option<Repeats>,
    counts: WatchCounts,
}

impl Watcher {
    /// A watcher that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let regions = settings.regions.len();
        let gate = settings.motion.map(|motion| Gate::new(motion, settings.crops, regions));
        let tamper = settings.tamper.map(|_| TamperWatch::new(settings.masks.clone()));
        let sight = settings.tracking.clone().map(Sight::new);
        let repeats = settings.replay.then(Repeats::default);
        Self { settings, gate, tamper, sight, repeats, counts: WatchCounts::default() }
    }

    /// Watches for something else from the next frame on. What it knows stays, as far as it still makes sense: what was
    /// done to the camera and what the scene should look like in any case, also while nobody asks for it; the pictures of
    /// the last minutes; the background of the motion gate unless the masks change.
    pub fn reconfigure(&mut self, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        let now = &self.settings;
        let masked_alike = before.masks == now.masks;
        let redrawn = before.regions != now.regions || before.tracking != now.tracking;
        let regions = now.regions.len();
        match (&mut self.gate, now.motion) {
            (Some(gate), Some(motion)) if masked_alike => {
                gate.reconfigure(motion, now.crops, redrawn.then_some(regions));
            }
            (gate, motion) => *gate = motion.map(|motion| Gate::new(motion, now.crops, regions)),
        }
        if redrawn {
            self.sight = now.tracking.clone().map(Sight::new);
        }
        if now.replay != self.repeats.is_some() {
            self.repeats = now.replay.then(Repeats::default);
        }
        if let Some(tamper) = &mut self.tamper {
            tamper.mask(&now.masks);
        } else {
            self.tamper = now.tamper.map(|_| TamperWatch::new(now.masks.clone()));
        }
    }

    /// The look that this frame is worth, if any; where something is told of every frame, every frame is worth one,
    /// if only without regions. Frames must come in the order of their stamps. While the gate
    /// learns its background (the first second, and again when the size of the frames changes) every frame is.
    /// Takes about 0.3 ms for 1280x720 with the gate, nothing without.
    pub fn look(&mut self, frame: impl Into<Arc<Frame>>) -> Option<Look> {
        let frame = frame.into();
        let asked = self.gate.is_some() || self.settings.tamper.is_some() || self.repeats.is_some();
        let grid = asked.then(|| LumaGrid::of(&frame));
        if let (Some(tamper), Some(settings), Some(grid)) = (&mut self.tamper, self.settings.tamper, &grid) {
            tamper.observe(&frame, grid, settings);
        }
        let repeated = match (&mut self.repeats, &grid) {
            (Some(repeats), Some(grid)) => repeats.observe(grid, frame.at().stamp),
            _ => false,
        };
        let (regions, sighting) = match (&mut self.gate, &grid) {
            (Some(gate), Some(grid)) => {
                let open = gate.open_regions(&frame, grid, &self.settings.regions, &mut self.sight);
                self.counts.relit = gate.relit();
                open
            }
            _ => {
                let all = self.settings.regions.iter().map(|watched| watched.region.clone()).collect();
                let now = frame.at().stamp;
                let tell = |sight: &mut Sight| sight.tell(now, Finding::Ungated, Duration::ZERO);
                (all, self.sight.as_mut().map(tell))
            }
        };
        if regions.is_empty() {
            self.counts.gated += 1;
        } else {
            self.counts.looks += 1;
        }
        let repeated = repeated.then_some(Withheld::Repeated);
        let withheld = frame.withheld().or(self.tamper().map(Withheld::Tampered)).or(repeated);
        (!regions.is_empty() || sighting.is_some()).then_some(Look { frame, regions, sighting, withheld })
    }

    /// What moves in the newest frame: the smallest rectangle around each thing, largest first, at most 32.
    /// Always empty without the gate, and while it learns.
    #[must_use]
    pub fn moving(&self) -> &[NormRect] {
        self.gate.as_ref().map_or(&[], Gate::moving)
    }

    /// What was done to the camera, when that is asked for and certain.
    #[must_use]
    pub fn tamper(&self) -> Option<Tamper> {
        self.settings.tamper.and(self.tamper.as_ref()).and_then(TamperWatch::state)
    }

    /// Whether a recording is being played to the camera, when that is asked for and certain.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        self.repeats.as_ref().is_some_and(Repeats::is_certain)
    }

    /// What it has seen so far.
    #[must_use]
    pub fn counts(&self) -> WatchCounts {
        self.counts
    }
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

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod tests;
