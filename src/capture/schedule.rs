//! When the next picture of a file or a folder is due.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::Stamp;
use crate::shutdown::Stop;

/// One picture every period.
pub(super) struct Schedule {
    clock: Arc<dyn Clock>,
    period: Duration,
    due: Stamp,
}

impl Schedule {
    /// The first picture is due now.
    pub(super) fn new(clock: Arc<dyn Clock>, period: Duration) -> Self {
        let due = clock.now();
        Self { clock, period, due }
    }

    /// Waits for the next picture's moment; false when `deadline` or a stop comes first.
    pub(super) fn is_due(&self, deadline: Duration, stop: &Stop) -> bool {
        let wait = self.due.since(self.clock.now());
        !stop.wait_for(wait.min(deadline)) && wait <= deadline
    }

    /// The picture was taken. What was missed is not caught up with.
    pub(super) fn advance(&mut self) {
        let (next, now) = (self.due.plus(self.period), self.clock.now());
        self.due = if next < now { now } else { next };
    }
}
