//! The rules engine: predictions in, decisions out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::domain::{
    Answer, CameraId, CameraState, DoorId, Label, Prediction, RuleId, ScheduleId, Score, Severity, ZoneId,
};

/// Everything the engine works by; swapped as a whole on reload.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSet {
    /// The zone in which schedules are read.
    pub timezone: TimeZone,
    /// The named schedules.
    pub schedules: BTreeMap<ScheduleId, Schedule>,
    /// The rules, in order of precedence for grants.
    pub rules: Vec<Rule>,
    /// Labels that mean "nothing here"; they are no presence.
    pub background: BTreeSet<Label>,
    /// A presence is over when nothing was seen for this long; then a rule may fire again.
    pub presence_gap: Duration,
}

/// When a schedule is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Days on which a window *starts*.
    pub days: Vec<Weekday>,
    /// Start of the window, local time, inclusive.
    pub from: Time,
    /// End of the window, local time, exclusive; not after `from` means: past midnight, into the next day.
    pub to: Time,
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// The cameras it listens to; never empty.
    pub cameras: Vec<CameraId>,
    /// The zone whose predictions count; `None` is the whole picture.
    pub zone: Option<ZoneId>,
    /// The answers it waits for; never empty.
    pub answers: Vec<Answer>,
    /// A prediction counts from this probability on.
    pub min_score: Score,
    /// A prediction counts when its best label is this far ahead of the second; 0..=1.
    pub margin: f32,
    /// How many predictions must agree.
    pub agree: Agreement,
    /// How long the agreement must last before the rule fires (`for`).
    pub hold: Duration,
    /// The schedule in which it may fire.
    pub during: Option<During>,
    /// After firing it does not fire again for this long.
    pub cooldown: Duration,
    /// It fires at most this often in any 60 minutes.
    pub max_per_hour: Option<u32>,
    /// What it does; never empty.
    pub actions: Vec<Action>,
}

/// `k` of the last `n` predictions of one camera and zone, all captured within `within`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// How many must agree, `1..=n`.
    pub k: u32,
    /// Of how many, at most 64.
    pub n: u32,
    /// Older predictions do not count.
    pub within: Duration,
}

/// A reference to a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct During {
    /// The schedule.
    pub schedule: ScheduleId,
    /// `!schedule`: outside of it.
    pub negated: bool,
}

/// What a rule does when it fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Open a door.
    Authorise(DoorId),
    /// Tell the world.
    Alert {
        /// How much it matters.
        severity: Severity,
        /// Whether the picture goes with it.
        snapshot: bool,
    },
    /// Remember it.
    Log,
}

/// All that can wake the engine. A closed list: what is not here cannot influence a decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The model spoke.
    Prediction(Prediction),
    /// Time passed.
    Tick,
    /// A camera changed its state.
    CameraHealth {
        /// The camera.
        camera: CameraId,
        /// Its new state.
        state: CameraState,
    },
    /// A second factor was presented at a door.
    Factor {
        /// The door.
        door: DoorId,
        /// The factor's name, as configured.
        factor: String,
        /// Whether it was right.
        accepted: bool,
    },
    /// A door contact changed.
    Contact {
        /// The door.
        door: DoorId,
        /// Whether the door stands open.
        open: bool,
    },
    /// The house changed its mode (home, away, …).
    Mode(String),
    /// Whether the wall clock is synchronised. While it is not, schedules grant nothing.
    ClockSync(bool),
    /// New rules take effect.
    ConfigSwap(Arc<RuleSet>),
}
