//! The outbox: order, delivery, and who is refused first when it fills up.

use portero::domain::{Outcome, Severity, Verdict};
use portero::store::{Reader, Store};

use super::{MIB, alert, at, grant, log_event, settings};

#[test]
fn alerts_wait_in_the_order_of_their_events_and_leave_when_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let batch = (0..10).flat_map(|i| [alert(Severity::Info, i, 0), log_event(i)]).collect();
    store.record(batch).unwrap();
    let reader = Reader::open(&settings.path).unwrap();

    let first = reader.outbox_after(0, 4).unwrap();
    let rest = reader.outbox_after(first[3].row, 100).unwrap();
    let order: Vec<u64> = first.iter().chain(&rest).map(|a| a.event.decision.frame.seq.0).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(first.iter().all(|a| a.event.outcome == Outcome::Done));

    store.delivered(&[first[1].row, first[1].row, 99_999], at(0)).unwrap(); // repeats and strangers do no harm
    let left: Vec<u64> =
        reader.outbox_after(0, 3).unwrap().iter().map(|a| a.event.decision.frame.seq.0).collect();
    assert_eq!(left, [0, 2, 3]);
}

#[test]
fn an_outbox_row_is_never_used_twice() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut seen = 0;
    for _ in 0..3 {
        let mut store = Store::open(&settings).unwrap();
        store.record(vec![alert(Severity::Info, 0, 0)]).unwrap();
        let waiting = Reader::open(&settings.path).unwrap().outbox_after(0, 10).unwrap();
        assert_eq!(waiting.len(), 1);
        assert!(waiting[0].row > seen, "a publisher's place in the outbox must stay right");
        seen = waiting[0].row;
        store.delivered(&[seen], at(0)).unwrap();
        store.prune(i64::MAX, 0).unwrap();
        store.close().unwrap();
    }
}

/// Fills the outbox with alerts of one severity until one is refused; returns how many were taken.
fn fill(store: &mut Store, severity: Severity) -> usize {
    (0..).take_while(|&i| !store.record(vec![alert(severity, i, 10_000)]).unwrap()[0].alert_refused).count()
}

#[test]
fn the_least_severe_alerts_are_refused_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.max_bytes = 4 * MIB;
    settings.outbox_percent = 25; // 1 MiB
    let mut store = Store::open(&settings).unwrap();

    let infos = fill(&mut store, Severity::Info);
    let share = |bytes: u64| bytes * 100 / MIB;
    assert!((68..=70).contains(&share(store.outbox_bytes())), "{}", store.outbox_bytes());
    let warnings = fill(&mut store, Severity::Warning);
    assert!((88..=90).contains(&share(store.outbox_bytes())), "{}", store.outbox_bytes());
    let criticals = fill(&mut store, Severity::Critical);
    assert!((98..=100).contains(&share(store.outbox_bytes())), "{}", store.outbox_bytes());
    assert!(infos > warnings && warnings > 5 && criticals > 5, "{infos} {warnings} {criticals}");

    // Refused is said, counted, and the event is kept.
    let refused = store.record(vec![alert(Severity::Critical, 7, 10_000), grant(8)]).unwrap();
    let Outcome::Refused(why) = &refused[0].event.outcome else { panic!("{:?}", refused[0].event.outcome) };
    assert!(why.starts_with("outbox full") && refused[0].alert_refused, "{why}");
    assert_eq!(refused[1].event.outcome, Outcome::Pending, "grants have nothing to do with the outbox");
    assert_eq!(store.refused(), [1, 1, 2]);
    let reader = Reader::open(&settings.path).unwrap();
    assert_eq!(reader.event(refused[0].event.id).unwrap().unwrap().event, refused[0].event);

    // What is delivered makes room again, also across a restart.
    let rows: Vec<i64> = reader.outbox_after(0, infos).unwrap().iter().map(|a| a.row).collect();
    store.delivered(&rows, at(0)).unwrap();
    let waiting = store.outbox_bytes();
    store.close().unwrap();
    let mut store = Store::open(&settings).unwrap();
    assert_eq!(store.outbox_bytes(), waiting);
    assert!(!store.record(vec![alert(Severity::Info, 9, 10_000)]).unwrap()[0].alert_refused);
    let newest = reader.outbox_after(rows[rows.len() - 1], usize::MAX).unwrap().pop().unwrap();
    assert_eq!(newest.event.decision.verdict, Verdict::Alert { severity: Severity::Info, snapshot: true });
}
