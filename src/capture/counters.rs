//! What a camera thread counts, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::domain::Stamp;

/// Counters of one camera; shared, and read without locks.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) captured: Tally,
    pub(super) thinned: Tally,
    pub(super) late: Tally,
    pub(super) damaged: Tally,
    pub(super) reopened: Tally,
    pub(super) stalled: Tally,
    turned_us: AtomicU64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicU64);

impl Tally {
    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    /// Pictures that arrived whole, passed on or not.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.captured.get()
    }

    /// Pictures that were not due and were dropped before decoding.
    #[must_use]
    pub fn thinned(&self) -> u64 {
        self.thinned.get()
    }

    /// Pictures that were passed over because they were late or made up.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late.get()
    }

    /// Pictures that could not be decoded.
    #[must_use]
    pub fn decode_errors(&self) -> u64 {
        self.damaged.get()
    }

    /// Openings after the first.
    #[must_use]
    pub fn reopens(&self) -> u64 {
        self.reopened.get()
    }

    /// Times that no good picture came for `stall_after`.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.stalled.get()
    }

    /// The camera's loop turned at this moment.
    pub(super) fn turn(&self, at: Stamp) {
        self.turned_us.store(at.mono_us(), Relaxed);
    }

    /// When the loop last turned, in microseconds on the monotonic clock; 0 before the first turn. In a healthy
    /// thread this is at most about 4 s old, whatever the camera does: 1 s of waiting, and the time that an
    /// unwilling child takes to be killed. Played fast, the time that the sink takes comes on top.
    #[must_use]
    pub fn heartbeat_us(&self) -> u64 {
        self.turned_us.load(Relaxed)
    }
}
