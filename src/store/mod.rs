//! The one SQLite file: events, their snapshots, what became of their clips, and the outbox of alerts that wait for the
//! broker.
//!
//! What the rules decide becomes durable here before anybody acts on it. There is one writer, [`Store`], driven
//! by one thread, the [`Recorder`], which commits whatever is waiting as one group: an event, its snapshot and
//! its outbox row are in the same transaction, or none of them is. Any number of [`Reader`]s may look at the
//! same time, from this process or from another.
//!
//! This room must not act on what it records, must not know MQTT or JSON payloads, and must not delete an event
//! whose alert has not been delivered.

mod clips;
mod error;
mod event;
mod examine;
mod history;
mod lock;
mod reader;
mod recorder;
mod retention;
mod row;
mod schema;
mod tally;
mod trouble;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

/// What a commit of one event writes beside the event itself, in bytes: pages of the log and of the file. It counts towards
/// the write budget and is on the safe side: `portero bench` measures 31 KB for a commit with its event.
pub const COMMIT_BYTES: u64 = 48 << 10;

pub use error::StoreError;
pub use event::{Job, NewEvent, Picture, Recorded};
pub use examine::{Examined, examine};
pub use history::{Firing, History, Opening};
pub use reader::{Counts, Delivery, Filter, Order, Reader, Stored};
pub use recorder::{Recorder, RecorderHealth};
pub use retention::PruneReport;
pub use schema::SCHEMA_VERSION;
pub use tally::VERDICTS;
pub use trouble::read as trouble;
pub use writer::Store;

/// Where and how much is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The database file; its folder must exist and be writable.
    pub path: PathBuf,
    /// Bound of the whole database, in bytes.
    pub max_bytes: u64,
    /// The outbox may take this share of `max_bytes`, in percent, 1..=90.
    pub outbox_percent: u8,
    /// When less than half of this is free on its disk, in bytes, the oldest pictures go; their events stay.
    pub keep_free: u64,
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
