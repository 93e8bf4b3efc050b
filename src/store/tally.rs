//! How much of what lies in the database, and how much of it the outbox may take.
//!
//! Counted once when the file is opened and kept in memory from then on, so that no commit has to scan a table.

use rusqlite::Connection;

use super::Settings;
use crate::domain::Severity;

/// The kinds of verdict, as rows and filters spell them; everything that is counted per verdict is in this order.
pub const VERDICTS: [&str; 4] = ["authorise", "deny", "alert", "log"];

/// The place of a verdict in [`VERDICTS`].
pub(super) fn verdict_index(kind: &str) -> usize {
    VERDICTS.iter().position(|v| *v == kind).unwrap_or(VERDICTS.len() - 1)
}

/// Bytes by weight ([`super::row::weight`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Per verdict, in the order of [`VERDICTS`].
    pub(super) events: [u64; 4],
    /// Of events whose alert waits in the outbox.
    pub(super) outbox: u64,
    /// Alerts refused since start, per severity.
    pub(super) refused: [u64; 3],
}

impl Tally {
    pub(super) fn count(conn: &Connection) -> rusqlite::Result<Self> {
        let mut tally = Self::default();
        let mut statement = conn.prepare("SELECT verdict, sum(bytes) FROM event GROUP BY verdict")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let kind: String = row.get(0)?;
            tally.events[verdict_index(&kind)] = row.get::<_, i64>(1)?.unsigned_abs();
        }
        let outbox: i64 =
            conn.query_row("SELECT coalesce(sum(bytes), 0) FROM outbox", [], |row| row.get(0))?;
        tally.outbox = outbox.unsigned_abs();
        Ok(tally)
    }
}

/// The room of the outbox: severe alerts may fill more of it than others, so that when the broker is away for
/// long what matters least is refused first.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutboxBound(u64);

impl OutboxBound {
    pub(super) fn new(settings: &Settings) -> Self {
        Self(settings.max_bytes / 100 * u64::from(settings.outbox_percent))
    }

    /// Whether an alert of `bytes` still fits beside the `waiting` bytes.
    pub(super) fn admits(self, severity: Severity, waiting: u64, bytes: u64) -> bool {
        waiting.saturating_add(bytes) <= self.0 / 100 * share_percent(severity)
    }
}

/// How much of the outbox alerts of this severity may fill.
pub(super) fn share_percent(severity: Severity) -> u64 {
    match severity {
        Severity::Info => 70,
        Severity::Warning => 90,
        Severity::Critical => 100,
    }
}
