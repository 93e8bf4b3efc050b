//! The tracker of one camera.

use std::time::Duration;

use super::assignment;
use super::filter::Filter;
use crate::domain::{Detection, NormRect, Stamp, Track, TrackId, Tracks};

/// Tracks followed at most; what comes beyond is not followed.
const MOST: usize = 128;
/// Before they are compared, boxes are grown by this share of themselves on each side: whoever is small and quick, or
/// rarely looked at, has moved out of his own box by the next frame.
const REACH: f32 = 0.3;
/// How alike two boxes must at least be, as intersection over union: grown boxes of sure detections, ...
const ALIKE: f32 = 0.15;
/// ... and boxes as they are of unsure ones.
const UNSURE_ALIKE: f32 = 0.4;
/// Frames without it before a track is given up, however much time has passed.
const FEWEST_MISSES: u32 = 3;

/// How boxes become tracks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Detections from this score on are sure: they may begin a track; 0..=1.
    pub sure: f32,
    /// A track that was not seen for so long is given up.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { sure: 0.5, patience: Duration::from_secs(2) }
    }
}

/// One thing that is followed.
#[derive(Debug)]
struct Followed {
    /// `None` until a second frame has confirmed it.
    id: Option<TrackId>,
    filter: Filter,
    /// Frames and time since it was last seen.
    misses: u32,
    unseen: Duration,
}

impl Followed {
    /// Where it is now, as far as that is within the picture.
    fn rect(&self) -> Option<NormRect> {
        let [x0, y0, x1, y1] = self.filter.corners().map(|v| v.clamp(0.0, 1.0));
        NormRect::new(x0, y0, x1, y1).ok()
    }
}

/// Follows the things before one camera.
#[derive(Debug)]
pub struct Tracker {
    settings: Settings,
    followed: Vec<Followed>,
    last: Option<Stamp>,
    next: u64,
}

impl Tracker {
    /// A tracker that has seen nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, followed: Vec::new(), last: None, next: 1 }
    }

    /// How many tracks were begun and confirmed so far.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.next - 1
    }

    /// Takes in what was found in the frame captured `at`; frames must come in order. Returns the tracks that it
    /// shows, by number, and those given up with it. What is seen for the first time is not told yet.
    #[must_use]
    pub fn step(&mut self, at: Stamp, detections: Vec<Detection>) -> Tracks {
        let passed = self.last.replace(at).map_or(Duration::ZERO, |last| at.since(last));
        for thing in &mut self.followed {
            thing.filter.predict(passed.as_secs_f32(), thing.misses == 0);
            thing.unseen += passed;
            thing.misses += 1;
        }
        let mut detections: Vec<Option<Detection>> = detections.into_iter().map(Some).collect();
        let mut seen = Vec::new();
        let sure = self.settings.sure;
        self.give(&mut detections, &mut seen, REACH, ALIKE, |thing, found| {
            thing.id.is_some() && found.score.get() >= sure
        });
        self.give(&mut detections, &mut seen, 0.0, UNSURE_ALIKE, |thing, found| {
            thing.id.is_some() && thing.misses <= 1 && found.score.get() < sure
        });
        self.give(&mut detections, &mut seen, REACH, ALIKE, |thing, found| {
            thing.id.is_none() && found.score.get() >= sure
        });
        let gone = self.give_up();
        for found in detections.into_iter().flatten().filter(|found| found.score.get() >= sure) {
            if self.followed.len() < MOST {
                let filter = Filter::new(&found.rect);
                self.followed.push(Followed { id: None, filter, misses: 0, unseen: Duration::ZERO });
            }
        }
        seen.sort_by_key(|track| track.id);
        Tracks { seen, gone }
    }

    /// A frame captured `at` of which nothing can be said: all things rest where they are, and its time does not
    /// count.
    pub fn rest(&mut self, at: Stamp) {
        self.last = Some(at);
        self.followed.iter_mut().for_each(|thing| thing.filter.rest());
    }

    /// Forgets all tracks, as after an outage; their numbers are not given again. Returns those that were known.
    pub fn forget(&mut self) -> Vec<TrackId> {
        self.last = None;
        self.followed.drain(..).filter_map(|thing| thing.id).collect()
    }

    /// Gives detections to things that have none yet, of both only such that `may` be a pair.
    fn give(
        &mut self,
        detections: &mut [Option<Detection>],
        seen: &mut Vec<Track>,
        reach: f32,
        least: f32,
        may: impl Fn(&Followed, &Detection) -> bool,
    ) {
        let waiting = |thing: &&mut Followed| thing.misses > 0;
        let mut things: Vec<&mut Followed> = self.followed.iter_mut().filter(waiting).collect();
        let found: Vec<usize> = (0..detections.len()).filter(|i| detections[*i].is_some()).collect();
        let boxes: Vec<Option<NormRect>> = things.iter().map(|t| t.rect().map(|r| r.grown(reach))).collect();
        let pairs = assignment::pairs(things.len(), found.len(), least, &|thing, place| {
            let (Some(foretold), Some(found)) = (boxes[thing], &detections[found[place]]) else { return 0.0 };
            if may(things[thing], found) { foretold.iou(&found.rect.grown(reach)) } else { 0.0 }
        });
        for (thing, place) in pairs {
            let Some(Detection { rect, prediction, .. }) = detections[found[place]].take() else { continue };
            let thing = &mut *things[thing];
            thing.filter.correct(&rect);
            (thing.misses, thing.unseen) = (0, Duration::ZERO);
            let id = *thing.id.get_or_insert_with(|| {
                self.next += 1;
                TrackId(self.next - 1)
            });
            seen.push(Track { id, rect: thing.rect().unwrap_or(rect), prediction });
        }
    }

    /// Drops what was not seen for too long, and at once what was seen only once.
    fn give_up(&mut self) -> Vec<TrackId> {
        let patience = self.settings.patience;
        let mut gone = Vec::new();
        self.followed.retain(|thing| {
            let lost = match thing.id {
                Some(_) => thing.unseen >= patience && thing.misses >= FEWEST_MISSES,
                None => thing.misses > 0,
            };
            if lost {
                gone.extend(thing.id);
            }
            !lost
        });
        gone.sort_unstable();
        gone
    }
}
