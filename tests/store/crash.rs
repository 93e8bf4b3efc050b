//! A daemon killed -9 in the middle of its writing, again and again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use portero::clock::SystemClock;
use portero::domain::{EventId, Severity};
use portero::shutdown::stop_pair;
use portero::store::{Job, Reader, Recorded, Recorder, Store, StoreError};

use super::{alert, grant, log_event, settings};
use crate::support::wait_until;

const FOLDER: &str = "PORTERO_CRASH_FOLDER";

/// Not a test of its own: the process that is killed. It records for ever and prints each id once it was told
/// that the event is on the disk.
#[test]
#[ignore = "the child of `nothing_acknowledged_is_lost_when_the_daemon_is_killed`"]
fn child_that_records_for_ever() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("run by its parent"));
    // For a moment the parent's lock may live on in a copy of it that is about to become another test's program.
    let mut opened = None;
    wait_until("the lock is free", Duration::from_secs(30), || match Store::open(&settings(&folder)) {
        Ok(store) => opened.replace(store).is_none(),
        Err(StoreError::InUse { .. }) => false,
        Err(error) => panic!("{error}"),
    });
    let recorder = Recorder::new(opened.unwrap(), Arc::new(SystemClock));
    let (jobs, inbox) = bounded(64);
    let (_handle, stop) = stop_pair();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for i in (0..).step_by(3) {
                jobs.send(Job::Record(alert(Severity::Warning, i, 20_000))).unwrap();
                jobs.send(Job::Record(log_event(i + 1))).unwrap();
                jobs.send(Job::Record(grant(i + 2))).unwrap();
            }
        });
        let mut acknowledge = |recorded: &Recorded| {
            println!("committed {}", recorded.event.id);
            None
        };
        recorder.run(&inbox, &stop, &mut acknowledge).unwrap();
    });
}

/// Runs the child, kills it after `lines` acknowledgements, and returns all that it had printed.
fn killed_after(lines: usize, folder: &Path) -> BTreeSet<EventId> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["store::crash::child_that_records_for_ever", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ids = BTreeSet::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        // The last line may be torn; a whole one ends in a newline.
        if let Some((_, id)) =
            line.trim_end_matches('\n').split_once("committed ").filter(|_| line.ends_with('\n'))
        {
            ids.insert(EventId::parse(id).unwrap());
        }
        if ids.len() == lines {
            child.kill().unwrap(); // SIGKILL; what it wrote before is still read to the end
        }
        line.clear();
    }
    child.wait().unwrap();
    assert!(ids.len() >= lines, "the child ended by itself after {} events", ids.len());
    ids
}

#[test]
fn nothing_acknowledged_is_lost_when_the_daemon_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut acknowledged = BTreeSet::new();
    let mut left_open = 0;
    for round in 0..20 {
        acknowledged.extend(killed_after(5 + 7 * round, folder.path()));

        let store = Store::open(&settings).unwrap();
        left_open += store.left_open();
        let conn = rusqlite::Connection::open(&settings.path).unwrap();
        let verdict: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok", "round {round}");
        let orphans: i64 =
            conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
        assert_eq!(orphans, 0, "round {round}");

        let reader = Reader::open(&settings.path).unwrap();
        for id in &acknowledged {
            let stored = reader.event(*id).unwrap().unwrap_or_else(|| panic!("round {round}: {id} is lost"));
            let kind = stored.event.decision.verdict.kind();
            assert_eq!(stored.event.outcome.kind(), if kind == "authorise" { "unknown" } else { "done" });
        }
        let counts = reader.counts().unwrap();
        let alerts = counts.by_verdict().find(|(kind, _)| *kind == "alert").unwrap().1;
        assert_eq!((alerts, alerts), (counts.outbox, counts.snapshots), "an alert is there with all it has");
    }
    assert!(left_open >= 20, "each round leaves grants open: {left_open}");
}
