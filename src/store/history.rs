//! What the record tells of limits: when rules last fired, and when doors were last opened.
//!
//! Intervals, cooldowns and hourly budgets must hold over a restart. Ages of events of this boot are taken from the
//! monotonic clock, which nobody sets. Ages of others are taken from the wall clock, the only one that goes on over a
//! boot; an event that lies ahead of it, as on a machine without a battery for its clock, counts as having happened
//! just now. A wall clock that was set forward over a boot makes these look older than they are: nothing in the record
//! can tell that from time that has passed.
//!
//! What is needed is never deleted ([`Kept`]): the grants of the last hour, which intervals (an hour at the most) and
//! budgets count, and the newest grant of each rule at each camera, for its cooldown. Other events may go when
//! their bounds say so: that an alert comes again before its cooldown is over opens no door.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::{Store, StoreError};
use crate::clock;
use crate::domain::{CameraId, Decision, DoorId, EventId, RuleId, Stamp, Verdict};

const HOUR_US: i64 = 3_600_000_000;

/// What limits still count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Firings of rules: the last at each camera, and all of the last hour; oldest first.
    pub firings: Vec<Firing>,
    /// The last opening of each door that was not refused.
    pub openings: Vec<Opening>,
}

/// That a rule fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// The rule.
    pub rule: RuleId,
    /// The camera at which it did.
    pub camera: CameraId,
    /// Capture of the frame that tipped it, as seen from now: it may lie before the boot.
    pub at: Stamp,
}

/// That a door was opened, may have been, or would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The door.
    pub door: DoorId,
    /// The event that granted it.
    pub event: EventId,
    /// When it was granted, as seen from now: it may lie before the boot.
    pub at: Stamp,
}

impl Store {
    /// What the record tells of limits, seen from `now`. An event of one firing that did several things counts once.
    /// Reads every event once.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::BadRow`]
    pub fn history(&self, now: Stamp) -> Result<History, StoreError> {
        Ok(History { firings: firings(&self.conn, now)?, openings: openings(&self.conn, now)? })
    }
}

fn firings(conn: &Connection, now: Stamp) -> Result<Vec<Firing>, StoreError> {
    // Beside max(), SQLite takes the other columns from the row that has it.
    let mut statement = conn.prepare(&format!(
        "WITH fired AS (SELECT *, {} AS is_recent FROM event WHERE rule IS NOT NULL) \
         SELECT rule, camera, frame_wall_us, frame_mono_us, boot, max(row) AS row FROM fired WHERE NOT is_recent \
         GROUP BY rule, camera \
         UNION ALL SELECT rule, camera, frame_wall_us, frame_mono_us, boot, row FROM fired WHERE is_recent \
         GROUP BY rule, camera, frame_wall_us, frame_seq, track \
         ORDER BY row",
        LastHour::sql(1)
    ))?;
    let LastHour { since_wall_us, mono_us: (from, to) } = LastHour::before(now.wall_us(), now.mono_us());
    let mut rows = statement.query(params![since_wall_us, clock::boot_id(), from, to])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (rule, camera): (String, String) = (row.get(0)?, row.get(1)?);
        let rule = RuleId::new(&rule).map_err(|_| bad("rule", rule))?;
        let camera = CameraId::new(&camera).map_err(|_| bad("camera", camera))?;
        found.push(Firing { rule, camera, at: moment(row, 2)?.seen_from(now) });
    }
    Ok(found)
}

fn openings(conn: &Connection, now: Stamp) -> Result<Vec<Opening>, StoreError> {
    let mut statement = conn.prepare(
        "SELECT door, id, at_wall_us, at_mono_us, boot, max(row) FROM event \
         WHERE verdict = 'authorise' AND outcome <> 'refused' GROUP BY door",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (door, event): (String, String) = (row.get(0)?, row.get(1)?);
        let door = DoorId::new(&door).map_err(|_| bad("door", door))?;
        let event = EventId::parse(&event).ok_or_else(|| bad("id", event))?;
        found.push(Opening { door, event, at: moment(row, 2)?.seen_from(now) });
    }
    Ok(found)
}

/// A moment as it is recorded.
struct Moment {
    wall_us: i64,
    mono_us: i64,
    is_of_this_boot: bool,
}

/// The moment whose wall clock, monotonic clock and boot stand from `column` on.
fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Moment> {
    let boot: Option<String> = row.get(column + 2)?;
    let is_of_this_boot = boot.is_some() && boot.as_deref() == clock::boot_id();
    Ok(Moment { wall_us: row.get(column)?, mono_us: row.get(column + 1)?, is_of_this_boot })
}

impl Moment {
    /// The moment on both clocks of now; what lies ahead is now. What the monotonic clock has not reached yet is of
    /// another life of the machine, whatever its boot is called: a virtual machine may have been set back.
    fn seen_from(&self, now: Stamp) -> Stamp {
        let by_mono = now.mono_us().cast_signed().saturating_sub(self.mono_us);
        let by_wall = now.wall_us().saturating_sub(self.wall_us);
        let age = if self.is_of_this_boot && by_mono >= 0 { by_mono } else { by_wall.max(0) };
        now.minus(Duration::from_micros(age.unsigned_abs()))
    }
}

fn bad(column: &'static str, found: String) -> StoreError {
    StoreError::BadRow { row: 0, column, found }
}

/// The hour in which grants stay, by both clocks: the wall clock may have been set, and the other begins anew at a boot.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastHour {
    /// Grants decided at or after this moment stay.
    pub(super) since_wall_us: i64,
    /// So do those of this boot between these two.
    pub(super) mono_us: (i64, i64),
}

impl LastHour {
    fn before(wall_us: i64, mono_us: u64) -> Self {
        let mono_us = i64::try_from(mono_us).unwrap_or(i64::MAX);
        Self {
            since_wall_us: wall_us.saturating_sub(HOUR_US),
            mono_us: (mono_us.saturating_sub(HOUR_US), mono_us),
        }
    }

    /// Whether an event belongs to it, 0 or 1. The parameters from number `first` on are the moment of the wall clock, the
    /// name of this boot, and the two moments of its monotonic clock. An event without a boot is of none: it has no NULL in
    /// its answer.
    pub(super) fn sql(first: usize) -> String {
        let [boot, from, to] = [first + 1, first + 2, first + 3];
        format!(
            "(at_wall_us >= ?{first} \
             OR (boot IS ?{boot} AND boot IS NOT NULL AND at_mono_us BETWEEN ?{from} AND ?{to}))"
        )
    }
}

/// The grants that retention must leave.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    /// The newest grant of each rule at each camera, as its row.
    newest: BTreeMap<(Option<String>, String), i64>,
    /// When the newest of all was decided.
    last_wall_us: Option<i64>,
}

impl Kept {
    /// As the file tells.
    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let mut kept = Self::default();
        let mut statement = conn.prepare(
            "SELECT rule, camera, max(row), max(at_wall_us) FROM event WHERE verdict = 'authorise' GROUP BY rule, camera",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            kept.newest.insert((row.get(0)?, row.get(1)?), row.get(2)?);
            kept.last_wall_us = kept.last_wall_us.max(row.get(3)?);
        }
        Ok(kept)
    }

    /// Takes in a decision that is being written as `row`.
    pub(super) fn note(&mut self, decision: &Decision, row: i64) {
        if let Verdict::Authorise { .. } = decision.verdict {
            let rule = decision.rule.as_ref().map(ToString::to_string);
            self.newest.insert((rule, decision.observation.camera.to_string()), row);
            self.last_wall_us = self.last_wall_us.max(Some(decision.at.wall_us()));
        }
    }

    /// The last hour. With a wall clock that nobody trusts (`i64::MIN`), it is also the newest grant that says what that is.
    pub(super) fn last_hour(&self, now_wall_us: i64, now_mono_us: u64) -> LastHour {
        let now = if now_wall_us == i64::MIN { self.last_wall_us.unwrap_or(i64::MAX) } else { now_wall_us };
        LastHour::before(now, now_mono_us)
    }

    /// Whether this row stays whatever its age.
    pub(super) fn holds(&self, row: i64) -> bool {
        self.newest.values().any(|kept| *kept == row)
    }

    /// How many rows stay whatever their age.
    pub(super) fn len(&self) -> usize {
        self.newest.len()
    }
}
