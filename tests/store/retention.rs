//! Retention: by age, by size per verdict and in all; never what still waits.

use std::time::Duration;

use portero::domain::Severity;
use portero::store::{Keep, PruneReport, Reader, Store};

use super::{DAY, MIB, alert, at, grant, log_event, settings};

/// Prunes until there is nothing more to do.
fn prune_all(store: &mut Store, now_wall_us: i64) -> PruneReport {
    let mut total = PruneReport { more: true, ..PruneReport::default() };
    while total.more {
        let step = store.prune(now_wall_us, 0).unwrap();
        total.bytes += step.bytes;
        total.more = step.more;
        total.deleted.iter_mut().zip(step.deleted).for_each(|(sum, n)| *sum += n);
    }
    total
}

fn deliver_all(store: &mut Store, reader: &Reader) {
    let rows: Vec<i64> = reader.outbox_after(0, usize::MAX).unwrap().iter().map(|a| a.row).collect();
    store.delivered(&rows, at(0)).unwrap();
}

#[test]
fn each_verdict_is_kept_for_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.retention.log.age = Duration::from_secs(100);
    settings.retention.authorise.age = 2 * DAY;
    let mut store = Store::open(&settings).unwrap();
    let batch = (0..1000).map(log_event).chain([grant(0), grant(0)]).collect();
    let recorded = store.record(batch).unwrap();
    for grant in &recorded[1000..1001] {
        store.set_outcome(grant.event.id, portero::domain::Outcome::Opened).unwrap();
    }
    let reader = Reader::open(&settings.path).unwrap();

    // Decided at 1..=1000 s; kept is what was decided in the last 100 s.
    let report = prune_all(&mut store, at(1000).wall_us());
    assert_eq!(report.deleted, [0, 0, 0, 899]);
    assert_eq!(reader.counts().unwrap().total(), 103);
    let report = prune_all(&mut store, at(3 * 86_400).wall_us());
    assert_eq!(report.deleted, [1, 0, 0, 101], "the pending grant stays");
}

#[test]
fn the_oldest_of_a_verdict_go_when_it_takes_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.retention.alert = Keep { age: 30 * DAY, bytes: MIB };
    let mut store = Store::open(&settings).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    for i in 0..40 {
        store.record(vec![alert(Severity::Info, i, 100_000), log_event(i)]).unwrap();
    }
    deliver_all(&mut store, &reader);
    assert!(store.over_bounds());
    let report = prune_all(&mut store, at(50).wall_us());
    assert_eq!(report.deleted, [0, 0, 30, 0]);
    assert!(!store.over_bounds());
    let counts = reader.counts().unwrap();
    assert_eq!((counts.snapshots, counts.total()), (10, 50), "pictures go with their events");
    let oldest = reader
        .events(
            &portero::store::Filter { verdict: Some("alert".into()), ..Default::default() },
            1,
            portero::store::Order::OldestFirst,
        )
        .unwrap();
    assert_eq!(oldest[0].event.decision.frame.seq.0, 30);
}

#[test]
fn the_file_stays_within_its_bound_and_shrinks() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    for i in 0..60 {
        store.record(vec![alert(Severity::Info, i, 200_000)]).unwrap();
    }
    deliver_all(&mut store, &reader);
    store.close().unwrap();
    let before = std::fs::metadata(&settings.path).unwrap().len();
    assert!(before > 11 * MIB, "{before}");

    settings.max_bytes = 4 * MIB;
    let mut store = Store::open(&settings).unwrap();
    assert!(store.over_bounds());
    let step = store.prune(at(100).wall_us(), 0).unwrap();
    assert!(step.more && step.bytes < 9 * MIB, "one step is small: {step:?}");
    prune_all(&mut store, at(100).wall_us());
    assert!(!store.over_bounds());
    store.close().unwrap();
    let after = std::fs::metadata(&settings.path).unwrap().len();
    assert!(after <= 4 * MIB, "{after}");
    let left = reader.counts().unwrap().total();
    assert!((15..=20).contains(&left), "{left} of 200 kB each");
}

#[test]
fn what_waits_for_the_broker_is_never_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    let nothing = Keep { age: Duration::ZERO, bytes: 0 };
    settings.retention.alert = nothing;
    settings.retention.log = nothing;
    let mut store = Store::open(&settings).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    store
        .record((0..300).map(|i| alert(Severity::Warning, i, 1000)).chain([log_event(1)]).collect())
        .unwrap();
    assert_eq!(prune_all(&mut store, i64::MAX).deleted, [0, 0, 0, 1]);
    assert_eq!(reader.outbox_after(0, usize::MAX).unwrap().len(), 300);
    deliver_all(&mut store, &reader);
    assert_eq!(prune_all(&mut store, i64::MAX).deleted, [0, 0, 300, 0]);
    assert_eq!(reader.counts().unwrap().total(), 0);
}
