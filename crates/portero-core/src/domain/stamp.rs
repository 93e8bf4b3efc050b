//! One moment, on two clocks.

use std::time::Duration;

/// When something happened: taken once, at capture, on both clocks. Durations use the monotonic part, records
/// the wall part, so that a clock set by NTP neither shortens a cooldown nor stretches a pulse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Signed and wide: what a record of yesterday tells of lies before the boot of today.
    mono_us: i128,
    wall_us: i64,
}

impl Stamp {
    /// `mono_us`: microseconds on the monotonic clock (origin: boot); `wall_us`: microseconds since
    /// 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn new(mono_us: u64, wall_us: i64) -> Self {
        Self { mono_us: i128::from(mono_us), wall_us }
    }

    /// Microseconds on the monotonic clock; 0 for a moment before its origin.
    #[must_use]
    pub fn mono_us(self) -> u64 {
        u64::try_from(self.mono_us.max(0)).unwrap_or(u64::MAX)
    }

    /// Microseconds since 1970-01-01T00:00:00Z, as the wall clock said.
    #[must_use]
    pub fn wall_us(self) -> i64 {
        self.wall_us
    }

    /// Time passed since `earlier`, on the monotonic clock; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Stamp) -> Duration {
        let us = self.mono_us.saturating_sub(earlier.mono_us).max(0);
        Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
    }

    /// Whether this moment lies after `other`, on the monotonic clock.
    #[must_use]
    pub fn is_after(self, other: Stamp) -> bool {
        self.mono_us > other.mono_us
    }

    /// This moment moved back on both clocks; it may come to lie before the origin of the monotonic one.
    #[must_use]
    pub fn minus(self, by: Duration) -> Stamp {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Stamp {
            mono_us: self.mono_us.saturating_sub(i128::from(us)),
            wall_us: self.wall_us.saturating_sub(i64::try_from(us).unwrap_or(i64::MAX)),
        }
    }

    /// This moment moved forward on both clocks, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Stamp {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Stamp {
            mono_us: self.mono_us.saturating_add(i128::from(us)),
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
        assert!(after_clock_was_set_back.is_after(before));
    }

    #[test]
    fn what_happened_before_the_boot_keeps_its_age() {
        let now = Stamp::new(60_000_000, 5_000_000_000);
        let (day, hour) = (Duration::from_secs(86_400), Duration::from_secs(3600));
        let yesterday = now.minus(day);
        assert_eq!(now.since(yesterday), day);
        assert_eq!(now.plus(hour).since(yesterday), day + hour);
        assert_eq!(yesterday.mono_us(), 0, "there is no number for it");
    }
}
