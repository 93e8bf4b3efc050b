//! How often a tracker takes one person for another.
//!
//! Nobody has numbered the persons of the clip. But most of the time it is plain who is who: where the boxes that
//! onnxruntime finds in two frames in a row can be joined in one way only, they are one person's *way*. A tracker that
//! changes its number on such a way has switched an identity.

use std::collections::BTreeMap;

use portero::domain::{NormRect, TrackId, Tracks};

use crate::watch::motion::{Boxes, normalised};

/// Boxes of two frames that overlap so much are one person's, ...
const SAME: f32 = 0.5;
/// ... if no other overlaps by as much as this.
const OTHER: f32 = 0.15;

/// Every `step`-th frame: each person's box, with the number of the way it belongs to.
pub(super) struct Ways {
    frames: BTreeMap<u64, Vec<(NormRect, usize)>>,
    pub(super) count: usize,
}

impl Ways {
    pub(super) fn of(boxes: &Boxes, step: u64) -> Self {
        let mut ways = Self { frames: BTreeMap::new(), count: 0 };
        let last = *boxes.keys().last().unwrap();
        let mut before: Vec<(NormRect, usize)> = Vec::new();
        for n in (0..=last).step_by(usize::try_from(step).unwrap()) {
            let rects: Vec<NormRect> =
                boxes.get(&n).into_iter().flatten().filter_map(|(b, _)| normalised(*b)).collect();
            let now: Vec<(NormRect, usize)> = rects
                .iter()
                .map(|rect| {
                    let way = only(rect, before.iter().map(|(rect, _)| rect))
                        .filter(|i| only(&before[*i].0, rects.iter()).is_some());
                    let number = way.map_or_else(
                        || {
                            ways.count += 1;
                            ways.count - 1
                        },
                        |i| before[i].1,
                    );
                    (*rect, number)
                })
                .collect();
            ways.frames.insert(n, now.clone());
            before = now;
        }
        ways
    }
}

/// The only one of `others` that is the same.
fn only<'a>(rect: &NormRect, others: impl Iterator<Item = &'a NormRect>) -> Option<usize> {
    let mut like: Vec<(usize, f32)> = others.map(|other| other.iou(rect)).enumerate().collect();
    like.sort_by(|a, b| b.1.total_cmp(&a.1));
    let second = like.get(1).map_or(0.0, |(_, like)| *like);
    like.first().filter(|(_, best)| *best >= SAME && second < OTHER).map(|(i, _)| *i)
}

/// What a tracker made of it.
#[derive(Debug, Default)]
pub(super) struct Identity {
    tracks: std::collections::BTreeSet<TrackId>,
    now: BTreeMap<usize, TrackId>,
    /// Boxes of persons, and those on which a track was.
    pub(super) persons: u32,
    pub(super) followed: u32,
    pub(super) switches: u32,
}

impl Identity {
    /// Compares the tracks of frame `n` with the ways.
    pub(super) fn compare(&mut self, ways: &Ways, n: u64, tracks: &Tracks) {
        self.tracks.extend(tracks.seen.iter().map(|track| track.id));
        for (rect, way) in ways.frames.get(&n).into_iter().flatten() {
            self.persons += 1;
            let best = tracks.seen.iter().max_by(|a, b| a.rect.iou(rect).total_cmp(&b.rect.iou(rect)));
            let Some(track) = best.filter(|track| track.rect.iou(rect) >= 0.5) else { continue };
            self.followed += 1;
            if self.now.insert(*way, track.id).is_some_and(|before| before != track.id) {
                self.switches += 1;
            }
        }
    }

    pub(super) fn tracks(&self) -> usize {
        self.tracks.len()
    }

    #[expect(clippy::print_stderr, reason = "the numbers of docs/tracks.md come from here")]
    pub(super) fn tell(&self, what: &str, ways: &Ways) {
        eprintln!(
            "{what}: {} ways, {} tracks, {} identity switches, a track on {} of {} persons",
            ways.count,
            self.tracks(),
            self.switches,
            self.followed,
            self.persons
        );
    }
}
