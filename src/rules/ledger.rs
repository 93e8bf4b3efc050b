//! How often a rule fired, and how often it was held back.

use std::collections::VecDeque;
use std::time::Duration;

use super::window::CAPACITY;
use crate::domain::Stamp;

const HOUR: Duration = Duration::from_secs(3600);

/// One rule's firings over all its cameras.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// The most recent firings, by capture, oldest first; no more than the budget allows in an hour.
    fired: VecDeque<Stamp>,
    /// Firings suppressed by cooldown or budget.
    pub(super) suppressed: u64,
}

impl Ledger {
    /// Whether a firing at `at` leaves at most `budget` in any 60 minutes. Frames of several cameras need not come
    /// in order: a firing that was captured later than `at` is taken as recent.
    pub(super) fn allows(&self, budget: Option<u32>, at: Stamp) -> bool {
        let recent = || self.fired.iter().filter(|fired| at.since(**fired) < HOUR).count();
        budget.is_none_or(|budget| (recent() as u64) < u64::from(budget))
    }

    /// Enters a firing. Without a budget a few are kept nevertheless, for the day when a reload brings one.
    pub(super) fn enter(&mut self, budget: Option<u32>, at: Stamp) {
        let place = self.fired.partition_point(|fired| !fired.is_after(at));
        self.fired.insert(place, at);
        let kept = budget.map_or(CAPACITY, |budget| usize::try_from(budget).unwrap_or(usize::MAX));
        while self.fired.len() > kept {
            self.fired.pop_front();
        }
    }
}
