//! Rows of the `event` table to domain types and back.
//!
//! What is read back equals what was recorded, bit for bit: scores are stored as the exact `f64` of their
//! `f32`, and unsigned numbers with their bits.

use std::sync::Arc;

use rusqlite::{CachedStatement, Row, named_params};

use super::StoreError;
use crate::clock;
use crate::domain::{
    Answer, CameraId, Decision, DoorId, Event, EventId, FrameRef, FrameSeq, Label, ModelId, NormRect,
    Observation, Outcome, RuleId, Score, Severity, Stamp, TrackId, TrackRef, Verdict, ZoneId,
};

/// Columns in the order in which [`event`] reads them.
pub(super) const COLUMNS: &str = "row, id, at_wall_us, at_mono_us, verdict, door, severity, wants_snapshot, rule, \
     camera, zone, answer, agreed, agreed_of, mean, first_wall_us, first_mono_us, last_wall_us, last_mono_us, \
     frame_seq, frame_wall_us, frame_mono_us, model, top, reason, model_sha256, config_sha256, outcome, \
     outcome_detail, track, box";

/// How many they are: what a query selects after them begins at this index.
pub(super) const COLUMN_COUNT: usize = 31;

/// Inserts what [`insert`] binds.
pub(super) const INSERT: &str = "INSERT INTO event (id, at_wall_us, at_mono_us, verdict, door, severity, \
     wants_snapshot, rule, camera, zone, answer, agreed, agreed_of, mean, first_wall_us, first_mono_us, \
     last_wall_us, last_mono_us, frame_seq, frame_wall_us, frame_mono_us, model, top, reason, model_sha256, \
     config_sha256, outcome, outcome_detail, track, box, boot, bytes, picture_refused) \
     VALUES (:id, :at_wall_us, :at_mono_us, :verdict, :door, :severity, :wants_snapshot, :rule, :camera, :zone, \
     :answer, :agreed, :agreed_of, :mean, :first_wall_us, :first_mono_us, :last_wall_us, :last_mono_us, \
     :frame_seq, :frame_wall_us, :frame_mono_us, :model, :top, :reason, :model_sha256, :config_sha256, \
     :outcome, :outcome_detail, :track, :box, :boot, :bytes, :picture_refused)";

/// What a row weighs beside its texts: numbers, the name of the boot, row header and its share of the four indexes.
const FIXED_BYTES: usize = 360;

/// Writes the event; returns its row number. `bytes` is the weight of the row and its snapshot; `picture_refused` says
/// why it has none although one was made.
pub(super) fn insert(
    statement: &mut CachedStatement<'_>,
    event: &Event,
    bytes: u64,
    picture_refused: Option<&str>,
) -> rusqlite::Result<i64> {
    let decision = &event.decision;
    let seen = &decision.observation;
    let (door, severity, wants_snapshot) = match &decision.verdict {
        Verdict::Authorise { door } | Verdict::Deny { door } => (Some(door.as_str()), None, false),
        Verdict::Alert { severity, snapshot } => (None, Some(severity.as_str()), *snapshot),
        Verdict::Log => (None, None, false),
    };
    statement.insert(named_params! {
        ":id": event.id.to_string(),
        ":at_wall_us": decision.at.wall_us(),
        ":at_mono_us": decision.at.mono_us().cast_signed(),
        ":verdict": decision.verdict.kind(),
        ":door": door,
        ":severity": severity,
        ":wants_snapshot": wants_snapshot,
        ":rule": decision.rule.as_ref().map(RuleId::as_str),
        ":camera": seen.camera.as_str(),
        ":zone": seen.zone.as_ref().map(ZoneId::as_str),
        ":answer": seen.answer.as_str(),
        ":agreed": seen.agreed,
        ":agreed_of": seen.of,
        ":mean": f64::from(seen.mean.get()),
        ":first_wall_us": seen.first.wall_us(),
        ":first_mono_us": seen.first.mono_us().cast_signed(),
        ":last_wall_us": seen.last.wall_us(),
        ":last_mono_us": seen.last.mono_us().cast_signed(),
        ":frame_seq": decision.frame.seq.0.cast_signed(),
        ":frame_wall_us": decision.frame.stamp.wall_us(),
        ":frame_mono_us": decision.frame.stamp.mono_us().cast_signed(),
        ":model": decision.model.as_str(),
        ":top": top_to_json(&decision.top),
        ":reason": decision.reason,
        ":model_sha256": &*event.model_sha256,
        ":config_sha256": &*event.config_sha256,
        ":outcome": event.outcome.kind(),
        ":outcome_detail": event.outcome.detail(),
        ":track": seen.track.map(|track| track.id.0.cast_signed()),
        ":box": seen.track.map(|track| rect_to_json(&track.rect)),
        ":boot": clock::boot_id(),
        ":bytes": bytes.cast_signed(),
        ":picture_refused": picture_refused,
    })
}

/// What the event weighs in the file, roughly, with a snapshot of `snapshot` bytes.
pub(super) fn weight(event: &Event, snapshot: usize) -> u64 {
    let decision = &event.decision;
    let labels: usize = decision.top.iter().map(|(label, _)| label.as_str().len() + 24).sum();
    let texts = decision.reason.len() + event.model_sha256.len() + event.config_sha256.len();
    (FIXED_BYTES + labels + texts + snapshot) as u64
}

/// Reads an event and its row number from a row that begins with [`COLUMNS`].
pub(super) fn event(row: &Row<'_>) -> Result<(i64, Event), StoreError> {
    let mut cells = Cells { row, number: row.get(0)?, next: 1 };
    let event = cells.event()?;
    Ok((cells.number, event))
}

/// Walks over the columns in order.
struct Cells<'a> {
    row: &'a Row<'a>,
    number: i64,
    next: usize,
}

impl Cells<'_> {
    fn event(&mut self) -> Result<Event, StoreError> {
        let id = self.word("id", EventId::parse)?;
        let at = self.stamp()?;
        let verdict = self.verdict()?;
        let rule = self.optional("rule", |text| RuleId::new(text).ok())?;
        let observation = self.observation()?;
        let seq = FrameSeq(self.get::<i64>()?.cast_unsigned());
        let frame = FrameRef::new(seq, self.stamp()?);
        let model = self.word("model", |text| ModelId::new(text).ok())?;
        let top = self.word("top", top_from_json)?;
        let reason = self.get()?;
        let (model_sha256, config_sha256) = (self.get::<Arc<str>>()?, self.get::<Arc<str>>()?);
        let outcome = self.outcome()?;
        let observation = Observation { track: self.track()?, ..observation };
        let decision = Decision { rule, verdict, observation, frame, model, top, reason, at };
        Ok(Event { id, decision, model_sha256, config_sha256, outcome })
    }

    fn observation(&mut self) -> Result<Observation, StoreError> {
        Ok(Observation {
            camera: self.word("camera", |text| CameraId::new(text).ok())?,
            zone: self.optional("zone", |text| ZoneId::new(text).ok())?,
            answer: self.word("answer", answer)?,
            agreed: self.get()?,
            of: self.get()?,
            mean: self.score("mean")?,
            first: self.stamp()?,
            last: self.stamp()?,
            track: None,
        })
    }

    fn track(&mut self) -> Result<Option<TrackRef>, StoreError> {
        let id: Option<i64> = self.get()?;
        let rect = self.optional("box", rect_from_json)?;
        Ok(id.zip(rect).map(|(id, rect)| TrackRef { id: TrackId(id.cast_unsigned()), rect }))
    }

    fn verdict(&mut self) -> Result<Verdict, StoreError> {
        let kind: String = self.get()?;
        let door = self.optional("door", |text| DoorId::new(text).ok())?;
        let severity = self.optional("severity", Severity::parse)?;
        let snapshot = self.get()?;
        match (kind.as_str(), door, severity) {
            ("authorise", Some(door), _) => Ok(Verdict::Authorise { door }),
            ("deny", Some(door), _) => Ok(Verdict::Deny { door }),
            ("alert", _, Some(severity)) => Ok(Verdict::Alert { severity, snapshot }),
            ("log", _, _) => Ok(Verdict::Log),
            _ => Err(self.bad("verdict", kind)),
        }
    }

    fn outcome(&mut self) -> Result<Outcome, StoreError> {
        let kind: String = self.get()?;
        let detail = self.get::<Option<String>>()?.unwrap_or_default();
        outcome(&kind, detail).ok_or_else(|| self.bad("outcome", kind))
    }

    fn stamp(&mut self) -> Result<Stamp, StoreError> {
        let wall = self.get()?;
        Ok(Stamp::new(self.get::<i64>()?.cast_unsigned(), wall))
    }

    fn score(&mut self, column: &'static str) -> Result<Score, StoreError> {
        let value: f64 = self.get()?;
        Score::new(value as f32).ok_or_else(|| self.bad(column, value.to_string()))
    }

    fn word<T>(&mut self, column: &'static str, read: impl Fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let text: String = self.get()?;
        read(&text).ok_or_else(|| self.bad(column, text))
    }

    fn optional<T>(
        &mut self,
        column: &'static str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        let text: Option<String> = self.get()?;
        text.map(|text| read(&text).ok_or_else(|| self.bad(column, text))).transpose()
    }

    fn get<T: rusqlite::types::FromSql>(&mut self) -> Result<T, StoreError> {
        let value = self.row.get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    fn bad(&self, column: &'static str, found: String) -> StoreError {
        StoreError::BadRow { row: self.number, column, found }
    }
}

fn answer(text: &str) -> Option<Answer> {
    match text {
        "unknown" => Some(Answer::Unknown),
        label => Label::new(label).ok().map(Answer::Label),
    }
}

fn outcome(kind: &str, detail: String) -> Option<Outcome> {
    Some(match kind {
        "pending" => Outcome::Pending,
        "done" => Outcome::Done,
        "opened" => Outcome::Opened,
        "observed" => Outcome::Observed,
        "refused" => Outcome::Refused(detail),
        "failed" => Outcome::Failed(detail),
        "unknown" => Outcome::Unknown,
        _ => return None,
    })
}

/// `[["person", 0.97], …]`. An `f32` widened to `f64` has the digits to come back as itself.
fn top_to_json(top: &[(Label, Score)]) -> String {
    let pairs: Vec<_> = top.iter().map(|(label, score)| (label.as_str(), f64::from(score.get()))).collect();
    serde_json::json!(pairs).to_string()
}

fn top_from_json(text: &str) -> Option<Vec<(Label, Score)>> {
    let pairs: Vec<(String, f64)> = serde_json::from_str(text).ok()?;
    pairs
        .into_iter()
        .map(|(label, score)| Some((Label::new(&label).ok()?, Score::new(score as f32)?)))
        .collect()
}

/// `[0.25, 0.5, 0.75, 1.0]`; widened, as scores are.
fn rect_to_json(rect: &NormRect) -> String {
    serde_json::json!(rect.corners().map(f64::from)).to_string()
}

fn rect_from_json(text: &str) -> Option<NormRect> {
    let [x0, y0, x1, y1]: [f64; 4] = serde_json::from_str(text).ok()?;
    NormRect::new(x0 as f32, y0 as f32, x1 as f32, y1 as f32).ok()
}
