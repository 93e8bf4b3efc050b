//! What limits need of the record: it survives a restart, a boot, a clock that was never set, and retention.

use std::time::Duration;

use portero::domain::{Outcome, Severity, Stamp};
use portero::store::{Keep, Store};

use super::{DAY, alert, at, grant, log_event, settings};

const HOUR: Duration = Duration::from_secs(3600);

/// What the wall clock says `seconds` after the day, on a machine that was booted a second ago: before any event by its monotonic clock.
fn booted(seconds: u64) -> Stamp {
    Stamp::new(1_000_000, at(seconds).wall_us())
}

#[test]
fn ages_are_known_after_a_boot_and_one_firing_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(folder.path())).unwrap();
    // Both of one firing; then another, and one of days ago.
    store
        .record(vec![log_event(0), grant(200_000), alert(Severity::Info, 200_000, 0), grant(200_600)])
        .unwrap();
    let now = booted(200_601 + 1800);
    let history = store.history(now).unwrap();
    let ages: Vec<u64> = history.firings.iter().map(|firing| now.since(firing.at).as_secs()).collect();
    assert_eq!(ages, [202_400, 2_400, 1_800], "the last of before, and each of the last hour once");
    let [opening] = history.openings.as_slice() else { panic!("{history:?}") };
    assert_eq!(now.since(opening.at), HOUR / 2);
}

#[test]
fn a_clock_that_was_never_set_makes_no_limit_look_old() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(folder.path())).unwrap();
    store.record(vec![grant(100)]).unwrap();
    let now = Stamp::new(10_000_000, 0);
    let history = store.history(now).unwrap();
    assert_eq!(now.since(history.firings[0].at), Duration::ZERO, "it counts as just now");
    assert_eq!(now.since(history.openings[0].at), Duration::ZERO);
}

#[test]
fn a_wall_clock_that_was_set_forward_ends_no_limit_of_this_boot() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(folder.path())).unwrap();
    store.record(vec![grant(100), grant(400)]).unwrap();
    // Ten minutes later by the monotonic clock, two days by the wall clock.
    let later = Stamp::new(at(1_000).mono_us(), at(172_800).wall_us());
    let ages = |history: portero::store::History| -> Vec<u64> {
        history.firings.iter().map(|firing| later.since(firing.at).as_secs()).collect()
    };
    let history = store.history(later).unwrap();
    assert_eq!(later.since(history.openings[0].at).as_secs(), 599, "it was decided a moment after its frame");
    assert_eq!(ages(history), [899, 599], "an hourly budget counts both");

    // The same record, read after another boot: only the wall clock is left to ask.
    let shell = rusqlite::Connection::open(&settings(folder.path()).path).unwrap();
    shell.execute("UPDATE event SET boot = 'of-yesterday'", []).unwrap();
    drop(shell);
    assert_eq!(ages(store.history(later).unwrap()), [172_399]);
}

#[test]
fn what_an_older_version_recorded_is_not_forgotten_for_its_lack_of_a_boot() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(folder.path())).unwrap();
    store.record(vec![grant(0), grant(200_000)]).unwrap();
    let shell = rusqlite::Connection::open(&settings(folder.path()).path).unwrap();
    shell.execute("UPDATE event SET boot = NULL", []).unwrap();
    drop(shell);
    let now = booted(300_000);
    let history = store.history(now).unwrap();
    assert_eq!(now.since(history.openings[0].at).as_secs(), 99_999);
    let [firing] = history.firings.as_slice() else { panic!("{history:?}") };
    assert_eq!(now.since(firing.at).as_secs(), 99_999, "a cooldown of days goes on over an upgrade");
}

#[test]
fn only_what_was_refused_does_not_count_as_an_opening() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let outcomes = [
        (Outcome::Opened, true),
        (Outcome::Observed, true),
        (Outcome::Failed("no answer".into()), true),
        (Outcome::Unknown, true),
        (Outcome::Refused("busy".into()), false),
    ];
    let mut store = Store::open(&settings).unwrap();
    for (seconds, (outcome, counts)) in (0..).step_by(10).zip(outcomes) {
        let id = store.record(vec![grant(seconds)]).unwrap()[0].event.id;
        store.set_outcome(id, outcome.clone()).unwrap();
        let opening = &store.history(booted(1000)).unwrap().openings[0];
        assert_eq!(opening.event == id, counts, "{outcome:?}");
    }
    // What a crash leaves open may have opened the door.
    let id = store.record(vec![grant(90)]).unwrap()[0].event.id;
    drop(store);
    let store = Store::open(&settings).unwrap();
    assert_eq!(store.history(booted(1000)).unwrap().openings[0].event, id);
}

#[test]
fn retention_leaves_what_a_limit_still_needs() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.retention.authorise = Keep { age: Duration::ZERO, bytes: 0 };
    let mut store = Store::open(&settings).unwrap();
    for seconds in [0, 7_200, 7_300] {
        let id = store.record(vec![grant(seconds)]).unwrap()[0].event.id;
        store.set_outcome(id, Outcome::Opened).unwrap();
    }
    prune_all(&mut store, at(7_400).wall_us());
    let left = |store: &Store| store.history(booted(7_400)).unwrap().firings.len();
    prune_all(&mut store, i64::MIN); // a clock that nobody trusts
    assert_eq!(left(&store), 2, "those of the last hour stay");
    prune_all(&mut store, at(7_400).wall_us() + i64::try_from(DAY.as_micros()).unwrap());
    assert_eq!(left(&store), 1, "the last of a rule at a camera stays, for its cooldown");
}

#[test]
fn a_wall_clock_that_was_set_forward_lets_no_grant_go_that_a_limit_still_needs() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.retention.authorise = Keep { age: Duration::ZERO, bytes: 0 };
    let mut store = Store::open(&settings).unwrap();
    for seconds in [100, 200, 4_000] {
        let id = store.record(vec![grant(seconds)]).unwrap()[0].event.id;
        store.set_outcome(id, Outcome::Opened).unwrap();
    }
    // Some minutes later by the monotonic clock, days by the wall clock.
    let now = Stamp::new(at(3_750).mono_us(), at(10 * 86_400).wall_us());
    let left = |store: &Store| store.history(Stamp::new(at(4_000).mono_us(), 0)).unwrap().firings.len();
    while store.prune(now.wall_us(), now.mono_us()).unwrap().more {}
    assert_eq!(left(&store), 2, "that of 200 s and the newest");
}

fn prune_all(store: &mut Store, now_wall_us: i64) {
    while store.prune(now_wall_us, 0).unwrap().more {}
}
