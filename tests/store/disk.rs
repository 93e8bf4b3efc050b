//! Full and read-only file systems: real ones, mounted for the test.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use portero::clock::SystemClock;
use portero::domain::{EventId, Severity};
use portero::shutdown::stop_pair;
use portero::store::{Job, NewEvent, Picture, Reader, Recorded, Recorder, Settings, Store, StoreError};

use super::{alert, grant, log_event, settings};
use crate::support::mount::Mount;
use crate::support::wait_until;

#[test]
fn a_full_disk_is_transient_and_tears_nothing() {
    let Some(mount) = Mount::new("3m") else { return };
    let settings = settings(mount.path());
    let mut store = Store::open(&settings).unwrap();
    let first = store.record(vec![alert(Severity::Info, 0, 1000)]).unwrap();
    mount.fill();
    let mut written = 0;
    let error = loop {
        match store.record(vec![alert(Severity::Critical, 1, 100_000), log_event(2)]) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the disk never fills up");
    };
    assert!(error.is_transient(), "{error:?}");
    let waiting = store.outbox_bytes();
    let reader = Reader::open(&settings.path).unwrap();
    assert_eq!(reader.counts().unwrap().total(), 1 + 2 * written, "all of a batch or nothing");
    assert_eq!(
        reader.counts().unwrap().outbox_bytes,
        waiting,
        "the count of the failed batch was taken back"
    );

    mount.free();
    store.record(vec![alert(Severity::Critical, 1, 100_000), log_event(2)]).unwrap();
    store.close().unwrap();
    let mut store = Store::open(&settings).unwrap();
    assert_eq!(reader.counts().unwrap().total(), 3 + 2 * written);
    assert!(reader.event(first[0].event.id).unwrap().is_some());
    store.prune(0, 0).unwrap();
}

#[test]
fn on_a_nearly_full_disk_the_oldest_pictures_go_and_their_events_stay() {
    let Some(mount) = Mount::new("12m") else { return };
    let settings = Settings { keep_free: 8 << 20, ..settings(mount.path()) };
    let mut store = Store::open(&settings).unwrap();
    let mut events: Vec<Recorded> = Vec::new();
    for number in 0..80 {
        let log = NewEvent { picture: Picture::Jpeg(vec![7; 100_000]), ..log_event(number) };
        events.extend(store.record(vec![log]).unwrap());
    }
    let waiting = store.record(vec![alert(Severity::Critical, 0, 100_000)]).unwrap();
    assert!(store.over_bounds(), "8 of 12 MiB are used, and 4 are to stay free");
    let mut gone = 0;
    while store.over_bounds() {
        let report = store.prune(0, 0).unwrap();
        assert!(report.pictures > 0 && report.deleted == [0; 4], "{report:?}");
        gone += report.pictures;
    }
    let reader = Reader::open(&settings.path).unwrap();
    let kept: Vec<bool> = events.iter().map(|e| reader.snapshot(e.event.id).unwrap().is_some()).collect();
    let first_kept = kept.iter().position(|kept| *kept).unwrap();
    assert!(gone == first_kept as u64 && kept[first_kept..].iter().all(|kept| *kept), "{gone} {kept:?}");
    assert!(reader.snapshot(waiting[0].event.id).unwrap().is_some(), "the broker has not got it yet");
    assert_eq!(reader.counts().unwrap().total(), 81);
    let why = reader.event(events[0].event.id).unwrap().unwrap().picture_refused;
    assert_eq!(why.as_deref(), Some("it was the oldest when the disk was nearly full"));
    let tally = store.outbox_bytes();
    store.close().unwrap();
    assert_eq!(Store::open(&settings).unwrap().outbox_bytes(), tally);
}

#[test]
fn the_recorder_outlasts_a_full_disk_and_grants_wait_for_it() {
    let Some(mount) = Mount::new("3m") else { return };
    let settings = settings(mount.path());
    let recorder = Recorder::new(Store::open(&settings).unwrap(), Arc::new(SystemClock));
    let health = recorder.health();
    let reader = Reader::open(&settings.path).unwrap();
    let (jobs, inbox) = bounded(4);
    let (_handle, stop) = stop_pair();
    mount.fill();
    let mut told: Vec<EventId> = Vec::new();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let mut after_commit = |recorded: &Recorded| {
                told.push(recorded.event.id);
                None
            };
            recorder.run(&inbox, &stop, &mut after_commit)
        });
        scope.spawn(move || {
            for i in 0..12 {
                jobs.send(Job::Record(alert(Severity::Warning, i, 50_000))).unwrap();
                jobs.send(Job::Record(grant(i))).unwrap();
            }
        });
        wait_until("the disk to be full", Duration::from_secs(20), || health.is_degraded());
        let (stuck, beat) = (health.committed(), health.beat());
        wait_until("more tries", Duration::from_secs(20), || health.retries() > 2 && health.beat() > beat);
        assert_eq!(health.committed(), stuck, "nothing is told that is not written");
        assert!(stuck < 24);
        mount.free();
        run.join().unwrap().unwrap();
    });
    assert_eq!((told.len(), health.lost(), health.is_degraded()), (24, 0, false));
    assert!(told.iter().all(|id| reader.event(*id).unwrap().is_some()));
}

#[test]
fn stopping_on_a_full_disk_ends_with_an_error_and_keeps_what_was_told() {
    let Some(mount) = Mount::new("2m") else { return };
    let settings = settings(mount.path());
    let recorder = Recorder::new(Store::open(&settings).unwrap(), Arc::new(SystemClock));
    let health = recorder.health();
    let (jobs, inbox) = bounded(64);
    let (handle, stop) = stop_pair();
    mount.fill();
    for i in 0..10 {
        jobs.send(Job::Record(alert(Severity::Warning, i, 400_000))).unwrap();
    }
    drop((jobs, handle));
    let mut told = 0;
    let error = recorder
        .run(&inbox, &stop, &mut |_| {
            told += 1;
            None
        })
        .unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(health.lost() > 0, "what is given up is counted");
    mount.free();
    Store::open(&settings).unwrap();
    assert_eq!(Reader::open(&settings.path).unwrap().counts().unwrap().total(), told);
}

#[test]
fn a_read_only_folder_is_named_with_the_remedy() {
    let Some(mount) = Mount::new("3m") else { return };
    let settings = settings(mount.path());
    mount.remount("ro");
    for there_is_a_database in [false, true] {
        let error = Store::open(&settings).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{there_is_a_database}: {error:?}");
        let text = error.to_string();
        assert!(
            text.contains("events.db") && text.contains("read-only") && text.contains("[store]"),
            "{text}"
        );
        mount.remount("rw");
        Store::open(&settings).unwrap().close().unwrap();
        mount.remount("ro");
    }
}
