//! The lock that makes one daemon the only writer.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::StoreError;

/// Who may read the database, and so the pictures in it: the daemon's user and group.
const PRIVATE: u32 = 0o640;

/// Held for as long as the database is open for writing. The kernel lets go of it when the process dies,
/// however it dies; the file itself stays, since removing it would race with the next holder.
#[derive(Debug)]
pub(super) struct WriterLock {
    #[expect(dead_code, reason = "held for its drop")]
    file: File,
}

impl WriterLock {
    /// Takes the lock beside the database at `path`, without waiting.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let mut file = open(path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(StoreError::InUse { path: path.to_owned(), pid });
        }
        // The number only serves the message of the next one who comes; a full disk must not stop us here.
        if let Err(error) = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())) {
            log::debug!("the process id could not be noted beside {}: {error}", path.display());
        }
        Ok(Self { file })
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = PathBuf::from(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(PRIVATE);
    options.open(&lock).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::NoFolder(folder_of(path)),
        _ => StoreError::ReadOnly { path: lock, source: Some(error) },
    })
}

/// Creates the database file, empty and closed to strangers, unless it exists. To be called before SQLite has
/// the file open: closing it here would drop SQLite's own locks.
pub(super) fn create_private(path: &Path) -> Result<(), StoreError> {
    match OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::ReadOnly { path: path.to_owned(), source: Some(error) }),
    }
}

/// The folder that `path` lies in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
