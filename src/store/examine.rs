//! A look at a database before it is used: can the daemon work with it? Nothing is changed.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::lock;
use super::schema::{self, opening};
use super::{SCHEMA_VERSION, StoreError};

/// Databases up to this size are read from end to end, in bytes; of larger ones the beginning must do.
const WHOLE: u64 = 64 << 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examined {
    /// There is none yet; the daemon will create it.
    New,
    /// Its folder does not exist yet; the daemon does not create it.
    NoFolder,
    /// It is sound; an older schema is upgraded by the daemon.
    Sound {
        /// Its schema version.
        version: u32,
        /// Whether all of it was read.
        whole: bool,
    },
    /// A running daemon has it, with this process number where it is known: it was not looked at.
    InUse(Option<u32>),
}

/// Looks at the database at `path` without changing anything. Blocks for as long as it takes to read it, a second at most
/// on a slow disk.
///
/// # Errors
/// A [`StoreError`] that says what is wrong: the same as the daemon would say.
pub fn examine(path: &Path) -> Result<Examined, StoreError> {
    if let Some(pid) = lock::holder(path) {
        return match lock::check_name(path) {
            Ok(()) | Err(StoreError::InUse { .. }) => Ok(Examined::InUse(pid)),
            Err(error) => Err(error),
        };
    }
    lock::check_name(path)?;
    let Ok(found) = fs::metadata(path) else {
        return match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => Ok(Examined::NoFolder),
            _ => Ok(Examined::New),
        };
    };
    if found.len() == 0 {
        return Ok(Examined::New);
    }
    let conn = open(path)?;
    let version = schema::version(&conn, path)?;
    let whole = found.len() <= WHOLE;
    if whole && version > 0 {
        quick_check(&conn, path)?;
    }
    Ok(Examined::Sound { version: version.min(SCHEMA_VERSION), whole })
}

/// Without a log beside it, the file is opened as one that does not change: reading it leaves no other files behind.
fn open(path: &Path) -> Result<Connection, StoreError> {
    let has_log = path.with_file_name(wal_name(path)).exists();
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let failed = |source| opening(path, source);
    if has_log {
        return Connection::open_with_flags(path, flags & !OpenFlags::SQLITE_OPEN_URI).map_err(failed);
    }
    let escaped: String = path.to_string_lossy().chars().map(escape).collect();
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags).map_err(failed)
}

fn wal_name(path: &Path) -> std::ffi::OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("-wal");
    name
}

/// A character of a path in a uri.
fn escape(c: char) -> String {
    match c {
        '?' | '#' | '%' => format!("%{:02X}", u32::from(c)),
        c => c.to_string(),
    }
}

fn quick_check(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let said: String = conn
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|source| opening(path, source))?;
    if said == "ok" {
        return Ok(());
    }
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(StoreError::Damaged {
        path: path.to_owned(),
        source: rusqlite::Error::SqliteFailure(code, Some(said)),
    })
}
