//! Alerts as they stand on the wire: JSON, the picture beside it, and the copy for Home Assistant.
//!
//! The format is described in `docs/mqtt.md`. Receivers ignore keys they do not know; a change that breaks them
//! raises [`SCHEMA`].

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Settings;
use crate::domain::{Alert, Score, Severity, Verdict};
use crate::words::hex;

/// Version of the alert format.
pub const SCHEMA: u32 = 1;

/// A larger snapshot is left out of the alert, which then says so.
pub const SNAPSHOT_LIMIT_BYTES: usize = 4 * 1024 * 1024;

/// Labels told at most, most probable first.
const TOP: usize = 5;

/// Longest reason told, in characters.
const REASON_CHARS: usize = 1_000;

/// One message to be published with QoS 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) retain: bool,
}

/// Why a picture that the rule asked for does not go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// Larger than [`SNAPSHOT_LIMIT_BYTES`].
    TooLarge,
    /// The broker hung up on it again and again.
    Refused,
}

impl LeftOut {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            LeftOut::TooLarge => "larger than 4 MiB",
            LeftOut::Refused => "the broker closed the connection each time it was sent",
        }
    }
}

#[derive(Serialize)]
struct Wire<'a> {
    schema: u32,
    event_id: String,
    time: String,
    site: &'a str,
    camera: &'a str,
    zone: Option<&'a str>,
    rule: Option<&'a str>,
    severity: &'a str,
    label: &'a str,
    score: f64,
    agreed: u32,
    of: u32,
    top: Vec<Top<'a>>,
    reason: &'a str,
    model: &'a str,
    model_sha256: &'a str,
    config_sha256: &'a str,
    /// Of rules about tracks: which, and its box.
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<u64>,
    #[serde(rename = "box", skip_serializing_if = "Option::is_none")]
    rect: Option<[f64; 4]>,
    snapshot: Option<Snapshot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_left_out: Option<&'static str>,
}

#[derive(Serialize)]
struct Top<'a> {
    label: &'a str,
    p: f64,
}

#[derive(Serialize)]
struct Snapshot {
    topic: String,
    bytes: usize,
    sha256: String,
}

/// What Home Assistant's event entity takes: the alert with `event_type` in front.
#[derive(Serialize)]
struct EntityEvent<'a> {
    event_type: &'a str,
    #[serde(flatten)]
    alert: &'a Wire<'a>,
}

/// The messages that make up one alert, in the order of sending: the picture first, so that it is there when the
/// alert is read, then the alert, then Home Assistant's copy. The alert is delivered when all are acknowledged.
pub(super) fn messages(settings: &Settings, alert: &Alert, left_out: Option<LeftOut>) -> Vec<Message> {
    let camera = &alert.event.decision.observation.camera;
    let picture = alert.snapshot.as_deref().filter(|_| left_out.is_none());
    let snapshot_topic = settings.topic(&format!("{camera}/snapshot"));
    let snapshot = picture.map(|jpeg| Snapshot {
        topic: snapshot_topic.clone(),
        bytes: jpeg.len(),
        sha256: hex(&Sha256::digest(jpeg)),
    });
    let wire = wire(settings, alert, snapshot, left_out);

    let mut messages = Vec::with_capacity(3);
    if let Some(jpeg) = picture {
        messages.push(Message { topic: snapshot_topic, payload: jpeg.to_vec(), retain: false });
    }
    messages.push(json(settings.topic(&format!("{camera}/alert")), &wire));
    if settings.discovery_prefix.is_some() {
        messages
            .push(json(settings.topic("event"), &EntityEvent { event_type: wire.severity, alert: &wire }));
    }
    messages
}

/// Whether the picture is too large for the wire.
pub(super) fn too_large(alert: &Alert) -> Option<LeftOut> {
    alert.snapshot.as_ref().filter(|jpeg| jpeg.len() > SNAPSHOT_LIMIT_BYTES).map(|_| LeftOut::TooLarge)
}

fn wire<'a>(
    settings: &'a Settings,
    alert: &'a Alert,
    snapshot: Option<Snapshot>,
    left_out: Option<LeftOut>,
) -> Wire<'a> {
    let event = &alert.event;
    let decision = &event.decision;
    let seen = &decision.observation;
    Wire {
        schema: SCHEMA,
        event_id: event.id.to_string(),
        time: rfc3339(decision.frame.stamp.wall_us()),
        site: &settings.site,
        camera: seen.camera.as_str(),
        zone: seen.zone.as_ref().map(|zone| zone.as_str()),
        rule: decision.rule.as_ref().map(|rule| rule.as_str()),
        severity: severity(&decision.verdict).as_str(),
        label: seen.answer.as_str(),
        score: rounded(seen.mean),
        agreed: seen.agreed,
        of: seen.of,
        top: decision.top.iter().take(TOP).map(|(l, p)| Top { label: l.as_str(), p: rounded(*p) }).collect(),
        reason: shortened(&decision.reason),
        model: decision.model.as_str(),
        model_sha256: &event.model_sha256,
        config_sha256: &event.config_sha256,
        track: seen.track.map(|track| track.id.0),
        rect: seen.track.map(|track| track.rect.corners().map(four_digits)),
        snapshot,
        snapshot_left_out: left_out.map(LeftOut::as_str),
    }
}

/// Only alerts come here; should anything else ever wait in the outbox, then it is told quietly.
fn severity(verdict: &Verdict) -> Severity {
    match verdict {
        Verdict::Alert { severity, .. } => *severity,
        Verdict::Authorise { .. } | Verdict::Deny { .. } | Verdict::Log => Severity::Info,
    }
}

/// RFC 3339 in UTC with microseconds, e.g. `2026-03-01T12:00:00.250000Z`.
fn rfc3339(wall_us: i64) -> String {
    let moment = Timestamp::from_microsecond(wall_us).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{moment:.6}")
}

/// Four digits are more than a probability deserves; they keep `0.97` from becoming `0.9700000286102295`.
fn rounded(score: Score) -> f64 {
    four_digits(score.get())
}

fn four_digits(value: f32) -> f64 {
    (f64::from(value) * 10_000.0).round() / 10_000.0
}

fn shortened(text: &str) -> &str {
    text.char_indices().nth(REASON_CHARS).map_or(text, |(end, _)| &text[..end])
}

fn json(topic: String, body: &impl Serialize) -> Message {
    // Serialising these structs to memory cannot fail: no maps with odd keys, no failing writers.
    Message { topic, payload: serde_json::to_vec(body).unwrap_or_default(), retain: false }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        Answer, CameraId, Decision, Event, EventId, FrameRef, FrameSeq, Label, ModelId, NormRect,
        Observation, Outcome, RuleId, Stamp, TrackId, TrackRef, ZoneId,
    };

    pub(in crate::notify) fn settings() -> Settings {
        Settings {
            host: "localhost".into(),
            port: 1883,
            tls: None,
            login: None,
            prefix: "portero".into(),
            discovery_prefix: Some("homeassistant".into()),
            client_id: "portero-home".into(),
            site: "Home".into(),
            tamper: vec![CameraId::new("front").unwrap()],
        }
    }

    pub(in crate::notify) fn alert(row: i64, snapshot: Option<Vec<u8>>) -> Alert {
        let label = |text| Label::new(text).unwrap();
        let score = |value| Score::new(value).unwrap();
        let stamp = Stamp::new(1_000, 1_772_366_400_250_000);
        let observation = Observation {
            camera: CameraId::new("front").unwrap(),
            zone: Some(ZoneId::new("path").unwrap()),
            answer: Answer::Label(label("person")),
            agreed: 4,
            of: 6,
            mean: score(0.97),
            first: stamp,
            last: stamp,
            track: None,
        };
        let decision = Decision {
            rule: Some(RuleId::new("stranger").unwrap()),
            verdict: Verdict::Alert { severity: Severity::Critical, snapshot: snapshot.is_some() },
            observation,
            frame: FrameRef::new(FrameSeq(7), stamp),
            model: ModelId::new("person").unwrap(),
            top: vec![(label("person"), score(0.98)), (label("background"), score(0.02))],
            reason: "person 4 of 6, mean 0.97 ≥ 0.80".into(),
            at: stamp,
        };
        let event = Event {
            id: EventId::from_u128(
                0x019c_a4d1_0000_7000_8000_0000_0000_0000 + u128::from(row.unsigned_abs()),
            ),
            decision,
            model_sha256: Arc::from("ab".repeat(32)),
            config_sha256: Arc::from("cd".repeat(32)),
            outcome: Outcome::Pending,
        };
        Alert { row, event, snapshot }
    }

    fn parsed(message: &Message) -> serde_json::Value {
        serde_json::from_slice(&message.payload).unwrap()
    }

    #[test]
    fn an_alert_tells_everything_about_its_event() {
        let messages = messages(&settings(), &alert(1, None), None);
        assert_eq!(messages[0].topic, "portero/front/alert");
        let expected = serde_json::json!({
            "schema": 1, "event_id": "019ca4d1-0000-7000-8000-000000000001",
            "time": "2026-03-01T12:00:00.250000Z", "site": "Home", "camera": "front", "zone": "path",
            "rule": "stranger", "severity": "critical", "label": "person", "score": 0.97, "agreed": 4, "of": 6,
            "top": [{"label": "person", "p": 0.98}, {"label": "background", "p": 0.02}],
            "reason": "person 4 of 6, mean 0.97 ≥ 0.80", "model": "person",
            "model_sha256": "ab".repeat(32), "config_sha256": "cd".repeat(32), "snapshot": null,
        });
        assert_eq!(parsed(&messages[0]), expected);
        assert!(messages.iter().all(|m| !m.retain), "an alert is news, not a state");
    }

    #[test]
    fn an_alert_about_a_track_says_which_and_where() {
        let mut alert = alert(1, None);
        let rect = NormRect::new(0.1, 0.25, 0.3, 0.75).unwrap();
        alert.event.decision.observation.track = Some(TrackRef { id: TrackId(7), rect });
        let told = parsed(&messages(&settings(), &alert, None)[0]);
        assert_eq!(told["track"], 7);
        assert_eq!(told["box"], serde_json::json!([0.1, 0.25, 0.3, 0.75]));
    }

    /// The JSON that follows `<!-- name -->` in `docs/mqtt.md`.
    pub(in crate::notify) fn documented(name: &str) -> serde_json::Value {
        let page = include_str!("../../docs/mqtt.md");
        let rest = page.split_once(&format!("<!-- {name} -->\n```json\n")).expect("the example is there").1;
        serde_json::from_str(rest.split_once("```").unwrap().0).unwrap()
    }

    #[test]
    fn the_documented_alert_is_the_real_one() {
        let messages = messages(&settings(), &alert(1, Some(b"jpeg".to_vec())), None);
        assert_eq!(documented("alert"), parsed(&messages[1]));
    }

    #[test]
    fn the_picture_goes_first_and_the_alert_names_it() {
        let messages = messages(&settings(), &alert(1, Some(b"jpeg".to_vec())), None);
        assert_eq!(messages[0].topic, "portero/front/snapshot");
        assert_eq!(messages[0].payload, b"jpeg");
        let snapshot = &parsed(&messages[1])["snapshot"];
        assert_eq!(snapshot["bytes"], 4);
        assert_eq!(snapshot["topic"], "portero/front/snapshot");
        assert_eq!(snapshot["sha256"].as_str().unwrap().len(), 64);
    }

    #[test]
    fn a_picture_too_large_for_the_wire_is_left_out_and_said() {
        let alert = alert(1, Some(vec![0; SNAPSHOT_LIMIT_BYTES + 1]));
        let messages = messages(&settings(), &alert, too_large(&alert));
        assert!(messages.iter().all(|m| m.payload.len() < 4_096));
        let told = parsed(&messages[0]);
        assert_eq!(
            (&told["snapshot"], &told["snapshot_left_out"]),
            (&serde_json::Value::Null, &"larger than 4 MiB".into())
        );
    }

    #[test]
    fn home_assistant_gets_its_copy_only_when_it_is_wanted() {
        let events = |settings: &Settings| {
            let messages = messages(settings, &alert(1, None), None);
            messages.iter().filter(|m| m.topic == "portero/event").map(parsed).collect::<Vec<_>>()
        };
        let told = events(&settings());
        assert_eq!(
            (&told[0]["event_type"], &told[0]["event_id"]),
            (&"critical".into(), &"019ca4d1-0000-7000-8000-000000000001".into())
        );
        assert!(events(&Settings { discovery_prefix: None, ..settings() }).is_empty());
    }

    #[test]
    fn a_moment_outside_the_calendar_is_no_panic() {
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00.000000Z");
    }
}
