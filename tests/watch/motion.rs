//! What moves, on the street and in the street without people.

use std::collections::BTreeMap;
use std::fs;

use portero::domain::NormRect;
use portero::watch::{MotionSettings, Settings, Watched, Watcher};

use super::{HEIGHT, WIDTH, frames, median};
use crate::support::daemon::{root, shared};

fn watcher(motion: MotionSettings) -> Watcher {
    Watcher::new(Settings::new(vec![Watched::picture()], Some(motion)))
}

/// Which of the frames of a quiet scene after `filter` were looked at, 5 frames a second, 12 s.
fn looks(filter: &str) -> Vec<bool> {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("median.png");
    fs::write(&picture, median()).unwrap();
    let (mut watcher, mut looks) = (watcher(MotionSettings::default()), Vec::new());
    let still = format!("loop=60:1,setpts=N/5/TB,fps=5,noise=alls=10:allf=t,{filter}");
    frames(&picture, 5, &still, |frame| {
        looks.push(watcher.look(frame).is_some());
    });
    assert_eq!(looks.len(), 61);
    assert!(looks[..5].iter().all(|look| *look), "it looks while it learns");
    looks
}

#[test]
fn a_lamp_and_the_infrared_switch_are_no_motion() {
    for filter in [
        "null",
        "eq=brightness=0.15:contrast=0.7:enable='gte(t,5)'",
        "eq=brightness=-0.2:contrast=0.6:enable='gte(t,5)'",
        "hue=s=0:enable='gte(t,5)',curves=all='0/0.1 0.5/0.7 1/1':enable='gte(t,5)'",
        "hue=s=0:enable='between(t,4,8)'",
    ] {
        let looks = looks(filter);
        assert!(!looks[6..].contains(&true), "{filter}: {looks:?}");
    }
}

#[test]
fn whoever_comes_is_looked_at_also_after_the_light_has_changed() {
    for light in ["null", "eq=brightness=0.15:contrast=0.7:enable='gte(t,4)'", "hue=s=0:enable='gte(t,4)'"] {
        let looks = looks(&format!(
            "{light},drawbox=x=300:y=250:w=60:h=130:c=0x303040:t=fill:enable='between(t,7,8)'"
        ));
        let first = looks.iter().skip(6).position(|look| *look).map(|n| n + 6);
        assert_eq!(first, Some(35), "{light}: {looks:?}");
        assert!(!looks[52..].contains(&true), "{light}: the gate closes again: {looks:?}");
    }
}

/// Boxes in pixels by frame, with their scores.
pub(crate) type Boxes = BTreeMap<u64, Vec<([f32; 4], f32)>>;

/// The persons that onnxruntime finds in `vtest.avi`.
pub(crate) fn reference() -> Boxes {
    let text = fs::read_to_string(root().join("tests/data/vtest_persons.csv")).unwrap();
    let mut boxes = Boxes::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let v: Vec<f32> = line.split(',').map(|value| value.parse().unwrap()).collect();
        boxes.entry(v[0] as u64).or_default().push(([v[1], v[2], v[3], v[4]], v[5]));
    }
    boxes
}

pub(crate) fn normalised([x0, y0, x1, y1]: [f32; 4]) -> Option<NormRect> {
    let (w, h) = (WIDTH as f32, HEIGHT as f32);
    NormRect::new(x0 / w, y0 / h, (x1 / w).min(1.0), (y1 / h).min(1.0)).ok()
}

/// Whether a person of frame `n` has moved by 6 pixels within the second before.
fn moves(boxes: &Boxes, n: u64, person: NormRect) -> bool {
    let mut now = person;
    for back in 1..=10 {
        let earlier = boxes.get(&(n - back)).into_iter().flatten().filter_map(|(b, _)| normalised(*b));
        match earlier.max_by(|a, b| a.iou(&now).total_cmp(&b.iou(&now))) {
            Some(best) if best.iou(&now) > 0.4 => now = best,
            _ => return false,
        }
    }
    let ((x0, y0), (x1, y1)) = (now.centre(), person.centre());
    ((x1 - x0) * WIDTH as f32).hypot((y1 - y0) * HEIGHT as f32) >= 6.0
}

#[test]
fn motion_alone_finds_most_of_those_who_walk() {
    let Some(video) = shared("media/vtest.avi") else { return };
    let reference = reference();
    let mut watcher = watcher(MotionSettings::default());
    let (mut walkers, mut found, mut touched, mut n) = (0, 0, 0, 0);
    frames(&video, 10, "fps=10", |frame| {
        let _ = watcher.look(frame);
        let persons = reference.get(&n).into_iter().flatten().filter_map(|(b, _)| normalised(*b));
        for person in persons.filter(|person| n >= 20 && moves(&reference, n, *person)) {
            walkers += 1;
            found += usize::from(watcher.moving().iter().any(|thing| thing.iou(&person) >= 0.5));
            touched += usize::from(watcher.moving().iter().any(|thing| thing.iou(&person) >= 0.2));
        }
        n += 1;
    });
    eprintln!("{walkers} walkers, {found} found at IoU 0.5, {touched} at 0.2");
    assert!(walkers > 3000 && found * 10 >= walkers * 7, "{found} of {walkers}");
}
