//! The recorder's loop: group commits, consequences after the commit, outcomes, the end.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use portero::clock::SystemClock;
use portero::domain::{Outcome, Severity};
use portero::shutdown::stop_pair;
use portero::store::{Filter, Job, Order, Reader, Recorded, Recorder, Settings, Store};

use super::{alert, grant, log_event, settings};
use crate::support::wait_until;

fn recorder(settings: &Settings) -> Recorder {
    Recorder::new(Store::open(settings).unwrap(), Arc::new(SystemClock))
}

#[test]
fn what_waits_is_committed_together_and_told_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recorder = recorder(&settings);
    let health = recorder.health();
    let reader = Reader::open(&settings.path).unwrap();
    let (jobs, inbox) = bounded(1024);
    let (_handle, stop) = stop_pair();
    for i in 0..200 {
        jobs.send(Job::Record(log_event(i))).unwrap();
    }
    jobs.send(Job::Record(alert(Severity::Info, 200, 100))).unwrap();
    jobs.send(Job::Record(alert(Severity::Info, 201, 100))).unwrap();
    drop(jobs);

    let mut told = Vec::new();
    let mut after_commit = |recorded: &Recorded| {
        let stored = reader.event(recorded.event.id).unwrap().expect("it is on the disk before it is told");
        assert_eq!(stored.event, recorded.event);
        told.push(recorded.event.decision.frame.seq.0);
        None
    };
    recorder.run(&inbox, &stop, &mut after_commit).unwrap();
    assert_eq!(told, (0..=201).collect::<Vec<_>>(), "in order, each once");
    assert_eq!(health.committed(), 202);
    assert!(health.commits() <= 3, "{} commits for 202 events", health.commits());
    let log = std::fs::metadata(settings.path.with_extension("db-wal")).map_or(0, |file| file.len());
    assert_eq!(log, 0, "everything is in the file itself");
    Store::open(&settings).expect("and unlocked");
}

#[test]
fn outcomes_and_deliveries_reach_their_events() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recorder = recorder(&settings);
    let health = recorder.health();
    let (jobs, inbox) = bounded(8);
    let (_handle, stop) = stop_pair();
    let (told, events) = bounded(8);
    let reader = Reader::open(&settings.path).unwrap();

    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut busy = |recorded: &Recorded| {
                told.send(recorded.event.id).unwrap();
                let second = recorded.event.decision.frame.seq.0 == 1;
                second.then(|| Outcome::Refused("door busy".to_owned()))
            };
            recorder.run(&inbox, &stop, &mut busy).unwrap();
        });
        let outcome_of = |id| reader.event(id).unwrap().unwrap().event.outcome;
        jobs.send(Job::Record(grant(0))).unwrap();
        let first = events.recv().unwrap();
        assert_eq!(outcome_of(first), Outcome::Pending);
        jobs.send(Job::Outcome { event: first, outcome: Outcome::Opened }).unwrap();
        wait_until("the outcome", Duration::from_secs(10), || outcome_of(first) == Outcome::Opened);

        jobs.send(Job::Record(grant(1))).unwrap();
        let second = events.recv().unwrap();
        wait_until("the refusal", Duration::from_secs(10), || outcome_of(second).kind() == "refused");

        jobs.send(Job::Record(alert(Severity::Info, 2, 10))).unwrap();
        events.recv().unwrap();
        let row = reader.outbox_after(0, 1).unwrap()[0].row;
        jobs.send(Job::Delivered(vec![row])).unwrap();
        wait_until("the delivery", Duration::from_secs(10), || reader.outbox_after(0, 1).unwrap().is_empty());

        let beat = health.beat();
        wait_until("a heartbeat without work", Duration::from_secs(10), || health.beat() > beat + 1);
        drop(jobs);
    });
    assert_eq!((health.lost(), health.retries(), health.is_degraded()), (0, 0, false));
}

/// Another program's broken trigger stands for any row that the database refuses for its own sake.
#[test]
fn one_refused_row_does_not_take_others_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recorder = recorder(&settings);
    let health = recorder.health();
    let conn = rusqlite::Connection::open(&settings.path).unwrap();
    conn.execute_batch(
        "CREATE TRIGGER no_seven BEFORE INSERT ON event WHEN new.frame_seq = 7 BEGIN SELECT raise(ABORT, 'seven'); END",
    )
    .unwrap();
    let (jobs, inbox) = bounded(64);
    let (_handle, stop) = stop_pair();
    for i in 0..20 {
        jobs.send(Job::Record(log_event(i))).unwrap();
    }
    drop(jobs);
    recorder.run(&inbox, &stop, &mut |_| None).unwrap();
    assert_eq!((health.committed(), health.lost()), (19, 1));
    let kept =
        Reader::open(&settings.path).unwrap().events(&Filter::default(), 100, Order::OldestFirst).unwrap();
    assert_eq!(kept.len(), 19);
}

#[test]
fn another_program_that_holds_the_database_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recorder = recorder(&settings);
    let health = recorder.health();
    let (jobs, inbox) = bounded(64);
    let (_handle, stop) = stop_pair();
    let shell = rusqlite::Connection::open(&settings.path).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    jobs.send(Job::Record(grant(0))).unwrap();
    let mut told = 0;
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            recorder.run(&inbox, &stop, &mut |_| {
                told += 1;
                None
            })
        });
        wait_until("a failed try", Duration::from_secs(20), || health.is_degraded());
        assert_eq!(health.committed(), 0, "a grant that is not on the disk is not acted upon");
        shell.execute_batch("ROLLBACK").unwrap();
        drop(jobs);
        run.join().unwrap().unwrap();
    });
    assert_eq!((told, health.committed(), health.is_degraded()), (1, 1, false));
}

#[test]
fn readers_see_whole_transactions_while_the_recorder_writes() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recorder = recorder(&settings);
    let reader = Reader::open(&settings.path).unwrap();
    let (jobs, inbox) = bounded(16);
    let (_handle, stop) = stop_pair();
    let (mut last, mut looks) = (0, 0);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| recorder.run(&inbox, &stop, &mut |_| None));
        scope.spawn(move || {
            for i in 0..400 {
                jobs.send(Job::Record(alert(Severity::Info, i, 2_000))).unwrap();
            }
        });
        while !run.is_finished() {
            let waiting = reader.outbox_after(0, usize::MAX).unwrap();
            assert!(waiting.iter().all(|a| a.snapshot.as_ref().is_some_and(|s| s.len() == 2_000)));
            assert!(waiting.len() >= last, "nothing that was there goes away");
            last = waiting.len();
            looks += 1;
        }
        run.join().unwrap().unwrap();
    });
    assert_eq!(reader.outbox_after(0, usize::MAX).unwrap().len(), 400);
    assert!(looks > 1, "the reader was never locked out");
}

#[test]
fn retention_happens_while_recording() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.retention.log.bytes = 20_000;
    let recorder = recorder(&settings);
    let health = recorder.health();
    let reader = Reader::open(&settings.path).unwrap();
    let (jobs, inbox) = bounded(64);
    let (_handle, stop) = stop_pair();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| recorder.run(&inbox, &stop, &mut |_| None));
        for i in 0..400 {
            jobs.send(Job::Record(log_event(i))).unwrap();
        }
        wait_until("the oldest to go", Duration::from_secs(30), || {
            health.committed() == 400 && reader.counts().unwrap().total() < 40
        });
        drop(jobs);
        run.join().unwrap().unwrap();
    });
    let kept = reader.events(&Filter::default(), 1, Order::NewestFirst).unwrap();
    assert_eq!(kept[0].event.decision.frame.seq.0, 399, "the newest stay");
    assert_eq!(health.pruned() + reader.counts().unwrap().total(), 400);
}
