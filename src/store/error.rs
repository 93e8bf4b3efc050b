//! What can go wrong with the database, told so that the reader knows what to do.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use super::lock::folder_of;

/// Every way in which the store fails.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder of the database does not exist.
    #[error("the folder {} of the database does not exist: create it, or change `path` under [store]", .0.display())]
    NoFolder(PathBuf),

    /// The path leads to something that is no regular file.
    #[error("{} is a folder or a device, not a database file: change `path` under [store]", .0.display())]
    NotAFile(PathBuf),

    /// The path is a symbolic link: the log of the database would lie beside the link, not beside the file.
    #[error(
        "{} is a symbolic link: write the real path, `path = \"{}\"`, under [store]", path.display(), real.display()
    )]
    Linked {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        real: PathBuf,
    },

    /// The file has other names: a daemon that comes by another one would write to the same file.
    #[error(
        "{} has {names} names (hard links), a database has one: find the others with `find {} -xdev -inum {inode}` and \
         remove all but the one under [store]", path.display(), folder_of(path).display()
    )]
    ManyNames {
        /// The database.
        path: PathBuf,
        /// How many names it has.
        names: u64,
        /// Its number on its file system.
        inode: u64,
    },

    /// What stands where the lock file belongs is not ours.
    #[error("{} is not Portero's lock file: move it away, or change `path` under [store]", .0.display())]
    NotOurs(PathBuf),

    /// The file was replaced while it was being opened.
    #[error("{} was replaced by another file while it was opened: start again", .0.display())]
    Replaced(PathBuf),

    /// The folder or the file cannot be written.
    #[error(
        "{} cannot be written: the file system is mounted read-only or the daemon's user lacks the permission; \
         remount it, give the folder to the user, or change `path` under [store]", path.display()
    )]
    ReadOnly {
        /// The file that was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Option<io::Error>,
    },

    /// The file system gives no lock.
    #[error("{} cannot be locked: a database lies on a local file system", path.display())]
    NoLock {
        /// The file that was to be locked.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },

    /// Another daemon has the database.
    #[error(
        "{} is in use by another daemon{}: stop it first, or give this one its own `path` under [store]",
        path.display(), pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The database.
        path: PathBuf,
        /// The other's process id, when it could be read.
        pid: Option<u32>,
    },

    /// There is no database to read.
    #[error("there is no database at {}: has the daemon run yet? `--db` or `path` under [store] says where it is", .0.display())]
    NoDatabase(PathBuf),

    /// The file holds something else.
    #[error("{} is no SQLite database: move the file away, or change `path` under [store]", .0.display())]
    NotADatabase(PathBuf),

    /// The database is damaged.
    #[error(
        "{} is damaged: move it away and start afresh; `sqlite3 FILE .recover` saves what can still be read",
        path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },

    /// The file is some other program's database.
    #[error("{} is a database of another program: change `path` under [store]", .0.display())]
    Foreign(PathBuf),

    /// The file system cannot carry a database that is read while it is written.
    #[error(
        "{} lies on a file system without shared memory maps (a network share?): put the database on a local disk", .0.display()
    )]
    NoWal(PathBuf),

    /// A newer version of the program wrote the database.
    #[error(
        "{} has schema version {found}, and this program knows versions up to {supported}: \
         upgrade portero, or move the file away to start afresh", path.display()
    )]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },

    /// An older version of the program wrote the database, and a reader must not upgrade it.
    #[error(
        "{} has schema version {found}, this program reads version {supported}: start the daemon once, it upgrades the file",
        path.display()
    )]
    TooOld {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// The version wanted.
        supported: u32,
    },

    /// The database could not be opened or prepared.
    #[error("{} could not be opened as the event database", path.display())]
    Open {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },

    /// The file could not be opened for reading only.
    #[error(
        "{} could not be opened for reading: run this as the daemon's user, e.g. `sudo -u portero portero events list`",
        path.display()
    )]
    OpenReader {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },

    /// An upgrade of the schema failed; the file is as it was.
    #[error("{} could not be upgraded to schema version {version}; nothing was changed", path.display())]
    Migrate {
        /// The database.
        path: PathBuf,
        /// The version that was being installed.
        version: u32,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },

    /// A write failed; nothing of its transaction is in the file.
    #[error("the event database could not be written")]
    Write(#[source] rusqlite::Error),

    /// A query failed.
    #[error("the event database could not be read")]
    Read(#[from] rusqlite::Error),

    /// A row that no version of this program wrote.
    #[error("event row {row} holds no valid {column}: {found:?}")]
    BadRow {
        /// Its row number.
        row: i64,
        /// The column.
        column: &'static str,
        /// What stands there.
        found: String,
    },

    /// No event has this id.
    #[error("there is no event {0}: `portero events list` shows what is kept")]
    NoEvent(String),

    /// More than one event fits.
    #[error("more than one event begins or ends with {0}: give more digits")]
    Ambiguous(String),

    /// The text is no event id.
    #[error("{0:?} is no event id: give all of it, or at least 6 hexadecimal digits of its beginning or end")]
    NotAnId(String),
}

impl StoreError {
    /// Whether the same write may succeed later without anybody touching the database: it was busy, the disk
    /// was full, or a device failed for a while. Read only by retrying loops.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        use ErrorCode as C;
        matches!(
            self.code(),
            Some(
                C::DatabaseBusy
                    | C::DatabaseLocked
                    | C::DiskFull
                    | C::SystemIoFailure
                    | C::OutOfMemory
                    | C::CannotOpen
                    | C::ReadOnly
                    | C::PermissionDenied
                    | C::FileLockingProtocolFailed
                    | C::OperationAborted
                    | C::OperationInterrupted
            )
        )
    }

    /// Whether the rows themselves were refused, so that other rows may still be written.
    #[must_use]
    pub fn is_about_the_rows(&self) -> bool {
        use ErrorCode as C;
        matches!(self, Self::Write(_))
            && matches!(
                self.code(),
                None | Some(C::ConstraintViolation | C::TypeMismatch | C::TooBig | C::ParameterOutOfRange)
            )
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Open { source, .. }
            | Self::Damaged { source, .. }
            | Self::OpenReader { source, .. }
            | Self::Migrate { source, .. }
            | Self::Write(source)
            | Self::Read(source) => source.sqlite_error_code(),
            _ => None,
        }
    }
}
