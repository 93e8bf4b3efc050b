//! Which pictures are due.

use std::time::Duration;

use crate::domain::Stamp;

/// Lets pictures through at a mean rate. A picture may be a quarter of a period early, so that a source of just
/// this rate that trembles is not halved.
#[derive(Debug)]
pub(super) struct Thinner {
    period: Duration,
    due: Option<Stamp>,
}

impl Thinner {
    pub(super) fn new(period: Duration) -> Self {
        Self { period, due: None }
    }

    /// Another rate from the next picture that is due on.
    pub(super) fn set_period(&mut self, period: Duration) {
        self.period = period;
    }

    /// Whether a picture of this moment is due; it must not go back.
    pub(super) fn is_due(&mut self, now: Stamp) -> bool {
        let Some(due) = self.due else {
            self.due = Some(now.plus(self.period));
            return true;
        };
        if due.since(now) > self.period / 4 {
            return false;
        }
        // After a gap the rhythm starts anew: what was missed is not caught up with.
        let base = if now.since(due) > self.period { now } else { due };
        self.due = Some(base.plus(self.period));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the pictures at these milliseconds are let through at 5 a second.
    fn passed(at_ms: impl Iterator<Item = u64>) -> usize {
        let mut thinner = Thinner::new(Duration::from_millis(200));
        let at = |ms: &u64| Stamp::new(ms * 1000, 0);
        at_ms.filter(|ms| thinner.is_due(at(ms))).count()
    }

    #[test]
    fn a_faster_source_is_thinned_to_the_rate() {
        assert!(passed((0..300).map(|n| n * 100 / 3)).abs_diff(50) <= 1, "30 a second for 10 s");
        assert!(passed((0..120).map(|n| n * 1000 / 12)).abs_diff(50) <= 1, "12 a second");
    }

    #[test]
    fn a_source_of_just_this_rate_may_tremble() {
        let trembling = (0..50u64).map(|n| n * 200 + [20, 0, 40, 10, 30][n as usize % 5]);
        assert_eq!(passed(trembling), 50);
    }

    #[test]
    fn a_slower_source_passes_whole_and_a_gap_is_not_caught_up_with() {
        assert_eq!(passed((0..20).map(|n| n * 500)), 20);
        let burst = (0..10).map(|n| 5000 + n);
        assert_eq!(passed(std::iter::once(0).chain(burst)), 2);
    }
}
