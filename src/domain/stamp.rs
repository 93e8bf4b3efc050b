//! One moment, on two clocks.

use std::time::Duration;

/// When something happened: taken once, at capture, on both clocks. Durations use the monotonic part, records
/// the wall part, so that a clock set by NTP neither shortens a cooldown nor stretches a pulse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    mono_us: u64,
    wall_us: i64,
}

impl Stamp {
    /// `mono_us`: microseconds on the monotonic clock (origin: boot); `wall_us`: microseconds since
    /// 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn new(mono_us: u64, wall_us: i64) -> Self {
        Self { mono_us, wall_us }
    }

    /// Microseconds on the monotonic clock.
    #[must_use]
    pub fn mono_us(self) -> u64 {
        self.mono_us
    }

    /// Microseconds since 1970-01-01T00:00:00Z, as the wall clock said.
    #[must_use]
    pub fn wall_us(self) -> i64 {
        self.wall_us
    }

    /// Time passed since `earlier`, on the monotonic clock; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Stamp) -> Duration {
        Duration::from_micros(self.mono_us.saturating_sub(earlier.mono_us))
    }

    /// This moment moved back on both clocks, saturating.
    #[must_use]
    pub fn minus(self, by: Duration) -> Stamp {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Stamp {
            mono_us: self.mono_us.saturating_sub(us),
            wall_us: self.wall_us.saturating_sub(i64::try_from(us).unwrap_or(i64::MAX)),
        }
    }

    /// This moment moved forward on both clocks, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Stamp {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Stamp {
            mono_us: self.mono_us.saturating_add(us),
            wall_us: self.wall_us.saturating_add(i64::try_from(us).unwrap_or(i64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_come_from_the_monotonic_clock() {
        let before = Stamp::new(1_000_000, 50_000_000);
        let after_clock_was_set_back = Stamp::new(3_000_000, 10_000_000);
        assert_eq!(after_clock_was_set_back.since(before), Duration::from_secs(2));
        assert_eq!(before.since(after_clock_was_set_back), Duration::ZERO);
    }
}
