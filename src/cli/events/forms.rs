//! Events for other programs: JSON and CSV, with the same names. Times are RFC 3339 in UTC, scores are rounded to
//! four digits.

use portero::domain::{Answer, ClipState, Score, Verdict};
use portero::store::{Delivery, Stored};
use serde::Serialize;

use super::moment;

/// One event, as the programs see it.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    event_id: String,
    decided_at: String,
    verdict: &'static str,
    door: Option<&'a str>,
    severity: Option<&'static str>,
    rule: Option<&'a str>,
    camera: &'a str,
    zone: Option<&'a str>,
    label: &'a str,
    score: f64,
    agreed: u32,
    of: u32,
    first_at: String,
    last_at: String,
    reason: &'a str,
    outcome: &'static str,
    outcome_detail: Option<&'a str>,
    delivery: &'static str,
    delivered_at: Option<String>,
    frame: u64,
    captured_at: String,
    top: Vec<Top<'a>>,
    model: &'a str,
    model_sha256: &'a str,
    config_sha256: &'a str,
    snapshot_bytes: Option<u64>,
    snapshot_refused: Option<&'a str>,
    clip: Option<&'static str>,
    clip_detail: Option<&'a str>,
    clip_file: Option<&'a str>,
    clip_bytes: Option<u64>,
    clip_from: Option<String>,
    clip_until: Option<String>,
    track: Option<u64>,
    #[serde(rename = "box")]
    rect: Option<[f64; 4]>,
}

#[derive(Serialize)]
struct Top<'a> {
    label: &'a str,
    p: f64,
}

impl<'a> Line<'a> {
    pub(super) fn of(stored: &'a Stored) -> Self {
        let event = &stored.event;
        let decision = &event.decision;
        let seen = &decision.observation;
        let (door, severity) = match &decision.verdict {
            Verdict::Authorise { door } | Verdict::Deny { door } => (Some(door.as_str()), None),
            Verdict::Alert { severity, .. } => (None, Some(severity.as_str())),
            Verdict::Log => (None, None),
        };
        let (delivery, delivered_at) = match stored.delivery {
            Delivery::None => ("none", None),
            Delivery::Waiting => ("waiting", None),
            Delivery::At(wall_us) => ("delivered", Some(moment::utc(wall_us))),
        };
        let file = stored.clip.as_ref().and_then(ClipState::file);
        Self {
            event_id: event.id.to_string(),
            decided_at: moment::utc(decision.at.wall_us()),
            verdict: decision.verdict.kind(),
            door,
            severity,
            rule: decision.rule.as_ref().map(|rule| rule.as_str()),
            camera: seen.camera.as_str(),
            zone: seen.zone.as_ref().map(|zone| zone.as_str()),
            label: Answer::as_str(&seen.answer),
            score: rounded(seen.mean),
            agreed: seen.agreed,
            of: seen.of,
            first_at: moment::utc(seen.first.wall_us()),
            last_at: moment::utc(seen.last.wall_us()),
            reason: &decision.reason,
            outcome: event.outcome.kind(),
            outcome_detail: event.outcome.detail(),
            delivery,
            delivered_at,
            frame: decision.frame.seq.0,
            captured_at: moment::utc(decision.frame.stamp.wall_us()),
            top: decision
                .top
                .iter()
                .map(|(label, p)| Top { label: label.as_str(), p: rounded(*p) })
                .collect(),
            model: decision.model.as_str(),
            model_sha256: &event.model_sha256,
            config_sha256: &event.config_sha256,
            snapshot_bytes: stored.snapshot_bytes,
            snapshot_refused: stored.picture_refused.as_deref(),
            clip: stored.clip.as_ref().map(ClipState::kind),
            clip_detail: stored.clip.as_ref().and_then(ClipState::detail),
            clip_file: file.map(|file| file.name.as_str()),
            clip_bytes: file.map(|file| file.bytes),
            clip_from: file.map(|file| moment::utc(file.from_wall_us)),
            clip_until: file.map(|file| moment::utc(file.until_wall_us)),
            track: seen.track.map(|track| track.id.0),
            rect: seen.track.map(|track| track.rect.corners().map(four_digits)),
        }
    }

    /// One line of JSON, without its end.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// One record of CSV, with its end. The names of the columns are the keys of the JSON form; `top` stands in
    /// its column as JSON.
    pub(super) fn csv(&self) -> String {
        let value = self.value();
        record(COLUMNS.map(|column| match &value[column] {
            serde_json::Value::Null => String::new(),
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }))
    }

    fn value(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

const COLUMNS: [&str; 35] = [
    "event_id",
    "decided_at",
    "verdict",
    "door",
    "severity",
    "rule",
    "camera",
    "zone",
    "label",
    "score",
    "agreed",
    "of",
    "first_at",
    "last_at",
    "reason",
    "outcome",
    "outcome_detail",
    "delivery",
    "delivered_at",
    "frame",
    "captured_at",
    "top",
    "model",
    "model_sha256",
    "config_sha256",
    "snapshot_bytes",
    "snapshot_refused",
    "clip",
    "clip_detail",
    "clip_file",
    "clip_bytes",
    "clip_from",
    "clip_until",
    "track",
    "box",
];

/// The names of the columns, as the first record.
pub(super) fn csv_header() -> String {
    record(COLUMNS.map(str::to_owned))
}

/// RFC 4180: fields with a comma, a quote or a line break are quoted, quotes are doubled, records end in CRLF.
fn record<const N: usize>(fields: [String; N]) -> String {
    let quoted = fields.map(|field| {
        if field.contains([',', '"', '\r', '\n']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    });
    quoted.join(",") + "\r\n"
}

fn rounded(score: Score) -> f64 {
    four_digits(score.get())
}

fn four_digits(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}
