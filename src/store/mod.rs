//! The one SQLite file.

use std::path::PathBuf;
use std::time::Duration;

/// Where and how much is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The database file; its folder must exist and be writable.
    pub path: PathBuf,
    /// Bound of the whole database, in bytes.
    pub max_bytes: u64,
    /// The outbox may take this share of `max_bytes`, in percent, 1..=90.
    pub outbox_percent: u8,
    /// How long and how much of each verdict is kept.
    pub retention: Retention,
}

/// Retention per verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Retention {
    /// Grants.
    pub authorise: Keep,
    /// Denials.
    pub deny: Keep,
    /// Alerts, with their snapshots.
    pub alert: Keep,
    /// Log events.
    pub log: Keep,
}

/// The bounds of one verdict's events: oldest go first when either is passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Keep {
    /// Oldest event kept.
    pub age: Duration,
    /// Bytes kept (rows and snapshots).
    pub bytes: u64,
}
