//! One rule at one camera: how far its condition is met, and what became of it in this presence.

use std::time::Duration;

use super::Rule;
use super::ledger::Ledger;
use super::schedule::{Gate, Moment};
use super::window::Window;
use crate::domain::Stamp;

/// Why a rule has nothing more to do in this presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    /// It fired.
    Fired,
    /// It matched while in cooldown.
    Cooldown,
    /// It matched when its hourly budget was used up.
    Budget,
}

/// A rule's hold on the doors it opens, for as long as its presence lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// It has not matched.
    #[default]
    None,
    /// It matched: no later rule opens its doors.
    Decides,
    /// It granted: no other rule opens its doors.
    Granted,
}

/// Where a rule stands at the newest prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Too few predictions count.
    NotAgreed,
    /// The condition is met, for this long now, which is not yet long enough.
    Held(Duration),
    /// The condition is met by earlier predictions; the newest does not count.
    NewestDiffers,
    /// The schedule keeps it out.
    Shut(Gate),
    /// It matches.
    Matches,
}

/// The state of one rule at one camera.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    /// The rule's place in the set.
    pub(super) rule: usize,
    /// Which predictions count, as a register.
    pub(super) register: u64,
    /// Since when the condition is met without a break.
    pub(super) agreed_since: Option<Stamp>,
    /// Which predictions count for a grant, as a register: those that count and are not withheld.
    pub(super) proof: u64,
    /// Since when the condition is met without a break by these alone.
    pub(super) proven_since: Option<Stamp>,
    /// When it was last met.
    pub(super) last_met: Option<Stamp>,
    /// When the rule last fired here.
    pub(super) last_fired: Option<Stamp>,
    pub(super) spent: Option<Spent>,
    pub(super) claim: Claim,
}

impl Watch {
    /// Takes in the window's newest prediction.
    pub(super) fn observe(&mut self, rule: &Rule, window: &Window, presence_gap: Duration) {
        let Some(newest) = window.last() else { return };
        self.register = self.register << 1 | u64::from(newest.counts_for(rule));
        self.proof = self.proof << 1 | u64::from(newest.proves(rule));
        if self.last_met.is_some_and(|met| newest.at.since(met) >= presence_gap) {
            self.end_presence();
        }
        // It begins on a prediction that counts: what was seen before a gap does not start a presence by itself.
        let since = |since: Option<Stamp>, register: u64| {
            let begun = since.is_some() || register & 1 == 1;
            (begun && window.agrees(register, &rule.agree)).then(|| since.unwrap_or(newest.at))
        };
        self.agreed_since = since(self.agreed_since, self.register);
        self.proven_since = since(self.proven_since, self.proof);
        if self.agreed_since.is_some() {
            self.last_met = Some(newest.at);
        }
    }

    /// Whether `rule` is met at a prediction captured `at` by pictures alone that may open a door.
    pub(super) fn is_proven(&self, rule: &Rule, at: Stamp) -> bool {
        self.proof & 1 == 1 && self.proven_since.is_some_and(|since| at.since(since) >= rule.hold)
    }

    /// Takes in whether a fact that is plain from one frame, captured `at`, holds: a number, a share.
    pub(super) fn note(&mut self, holds: bool, at: Stamp, presence_gap: Duration) {
        self.register = u64::from(holds);
        if self.last_met.is_some_and(|met| at.since(met) >= presence_gap) {
            self.end_presence();
        }
        if holds {
            self.last_met = Some(at);
            self.agreed_since.get_or_insert(at);
        } else {
            self.agreed_since = None;
        }
    }

    fn end_presence(&mut self) {
        self.last_met = None;
        self.agreed_since = None;
        self.proven_since = None;
        self.spent = None;
        self.claim = Claim::None;
    }

    /// Forgets what was seen; the presence goes on if it is agreed anew within the gap.
    pub(super) fn blink(&mut self) {
        (self.register, self.proof) = (0, 0);
        (self.agreed_since, self.proven_since) = (None, None);
    }

    /// How far `rule` has come at a prediction captured `at`.
    pub(super) fn standing(&self, rule: &Rule, at: Stamp, moment: &Moment<'_>) -> Standing {
        let Some(since) = self.agreed_since else { return Standing::NotAgreed };
        let held = at.since(since);
        if held < rule.hold {
            return Standing::Held(held);
        }
        match moment.gate(rule.during.as_ref()) {
            Gate::Open if self.register & 1 == 0 => Standing::NewestDiffers,
            Gate::Open => Standing::Matches,
            shut => Standing::Shut(shut),
        }
    }

    /// Fires at `at`, unless cooldown or budget hold it back; its presence is spent either way.
    pub(super) fn fire(&mut self, rule: &Rule, ledger: &mut Ledger, at: Stamp) -> bool {
        let spent = if self.is_cooling(rule, at) {
            Spent::Cooldown
        } else if !ledger.allows(rule.max_per_hour, at) {
            Spent::Budget
        } else {
            Spent::Fired
        };
        self.spent = Some(spent);
        if spent == Spent::Fired {
            self.last_fired = Some(at);
            ledger.enter(rule.max_per_hour, at);
        } else {
            ledger.suppressed += 1;
        }
        spent == Spent::Fired
    }

    /// Whether its cooldown is still running at `at`.
    fn is_cooling(&self, rule: &Rule, at: Stamp) -> bool {
        self.last_fired.is_some_and(|fired| at.since(fired) < rule.cooldown)
    }

    /// Holds its doors at least this firmly.
    pub(super) fn claim(&mut self, claim: Claim) {
        self.claim = self.claim.max(claim);
    }
}
