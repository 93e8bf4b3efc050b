//! The detector and the tracker on `vtest.avi`, against what onnxruntime finds there.

use std::sync::Arc;

use portero::domain::{Detection, Label, NormRect, Score};
use portero::infer::{Detector, DetectorModel, DetectorSettings};
use portero::track::{Settings, Tracker};
use portero::watch::{MotionSettings, Settings as WatchSettings, Watched, Watcher};

use super::identity::{Identity, Ways};
use super::yolox;
use crate::support::daemon::shared;
use crate::watch::frames;
use crate::watch::motion::{normalised, reference};

fn detection(rect: NormRect, score: f32) -> Detection {
    Detection { rect, score: Score::new(score).unwrap(), prediction: None }
}

/// How many of `wanted` have a box of their own among `found`.
fn matched(wanted: &[NormRect], found: &[NormRect]) -> usize {
    let mut free = vec![true; found.len()];
    let mut matched = 0;
    for rect in wanted {
        let best = (0..found.len())
            .filter(|i| free[*i] && found[*i].iou(rect) >= 0.5)
            .max_by(|a, b| found[*a].iou(rect).total_cmp(&found[*b].iou(rect)));
        if let Some(best) = best {
            free[best] = false;
            matched += 1;
        }
    }
    matched
}

#[test]
fn the_detector_finds_what_onnxruntime_finds_and_its_boxes_become_tracks() {
    let folder = tempfile::tempdir().unwrap();
    let (Some(video), Some(manifest)) = (shared("media/vtest.avi"), yolox(&folder)) else { return };
    let labels = vec![Label::new("person").unwrap()];
    let model = Arc::new(DetectorModel::load(&DetectorSettings { manifest, labels }).unwrap());
    let mut finder = model.finder().unwrap();
    let reference = reference();
    let ways = Ways::of(&reference, 2);
    let sure = model.manifest().score;
    let mut tracker = Tracker::new(Settings { sure, ..Settings::default() });
    let mut identity = Identity::default();
    let (mut wanted, mut found, mut told, mut n) = (0, 0, 0, 0);
    frames(&video, 5, "select='not(mod(n\\,2))',setpts=N/5/TB,fps=5", |frame| {
        let all = finder.detect(&frame).unwrap();
        let persons: Vec<NormRect> =
            reference.get(&n).into_iter().flatten().filter_map(|(b, _)| normalised(*b)).collect();
        let boxes: Vec<NormRect> = all.iter().filter(|f| f.score.get() >= 0.3).map(|f| f.rect).collect();
        wanted += persons.len();
        told += boxes.len();
        found += matched(&persons, &boxes);
        let detections = all.into_iter().map(|f| detection(f.rect, f.score.get())).collect();
        identity.compare(&ways, n, &tracker.step(frame.at().stamp, detections));
        n += 2;
    });
    eprintln!("of {wanted} boxes of onnxruntime {found} were found, {told} boxes in all");
    identity.tell("detector, 5 frames a second", &ways);
    assert!(wanted > 2000 && found * 100 >= wanted * 95, "{found} of {wanted}");
    assert!(told * 95 <= wanted * 100, "{told} boxes where onnxruntime has {wanted}");
    assert!(identity.switches <= 12 && identity.tracks() <= 90, "{identity:?}");
    assert!(identity.followed * 100 >= identity.persons * 85, "{identity:?}");
}

/// The boxes of onnxruntime themselves: what the tracker makes of the best that it can get.
fn follow_reference(step: u64) -> (Identity, Ways) {
    let reference = reference();
    let ways = Ways::of(&reference, step);
    let mut tracker = Tracker::new(Settings { sure: 0.4, ..Settings::default() });
    let mut identity = Identity::default();
    for n in (0..795).step_by(usize::try_from(step).unwrap()) {
        let boxes = reference.get(&n).into_iter().flatten();
        let found = boxes.filter_map(|(b, score)| Some(detection(normalised(*b)?, *score))).collect();
        let at = portero::domain::Stamp::new(n * 100_000, 0);
        identity.compare(&ways, n, &tracker.step(at, found));
    }
    identity.tell(&format!("boxes of onnxruntime, every {step}."), &ways);
    (identity, ways)
}

#[test]
fn persons_keep_their_number_also_when_pictures_are_few() {
    for (step, most_switches, most_tracks) in [(1, 12, 80), (2, 12, 80), (5, 25, 110)] {
        let (identity, _) = follow_reference(step);
        assert!(identity.switches <= most_switches, "every {step}.: {identity:?}");
        assert!(identity.tracks() <= most_tracks, "every {step}.: {}", identity.tracks());
    }
}

#[test]
fn motion_alone_makes_tracks_as_well() {
    let Some(video) = shared("media/vtest.avi") else { return };
    let reference = reference();
    let ways = Ways::of(&reference, 1);
    let settings = WatchSettings::new(vec![Watched::picture()], Some(MotionSettings::default()));
    let (mut watcher, mut tracker) = (Watcher::new(settings), Tracker::new(Settings::default()));
    let (mut identity, mut n) = (Identity::default(), 0);
    frames(&video, 10, "fps=10", |frame| {
        let at = frame.at().stamp;
        let _ = watcher.look(frame);
        let found = watcher.moving().iter().map(|rect| detection(*rect, 1.0)).collect();
        identity.compare(&ways, n, &tracker.step(at, found));
        n += 1;
    });
    identity.tell("motion, 10 frames a second", &ways);
    assert!(identity.switches <= 120 && identity.tracks() <= 200, "{identity:?}");
    assert!(identity.followed * 100 >= identity.persons * 60, "{identity:?}");
}
