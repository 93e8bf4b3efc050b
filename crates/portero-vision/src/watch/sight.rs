//! What is told of a frame beside what is worth a classification: the things in it, and how much of an area is
//! covered.

use std::time::Duration;

use super::background::Foreground;
use super::raster::{Run, touched};
use super::{Follow, SURROUNDINGS, Tracking, share};
use portero_core::domain::{NormRect, Sighting, Stamp, Things, ZoneId};

/// The detector runs on for at least so long after the last motion, so that it sees that somebody has left.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// Keeps what the telling needs between frames.
#[derive(Debug)]
pub(super) struct Sight {
    tracking: Tracking,
    areas: Vec<(Option<ZoneId>, Vec<Run>)>,
    moved: Option<Stamp>,
    detected: Option<Stamp>,
}

/// What the gate says of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum Finding<'a> {
    /// There is no gate.
    Ungated,
    /// The background is being learnt, anew or for the first time.
    Learning,
    /// The camera is between colour and infrared.
    Switching,
    /// These cells are different, and these things move.
    Different(&'a Foreground, &'a [NormRect]),
}

impl Sight {
    pub(super) fn new(tracking: Tracking) -> Self {
        Self { tracking, areas: Vec::new(), moved: None, detected: None }
    }

    /// Draws the areas on a grid of this size.
    pub(super) fn draw(&mut self, columns: usize, rows: usize) {
        let all = || (0..rows).map(|row| Run { row, columns: 0..columns }).collect();
        let drawn = |area: &super::Area| area.shape.as_ref().map_or_else(all, |s| touched(s, columns, rows));
        self.areas = self.tracking.areas.iter().map(|area| (area.zone.clone(), drawn(area))).collect();
    }

    /// What is told of a frame captured `now`; `hold` is for how long the gate stays open.
    pub(super) fn tell(&mut self, now: Stamp, finding: Finding<'_>, hold: Duration) -> Sighting {
        let things = match self.tracking.follow {
            Follow::Nothing => Things::Unsaid,
            Follow::Motion { crops } => moving(finding, crops),
            Follow::Detector { every } => self.detect(now, finding, hold.max(AFTERWARDS), every),
        };
        let covered = match finding {
            Finding::Different(found, _) => {
                self.areas.iter().map(|(zone, runs)| (zone.clone(), share(found, runs))).collect()
            }
            _ => Vec::new(),
        };
        Sighting { things, covered }
    }

    /// Whether the detector is to look.
    fn detect(
        &mut self,
        now: Stamp,
        finding: Finding<'_>,
        hold: Duration,
        every: Option<Duration>,
    ) -> Things {
        let moves = match finding {
            Finding::Ungated | Finding::Learning => true,
            Finding::Switching => false,
            Finding::Different(_, moving) => !moving.is_empty(),
        };
        if moves {
            self.moved = Some(now);
        }
        let held = self.moved.is_some_and(|at| now.since(at) <= hold);
        let due = every.is_some_and(|every| self.detected.is_none_or(|at| now.since(at) >= every));
        if !held && !due {
            return Things::Unsaid;
        }
        self.detected = Some(now);
        Things::Detect
    }
}

/// What moves, and what the classifier is to see of the first of it.
fn moving(finding: Finding<'_>, crops: usize) -> Things {
    let Finding::Different(_, moving) = finding else { return Things::Unsaid };
    let crops = moving.iter().take(crops).map(|thing| thing.grown(SURROUNDINGS)).collect();
    Things::Moving { rects: moving.to_vec(), crops }
}
