//! Each stage is hung, one after the other, and has to be named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Select, bounded};

use super::super::blips::Blips;
use super::super::judge::{Judge, JudgeHealth};
use super::*;
use crate::budget::WriteBudget;
use crate::capture::{self, Camera, CaptureError, CommandOutput, Pace, Source};
use crate::clock::{Clock, SystemClock};
use crate::domain::{
    Alert, Answer, CameraId, ClipWish, Decision, DoorId, EventId, Frame, FrameRef, FrameSeq, Look, ModelId,
    NormRect, Observation, Outcome, Region, Score, Verdict,
};
use crate::doors::{Actuator, Doors, Grant, Kind, Mode, Order, Settings, Started};
use crate::evidence::{self, Filer, Ties};
use crate::notify::{self, Outbox, OutboxError, Publisher};
use crate::rules::{Engine, Places, RuleSet};
use crate::shutdown::stop_pair;
use crate::slots::Slots;
use crate::store::{self, Job, Keep, NewEvent, Picture, Recorded, Recorder, Retention, Store};

/// Looks at the beats as they stand, now and past the patience of any part; says what hangs.
fn verdict(mut beats: impl FnMut() -> Vec<Beat>) -> Option<String> {
    let begun = SystemClock.now();
    let mut watchdog = Watchdog::new(Some(Duration::from_secs(30)), begun);
    assert!(watchdog.look(beats(), begun), "nothing hangs at once");
    let later = begun.plus(CLIP_HANGS + HANGS);
    let is_well = watchdog.look(beats(), later);
    let part = watchdog.hanging(later).map(str::to_owned);
    assert_eq!(is_well, part.is_none());
    part
}

/// An actuator that never comes back from opening its door, until the test lets it.
struct Stuck(Receiver<()>);

impl Actuator for Stuck {
    fn start(&mut self, _order: &Order<'_>) -> Started {
        let _ = self.0.recv();
        Started::Ended(Outcome::Opened)
    }
    fn poll(&mut self, _now: Stamp) -> Option<Outcome> {
        None
    }
}

#[test]
fn a_door_that_hangs_is_named_and_systemd_is_not_told_that_all_is_well() {
    let (release, stuck) = bounded::<()>(0);
    let door = DoorId::new("front").unwrap();
    let settings = Settings {
        door: door.clone(),
        mode: Mode::Active,
        max_age: HANGS,
        min_interval: Duration::ZERO,
        trust_arrival: false,
        kind: Kind::Log,
    };
    let doors = Doors::with_actuators([(settings, Box::new(Stuck(stuck)) as Box<dyn Actuator>)]);
    let beat = doors.beat();
    let beats = || vec![Beat::of("doors", beat.load(Ordering::Relaxed))];
    let (grants, inbox) = bounded(0);
    std::thread::scope(|scope| {
        scope.spawn(move || doors.run(&inbox, &SystemClock, &mut |_, _| {}));
        let frame = FrameRef::new(FrameSeq(1), SystemClock.now());
        let event = EventId::from_u128(1);
        let camera = CameraId::new("porch").unwrap();
        grants.send(Grant { event, door, rule: None, camera, frame }).unwrap();
        assert_eq!(verdict(beats).as_deref(), Some("doors"));
        drop((release, grants));
    });
}

#[test]
fn a_worker_that_hangs_is_named_and_one_at_rest_is_not() {
    let slots = Slots::new(1);
    let beats = || vec![Beat::of("worker on camera porch", slots.in_work(0))];
    assert_eq!(verdict(beats), None, "nobody came by for an hour");
    let at = FrameRef::new(FrameSeq(1), Stamp::new(1, 1));
    let frame = Frame::new(CameraId::new("porch").unwrap(), at, 1, 1, vec![0; 3]).unwrap();
    let regions = vec![Region { zone: None, rect: NormRect::FULL }];
    slots.put(0, Look { frame: Arc::new(frame), regions, sighting: None, withheld: None });
    let ticket = slots.take();
    assert_eq!(verdict(beats).as_deref(), Some("worker on camera porch"));
    drop(ticket);
    assert_eq!(verdict(beats), None);
}

#[test]
fn a_recorder_that_hangs_after_a_commit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Keep { age: HANGS, bytes: 1 << 20 };
    let settings = store::Settings {
        path: folder.path().join("events.db"),
        max_bytes: 1 << 24,
        outbox_percent: 50,
        keep_free: 0,
        retention: Retention { authorise: keep, deny: keep, alert: keep, log: keep },
    };
    let recorder = Recorder::new(Store::open(&settings).unwrap(), Arc::new(SystemClock));
    let health = recorder.health();
    let (release, stuck) = bounded::<()>(0);
    let ((jobs, inbox), (_handle, stop)) = (bounded(1), stop_pair());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut after_commit = |_: &Recorded| stuck.recv().err().and(None);
            recorder.run(&inbox, &stop, &mut after_commit)
        });
        jobs.send(Job::Record(event())).unwrap();
        // Counted just before it hangs; nothing beats after that.
        while health.committed() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(verdict(|| vec![Beat::of("recorder", health.beat())]).as_deref(), Some("recorder"));
        drop((release, jobs));
    });
}

fn event() -> NewEvent {
    let at = SystemClock.now();
    let observation = Observation {
        camera: CameraId::new("porch").unwrap(),
        zone: None,
        answer: Answer::Unknown,
        agreed: 1,
        of: 1,
        mean: Score::CERTAIN,
        first: at,
        last: at,
        track: None,
    };
    let decision = Decision {
        rule: None,
        verdict: Verdict::Log,
        observation,
        frame: FrameRef::new(FrameSeq(1), at),
        model: ModelId::watch(),
        top: Vec::new(),
        reason: "a test".to_owned(),
        at,
    };
    let sha256: Arc<str> = "ab".into();
    NewEvent {
        decision,
        model_sha256: Arc::clone(&sha256),
        config_sha256: sha256,
        picture: Picture::None,
        clip: None,
    }
}

#[test]
fn a_camera_that_hangs_while_it_is_opened_is_named() {
    let settings = capture::Settings {
        camera: CameraId::new("porch").unwrap(),
        source: Source::Command { argv: Vec::new(), output: CommandOutput::Mjpeg },
        fps: 5.0,
        width: 16,
        height: 16,
        settle: Duration::ZERO,
        stall_after: HANGS,
        pace: Pace::Realtime,
        looped: false,
    };
    let (release, stuck) = bounded::<()>(0);
    let (opening, opens) = bounded(1);
    let open = move || {
        let _ = opening.try_send(());
        let _ = stuck.recv();
        Err(CaptureError::Missing { path: "/dev/none".into() })
    };
    let camera = Camera::with_open(settings, Arc::new(SystemClock), Box::new(open));
    let counters = camera.counters();
    let (handle, stop) = stop_pair();
    std::thread::scope(|scope| {
        scope.spawn(move || camera.run(&stop, &mut |_| {}, &mut |_, _| {}));
        opens.recv().unwrap();
        let beats = || vec![Beat::of("camera porch", counters.heartbeat_us())];
        assert_eq!(verdict(beats).as_deref(), Some("camera porch"));
        drop((handle, release));
    });
}

#[test]
fn a_part_that_beats_again_or_rests_for_a_while_does_not_hang() {
    let at = |seconds| Stamp::new(0, 0).plus(Duration::from_secs(seconds));
    let mut watchdog = Watchdog::new(Some(Duration::from_secs(30)), at(0));
    assert!(watchdog.look(vec![Beat::of("rules", 1)], at(0)));
    assert!(watchdog.look(vec![Beat::of("rules", 2)], at(19)));
    assert!(watchdog.look(vec![Beat::of("rules", 2)], at(38)));
    assert!(!watchdog.look(vec![Beat::of("rules", 2)], at(40)));
    assert!(watchdog.look(vec![Beat::of("rules", None)], at(41)));
    assert!(watchdog.look(vec![Beat::of("rules", 2)], at(60)), "it had been at rest");
}

/// A clock that never comes back with the time once it is stuck, until the test lets it.
struct StuckClock {
    is_stuck: AtomicBool,
    /// Somebody waits for it.
    holds: AtomicBool,
    release: Receiver<()>,
}

impl StuckClock {
    fn new(is_stuck: bool, release: Receiver<()>) -> Arc<Self> {
        Arc::new(Self { is_stuck: AtomicBool::new(is_stuck), holds: AtomicBool::new(false), release })
    }
}

impl Clock for StuckClock {
    fn now(&self) -> Stamp {
        if self.is_stuck.load(Ordering::Acquire) {
            self.holds.store(true, Ordering::Release);
            let _ = self.release.recv();
        }
        SystemClock.now()
    }
}

fn no_rules() -> RuleSet {
    RuleSet {
        timezone: jiff::tz::TimeZone::UTC,
        schedules: BTreeMap::new(),
        rules: Vec::new(),
        background: BTreeSet::new(),
        presence_gap: HANGS,
        places: Places::default(),
    }
}

#[test]
fn rules_that_hang_are_named() {
    let (release, stuck) = bounded::<()>(0);
    let clock = StuckClock::new(true, stuck);
    let (jobs, _recorder) = bounded(1);
    let health = Arc::<JudgeHealth>::default();
    let judge = Judge {
        engine: Engine::new(Arc::new(no_rules())),
        clock,
        jobs,
        states: None,
        health: Arc::clone(&health),
        model_sha256: "ab".into(),
        detector: None,
        tracking: crate::track::Settings::default(),
        trackers: BTreeMap::new(),
        runs: BTreeMap::new(),
        config_sha256: "ab".into(),
        persons: BTreeMap::new(),
        blips: Blips::default(),
        wishes: Arc::default(),
    };
    let (to_rules, inbox) = bounded(0);
    let (_handle, stop) = stop_pair();
    std::thread::scope(|scope| {
        scope.spawn(move || judge.run(&inbox, &stop));
        let beats = || vec![Beat::of("rules", health.beat.load(Ordering::Relaxed))];
        assert_eq!(verdict(beats).as_deref(), Some("rules"));
        drop((release, to_rules));
    });
}

/// An outbox without rows.
struct Empty;

impl Outbox for Empty {
    fn pending(&mut self, _after_row: i64, _limit: usize) -> Result<Vec<Alert>, OutboxError> {
        Ok(Vec::new())
    }
    fn delivered(&mut self, _rows: &[i64]) {}
}

#[test]
fn a_publisher_that_hangs_is_named() {
    // A broker that takes the connection and says nothing.
    let broker = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let settings = notify::Settings {
        host: "127.0.0.1".to_owned(),
        port: broker.local_addr().unwrap().port(),
        tls: None,
        login: None,
        prefix: "portero".to_owned(),
        discovery_prefix: None,
        client_id: "a-test".to_owned(),
        site: "a test".to_owned(),
        tamper: Vec::new(),
    };
    let (release, stuck) = bounded::<()>(0);
    let clock = StuckClock::new(false, stuck);
    let timing = notify::Timing::default();
    let (publisher, handles) =
        Publisher::new(settings, timing, Vec::new(), Box::new(Empty), Arc::clone(&clock) as Arc<dyn Clock>);
    let (handle, stop) = stop_pair();
    std::thread::scope(|scope| {
        scope.spawn(move || publisher.run(&stop));
        while handles.counters.heartbeat_us() == 0 {
            std::thread::yield_now();
        }
        clock.is_stuck.store(true, Ordering::Release);
        // It turns ten times a second while it waits for the broker, and asks for the time.
        while !clock.holds.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let beats = || vec![Beat::of("publisher", handles.counters.heartbeat_us())];
        assert_eq!(verdict(beats).as_deref(), Some("publisher"));
        clock.is_stuck.store(false, Ordering::Release);
        drop((handle, release));
    });
}

#[test]
fn a_clip_keeper_that_hangs_is_named() {
    // The filer never takes the clip that is handed to it.
    let (films, filer) = bounded(0);
    let counters = Arc::<evidence::Counters>::default();
    let porch = CameraId::new("porch").unwrap();
    let no_time = ClipWish { before: Duration::ZERO, after: Duration::ZERO };
    let (keeper, feed, orders) =
        evidence::keeper(BTreeMap::new(), 1 << 20, films, &counters, Arc::new(SystemClock));
    let (handle, stop) = stop_pair();
    std::thread::scope(|scope| {
        scope.spawn(move || keeper.run(&stop));
        assert!(orders.clip(EventId::from_u128(1), &porch, Stamp::new(0, 0), no_time));
        // The clip is offered, and not taken.
        let mut offered = Select::new();
        offered.recv(&filer);
        offered.ready();
        let beats = || vec![Beat::of_clips("clip keeper", counters.turns()[0])];
        assert_eq!(verdict(beats).as_deref(), Some("clip keeper"));
        drop((filer, feed, handle));
    });
}

#[test]
fn a_clip_filer_that_hangs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let settings = evidence::Settings {
        folder: folder.path().to_owned(),
        max_bytes: 1 << 20,
        age: HANGS,
        keep_free: 0,
        memory: 1 << 20,
    };
    let (release, stuck) = bounded::<()>(0);
    let (asked, is_asked) = bounded(1);
    let ties = Ties {
        budget: Arc::new(WriteBudget::default()),
        is_pressed: Box::new(move || {
            let _ = asked.try_send(());
            stuck.recv().is_ok()
        }),
        report: Box::new(|_| Ok(())),
    };
    let counters = Arc::<evidence::Counters>::default();
    let filer = Filer::new(&settings, ties, &counters, Arc::new(SystemClock));
    let ((films, made), (_handle, stop)) = (bounded(1), stop_pair());
    std::thread::scope(|scope| {
        scope.spawn(move || filer.run(&made, &stop));
        is_asked.recv().unwrap();
        let beats = || vec![Beat::of_clips("clip filer", counters.turns()[1])];
        assert_eq!(verdict(beats).as_deref(), Some("clip filer"));
        drop((films, release));
    });
}
