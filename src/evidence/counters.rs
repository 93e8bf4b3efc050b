//! What the makers of clips have done, for the report.

use std::sync::atomic::{AtomicU64, Ordering};

/// Shared, never blocking.
#[derive(Debug, Default)]
pub struct Counters {
    /// Turns of the keeper's loop and of the filer's.
    pub(super) keeper_turns: AtomicU64,
    pub(super) filer_turns: AtomicU64,
    /// Events whose clip is not settled yet.
    pending: AtomicU64,
    /// Files written.
    pub(super) written: AtomicU64,
    /// Those of them that are copies of a camera's own stream.
    pub(super) copied: AtomicU64,
    /// Their bytes.
    pub(super) bytes: AtomicU64,
    /// Clips left out on purpose.
    pub(super) refused: AtomicU64,
    /// Clips that could not be made.
    pub(super) failed: AtomicU64,
    /// Files that had to go.
    pub(super) pruned: AtomicU64,
    /// Clips that lost pictures to the memory's bound.
    pub(super) cut: AtomicU64,
    /// Pictures that were not kept: the encoder fell behind, or the memory was full.
    pub(super) frames_lost: AtomicU64,
    /// Times that a camera whose stream was to be copied had to be encoded.
    pub(super) not_copied: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Files written.
    pub written: u64,
    /// Those of them that are copies of a camera's own stream.
    pub copied: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Clips left out on purpose: write budget, full disk, nothing to show.
    pub refused: u64,
    /// Clips that could not be made.
    pub failed: u64,
    /// Files that had to go.
    pub pruned: u64,
    /// Clips that lost pictures to the memory's bound.
    pub cut: u64,
    /// Pictures that were not kept: the encoder fell behind, or the memory was full.
    pub frames_lost: u64,
    /// Times that a camera whose stream was to be copied had to be encoded.
    pub not_copied: u64,
}

impl Counters {
    /// Turns of the keeper's loop and of the filer's, for a watchdog: each turns every second or so, except while a clip
    /// is being made.
    #[must_use]
    pub fn turns(&self) -> [u64; 2] {
        [&self.keeper_turns, &self.filer_turns].map(|turns| turns.load(Ordering::Relaxed))
    }

    /// All of them now.
    #[must_use]
    pub fn read(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            written: load(&self.written),
            copied: load(&self.copied),
            bytes: load(&self.bytes),
            refused: load(&self.refused),
            failed: load(&self.failed),
            pruned: load(&self.pruned),
            cut: load(&self.cut),
            frames_lost: load(&self.frames_lost),
            not_copied: load(&self.not_copied),
        }
    }

    /// How many events wait for their clip.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn settle(&self, events: usize) {
        self.pending.fetch_sub(events as u64, Ordering::AcqRel);
    }

    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}
