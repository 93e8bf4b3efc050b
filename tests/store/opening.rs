//! Opening: fresh, old, newer, foreign, broken and busy files.

use std::fs;
use std::path::Path;

use portero::store::{Filter, Order, Reader, SCHEMA_VERSION, Store, StoreError};
use rusqlite::Connection;

use super::{grant, log_event, settings};

fn schema_of(path: &Path) -> Vec<(String, String, Option<String>)> {
    let conn = Connection::open(path).unwrap();
    let mut statement =
        conn.prepare("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn version_of(path: &Path) -> u32 {
    Connection::open(path).unwrap().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

/// `tests/store/schema/vN.sql` is what version N of the program left behind, as a dump with one event in it. When
/// version N + 1 is made, the dumps of all versions before it stay as they are.
#[test]
fn every_older_schema_is_upgraded_to_what_a_fresh_file_has() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = settings(folder.path());
    Store::open(&fresh).unwrap().close().unwrap();
    assert_eq!(version_of(&fresh.path), SCHEMA_VERSION);

    for version in 1..=SCHEMA_VERSION {
        let dump = format!("{}/tests/store/schema/v{version}.sql", env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let old = settings(folder.path());
        let conn = Connection::open(&old.path).unwrap();
        conn.execute_batch(&fs::read_to_string(&dump).unwrap()).unwrap();
        drop(conn);
        assert_eq!(version_of(&old.path), version, "{dump}");

        Store::open(&old).unwrap().close().unwrap();
        assert_eq!(version_of(&old.path), SCHEMA_VERSION, "{dump}");
        assert_eq!(schema_of(&old.path), schema_of(&fresh.path), "{dump}");
        let events =
            Reader::open(&old.path).unwrap().events(&Filter::default(), 10, Order::NewestFirst).unwrap();
        assert_eq!(events.len(), 1, "{dump}");
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    Store::open(&settings).unwrap().close().unwrap();
    Connection::open(&settings.path)
        .unwrap()
        .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
        .unwrap();
    let before = fs::read(&settings.path).unwrap();

    let text = Store::open(&settings).unwrap_err().to_string();
    assert!(text.contains(&format!("schema version {}", SCHEMA_VERSION + 1)), "{text}");
    assert!(text.contains(&format!("up to {SCHEMA_VERSION}")), "{text}");
    assert!(text.contains("events.db") && text.contains("upgrade portero"), "{text}");
    assert!(matches!(Reader::open(&settings.path), Err(StoreError::TooNew { .. })));
    assert_eq!(fs::read(&settings.path).unwrap(), before);
}

#[test]
fn what_is_no_database_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let garbage = b"camera = \"front\"\n".repeat(1000);
    fs::write(&settings.path, &garbage).unwrap();
    let error = Store::open(&settings).unwrap_err();
    assert!(matches!(error, StoreError::NotADatabase(_)), "{error:?}");
    assert!(error.to_string().contains("events.db is no SQLite database"), "{error}");
    assert!(matches!(Reader::open(&settings.path), Err(StoreError::NotADatabase(_))));
    assert_eq!(fs::read(&settings.path).unwrap(), garbage);
}

#[test]
fn another_programs_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    Connection::open(&settings.path).unwrap().execute_batch("CREATE TABLE song (title TEXT)").unwrap();
    let error = Store::open(&settings).unwrap_err();
    assert!(matches!(error, StoreError::Foreign(_)), "{error:?}");
    assert_eq!(schema_of(&settings.path).len(), 1, "nothing was added");
}

#[test]
fn a_truncated_database_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    store.record((0..500).map(log_event).collect()).unwrap();
    store.close().unwrap();
    let whole = fs::read(&settings.path).unwrap();
    fs::write(&settings.path, &whole[..whole.len() / 2]).unwrap();
    let error = Store::open(&settings).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("events.db is damaged: move it away"), "{error}");
    assert!(!error.is_transient(), "{error:?}");
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder.path().join("nowhere"));
    let error = Store::open(&settings).unwrap_err();
    assert!(matches!(error, StoreError::NoFolder(_)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("/nowhere of the database does not exist") && text.contains("[store]"), "{text}");
}

#[test]
fn a_folder_is_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    fs::create_dir(&settings.path).unwrap();
    assert!(matches!(Store::open(&settings), Err(StoreError::NotAFile(_))));
}

#[test]
fn a_second_daemon_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let first = Store::open(&settings).unwrap();
    let text = Store::open(&settings).unwrap_err().to_string();
    assert!(text.contains("in use by another daemon"), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    first.close().unwrap();
    Store::open(&settings).unwrap();
}

#[test]
fn strangers_may_not_read_the_pictures() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    store.record(vec![log_event(0)]).unwrap();
    for name in ["events.db", "events.db-wal", "events.db-shm", "events.db.lock"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{name} has mode {mode:o}");
    }
}

#[test]
fn a_reader_says_that_there_is_nothing_yet() {
    let folder = tempfile::tempdir().unwrap();
    let path = settings(folder.path()).path;
    let error = Reader::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NoDatabase(_)), "{error:?}");
    assert!(!path.exists(), "a reader must not create the file");
    fs::write(&path, b"").unwrap();
    assert!(matches!(Reader::open(&path), Err(StoreError::TooOld { found: 0, .. })));
}

#[test]
fn a_grant_that_a_crash_left_open_is_unknown_and_never_pending_again() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let id = store.record(vec![grant(0)]).unwrap()[0].event.id;
    drop(store); // as a crash leaves it: no outcome was recorded

    let store = Store::open(&settings).unwrap();
    assert_eq!(store.left_open(), 1);
    let event = Reader::open(&settings.path).unwrap().event(id).unwrap().unwrap().event;
    assert_eq!(event.outcome.kind(), "unknown");
    drop(store);
    assert_eq!(Store::open(&settings).unwrap().left_open(), 0);
}

#[test]
fn one_database_has_one_daemon_by_whatever_path_it_comes() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let real = settings(folder.path());
    let mut first = Store::open(&real).unwrap();
    let by = |path: std::path::PathBuf| Store::open(&portero::store::Settings { path, ..real.clone() });

    let through_folder = folder.path().join("other");
    symlink(folder.path(), &through_folder).unwrap();
    assert!(matches!(by(through_folder.join("events.db")), Err(StoreError::InUse { .. })));

    let link = folder.path().join("link.db");
    symlink("events.db", &link).unwrap();
    let text = by(link).unwrap_err().to_string();
    let wanted = fs::canonicalize(&real.path).unwrap();
    assert!(
        text.contains("is a symbolic link") && text.contains(&format!("path = \"{}\"", wanted.display())),
        "{text}"
    );

    let hard = folder.path().join("hard.db");
    fs::hard_link(&real.path, &hard).unwrap();
    let text = by(hard.clone()).unwrap_err().to_string();
    assert!(text.contains("2 names") && text.contains("-inum"), "{text}");
    fs::remove_file(&hard).unwrap();

    // What was tried has not taken SQLite's own locks away: what is committed now is there, and stays.
    let id = first.record(vec![grant(0)]).unwrap()[0].event.id;
    fs::remove_file(folder.path().join("events.db.lock")).unwrap();
    let output = second_daemon(folder.path());
    assert!(output.contains("in use by another daemon"), "the lock is the file's own: {output}");
    first.close().unwrap();
    assert!(Reader::open(&real.path).unwrap().event(id).unwrap().is_some());
    assert!(second_daemon(folder.path()).contains("opened"), "now it is free");
}

/// What another process says that opens the store in this folder.
fn second_daemon(folder: &Path) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["store::opening::child_that_opens_the_store", "--exact", "--ignored", "--nocapture"])
        .env("PORTERO_OPEN_FOLDER", folder)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Not a test of its own: the other process.
#[test]
#[ignore = "the child of `one_database_has_one_daemon_by_whatever_path_it_comes`"]
fn child_that_opens_the_store() {
    let folder = std::env::var_os("PORTERO_OPEN_FOLDER").expect("run by its parent");
    match Store::open(&settings(Path::new(&folder))) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn what_stands_in_the_place_of_the_lock_is_never_touched() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (settings, lock) = (settings(folder.path()), folder.path().join("events.db.lock"));
    let precious = folder.path().join("precious");
    fs::write(&precious, "a letter to my aunt, in full length").unwrap();
    let kept = || assert_eq!(fs::read_to_string(&precious).unwrap(), "a letter to my aunt, in full length");

    symlink(&precious, &lock).unwrap();
    assert!(matches!(Store::open(&settings), Err(StoreError::NotOurs(_))));
    kept();
    fs::remove_file(&lock).unwrap();
    fs::hard_link(&precious, &lock).unwrap();
    assert!(matches!(Store::open(&settings), Err(StoreError::NotOurs(_))));
    kept();
    fs::remove_file(&lock).unwrap();
    fs::rename(&precious, &lock).unwrap();
    assert!(matches!(Store::open(&settings), Err(StoreError::NotOurs(_))));
    fs::rename(&lock, &precious).unwrap();
    kept();
    Store::open(&settings).unwrap();
}

#[test]
fn a_look_for_the_holder_makes_no_start_fail() {
    use rustix::fs::{FlockOperation, flock};
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    drop(Store::open(&settings).unwrap());
    let look = fs::File::open(folder.path().join("events.db.lock")).unwrap();
    flock(&look, FlockOperation::NonBlockingLockShared).unwrap();
    let (begun, begins) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            begins.recv().unwrap();
            let _ = begins.recv_timeout(std::time::Duration::from_millis(30));
            drop(look);
        });
        begun.send(()).unwrap();
        Store::open(&settings).unwrap_or_else(|error| panic!("{error}"));
    });
}
