//! What rules about tracks promise, on ways told point by point, five frames a second.

use std::time::Duration;

use super::scripts::{Player, agree, during, label, log_rule, secs, set};
use super::*;
use crate::domain::*;

/// The zone `yard`, a little less than the lower half of the picture of `cam`, and the line `gate` across its middle, from left to right.
pub(super) fn places() -> Places {
    let cam = || CameraId::new("cam").unwrap();
    let yard = Polygon::from(NormRect::new(0.0, 0.51, 1.0, 1.0).unwrap());
    let gate = Line::new(LineId::new("gate").unwrap(), (0.0, 0.5), (1.0, 0.5)).unwrap();
    Places {
        zones: [((cam(), ZoneId::new("yard").unwrap()), yard)].into(),
        lines: [((cam(), gate.id().clone()), gate)].into(),
    }
}

/// A rule that logs what a track of whatever does in the yard.
fn rule(id: &str, trigger: Trigger) -> Rule {
    Rule {
        trigger,
        zone: ZoneId::new("yard").ok(),
        answers: Vec::new(),
        cooldown: secs(30.0),
        ..log_rule(id)
    }
}

fn track_rule(id: &str, deed: Deed) -> Rule {
    rule(id, Trigger::Track(deed))
}

fn crossing(to: Option<Side>) -> Rule {
    let line = LineId::new("gate").unwrap();
    Rule { zone: None, ..track_rule("cross", Deed::Crossed { line, to }) }
}

/// Plays scenes to an engine: tracks by number, with where each stands and what it is.
struct Street {
    player: Player,
    frame: u64,
}

impl Street {
    fn new(rules: &[Rule]) -> Self {
        Self { player: Player::new(rules), frame: 0 }
    }

    fn scene(&mut self, tracks: Option<Tracks>, covered: Vec<(Option<ZoneId>, f32)>) {
        let at = FrameRef::new(FrameSeq(self.frame), self.stamp());
        self.frame += 1;
        let scene = Scene { camera: CameraId::new("cam").unwrap(), frame: at, tracks, covered };
        self.player.tell(&Input::Scene(scene));
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(0, 1_772_452_800_000_000).plus(Duration::from_millis(200 * self.frame))
    }

    /// A frame with these tracks: number, foot, and what it is (`p` a person, `c` a cat, `-` nobody was asked).
    fn see(&mut self, tracks: &[(u64, f32, f32, char)]) {
        let at = FrameRef::new(FrameSeq(self.frame), self.stamp());
        let track = |&(id, x, y, what): &(u64, f32, f32, char)| {
            let name = match what {
                'p' => Some("person"),
                'c' => Some("cat"),
                _ => None,
            };
            let prediction = name.map(|name| Prediction {
                camera: CameraId::new("cam").unwrap(),
                zone: None,
                frame: at,
                withheld: None,
                model: ModelId::new("eye").unwrap(),
                top: vec![(Label::new(name).unwrap(), Score::new(0.9).unwrap())],
                rejected: false,
                latency: Duration::ZERO,
            });
            Track {
                id: TrackId(id),
                rect: NormRect::new(x - 0.02, y - 0.1, x + 0.02, y).unwrap(),
                prediction,
            }
        };
        self.scene(Some(Tracks { seen: tracks.iter().map(track).collect(), gone: Vec::new() }), Vec::new());
    }

    /// Frames in which one track walks straight down the picture's middle, or up.
    fn walk(&mut self, id: u64, from: f32, to: f32, frames: u32, what: char) {
        for step in 0..frames {
            let y = from + (to - from) * step as f32 / (frames - 1) as f32;
            self.see(&[(id, 0.5, y, what)]);
        }
    }

    fn lose(&mut self, id: u64) {
        self.scene(Some(Tracks { seen: Vec::new(), gone: vec![TrackId(id)] }), Vec::new());
    }

    fn reasons(&self) -> Vec<&str> {
        self.player.decisions.iter().map(|d| d.reason.as_str()).collect()
    }
}

#[test]
fn whoever_comes_into_the_zone_is_told_once_and_each_for_himself() {
    let mut street = Street::new(&[track_rule("in", Deed::Entered)]);
    street.walk(1, 0.3, 0.7, 11, '-');
    street.player.expect(&["1.2 log (in)"]);
    street.see(&[(1, 0.5, 0.7, '-'), (2, 0.2, 0.9, '-')]);
    street.player.expect(&["1.2 log (in)", "2.2 log (in)"]);
    assert_eq!(street.reasons(), ["track 1 entered zone yard", "track 2 entered zone yard"]);
    let seen = &street.player.decisions[1].observation;
    let track = seen.track.unwrap();
    assert_eq!((track.id, track.rect.foot()), (TrackId(2), (0.2, 0.9)));
    assert_eq!((seen.answer.as_str(), seen.zone.as_ref().unwrap().as_str()), ("motion", "yard"));
}

#[test]
fn a_track_cools_down_by_itself() {
    let mut street = Street::new(&[track_rule("in", Deed::Entered)]);
    for _ in 0..3 {
        street.walk(1, 0.3, 0.7, 11, '-');
        street.walk(1, 0.7, 0.3, 11, '-');
    }
    street.player.expect(&["1.2 log (in)"]);
    assert_eq!(street.player.engine.suppressed(&RuleId::new("in").unwrap()), 2);
    street.walk(2, 0.3, 0.7, 11, '-');
    assert_eq!(street.player.decisions.len(), 2);
}

#[test]
fn who_is_a_person_is_decided_over_k_of_n_looks_of_his_own() {
    let rules =
        [Rule { answers: vec![label("person")], agree: agree(3, 5), ..track_rule("in", Deed::Entered) }];
    let mut street = Street::new(&rules);
    for what in ['p', 'c', 'p', '-', 'c', 'p', 'p'] {
        street.see(&[(1, 0.5, 0.8, what), (2, 0.2, 0.8, 'c'), (3, 0.8, 0.8, '-')]);
    }
    street.player.expect(&["1.0 log (in)"]);
    assert_eq!(street.reasons(), ["track 1 entered zone yard: person 3 of 5, mean 0.90 ≥ 0.80"]);
    assert_eq!(street.player.decisions[0].model.as_str(), "eye");
}

#[test]
fn entering_can_be_asked_to_last() {
    let mut street = Street::new(&[Rule { hold: secs(3.0), ..track_rule("in", Deed::Entered) }]);
    street.walk(1, 0.6, 0.7, 11, '-');
    street.walk(1, 0.3, 0.3, 6, '-');
    assert!(street.player.decisions.is_empty(), "two seconds are not three");
    street.walk(2, 0.6, 0.7, 20, '-');
    assert_eq!(street.reasons(), ["track 2 entered zone yard, stayed 3.0 s"]);
}

#[test]
fn who_goes_out_or_is_lost_has_left() {
    let mut street = Street::new(&[track_rule("out", Deed::Left)]);
    street.walk(1, 0.6, 0.6, 11, '-');
    // A box that shakes at the edge for a moment has not left.
    street.walk(1, 0.45, 0.45, 2, '-');
    street.walk(1, 0.6, 0.6, 5, '-');
    assert!(street.player.decisions.is_empty());
    street.walk(1, 0.4, 0.2, 6, '-');
    street.walk(2, 0.6, 0.6, 11, '-');
    street.lose(2);
    street.lose(3);
    assert_eq!(
        street.reasons(),
        ["track 1 left zone yard after 3.6 s", "track 2 left zone yard after 2.0 s"]
    );
}

#[test]
fn only_what_stays_loiters_also_while_it_is_out_of_sight_or_nothing_can_be_said() {
    let mut street = Street::new(&[track_rule("linger", Deed::Loitered(secs(20.0)))]);
    for _ in 0..60 {
        street.see(&[(1, 0.5, 0.8, '-')]);
    }
    for _ in 0..20 {
        street.scene(None, Vec::new());
    }
    for _ in 0..5 {
        street.scene(Some(Tracks::default()), Vec::new());
    }
    assert!(street.player.decisions.is_empty());
    for _ in 0..40 {
        street.see(&[(1, 0.5, 0.8, '-'), (2, 0.2, 0.8, '-')]);
    }
    assert_eq!(street.reasons(), ["track 1 has been in zone yard for 20.0 s"]);
}

#[test]
fn a_line_is_crossed_in_a_direction() {
    let (down, up) = (crossing(Some(Side::Right)), crossing(Some(Side::Left)));
    for (rule, expected) in [(down, "1.2 log (cross)"), (up, "3.2 log (cross)")] {
        let mut street = Street::new(&[rule]);
        street.walk(1, 0.3, 0.7, 11, '-');
        street.walk(1, 0.7, 0.3, 11, '-');
        street.player.expect(&[expected]);
    }
    let mut street = Street::new(&[crossing(None)]);
    // Standing on it and shaking is crossing it once.
    for y in [0.4, 0.49, 0.51, 0.49, 0.52, 0.48, 0.6] {
        street.see(&[(1, 0.5, y, '-')]);
    }
    assert_eq!(street.reasons(), ["track 1 crossed line gate to the right"]);
}

#[test]
fn a_crossing_waits_a_little_for_the_track_to_be_recognised() {
    let rule = Rule {
        answers: vec![label("person")],
        agree: Agreement { within: secs(1.0), ..agree(2, 3) },
        ..crossing(None)
    };
    let mut street = Street::new(std::slice::from_ref(&rule));
    street.see(&[(1, 0.5, 0.45, '-')]);
    street.see(&[(1, 0.5, 0.55, 'p')]);
    street.see(&[(1, 0.5, 0.6, 'p')]);
    street.player.expect(&["0.4 log (cross)"]);
    let mut street = Street::new(&[rule]);
    street.see(&[(1, 0.5, 0.45, '-')]);
    street.walk(1, 0.55, 0.6, 8, '-');
    street.walk(1, 0.6, 0.7, 8, 'p');
    assert!(street.player.decisions.is_empty(), "he crossed long before anybody knew him");
}

#[test]
fn a_number_of_persons_is_a_presence() {
    let count = |count| Rule {
        answers: vec![label("person")],
        hold: secs(1.0),
        ..rule("crowd", Trigger::Count(count))
    };
    let mut street = Street::new(&[count(Count::AtLeast(2))]);
    for frame in 0..60 {
        // The second one is outside of the yard for the first two seconds; a cat is no person.
        let y = if frame < 10 { 0.4 } else { 0.8 };
        street.see(&[(1, 0.3, 0.8, 'p'), (2, 0.6, y, 'p'), (3, 0.8, 0.8, 'c')]);
    }
    street.player.expect(&["3.0 log (crowd)"]);
    assert_eq!(street.reasons(), ["2 person in zone yard, asked for at least 2, held 1.0 s"]);
    let mut street = Street::new(&[count(Count::Exactly(1))]);
    for _ in 0..10 {
        street.see(&[(1, 0.3, 0.8, 'p'), (2, 0.6, 0.8, 'p')]);
    }
    for _ in 0..12 {
        street.see(&[(1, 0.3, 0.8, 'p')]);
    }
    assert_eq!(street.player.decisions.len(), 1, "the other counts for a second after he was last seen");
    let mut street = Street::new(&[count(Count::Exactly(0))]);
    street.walk(1, 0.8, 0.8, 10, 'p');
    for _ in 0..20 {
        street.scene(Some(Tracks::default()), Vec::new());
    }
    assert_eq!(street.reasons(), ["0 person in zone yard, asked for exactly 0, held 1.0 s"]);
}

#[test]
fn a_covered_zone_is_told_once_while_it_is_covered() {
    let third = Score::new(0.3).unwrap();
    let mut street = Street::new(&[Rule { hold: secs(1.0), ..rule("load", Trigger::Covered(third)) }]);
    let yard = || ZoneId::new("yard").ok();
    for frame in 0..50 {
        let share = if frame < 10 { 0.2 } else { 0.41 };
        street.scene(None, vec![(None, 0.9), (yard(), share)]);
        street.scene(None, Vec::new());
    }
    street.player.expect(&["5.2 log (load)"]);
    assert_eq!(street.reasons(), ["41 % of zone yard covered, asked for 30 %, held 1.2 s"]);
}

#[test]
fn schedules_and_budgets_hold_for_tracks_too() {
    let night = Rule { during: during("!workdays"), ..track_rule("in", Deed::Entered) };
    let mut street =
        Street::new(&[night, Rule { max_per_hour: Some(1), ..track_rule("once", Deed::Entered) }]);
    for id in 1..5 {
        street.walk(id, 0.3, 0.7, 11, '-');
    }
    street.player.expect(&["1.2 log (once)"]);
    assert_eq!(street.player.engine.suppressed(&RuleId::new("once").unwrap()), 3);
}

#[test]
fn an_outage_forgets_the_tracks_and_tells_nobody_that_they_left() {
    let mut street = Street::new(&[track_rule("out", Deed::Left), track_rule("in", Deed::Entered)]);
    street.walk(1, 0.6, 0.7, 5, '-');
    street.player.play("[offline][online]");
    street.lose(1);
    street.player.expect(&["0.0 log (in)"]);
}

#[test]
fn a_reload_tells_nobody_again_and_forgets_nobody() {
    let rules = [track_rule("in", Deed::Entered), track_rule("linger", Deed::Loitered(secs(4.0)))];
    let mut street = Street::new(&rules);
    street.walk(1, 0.6, 0.7, 11, '-');
    street.player.expect(&["0.0 log (in)"]);
    let renamed = track_rule("new", Deed::Left);
    let rules = [rules[1].clone(), rules[0].clone(), renamed];
    street.player.tell(&Input::ConfigSwap(set(&rules)));
    street.walk(1, 0.7, 0.7, 12, '-');
    street.player.expect(&["0.0 log (in)", "4.0 log (linger)"]);
    street.walk(1, 0.4, 0.4, 6, '-');
    assert_eq!(street.reasons().last(), Some(&"track 1 left zone yard after 2.4 s"));
}

#[test]
fn late_scenes_and_other_cameras_are_nobodys() {
    let mut street = Street::new(&[track_rule("in", Deed::Entered)]);
    street.walk(1, 0.3, 0.4, 5, '-');
    street.frame = 2;
    street.see(&[(2, 0.5, 0.8, '-')]);
    assert!(street.player.decisions.is_empty());
    assert_eq!(street.player.engine.ignored(), 1);
}

#[test]
fn the_same_scenes_give_the_same_decisions() {
    let play = || {
        let mut street =
            Street::new(&[track_rule("in", Deed::Entered), crossing(None), track_rule("out", Deed::Left)]);
        for id in [3, 1, 2] {
            street.walk(id, 0.3, 0.7, 11, 'p');
        }
        street.player.decisions
    };
    assert_eq!(play(), play());
}
