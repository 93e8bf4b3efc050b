//! A record that fails or has died is told, and a database is looked at before it is used.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use portero::clock::SystemClock;
use portero::domain::RecordState;
use portero::shutdown::stop_pair;
use portero::store::{Examined, Job, Recorder, SCHEMA_VERSION, Store, StoreError, examine, trouble};
use rusqlite::Connection;

use super::{log_event, settings};
use crate::support::broker::Broker;
use crate::support::daemon::{Site, portero, stderr, street};
use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_record_that_fails_is_told_beside_the_database_until_it_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let recorder = Recorder::new(Store::open(&settings).unwrap(), Arc::new(SystemClock));
    let health = recorder.health();
    let other = Connection::open(&settings.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ((jobs, inbox), (_handle, stop)) = (bounded(4), stop_pair());
    std::thread::scope(|scope| {
        scope.spawn(move || recorder.run(&inbox, &stop, &mut |_| None));
        jobs.send(Job::Record(log_event(0))).unwrap();
        wait_until("the record fails", PATIENCE, || health.state().0 == RecordState::Failing);
        let told = trouble(&settings.path).unwrap();
        assert!(told.contains("cannot be written") && told.contains("locked"), "{told}");
        other.execute_batch("ROLLBACK").unwrap();
        wait_until("it works again", PATIENCE, || health.state().0 == RecordState::Ok);
        assert_eq!(trouble(&settings.path), None);
        drop(jobs);
    });
}

#[test]
fn a_record_that_died_is_known_to_the_broker_the_list_of_events_and_the_count_of_what_is_lost() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/store");
    let site = Site::new(&format!(
        "[presence]\ngap = \"500ms\"\n[mqtt]\nurl = \"{}\"\n[[camera]]\nid = \"street\"\nsource = {{ ffmpeg = {:?} }}\n\
         fps = 5\nsize = [768, 576]\nloop = true\n\
         [[rule]]\nid = \"person\"\ncamera = \"street\"\nlabel = \"person\"\nagree = \"1 of 1\"\nlog = true\n",
        broker.url(),
        street()
    ));
    let mut daemon = site.start(&[]);
    wait_until("the broker is told that all is well", PATIENCE, || {
        witness.seen().iter().any(|message| message.payload == "ok")
    });
    let sqlite = |sql: &str| {
        let output = Command::new("sqlite3").arg(site.database()).arg(sql).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    };
    sqlite("ALTER TABLE event RENAME TO lost");
    let status = daemon.wait(PATIENCE);
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    let log = daemon.log();
    assert!(!log.contains(" 0 lost"), "{log}");
    assert_eq!(witness.seen().last().unwrap().payload, "dead", "{log}");

    sqlite("ALTER TABLE lost RENAME TO event");
    let config = site.config();
    let list = ["events", "list", "--config", config.to_str().unwrap()];
    let listed = String::from_utf8(portero(&list).stdout).unwrap();
    assert!(listed.contains("INCOMPLETE: ") && listed.contains("the recorder gave up"), "{listed}");
    // A program that reads JSON is not disturbed, and whoever started it is told.
    let output = portero(&[&list[..], &["--json"]].concat());
    let (json, told) = (String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output));
    assert!(!json.contains("INCOMPLETE"), "{json}");
    assert!(told.contains("INCOMPLETE: ") && told.contains("the recorder gave up"), "{told}");
}

#[test]
fn what_somebody_else_has_put_beside_the_database_is_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let (path, note) = (folder.path().join("events.db"), folder.path().join("events.db.trouble"));
    fs::write(&note, vec![b'x'; 1 << 20]).unwrap();
    assert_eq!(trouble(&path).unwrap().len(), 1024, "no more is read than was written");
    fs::remove_file(&note).unwrap();
    fs::write(folder.path().join("letter"), "to my aunt").unwrap();
    std::os::unix::fs::symlink(folder.path().join("letter"), &note).unwrap();
    assert_eq!(trouble(&path), None, "a link");
    fs::remove_file(&note).unwrap();
    assert!(Command::new("mkfifo").arg(&note).status().unwrap().success());
    assert_eq!(trouble(&path), None, "a pipe is not waited for");
}

#[test]
fn a_look_at_a_database_finds_what_the_daemon_would_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let path = &settings.path;
    assert_eq!(examine(path).unwrap(), Examined::New);
    assert_eq!(examine(&folder.path().join("none/events.db")).unwrap(), Examined::NoFolder);

    fs::write(path, (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>())
        .unwrap();
    assert!(matches!(examine(path), Err(StoreError::NotADatabase(_))), "random bytes");
    fs::remove_file(path).unwrap();
    Connection::open(path).unwrap().execute_batch("CREATE TABLE song (title TEXT)").unwrap();
    assert!(matches!(examine(path), Err(StoreError::Foreign(_))));
    fs::remove_file(path).unwrap();

    let mut store = Store::open(&settings).unwrap();
    store.record((0..200).map(log_event).collect()).unwrap();
    assert_eq!(examine(path).unwrap(), Examined::InUse(Some(std::process::id())));
    store.close().unwrap();
    let before = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(examine(path).unwrap(), Examined::Sound { version: SCHEMA_VERSION, whole: true });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before, "no files are left behind");

    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xA5);
    fs::write(path, bytes).unwrap();
    assert!(matches!(examine(path), Err(StoreError::Damaged { .. })));
}
