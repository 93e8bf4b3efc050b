//! Who stands before a door, and whether they have had their answer.

use std::time::Duration;

use super::Rule;
use crate::domain::{DoorId, Stamp};

/// Nobody is denied before they stood there this long, even where no rule holds.
const SHORTEST: Duration = Duration::from_secs(1);

/// One door as seen by one camera and zone.
#[derive(Debug, Clone)]
pub(super) struct Doorway {
    pub(super) door: DoorId,
    /// The watches whose rules open it, in configuration order.
    pub(super) watches: Vec<usize>,
    /// How long a presence lasts before it is denied.
    pub(super) patience: Duration,
    pub(super) presence: Presence,
}

/// Somebody before the door.
#[derive(Debug, Clone, Default)]
pub(super) struct Presence {
    since: Option<Stamp>,
    last_met: Option<Stamp>,
    /// A rule let them in.
    pub(super) granted: bool,
    denied: bool,
}

impl Doorway {
    pub(super) fn new(door: DoorId) -> Self {
        Self { door, watches: Vec::new(), patience: SHORTEST, presence: Presence::default() }
    }

    /// Adds the watch of a rule that opens this door.
    pub(super) fn add(&mut self, watch: usize, rule: &Rule) {
        self.watches.push(watch);
        self.patience = self.patience.max(rule.hold);
    }

    /// Takes in whether somebody is there by an agreement, and whether the newest prediction, captured `at`, says
    /// so too: a presence begins only on one that does.
    pub(super) fn observe(&mut self, agreed: bool, newest: bool, at: Stamp, presence_gap: Duration) {
        let presence = &mut self.presence;
        if presence.last_met.is_some_and(|met| at.since(met) >= presence_gap) {
            *presence = Presence::default();
        }
        if agreed && (newest || presence.since.is_some()) {
            presence.last_met = Some(at);
            presence.since.get_or_insert(at);
        }
    }

    /// For how long the presence has stood when it is now to be denied: at most once per presence.
    pub(super) fn deny(&mut self, at: Stamp) -> Option<Duration> {
        let presence = &mut self.presence;
        let stood = at.since(presence.since?);
        if presence.granted || presence.denied || stood < self.patience {
            return None;
        }
        presence.denied = true;
        Some(stood)
    }
}
