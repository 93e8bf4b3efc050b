//! Doors: what is refused before anything is done, and real programs that behave and misbehave.

mod limits;
mod programs;
mod restart;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use portero::clock::{Clock, ManualClock, SystemClock};
use portero::domain::{CameraId, DoorId, EventId, FrameRef, FrameSeq, Outcome, RuleId, Stamp};
use portero::doors::{Actuator, CommandLink, Doors, Grant, Kind, LinkDown, Mode, Order, Settings, Started};
use serde_json::Value;

use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

fn door(name: &str, mode: Mode, kind: Kind) -> Settings {
    Settings {
        door: DoorId::new(name).unwrap(),
        mode,
        max_age: Duration::from_secs(3),
        min_interval: Duration::from_secs(1),
        trust_arrival: false,
        kind,
    }
}

fn grant(event: u128, name: &str, frame: Stamp) -> Grant {
    Grant {
        event: EventId::from_u128(event),
        door: DoorId::new(name).unwrap(),
        rule: RuleId::new("staff").ok(),
        camera: CameraId::new("porch").unwrap(),
        frame: FrameRef::new(FrameSeq(1), frame),
    }
}

/// A clock that stands at this moment.
fn at(now: Stamp) -> ManualClock {
    ManualClock::new(now)
}

fn doors(settings: Vec<Settings>, link: &Link) -> Doors {
    Doors::new(settings, Box::new(link.clone()), Path::new(env!("CARGO_BIN_EXE_portero")))
}

/// A connection to the broker that answers what it was told to, and remembers.
#[derive(Clone, Default)]
struct Link {
    sent: Arc<Mutex<Vec<(String, Value)>>>,
    answers: Arc<Mutex<VecDeque<Result<(), LinkDown>>>>,
    deadlines: Arc<Mutex<Vec<Stamp>>>,
}

impl CommandLink for Link {
    fn send(&self, topic: &str, payload: Vec<u8>, deadline: Stamp) -> Result<(), LinkDown> {
        self.deadlines.lock().unwrap().push(deadline);
        self.sent.lock().unwrap().push((topic.to_owned(), serde_json::from_slice(&payload).unwrap()));
        self.answers.lock().unwrap().pop_front().unwrap_or(Ok(()))
    }
}

fn mqtt() -> Kind {
    Kind::Mqtt { topic: "portero/door/front/command".to_owned(), expires_after: Duration::from_secs(5) }
}

/// 2026-11-24 12:00:00.250 UTC.
fn noon() -> Stamp {
    Stamp::new(60_000_000, 1_795_521_600_250_000)
}

#[test]
fn a_door_command_is_complete_and_expires() {
    let link = Link::default();
    let patient = Settings { max_age: PATIENCE, ..door("front", Mode::Active, mqtt()) };
    let mut doors = doors(vec![patient], &link);
    let event = 0x0192_0000_0000_7000_8000_0000_0000_0001;
    assert_eq!(doors.act(&grant(event, "front", noon()), &at(noon())), Some(Outcome::Opened));
    let sent = link.sent.lock().unwrap();
    let expected = serde_json::json!({
        "v": 1,
        "command": "open",
        "id": "01920000-0000-7000-8000-000000000001",
        "door": "front",
        "issued_at": "2026-11-24T12:00:00.250Z",
        "expires_at": "2026-11-24T12:00:05.250Z",
    });
    assert_eq!(*sent, [("portero/door/front/command".to_owned(), expected)]);
}

#[test]
fn no_receiver_may_obey_a_command_after_the_deadline_of_its_grant() {
    let link = Link::default();
    let mut doors = doors(vec![door("front", Mode::Active, mqtt())], &link);
    let later = at(noon().plus(Duration::from_secs(2)));
    assert_eq!(doors.act(&grant(1, "front", noon()), &later), Some(Outcome::Opened));
    let sent = link.sent.lock().unwrap();
    assert_eq!(sent[0].1["issued_at"], "2026-11-24T12:00:02.250Z");
    assert_eq!(sent[0].1["expires_at"], "2026-11-24T12:00:03.250Z", "the frame is 3 s old then");
}

#[test]
fn an_opening_that_was_refused_in_the_end_begins_no_interval() {
    let (end, ends) = bounded(1);
    let slow = (door("slow", Mode::Active, Kind::Log), Box::new(Slow(ends)) as Box<dyn Actuator>);
    let mut doors = Doors::with_actuators([slow]);
    assert_eq!(doors.act(&grant(1, "slow", noon()), &at(noon())), None);
    end.send(Outcome::Refused("stale".to_owned())).unwrap();
    assert_eq!(doors.poll(noon()).len(), 1);
    assert_eq!(doors.act(&grant(2, "slow", noon()), &at(noon())), None, "nothing was opened");
}

#[test]
fn without_a_connection_the_command_is_refused_and_never_sent_later() {
    let link = Link::default();
    link.answers.lock().unwrap().extend([
        Err(LinkDown::NotSent("no live connection".to_owned())),
        Err(LinkDown::Unconfirmed("no answer".to_owned())),
    ]);
    let mut doors = doors(vec![door("front", Mode::Active, mqtt())], &link);
    let refused = doors.act(&grant(1, "front", noon()), &at(noon()));
    assert_eq!(refused, Some(Outcome::Refused("no live connection".to_owned())));
    // A refusal is no opening: the next grant need not wait. What may have arrived is not called refused, and counts.
    let failed = doors.act(&grant(2, "front", noon()), &at(noon()));
    assert_eq!(failed, Some(Outcome::Failed("no answer".to_owned())));
    let again = doors.act(&grant(3, "front", noon()), &at(noon())).unwrap();
    assert!(again.detail().unwrap().starts_with("busy: the door was opened"), "{again:?}");
    assert!(doors.poll(noon().plus(PATIENCE)).is_empty());
    assert_eq!(link.sent.lock().unwrap().len(), 2, "one try each");
}

#[test]
fn stale_unknown_and_too_frequent_grants_are_refused() {
    let link = Link::default();
    let mut doors = doors(vec![door("front", Mode::Active, mqtt())], &link);
    let mut act = |name, age_ms: u64, now: Stamp| {
        let frame = Stamp::new(now.mono_us() - age_ms * 1000, 0);
        match doors.act(&grant(1, name, frame), &at(now)) {
            Some(Outcome::Refused(why)) => why,
            other => format!("{other:?}"),
        }
    };
    let after = |ms| noon().plus(Duration::from_millis(ms));
    assert_eq!(act("back", 0, noon()), "there is no door back");
    assert_eq!(act("front", 3_001, noon()), "stale: the frame is 3.0s old, at most 3.0s is allowed");
    assert_eq!(act("front", 3_000, noon()), "Some(Opened)", "the bound itself is allowed");
    assert!(act("front", 0, after(999)).starts_with("busy"), "a relay is not made to chatter");
    assert_eq!(act("front", 0, after(1_000)), "Some(Opened)");
    assert_eq!(link.sent.lock().unwrap().len(), 2);
}

#[test]
fn a_clock_that_is_set_makes_no_grant_fresh() {
    let mut doors = doors(vec![door("front", Mode::Active, Kind::Log)], &Link::default());
    let frame = noon();
    let set_back = Stamp::new(frame.mono_us() + 10_000_000, frame.wall_us() - 3_600_000_000);
    let outcome = doors.act(&grant(1, "front", frame), &at(set_back)).unwrap();
    assert_eq!(outcome.kind(), "refused");
}

#[test]
fn observing_judges_like_opening_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let touched = folder.path().join("opened");
    let argv = vec!["touch".to_owned(), touched.to_string_lossy().into_owned()];
    let touch = Kind::Command { argv, time_limit: PATIENCE };
    let link = Link::default();
    let settings = vec![
        door("front", Mode::Observe, mqtt()),
        door("back", Mode::Observe, touch.clone()),
        door("side", Mode::Active, touch),
    ];
    let mut doors = doors(settings, &link);
    for name in ["front", "back"] {
        assert_eq!(doors.act(&grant(1, name, noon()), &at(noon())), Some(Outcome::Observed));
        let later = noon().plus(Duration::from_secs(4));
        assert_eq!(
            doors.act(&grant(2, name, noon()), &at(later)).unwrap().kind(),
            "refused",
            "stale, as in earnest"
        );
    }
    assert!(!doors.is_busy() && !touched.exists());
    assert!(link.sent.lock().unwrap().is_empty());

    // The same door in earnest does touch it: the check above can fail.
    let clock = SystemClock;
    assert_eq!(doors.act(&grant(3, "side", clock.now()), &clock), None);
    wait_until("the door's program", PATIENCE, || {
        doors.poll(clock.now()) == [(EventId::from_u128(3), Outcome::Opened)]
    });
    assert!(touched.exists());
}

/// An opening that lasts until the test says how it ended.
struct Slow(Receiver<Outcome>);

impl Actuator for Slow {
    fn start(&mut self, _order: &Order<'_>) -> Started {
        Started::Running
    }

    fn poll(&mut self, _now: Stamp) -> Option<Outcome> {
        self.0.try_recv().ok()
    }
}

#[test]
fn a_slow_door_holds_up_nobody_but_itself() {
    let (end, ends) = bounded(1);
    let slow = (door("slow", Mode::Active, Kind::Log), Box::new(Slow(ends)) as Box<dyn Actuator>);
    let (second, seconds) = bounded(1);
    let other = (door("other", Mode::Active, Kind::Log), Box::new(Slow(seconds)) as Box<dyn Actuator>);
    let mut doors = Doors::with_actuators([slow, other]);
    assert_eq!(doors.act(&grant(1, "slow", noon()), &at(noon())), None);
    let busy = doors.act(&grant(2, "slow", noon()), &at(noon())).unwrap();
    assert_eq!(busy, Outcome::Refused("busy: the door is just being opened".to_owned()));
    assert_eq!(doors.act(&grant(3, "other", noon()), &at(noon())), None, "another door opens meanwhile");

    second.send(Outcome::Opened).unwrap();
    assert_eq!(doors.poll(noon()), [(EventId::from_u128(3), Outcome::Opened)]);
    end.send(Outcome::Failed("jammed".to_owned())).unwrap();
    let ended = noon().plus(Duration::from_secs(1));
    assert_eq!(doors.poll(ended), [(EventId::from_u128(1), Outcome::Failed("jammed".to_owned()))]);
    let soon = ended.plus(Duration::from_millis(500));
    assert_eq!(
        doors.act(&grant(4, "slow", soon), &at(soon)).unwrap().kind(),
        "refused",
        "counted from its end"
    );
}

#[test]
fn the_loop_reports_each_grant_and_ends_with_its_channel() {
    let (end, ends) = bounded(1);
    let slow = (door("slow", Mode::Active, Kind::Log), Box::new(Slow(ends)) as Box<dyn Actuator>);
    let quick = door("quick", Mode::Active, Kind::Log);
    struct Quick;
    impl Actuator for Quick {
        fn start(&mut self, _order: &Order<'_>) -> Started {
            Started::Ended(Outcome::Opened)
        }
        fn poll(&mut self, _now: Stamp) -> Option<Outcome> {
            None
        }
    }
    let doors = Doors::with_actuators([slow, (quick, Box::new(Quick) as Box<dyn Actuator>)]);
    let beat = doors.beat();
    let clock = SystemClock;
    let (grants, inbox) = bounded(1);
    let (report, reports) = bounded(8);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            doors.run(&inbox, &clock, &mut |event, outcome| report.send((event.as_u128(), outcome)).unwrap());
        });
        grants.send(grant(1, "slow", clock.now())).unwrap();
        grants.send(grant(2, "quick", clock.now())).unwrap();
        assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), (2, Outcome::Opened));
        let before = beat.load(Ordering::Relaxed);
        wait_until("heartbeats", PATIENCE, || beat.load(Ordering::Relaxed) > before + 2);
        drop(grants);
        end.send(Outcome::Opened).unwrap();
        assert_eq!(reports.recv_timeout(PATIENCE).unwrap(), (1, Outcome::Opened), "seen to its end");
    });
    assert!(reports.recv().is_err(), "nothing else was reported");
}

#[test]
fn a_grant_that_finds_no_hand_is_refused_at_once() {
    let (grants, inbox) = bounded(1);
    let clock = ManualClock::new(noon());
    assert_eq!(grant(1, "front", clock.now()).hand_over(&grants), None);
    let busy = grant(2, "front", clock.now()).hand_over(&grants).unwrap();
    assert!(busy.detail().unwrap().starts_with("busy"), "{busy:?}");
    drop(inbox);
    assert_eq!(grant(3, "front", clock.now()).hand_over(&grants).unwrap().kind(), "refused");
}
