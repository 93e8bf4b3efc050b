//! Whether a camera's own stream is to be copied beside its pictures, and whether that succeeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::domain::{Codec, Stamp};

/// Shared between a camera and whoever wants its stream. Nothing is wanted at first.
#[derive(Debug, Default)]
pub struct Copying {
    wanted: AtomicBool,
    works: AtomicBool,
    /// ffmpeg failed over it: the pictures matter more.
    given_up: AtomicBool,
    /// Openings in a row that were to copy and gave no picture.
    in_vain: AtomicU32,
}

/// After so many openings in vain one is made without a copy: it might be that which fails.
const TRIALS: u32 = 3;

impl Copying {
    /// Asks for the stream, or no longer. It is copied from the next opening of the source on; when it is not wanted any
    /// more, what comes is thrown away at once.
    pub fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Relaxed);
    }

    /// Whether it is asked for.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// Whether the stream is coming, as far as is known.
    #[must_use]
    pub fn works(&self) -> bool {
        self.works.load(Relaxed)
    }

    /// Whether the next opening is to copy.
    pub(super) fn is_due(&self) -> bool {
        let is_trial = self.in_vain.load(Relaxed) % (TRIALS + 1) == TRIALS;
        self.is_wanted() && !self.given_up.load(Relaxed) && !is_trial
    }

    /// An opening has ended; `gave` says whether it gave pictures.
    pub(super) fn ended(&self, gave: bool) {
        if gave {
            self.in_vain.store(0, Relaxed);
        } else {
            self.in_vain.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn set_works(&self, works: bool) {
        self.works.store(works, Relaxed);
    }

    pub(super) fn give_up(&self) {
        self.given_up.store(true, Relaxed);
        self.set_works(false);
    }
}

/// One coded picture, as its source gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// When it was captured.
    pub when: When,
    /// As in [`crate::domain::StreamPart`].
    pub codec: Codec,
    /// Likewise.
    pub is_key: bool,
    /// Likewise.
    pub bytes: Arc<[u8]>,
    /// Likewise.
    pub head: Option<Arc<[u8]>>,
}

/// When a coded picture was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It arrived then.
    Arrived(Stamp),
    /// So long before the last picture that the source gave; for files, which have a time of their own.
    Before(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_opening_in_a_row_of_failures_does_without_a_copy() {
        let copying = Copying::default();
        assert!(!copying.is_due());
        copying.want(true);
        let due = || {
            copying.ended(false);
            copying.is_due()
        };
        assert_eq!([(); 8].map(|()| due()), [true, true, false, true, true, true, false, true]);
        copying.ended(true);
        assert!(copying.is_due());
        copying.give_up();
        assert!(!copying.is_due() && copying.is_wanted());
    }
}
