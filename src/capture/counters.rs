//! What a camera thread counts, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::domain::Stamp;

/// Counters of one camera; shared and read without locks.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) captured: Tally,
    pub(super) thinned: Tally,
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
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureCounts {
    /// Pictures that arrived whole, passed on or not.
    pub captured: u64,
    /// Pictures that were not due and were dropped before decoding.
    pub thinned: u64,
    /// Pictures that could not be decoded.
    pub damaged: u64,
    /// Openings after the first.
    pub reopened: u64,
    /// Times that no picture came for `stall_after`.
    pub stalled: u64,
}

impl Counters {
    /// All numbers at this moment.
    #[must_use]
    pub fn counts(&self) -> CaptureCounts {
        let read = |tally: &Tally| tally.0.load(Relaxed);
        CaptureCounts {
            captured: read(&self.captured),
            thinned: read(&self.thinned),
            damaged: read(&self.damaged),
            reopened: read(&self.reopened),
            stalled: read(&self.stalled),
        }
    }

    /// The camera's loop turned at this moment.
    pub(super) fn turn(&self, at: Stamp) {
        self.turned_us.store(at.mono_us(), Relaxed);
    }

    /// When the loop last turned, in microseconds on the monotonic clock; 0 before the first turn. In a healthy
    /// thread this is at most about 4 s old, whatever the camera does: 1 s of waiting, or the time that an
    /// unwilling child takes to be killed. Played fast, the time that the sink takes comes on top.
    #[must_use]
    pub fn last_turn_us(&self) -> u64 {
        self.turned_us.load(Relaxed)
    }
}
