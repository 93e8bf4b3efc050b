//! What a tracker promises, on boxes that are told as stories.

use std::time::Duration;

use super::*;
use crate::domain::{Detection, NormRect, Score, Stamp, TrackId};

/// A person of 0.04 x 0.12 around `(x, y)`, found with this score.
fn person(x: f32, y: f32, score: f32) -> Detection {
    let rect = NormRect::new(x - 0.02, y - 0.06, x + 0.02, y + 0.06).unwrap();
    Detection { rect, score: Score::new(score).unwrap(), prediction: None }
}

/// The numbers that the tracker gives to the things of each frame at five frames a second.
struct Play {
    tracker: Tracker,
    frame: u64,
    gone: Vec<u64>,
}

impl Play {
    fn new() -> Self {
        Self { tracker: Tracker::new(Settings::default()), frame: 0, gone: Vec::new() }
    }

    fn stamp(&mut self) -> Stamp {
        self.frame += 1;
        Stamp::new(self.frame * 200_000, 0)
    }

    fn frame(&mut self, found: &[Detection]) -> Vec<u64> {
        let at = self.stamp();
        let tracks = self.tracker.step(at, found.to_vec());
        self.gone.extend(tracks.gone.iter().map(|id| id.0));
        tracks.seen.iter().map(|track| track.id.0).collect()
    }
}

#[test]
fn a_thing_is_told_once_a_second_frame_confirms_it_and_keeps_its_number() {
    let mut play = Play::new();
    assert!(play.frame(&[person(0.1, 0.5, 0.9)]).is_empty());
    for step in 1..20 {
        assert_eq!(play.frame(&[person(0.1 + 0.02 * step as f32, 0.5, 0.9)]), [1]);
    }
    assert_eq!(play.tracker.begun(), 1);
}

#[test]
fn what_flickers_for_one_frame_is_no_thing() {
    let mut play = Play::new();
    play.frame(&[person(0.1, 0.5, 0.9)]);
    assert!(play.frame(&[]).is_empty());
    assert!(play.frame(&[person(0.1, 0.5, 0.9)]).is_empty());
    assert!(play.gone.is_empty(), "what was never told is never given up");
}

#[test]
fn two_who_pass_each_other_keep_their_numbers() {
    let mut play = Play::new();
    let mut last = Vec::new();
    for step in 0..40 {
        let way = 0.015 * step as f32;
        let pair = [person(0.2 + way, 0.50, 0.9), person(0.8 - way, 0.54, 0.9)];
        // In the middle the one behind is hidden for half a second.
        let hidden = (19..22).contains(&step);
        let at = play.stamp();
        last = play.tracker.step(at, if hidden { pair[1..].to_vec() } else { pair.to_vec() }).seen;
    }
    assert_eq!(last.iter().map(|track| track.id).collect::<Vec<_>>(), [TrackId(1), TrackId(2)]);
    assert!(last[0].rect.centre().0 > last[1].rect.centre().0, "1 went to the right, 2 to the left");
}

#[test]
fn an_unsure_box_keeps_a_track_going_and_begins_none() {
    let mut play = Play::new();
    play.frame(&[person(0.5, 0.5, 0.9)]);
    assert_eq!(play.frame(&[person(0.5, 0.5, 0.9)]), [1]);
    for _ in 0..30 {
        assert_eq!(play.frame(&[person(0.5, 0.5, 0.2), person(0.2, 0.2, 0.2)]), [1]);
    }
}

#[test]
fn who_is_hidden_for_a_moment_comes_back_and_who_leaves_is_given_up_once() {
    let mut play = Play::new();
    play.frame(&[person(0.5, 0.5, 0.9)]);
    play.frame(&[person(0.5, 0.5, 0.9)]);
    for _ in 0..7 {
        assert!(play.frame(&[]).is_empty());
    }
    assert_eq!(play.frame(&[person(0.52, 0.5, 0.9)]), [1]);
    for _ in 0..30 {
        play.frame(&[]);
    }
    assert_eq!(play.gone, [1]);
    play.frame(&[person(0.5, 0.5, 0.9)]);
    assert_eq!(play.frame(&[person(0.5, 0.5, 0.9)]), [2]);
}

#[test]
fn time_in_which_nothing_can_be_said_does_not_count() {
    let mut play = Play::new();
    play.frame(&[person(0.5, 0.5, 0.9)]);
    play.frame(&[person(0.5, 0.5, 0.9)]);
    for _ in 0..500 {
        let at = play.stamp();
        play.tracker.rest(at);
    }
    assert_eq!(play.frame(&[person(0.5, 0.5, 0.9)]), [1]);
    assert_eq!(play.tracker.forget(), [TrackId(1)]);
}

#[test]
fn a_rare_look_is_not_taken_for_an_absence() {
    // One frame in five seconds: a single miss is longer than the patience.
    let mut tracker = Tracker::new(Settings::default());
    let mut at = Stamp::new(0, 0);
    let mut play = |found: &[Detection]| {
        at = at.plus(Duration::from_secs(5));
        tracker.step(at, found.to_vec())
    };
    let _ = play(&[person(0.5, 0.5, 0.9)]);
    let _ = play(&[person(0.5, 0.5, 0.9)]);
    assert!(play(&[]).gone.is_empty());
    assert_eq!(play(&[person(0.5, 0.5, 0.9)]).seen[0].id, TrackId(1));
}

#[test]
fn a_crowd_is_bounded() {
    let mut play = Play::new();
    let crowd: Vec<Detection> = (0..400)
        .map(|i| person(0.03 + (i % 20) as f32 * 0.045, 0.07 + (i / 20) as f32 * 0.043, 0.9))
        .collect();
    play.frame(&crowd);
    assert!(play.frame(&crowd).len() <= 128);
}
