//! The age of frames is checked last, and limits hold over a restart.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portero::clock::Clock;
use portero::domain::{DoorId, EventId, FrameClock, Outcome, Stamp};
use portero::doors::{Grant, Kind, Mode, Settings};

use super::{Link, at, door, doors, grant, mqtt, noon};

const SECOND: Duration = Duration::from_secs(1);

/// A clock that runs on by a second whenever it is asked: as if everything took that long.
struct Slow(AtomicU64);

impl Clock for Slow {
    fn now(&self) -> Stamp {
        noon().plus(SECOND * u32::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap())
    }
}

#[test]
fn a_frame_that_grows_too_old_after_the_door_has_judged_it_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("opened");
    let argv = vec!["touch".to_owned(), mark.to_string_lossy().into_owned()];
    let kinds = [Kind::Log, mqtt(), Kind::Command { argv, time_limit: 5 * SECOND }];
    for kind in kinds {
        let (link, max_age) = (Link::default(), 500 * Duration::from_millis(1));
        let mut doors = doors(vec![Settings { max_age, ..door("front", Mode::Active, kind.clone()) }], &link);
        let outcome = doors.act(&grant(1, "front", noon()), &Slow(AtomicU64::new(0))).unwrap();
        assert_eq!(
            outcome.detail(),
            Some("stale: the frame is 1.0s old, at most 500.0ms is allowed"),
            "{kind:?}"
        );
        assert_eq!(outcome.kind(), "refused");
        assert!(link.sent.lock().unwrap().is_empty());
    }
    assert!(!mark.exists());
}

#[test]
fn the_link_is_told_until_when_a_command_may_be_written() {
    let link = Link::default();
    let mut doors = doors(vec![door("front", Mode::Active, mqtt())], &link);
    let frame = noon();
    let later = at(frame.plus(2 * SECOND));
    assert_eq!(doors.act(&grant(1, "front", frame), &later), Some(Outcome::Opened));
    assert_eq!(
        *link.deadlines.lock().unwrap(),
        [frame.plus(3 * SECOND)],
        "from the frame, not from the grant"
    );
}

#[test]
fn a_frame_from_the_future_opens_nothing() {
    let mut doors = doors(vec![door("front", Mode::Active, Kind::Log)], &Link::default());
    let ahead = grant(1, "front", noon().plus(2 * SECOND));
    let refused = doors.act(&ahead, &at(noon())).unwrap();
    assert_eq!(refused, Outcome::Refused("its frame lies 2.0s in the future".to_owned()));
}

#[test]
fn a_frame_of_unknown_age_opens_only_a_door_that_trusts_its_arrival() {
    let dated = grant(1, "front", noon());
    let mut frame = dated.frame;
    frame.clock = FrameClock::Arrival;
    let undated = Grant { frame, ..dated };
    let careful = door("front", Mode::Active, Kind::Log);
    let refused = doors(vec![careful.clone()], &Link::default()).act(&undated, &at(noon())).unwrap();
    let why = refused.detail().unwrap();
    assert_eq!(refused.kind(), "refused");
    assert!(
        why.contains("camera porch does not date its pictures") && why.contains("trust_arrival = true"),
        "{why}"
    );
    let trusting = Settings { trust_arrival: true, ..careful };
    let opened = doors(vec![trusting], &Link::default()).act(&undated, &at(noon()));
    assert_eq!(opened, Some(Outcome::Opened));
}

#[test]
fn the_interval_of_a_door_goes_on_over_a_restart_and_a_boot() {
    let settings = Settings { min_interval: 3600 * SECOND, ..door("front", Mode::Active, Kind::Log) };
    let mut doors = doors(vec![settings], &Link::default());
    let name = DoorId::new("front").unwrap();
    // Half an hour ago, on a frame that may have aged until 3 s later; the machine was booted a minute ago.
    let clock = at(noon());
    doors.resume(&name, EventId::from_u128(1), noon().minus(1800 * SECOND), &clock);
    let refused = doors.act(&grant(2, "front", noon()), &clock).unwrap();
    assert!(refused.detail().unwrap().starts_with("busy: the door was opened 1797.0s ago"), "{refused:?}");
    let later = noon().plus(1803 * SECOND);
    assert_eq!(doors.act(&grant(3, "front", later), &at(later)), Some(Outcome::Opened));
}

#[test]
fn no_interval_begins_before_the_last_opening_of_the_run_before_can_have_ended() {
    let argv = vec!["true".to_owned()];
    let kinds = [(mqtt(), 8), (Kind::Command { argv, time_limit: 5 * SECOND }, 12)];
    for (kind, longest) in kinds {
        let settings = Settings { min_interval: 60 * SECOND, ..door("front", Mode::Observe, kind) };
        let mut doors = doors(vec![settings], &Link::default());
        let granted = noon().minus(60 * SECOND);
        doors.resume(&DoorId::new("front").unwrap(), EventId::from_u128(1), granted, &at(noon()));
        let refused = doors.act(&grant(2, "front", noon()), &at(noon())).unwrap();
        let why =
            format!("busy: the door was opened {}.0s ago, it may be opened once every 60.0s", 60 - longest);
        assert_eq!(refused.detail(), Some(why.as_str()));
        let later = noon().plus(longest * SECOND);
        assert_eq!(doors.act(&grant(3, "front", later), &at(later)), Some(Outcome::Observed));
    }
}
