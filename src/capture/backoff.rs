//! How long to wait before the next attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Doubling pauses from 0.5 s to 30 s, each shortened by a random part of up to a quarter, so that many cameras
/// that were lost together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    random: RandomState,
    turn: u64,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST, random: RandomState::new(), turn: 0 }
    }

    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        self.turn += 1;
        let share = (self.random.hash_one(self.turn) % 256) as u32;
        pause - pause / 4 * share / 256
    }

    /// Things went well: the next pause is a short one again.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new();
        let mut expected = FIRST;
        for _ in 0..10 {
            let pause = backoff.pause();
            assert!(pause <= expected && pause >= expected * 3 / 4, "{pause:?} for {expected:?}");
            expected = (expected * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
