//! Pauses between tries: doubling, with a bound and some chance in them. For cameras and for the broker.

use std::time::Duration;

/// Doubles from `first` to `max`. Each pause lies between half of its step and the whole of it, so that
/// those who lost the same broker or switch do not come back in one beat.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    step: Duration,
    chance: u64,
}

impl Backoff {
    /// `seed` makes the pauses of one differ from another's.
    #[must_use]
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, step: first, chance: seed | 1 }
    }

    /// The next pause, within `first / 2 ..= max`.
    pub fn pause(&mut self) -> Duration {
        let step = self.step.min(self.max);
        self.step = step.saturating_mul(2);
        step / 2 + (step / 2).mul_f64(self.fraction())
    }

    /// After a success: the next pause is a short one again.
    pub fn reset(&mut self) {
        self.step = self.first;
    }

    /// A number within 0..1 (xorshift64; Marsaglia, "Xorshift RNGs", 2003).
    pub fn fraction(&mut self) -> f64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30), 42);
        for step in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            let pause = backoff.pause().as_millis();
            assert!((step / 2..=step).contains(&pause), "{pause} ms for a step of {step} ms");
        }
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(500));
    }

    #[test]
    fn two_daemons_pause_differently() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30), seed);
            (0..4).map(|_| backoff.pause()).collect::<Vec<_>>()
        };
        assert_ne!(pauses(1_000_003), pauses(7_654_321));
    }
}
