//! What the publisher did, in numbers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::domain::Stamp;

/// Counts since the start, readable from any thread. Never blocks.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) published: Count,
    pub(super) acked: Count,
    pub(super) republished: Count,
    pub(super) snapshots_left_out: Count,
    pub(super) commands_sent: Count,
    pub(super) commands_refused: Count,
    pub(super) connections: Count,
    pub(super) failures: Count,
    pub(super) live: AtomicBool,
    heartbeat_us: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Alerts handed to a connection, repeats included.
    pub published: u64,
    /// Alerts that the broker has acknowledged.
    pub acked: u64,
    /// Alerts handed over again, because an earlier connection ended before they were acknowledged.
    pub republished: u64,
    /// Snapshots that were too large for the wire.
    pub snapshots_left_out: u64,
    /// Door commands that the broker has confirmed.
    pub commands_sent: u64,
    /// Door commands refused: no live connection, or no confirmation in time.
    pub commands_refused: u64,
    /// Connections made; all but the first are reconnects.
    pub connections: u64,
    /// Connections lost or not even made.
    pub failures: u64,
}

/// One growing number.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// All counts. They are read one after the other, not in one instant.
    #[must_use]
    pub fn read(&self) -> Counts {
        Counts {
            published: self.published.get(),
            acked: self.acked.get(),
            republished: self.republished.get(),
            snapshots_left_out: self.snapshots_left_out.get(),
            commands_sent: self.commands_sent.get(),
            commands_refused: self.commands_refused.get(),
            connections: self.connections.get(),
            failures: self.failures.get(),
        }
    }

    /// Whether a connection stands right now, as far as can be known.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// When the publisher's loop last turned, in microseconds on the monotonic clock; 0 before it started. It
    /// turns once a second at least, whatever the broker does, so an old heartbeat means a stuck thread.
    #[must_use]
    pub fn heartbeat_us(&self) -> u64 {
        self.heartbeat_us.load(Ordering::Relaxed)
    }

    pub(super) fn beat(&self, now: Stamp) {
        self.heartbeat_us.store(now.mono_us(), Ordering::Relaxed);
    }
}
