//! A committed grant, and the moment after which nobody may act on it any more.

use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError};

use crate::clock::Clock;
use crate::domain::{CameraId, DoorId, Event, EventId, FrameRef, Outcome, RuleId, Stamp, Verdict};

/// A committed grant on its way to its door.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The event that records it.
    pub event: EventId,
    /// The door to open.
    pub door: DoorId,
    /// The rule that granted it.
    pub rule: Option<RuleId>,
    /// The camera that saw it.
    pub camera: CameraId,
    /// The frame that tipped the decision, and how its age is known.
    pub frame: FrameRef,
}

impl Grant {
    /// The grant that `event` records, if it is one.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let Verdict::Authorise { door } = &event.decision.verdict else { return None };
        Some(Self {
            event: event.id,
            door: door.clone(),
            rule: event.decision.rule.clone(),
            camera: event.decision.observation.camera.clone(),
            frame: event.decision.frame,
        })
    }

    /// Hands the grant to the thread that runs the doors, or says at once why not. `grants` has capacity 1.
    /// Never blocks.
    #[must_use]
    pub fn hand_over(self, grants: &Sender<Grant>) -> Option<Outcome> {
        match grants.try_send(self) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => {
                Some(Outcome::Refused("busy: the doors have other grants in hand".into()))
            }
            Err(TrySendError::Disconnected(_)) => {
                Some(Outcome::Refused("the doors are no longer served".into()))
            }
        }
    }
}

/// A grant that its door has accepted, with the last moment at which it may be acted upon. Whoever acts asks
/// [`Order::refusal`] as the last thing before: time passes between the door's judgement and the deed.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The grant.
    pub grant: &'a Grant,
    /// Nothing may be done after this moment.
    pub deadline: Stamp,
    /// How old the frame may be then.
    pub max_age: Duration,
    /// By which the deadline is checked.
    pub clock: &'a dyn Clock,
}

impl Order<'_> {
    /// Why it is too late to act, if it is. Never blocks.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let now = self.clock.now();
        now.is_after(self.deadline).then(|| stale(now.since(self.grant.frame.stamp), self.max_age))
    }
}

/// What is said of a frame that is too old.
pub(super) fn stale(age: Duration, max_age: Duration) -> String {
    format!("stale: the frame is {age:.1?} old, at most {max_age:.1?} is allowed")
}
