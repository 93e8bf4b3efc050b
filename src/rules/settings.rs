//! What the engine works by. Built and checked by `config`; here it is taken as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use crate::domain::{
    Answer, CameraId, DoorId, Label, Line, LineId, Polygon, RuleId, ScheduleId, Score, Severity, Side,
    Tamper, ZoneId,
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
    /// A presence is over when nothing was seen for this long; then a rule may fire again. Should be longer than
    /// the time between two looks, else every look is a presence of its own.
    pub presence_gap: Duration,
    /// Where the zones and lines of tracks are.
    pub places: Places,
}

impl RuleSet {
    /// How many pictures a second of a camera its rules need: fewer, and one of them can never agree. 0 when any number will do.
    #[must_use]
    pub fn needed_rate(&self, camera: &CameraId) -> f32 {
        let asks = |rule: &&Rule| rule.trigger == Trigger::Predictions && rule.cameras.contains(camera);
        let needed = |rule: &Rule| {
            rule.agree.k.saturating_sub(1) as f32 / rule.agree.within.as_secs_f32().max(f32::EPSILON)
        };
        self.rules.iter().filter(asks).map(needed).fold(0.0, f32::max)
    }
}

/// Where the zones and lines are that rules about tracks ask for. What is not in here lies nowhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Places {
    /// The zones of each camera.
    pub zones: BTreeMap<(CameraId, ZoneId), Polygon>,
    /// The lines of each camera.
    pub lines: BTreeMap<(CameraId, LineId), Line>,
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
    /// Its name, unique in the set.
    pub id: RuleId,
    /// The cameras it listens to; never empty.
    pub cameras: Vec<CameraId>,
    /// The zone whose predictions count; `None` is the whole picture.
    pub zone: Option<ZoneId>,
    /// What wakes it.
    pub trigger: Trigger,
    /// The answers it waits for; never empty for a rule that predictions wake.
    pub answers: Vec<Answer>,
    /// A prediction counts from this probability on; *unknown* counts whatever its probability.
    pub min_score: Score,
    /// A prediction counts when its best label is this far ahead of the second; 0..=1. Not asked of *unknown*.
    pub margin: f32,
    /// How many predictions must agree.
    pub agree: Agreement,
    /// How long the agreement must last before the rule fires (`for`).
    pub hold: Duration,
    /// The schedule in which it may fire.
    pub during: Option<During>,
    /// After firing it does not fire again for this long, per camera; a rule about what a track does, per track.
    pub cooldown: Duration,
    /// It fires at most this often in any 60 minutes, over all its cameras.
    pub max_per_hour: Option<u32>,
    /// What it does; never empty.
    pub actions: Vec<Action>,
}

impl Rule {
    /// The doors it authorises, each once, in the order of its actions.
    pub(super) fn doors(&self) -> impl Iterator<Item = &DoorId> {
        self.actions.iter().enumerate().filter_map(|(i, action)| match action {
            Action::Authorise(door) if !self.actions[..i].contains(action) => Some(door),
            _ => None,
        })
    }

    /// Whether it authorises `door`.
    pub(super) fn opens(&self, door: &DoorId) -> bool {
        self.doors().any(|d| d == door)
    }

    /// Whether it has an action other than opening a door.
    pub(super) fn speaks(&self) -> bool {
        self.actions.iter().any(|action| !matches!(action, Action::Authorise(_)))
    }
}

/// What wakes a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Trigger {
    /// Predictions that agree.
    Predictions,
    /// One of these things was done to the camera; such a rule has no zone and opens no door.
    Tamper(Vec<Tamper>),
    /// Something that one track does. Such a rule opens no door; with no answers every track counts.
    Track(Deed),
    /// How many tracks are in the zone at a time. Opens no door; with no answers every track counts.
    Count(Count),
    /// At least this share of the zone shows something that does not belong to the background. Opens no door.
    Covered(Score),
}

/// Something that a track does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// It comes into the zone, or is first seen in it, and stays for the rule's `hold`.
    Entered,
    /// It goes out of the zone, or is lost in it.
    Left,
    /// It stays in the zone for so long.
    Loitered(Duration),
    /// It crosses a line.
    Crossed {
        /// The line.
        line: LineId,
        /// To which side; `None` takes both.
        to: Option<Side>,
    },
}

/// A number of tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many or more.
    AtLeast(u32),
    /// So many or fewer.
    AtMost(u32),
    /// Just so many.
    Exactly(u32),
}

impl Count {
    /// Whether `n` is such a number.
    #[must_use]
    pub fn holds(self, n: u32) -> bool {
        match self {
            Count::AtLeast(least) => n >= least,
            Count::AtMost(most) => n <= most,
            Count::Exactly(number) => n == number,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Count::AtLeast(n) => write!(f, "at least {n}"),
            Count::AtMost(n) => write!(f, "at most {n}"),
            Count::Exactly(n) => write!(f, "exactly {n}"),
        }
    }
}

/// `k` of the last `n` predictions of one camera and zone, all captured within `within`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// How many must agree, `1..=n`; 0 is read as 1.
    pub k: u32,
    /// Of how many, at most 64; more is read as 64. It is enough that `k` agree before `n` were seen.
    pub n: u32,
    /// Predictions captured longer than this before the newest do not count.
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
