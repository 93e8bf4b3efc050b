//! One door: what keeps it shut, and what became of its openings.

use super::grant::stale;
use super::{Actuator, Grant, Mode, Order, Settings, Started};
use crate::clock::Clock;
use crate::domain::{EventId, FrameClock, Outcome, Stamp};

/// One door and its state.
pub(super) struct Door {
    settings: Settings,
    actuator: Box<dyn Actuator>,
    /// The event whose opening is under way.
    running: Option<EventId>,
    /// The last opening has been told, and something that it started still runs.
    lingering: bool,
    /// That opening was not refused.
    has_opened: bool,
    /// End of the last opening.
    last: Option<Stamp>,
}

impl Door {
    pub(super) fn new(settings: Settings, actuator: Box<dyn Actuator>) -> Self {
        Self { settings, actuator, running: None, lingering: false, has_opened: false, last: None }
    }

    /// Takes over the last opening of the run before, which began `at`. Ends what it left running; may block for some
    /// seconds over that.
    pub(super) fn resume(&mut self, event: EventId, at: Stamp, clock: &dyn Clock) {
        let now = clock.now();
        // When it began and ended is not recorded: as late as it can have been.
        let ended = at.plus(self.settings.max_age).plus(self.actuator.longest()).min(now);
        let last = if self.actuator.end_leftover(event) { clock.now() } else { ended };
        self.last = Some(self.last.map_or(last, |known| known.max(last)));
    }

    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || self.lingering
    }

    pub(super) fn act(&mut self, grant: &Grant, clock: &dyn Clock) -> Option<Outcome> {
        let now = clock.now();
        if let Some(why) = self.refusal(grant, now) {
            return Some(Outcome::Refused(why));
        }
        if self.settings.mode == Mode::Observe {
            self.last = Some(now);
            return Some(Outcome::Observed);
        }
        let max_age = self.settings.max_age;
        let order = Order { grant, deadline: grant.frame.stamp.plus(max_age), max_age, clock };
        match self.actuator.start(&order) {
            Started::Running => {
                self.running = Some(grant.event);
                None
            }
            Started::Ended(outcome) => {
                // Also what failed: nobody knows how far it came. Only a refusal says that nothing was done.
                if !matches!(outcome, Outcome::Refused(_)) {
                    self.last = Some(clock.now());
                }
                Some(outcome)
            }
        }
    }

    fn refusal(&self, grant: &Grant, now: Stamp) -> Option<String> {
        let (frame, max_age) = (grant.frame.stamp, self.settings.max_age);
        let is_active = self.settings.mode == Mode::Active;
        let age = now.since(frame);
        if age > max_age {
            return Some(stale(age, max_age));
        }
        // A file that is played fast is dated ahead of the clock; doors that only observe may watch one.
        if is_active && frame.is_after(now) {
            return Some(format!("its frame lies {:.1?} in the future", frame.since(now)));
        }
        if is_active && grant.frame.clock == FrameClock::Arrival && !self.settings.trust_arrival {
            return Some(undated(grant));
        }
        if self.running.is_some() {
            return Some("busy: the door is just being opened".to_owned());
        }
        if self.lingering {
            return Some("busy: what the last opening left running has not ended yet".to_owned());
        }
        let since = now.since(self.last?);
        (since < self.settings.min_interval).then(|| {
            format!(
                "busy: the door was opened {since:.1?} ago, it may be opened once every {:.1?}",
                self.settings.min_interval
            )
        })
    }

    pub(super) fn poll(&mut self, now: Stamp) -> Option<(EventId, Outcome)> {
        if self.lingering && !self.actuator.is_busy(now) {
            self.lingering = false;
            // Nor does the end of what was refused begin an interval.
            if self.has_opened {
                self.last = Some(now);
            }
        }
        let event = self.running?;
        let outcome = self.actuator.poll(now)?;
        self.running = None;
        self.lingering = self.actuator.is_busy(now);
        // Also after a failure: nobody knows how far it came. Only a refusal says that nothing was done.
        self.has_opened = !matches!(outcome, Outcome::Refused(_));
        if self.has_opened {
            self.last = Some(now);
        }
        Some((event, outcome))
    }
}

/// What is said of a frame whose age is only guessed.
fn undated(grant: &Grant) -> String {
    format!(
        "camera {} does not date its pictures, so the age of the frame is not known: give the door \
         `trust_arrival = true` if its arrival may count, or use a source that dates them",
        grant.camera
    )
}
