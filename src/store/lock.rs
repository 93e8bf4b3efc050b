//! The locks that make one daemon the only writer, by whatever path it comes.
//!
//! Two locks are taken, both by `flock`, and the kernel lets go of both when the process dies, however it dies:
//!
//! - one on the database file itself, so on its device and inode: it holds against another path through linked folders
//!   or bind mounts, and when somebody removes the file of the other lock. `flock` and the POSIX locks that SQLite takes
//!   on the same file do not know each other on Linux' local file systems; a network share, where they would, carries no
//!   such database anyway (`NoWal`).
//! - one on a file beside it, `NAME.lock`, which names the holder, and holds when the database itself is moved away.
//!
//! A database that is a symbolic link, or that has more than one name, is refused: SQLite would put its log beside the
//! name by which it was opened, and two logs for one file destroy it.
//!
//! **Closing any descriptor of the database file drops the POSIX locks that SQLite holds in this process.** So the one
//! descriptor here is opened before SQLite opens the file and closed after SQLite has closed it, and a second opening in
//! the same process is refused before anything is opened.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::StoreError;

/// Who may read the database, and so the pictures in it: the daemon's user and group.
const PRIVATE: u32 = 0o640;

/// Longer than [`holder`] has a lock.
const LOOK: Duration = Duration::from_millis(200);
/// Between two tries.
const NAP: Duration = Duration::from_millis(10);

/// The most that a file of ours beside the database holds: a process number and a line end.
const NOTE: u64 = 32;

/// The files, by device and inode, that this process has open for writing.
static HELD: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// Held for as long as the database is open for writing; to be dropped after SQLite has closed the file.
#[derive(Debug)]
pub(super) struct WriterLock {
    identity: (u64, u64),
    #[expect(dead_code, reason = "held for its drop")]
    note: File,
    #[expect(dead_code, reason = "held for its drop")]
    database: File,
}

impl WriterLock {
    /// Takes the locks of the database at `path`, waiting for a moment at most; creates the file, empty and closed to strangers,
    /// unless it exists.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        check_name(path)?;
        let note = lock_note(path)?;
        let database = open_database(path)?;
        let found = database.metadata().map_err(|error| unreadable(path, error))?;
        let identity = identity(&found);
        if !lock(&database).map_err(|source| StoreError::NoLock { path: path.to_owned(), source })? {
            return Err(StoreError::InUse { path: path.to_owned(), pid: None });
        }
        only_name(path, &found)?;
        held().insert(identity);
        Ok(Self { identity, note, database })
    }

    /// To be called once SQLite has opened the file: whether the name still leads to the file that is locked.
    pub(super) fn confirm(&self, path: &Path) -> Result<(), StoreError> {
        match fs::symlink_metadata(path) {
            Ok(found) if identity(&found) == self.identity => Ok(()),
            _ => Err(StoreError::Replaced(path.to_owned())),
        }
    }
}

impl Drop for WriterLock {
    fn drop(&mut self) {
        held().remove(&self.identity);
    }
}

fn held() -> MutexGuard<'static, BTreeSet<(u64, u64)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Refuses what the name alone tells, before anything is opened.
pub(super) fn check_name(path: &Path) -> Result<(), StoreError> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let kind = found.file_type();
    if kind.is_symlink() {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        return Err(StoreError::Linked { path: path.to_owned(), real });
    }
    if !kind.is_file() {
        return Err(StoreError::NotAFile(path.to_owned()));
    }
    only_name(path, &found)?;
    if held().contains(&identity(&found)) {
        return Err(StoreError::InUse { path: path.to_owned(), pid: Some(std::process::id()) });
    }
    Ok(())
}

/// Refuses a file that has other names.
fn only_name(path: &Path, found: &Metadata) -> Result<(), StoreError> {
    let names = found.nlink();
    if names > 1 {
        return Err(StoreError::ManyNames { path: path.to_owned(), names, inode: found.ino() });
    }
    Ok(())
}

/// The locked file beside the database, with our process number in it.
fn lock_note(path: &Path) -> Result<File, StoreError> {
    let beside = beside(path, "lock");
    let mut note = open_beside(&beside).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::NoFolder(folder_of(path)),
        _ if fs::symlink_metadata(&beside).is_ok_and(|found| found.is_symlink()) => {
            StoreError::NotOurs(beside.clone())
        }
        _ => StoreError::ReadOnly { path: beside.clone(), source: Some(error) },
    })?;
    let text = ours(&note).ok_or_else(|| StoreError::NotOurs(beside.clone()))?;
    if !lock(&note).map_err(|source| StoreError::NoLock { path: beside.clone(), source })? {
        return Err(StoreError::InUse { path: path.to_owned(), pid: text.trim().parse().ok() });
    }
    // The number only serves the message of the next one who comes; a full disk must not stop us here.
    if let Err(error) = note.set_len(0).and_then(|()| writeln!(note, "{}", std::process::id())) {
        log::debug!("the process id could not be noted beside {}: {error}", path.display());
    }
    Ok(note)
}

/// Takes the lock on a file; `false` when another has it. Somebody who only looks whether there is a holder has it for a
/// moment: that one is waited for.
fn lock(file: &File) -> std::io::Result<bool> {
    let mut waited = Duration::ZERO;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if waited < LOOK => {
                std::thread::sleep(NAP);
                waited += NAP;
            }
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a file of ours says; `None` for what somebody else has put there, which must stay as it is.
fn ours(mut note: &File) -> Option<String> {
    let found = note.metadata().ok()?;
    if !found.is_file() || found.nlink() != 1 || found.len() > NOTE {
        return None;
    }
    let mut text = String::new();
    note.read_to_string(&mut text).ok()?;
    rustix::fs::seek(note, rustix::fs::SeekFrom::Start(0)).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'\n').then_some(text)
}

fn open_beside(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(PRIVATE).custom_flags(no_link());
    options.open(path)
}

fn open_database(path: &Path) -> Result<File, StoreError> {
    open_beside(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: std::io::Error) -> StoreError {
    StoreError::ReadOnly { path: path.to_owned(), source: Some(error) }
}

/// A symbolic link is not followed, and nothing is waited for.
pub(super) fn no_link() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed()
}

/// The name of a file of ours beside the database.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(what);
    PathBuf::from(name)
}

/// Whether a running daemon has the database at `path`, and its process number where it is known. Changes nothing.
pub(super) fn holder(path: &Path) -> Option<Option<u32>> {
    let file = OpenOptions::new().read(true).custom_flags(no_link()).open(beside(path, "lock")).ok()?;
    // Any other error says nothing of a daemon.
    if flock(&file, FlockOperation::NonBlockingLockShared) != Err(Errno::WOULDBLOCK) {
        return None;
    }
    Some(ours(&file).and_then(|text| text.trim().parse().ok()))
}

/// The folder that `path` lies in.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
