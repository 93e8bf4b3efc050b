//! Tests are scripts: one character is one frame at five frames a second, as a person would tell the story.
//!
//! `p` a person (0.95), `w` a weak person (0.62), `n` a person by a hair (0.52 to 0.48), `c` a cat (0.90),
//! `u` unknown, `e` an empty scene (0.97), `.` no frame. Spaces are for the reader. In brackets: a pause (`[30s]`,
//! `[5m]`, `[1h]`), a camera's state (`[offline]`), the clock (`[unsync]`, `[sync]`), `[tick]`, where the next
//! frames come from (`[cam b]`, `[zone porch]`), a break in the camera's time (`[break]`), whether its frames open doors (`[withhold]`,
//! `[trust]`), or a frame captured a second before the newest (`[late p]`); `[again]` repeats the last.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Weekday, time};
use jiff::tz::TimeZone;

use super::*;
use crate::domain::*;

const FRAME: Duration = Duration::from_millis(200);
/// 2026-03-02T12:00:00Z, a Monday.
const NOON_US: i64 = 1_772_452_800_000_000;

pub(super) fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

pub(super) fn label(text: &str) -> Answer {
    Answer::Label(Label::new(text).unwrap())
}

/// A rule that logs each person at once: tests change what they are about.
pub(super) fn log_rule(id: &str) -> Rule {
    Rule {
        id: RuleId::new(id).unwrap(),
        cameras: vec![CameraId::new("cam").unwrap()],
        zone: None,
        trigger: Trigger::Predictions,
        answers: vec![label("person")],
        min_score: Score::new(0.8).unwrap(),
        margin: 0.0,
        agree: agree(1, 1),
        hold: Duration::ZERO,
        during: None,
        cooldown: Duration::ZERO,
        max_per_hour: None,
        actions: vec![Action::Log],
    }
}

/// The same, opening the door `front`.
pub(super) fn grant_rule(id: &str) -> Rule {
    Rule { actions: vec![Action::Authorise(front())], ..log_rule(id) }
}

pub(super) fn front() -> DoorId {
    DoorId::new("front").unwrap()
}

pub(super) fn agree(k: u32, n: u32) -> Agreement {
    Agreement { k, n, within: secs(10.0) }
}

/// `workdays` or `!workdays`: Monday to Friday, 08:00 to 18:00.
pub(super) fn during(name: &str) -> Option<During> {
    let schedule = ScheduleId::new(name.trim_start_matches('!')).unwrap();
    Some(During { schedule, negated: name.starts_with('!') })
}

/// These rules, a presence gap of 3 s, the schedule `workdays` in UTC, `empty` as background.
pub(super) fn set(rules: &[Rule]) -> Arc<RuleSet> {
    let days = Weekday::Monday.cycle_forward().take(5).collect();
    let workdays = Schedule { days, from: time(8, 0, 0, 0), to: time(18, 0, 0, 0) };
    Arc::new(RuleSet {
        timezone: TimeZone::UTC,
        schedules: [(ScheduleId::new("workdays").unwrap(), workdays)].into(),
        rules: rules.to_vec(),
        background: [Label::new("empty").unwrap()].into(),
        presence_gap: secs(3.0),
        places: super::tracks::places(),
    })
}

/// Plays `predictions` to `rules` and expects these decisions: time of the frame in seconds, verdict, rule.
#[track_caller]
pub(super) fn check(rules: &[Rule], predictions: &str, expected: &[&str]) {
    let mut player = Player::new(rules);
    player.play(predictions);
    player.expect(expected);
}

/// An engine, the time and what was decided so far.
pub(super) struct Player {
    pub(super) engine: Engine,
    pub(super) decisions: Vec<Decision>,
    now: Stamp,
    seq: u64,
    camera: CameraId,
    zone: Option<ZoneId>,
    last: Option<Input>,
    run: u32,
    withheld: Option<Withheld>,
}

impl Player {
    pub(super) fn new(rules: &[Rule]) -> Self {
        Self {
            engine: Engine::new(set(rules)),
            decisions: Vec::new(),
            now: Stamp::new(0, NOON_US),
            seq: 0,
            camera: CameraId::new("cam").unwrap(),
            zone: None,
            last: None,
            run: 0,
            withheld: None,
        }
    }

    #[track_caller]
    pub(super) fn expect(&self, expected: &[&str]) {
        let told = |d: &Decision| {
            let seconds = Duration::from_micros(d.frame.stamp.mono_us()).as_secs_f64();
            let rule = d.rule.as_ref().map_or(String::new(), |rule| format!(" ({rule})"));
            format!("{seconds:.1} {}{rule}", d.verdict)
        };
        assert_eq!(self.decisions.iter().map(told).collect::<Vec<_>>(), expected);
    }

    pub(super) fn tell(&mut self, input: &Input) {
        self.decisions.extend(self.engine.step(input, self.now));
    }

    pub(super) fn swap(&mut self, rules: &[Rule]) {
        self.tell(&Input::ConfigSwap(set(rules)));
    }

    pub(super) fn play(&mut self, script: &str) {
        let mut rest = script;
        while let Some(c) = rest.chars().next() {
            rest = &rest[1..];
            match c {
                ' ' => {}
                '.' => self.now = self.now.plus(FRAME),
                '[' => {
                    let (directive, after) = rest.split_once(']').unwrap();
                    self.direct(directive);
                    rest = after;
                }
                frame => {
                    self.frame(frame, self.now);
                    self.now = self.now.plus(FRAME);
                }
            }
        }
    }

    fn frame(&mut self, c: char, stamp: Stamp) {
        let top: &[(&str, f32)] = match c {
            'p' => &[("person", 0.95), ("empty", 0.05)],
            'w' => &[("person", 0.62), ("empty", 0.38)],
            'n' => &[("person", 0.52), ("empty", 0.48)],
            'c' => &[("cat", 0.9), ("empty", 0.1)],
            'u' => &[("person", 0.4), ("empty", 0.3)],
            'e' => &[("empty", 0.97), ("person", 0.03)],
            other => panic!("no such frame: {other}"),
        };
        let prediction = Prediction {
            camera: self.camera.clone(),
            zone: self.zone.clone(),
            frame: FrameRef { run: self.run, ..FrameRef::new(FrameSeq(self.seq), stamp) },
            withheld: self.withheld,
            model: ModelId::new("test").unwrap(),
            top: top.iter().map(|(l, s)| (Label::new(l).unwrap(), Score::new(*s).unwrap())).collect(),
            rejected: c == 'u',
            latency: Duration::from_millis(8),
        };
        self.seq += 1;
        let input = Input::Prediction(prediction);
        self.tell(&input);
        self.last = Some(input);
    }

    fn direct(&mut self, directive: &str) {
        let health = |player: &mut Self, state| {
            let camera = player.camera.clone();
            player.tell(&Input::CameraHealth { camera, state });
        };
        match directive.split_once(' ').unwrap_or((directive, "")) {
            ("offline", _) => health(self, CameraState::Offline),
            ("stalled", _) => health(self, CameraState::Stalled),
            ("online", _) => health(self, CameraState::Online),
            ("sync", _) => self.tell(&Input::ClockSync(true)),
            ("unsync", _) => self.tell(&Input::ClockSync(false)),
            ("again", _) => {
                let last = self.last.clone().unwrap();
                self.tell(&last);
            }
            ("break", _) => self.run += 1,
            ("withhold", _) => self.withheld = Some(Withheld::Unsteady),
            ("trust", _) => self.withheld = None,
            ("tick", _) => self.tell(&Input::Tick),
            ("cam", id) => self.camera = CameraId::new(id).unwrap(),
            ("zone", id) => self.zone = Some(ZoneId::new(id).unwrap()),
            ("late", frame) => {
                let us = self.now.mono_us() - 1_200_000;
                let stamp = Stamp::new(us, NOON_US + i64::try_from(us).unwrap());
                self.frame(frame.chars().next().unwrap(), stamp);
            }
            (pause, _) => {
                let (count, unit) = pause.split_at(pause.len() - 1);
                let unit = match unit {
                    "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    other => panic!("no such directive: {other}"),
                };
                self.now = self.now.plus(secs(count.parse::<f64>().unwrap() * unit));
            }
        }
    }
}
