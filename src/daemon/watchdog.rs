//! Does every part of the daemon still turn?
//!
//! Each part has a number that changes while it works, its beat, or is at rest, waiting for work without turning. A beat
//! that stands for too long is a part that hangs: then systemd's watchdog is left alone, and systemd starts the daemon
//! anew.

use std::time::Duration;

use log::error;

use crate::domain::Stamp;

/// A part whose beat has stood for this long hangs.
const HANGS: Duration = Duration::from_secs(20);
/// The makers of clips may be busy with one clip for so long: what they do is not urgent, and a slow machine takes its
/// time.
const CLIP_HANGS: Duration = Duration::from_secs(300);

/// What is known of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    part: String,
    /// `None` while it is at rest.
    count: Option<u64>,
    patience: Duration,
}

impl Beat {
    /// A part that always turns, or is at rest while `count` is `None`.
    pub(super) fn of(part: impl Into<String>, count: impl Into<Option<u64>>) -> Self {
        Self { part: part.into(), count: count.into(), patience: HANGS }
    }

    /// A maker of clips.
    pub(super) fn of_clips(part: &str, count: u64) -> Self {
        Self { patience: CLIP_HANGS, ..Self::of(part, count) }
    }
}

/// Remembers since when each beat stands.
pub(super) struct Watchdog {
    period: Option<Duration>,
    last: Stamp,
    known: Vec<(Beat, Stamp)>,
}

impl Watchdog {
    /// `period`: how often systemd wants to hear of us; `None` when it does not.
    pub(super) fn new(period: Option<Duration>, now: Stamp) -> Self {
        Self { period, last: now, known: Vec::new() }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Stamp) -> bool {
        self.period.is_some_and(|period| now.since(self.last) >= period / 3)
    }

    /// Takes in all beats. Returns whether systemd may be told that all is well; else the part that hangs is named in the
    /// log.
    pub(super) fn look(&mut self, beats: Vec<Beat>, now: Stamp) -> bool {
        self.last = now;
        let before = std::mem::take(&mut self.known);
        self.known = beats
            .into_iter()
            .map(|beat| {
                let since = before.iter().find(|(known, _)| *known == beat && beat.count.is_some());
                let since = since.map_or(now, |(_, since)| *since);
                (beat, since)
            })
            .collect();
        let hangs = self.hanging(now);
        if let Some(part) = hangs {
            error!("the {part} hangs: the watchdog is left alone");
        }
        hangs.is_none()
    }

    /// The first part that hangs.
    fn hanging(&self, now: Stamp) -> Option<&str> {
        let hangs = |(beat, since): &&(Beat, Stamp)| now.since(*since) > beat.patience;
        self.known.iter().find(hangs).map(|(beat, _)| beat.part.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::capture::{self, Camera, CaptureError, CommandOutput, Pace, Source};
    use crate::clock::{Clock, SystemClock};
    use crate::domain::{
        Answer, CameraId, Decision, DoorId, EventId, Frame, FrameRef, FrameSeq, Look, ModelId, NormRect,
        Observation, Outcome, Region, Score, Verdict,
    };
    use crate::doors::{Actuator, Doors, Grant, Kind, Mode, Order, Settings, Started};
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
}
