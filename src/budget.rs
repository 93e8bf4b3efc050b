//! How much may be written to the disk in a day: for SD cards, which wear out.
//!
//! What must be written (events, outbox, outcomes) is only counted. Clips and snapshots ask first: clips may take up to
//! [`CLIP_PERCENT`] of the budget, snapshots all of it, so that clips are left out first. A day begins at 00:00 UTC.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::domain::Stamp;

/// Clips are left out when so much of the budget is used up, in percent.
pub const CLIP_PERCENT: u64 = 80;
const DAY_US: i64 = 86_400_000_000;

/// What can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// A clip.
    Clip,
    /// The snapshot of an event.
    Snapshot,
}

/// The budget of the running day, shared by all that write.
#[derive(Debug, Default)]
pub struct WriteBudget {
    /// In bytes; `None` is no bound.
    limit: Option<u64>,
    day: Mutex<Day>,
    refused: [AtomicU64; 2],
}

#[derive(Debug, Default, Clone, Copy)]
struct Day {
    number: i64,
    written: u64,
}

impl WriteBudget {
    /// A budget of `limit` bytes a day, `None` for any number, of which `written` are used up today.
    #[must_use]
    pub fn new(limit: Option<u64>, written: u64, now: Stamp) -> Self {
        let day = Day { number: day_of(now), written };
        Self { limit, day: Mutex::new(day), refused: [AtomicU64::new(0), AtomicU64::new(0)] }
    }

    /// Counts what had to be written.
    pub fn spend(&self, bytes: u64, now: Stamp) {
        self.with_day(now, |day| day.written = day.written.saturating_add(bytes));
    }

    /// Whether `bytes` more may be written for this; if so, they are counted as written, else the refusal is counted.
    pub fn admit(&self, extra: Extra, bytes: u64, now: Stamp) -> bool {
        let share = self.share(extra);
        let admitted = self.with_day(now, |day| {
            let after = day.written.saturating_add(bytes);
            let fits = share.is_none_or(|share| after <= share);
            if fits {
                day.written = after;
            }
            fits
        });
        if !admitted {
            self.refused[extra as usize].fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// How many bytes of this kind may still be written today; `None` is any number.
    #[must_use]
    pub fn left(&self, extra: Extra, now: Stamp) -> Option<u64> {
        let share = self.share(extra)?;
        Some(share.saturating_sub(self.with_day(now, |day| day.written)))
    }

    /// Bytes written today.
    #[must_use]
    pub fn written(&self, now: Stamp) -> u64 {
        self.with_day(now, |day| day.written)
    }

    /// How many of this kind were refused since the start.
    #[must_use]
    pub fn refused(&self, extra: Extra) -> u64 {
        self.refused[extra as usize].load(Ordering::Relaxed)
    }

    /// Why something is left out, for the log and for the event.
    #[must_use]
    pub fn reason(&self) -> String {
        let limit = self.limit.unwrap_or(u64::MAX);
        format!("the write budget of {:.1} MiB a day is used up", limit as f64 / f64::from(1 << 20))
    }

    fn share(&self, extra: Extra) -> Option<u64> {
        let percent = match extra {
            Extra::Clip => CLIP_PERCENT,
            Extra::Snapshot => 100,
        };
        self.limit.map(|limit| limit / 100 * percent)
    }

    fn with_day<T>(&self, now: Stamp, work: impl FnOnce(&mut Day) -> T) -> T {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        // One day back is a clock that was corrected, or a frame that was taken before midnight.
        let number = day_of(now);
        if number != day.number && number != day.number - 1 {
            *day = Day { number, written: 0 };
        }
        work(&mut day)
    }
}

fn day_of(now: Stamp) -> i64 {
    now.wall_us().div_euclid(DAY_US)
}

/// When the day of this moment began, microseconds since 1970-01-01 UTC.
#[must_use]
pub fn day_began(now: Stamp) -> i64 {
    day_of(now) * DAY_US
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Stamp {
        Stamp::new(0, hours * 3_600_000_000)
    }

    #[test]
    fn clips_are_left_out_before_snapshots_and_all_come_back_the_next_day() {
        let budget = WriteBudget::new(Some(1000), 100, at(1));
        assert!(budget.admit(Extra::Clip, 700, at(2)));
        assert!(!budget.admit(Extra::Clip, 1, at(3)), "800 of 1000 are the clips' share");
        assert!(budget.admit(Extra::Snapshot, 150, at(3)));
        budget.spend(40, at(4));
        assert!(!budget.admit(Extra::Snapshot, 20, at(5)), "990 of 1000 are written");
        assert_eq!(
            (budget.left(Extra::Snapshot, at(5)), budget.left(Extra::Clip, at(5))),
            (Some(10), Some(0))
        );
        budget.spend(500, at(6));
        assert_eq!(budget.written(at(6)), 1490, "what must be written is counted beyond the bound");
        assert_eq!((budget.refused(Extra::Clip), budget.refused(Extra::Snapshot)), (1, 1));
        assert!(budget.admit(Extra::Clip, 800, at(25)), "a new day");
    }

    #[test]
    fn without_a_bound_everything_is_admitted() {
        let budget = WriteBudget::new(None, u64::MAX - 1, at(0));
        assert!(budget.admit(Extra::Clip, u64::MAX, at(1)));
        assert_eq!(budget.left(Extra::Snapshot, at(1)), None);
    }
}
