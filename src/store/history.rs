//! What the record tells of limits: when rules last fired, and when doors were last opened.
//!
//! Intervals, cooldowns and hourly budgets must hold over a restart. Ages are taken from the wall clock, the only one
//! that goes on over a boot; an event that lies ahead of it, as on a machine without a battery for its clock, counts as
//! having happened just now. A clock that was set forward since makes events look older than they are: nothing in the
//! record can tell that from time that has passed.
//!
//! What is needed is never deleted ([`Kept`]): the grants of the last hour, which intervals (an hour at the most) and
//! budgets count, and the newest grant of each rule at each camera, for its cooldown. Other events may go when
//! their bounds say so: that an alert comes again before its cooldown is over opens no door.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::{Store, StoreError};
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
    let mut statement = conn.prepare(
        "SELECT rule, camera, max(frame_wall_us) AS at, NULL, NULL FROM event WHERE rule IS NOT NULL AND at_wall_us < ?1 \
         GROUP BY rule, camera \
         UNION ALL SELECT rule, camera, frame_wall_us AS at, frame_seq, track FROM event \
         WHERE rule IS NOT NULL AND at_wall_us >= ?1 GROUP BY rule, camera, frame_wall_us, frame_seq, track \
         ORDER BY at",
    )?;
    let mut rows = statement.query(params![now.wall_us().saturating_sub(HOUR_US)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (rule, camera): (String, String) = (row.get(0)?, row.get(1)?);
        let rule = RuleId::new(&rule).map_err(|_| bad("rule", rule))?;
        let camera = CameraId::new(&camera).map_err(|_| bad("camera", camera))?;
        found.push(Firing { rule, camera, at: seen_from(now, row.get(2)?) });
    }
    Ok(found)
}

fn openings(conn: &Connection, now: Stamp) -> Result<Vec<Opening>, StoreError> {
    // Beside max(), SQLite takes the other columns from the row that has it.
    let mut statement = conn.prepare(
        "SELECT door, id, at_wall_us, max(row) FROM event WHERE verdict = 'authorise' AND outcome <> 'refused' GROUP BY door",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (door, event): (String, String) = (row.get(0)?, row.get(1)?);
        let door = DoorId::new(&door).map_err(|_| bad("door", door))?;
        let event = EventId::parse(&event).ok_or_else(|| bad("id", event))?;
        found.push(Opening { door, event, at: seen_from(now, row.get(2)?) });
    }
    Ok(found)
}

/// The moment of the wall clock on both clocks; what lies ahead is now.
fn seen_from(now: Stamp, wall_us: i64) -> Stamp {
    let age = now.wall_us().saturating_sub(wall_us).max(0);
    now.minus(Duration::from_micros(age.unsigned_abs()))
}

fn bad(column: &'static str, found: String) -> StoreError {
    StoreError::BadRow { row: 0, column, found }
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

    /// Grants decided at or after this moment stay. With a clock that nobody trusts (`i64::MIN`), it is the newest grant
    /// that says what the last hour is.
    pub(super) fn since_wall_us(&self, now_wall_us: i64) -> i64 {
        let now = if now_wall_us == i64::MIN { self.last_wall_us.unwrap_or(i64::MAX) } else { now_wall_us };
        now.saturating_sub(HOUR_US)
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
