//! The database on real files: what survives, what is refused, and how it is said.

mod crash;
mod disk;
mod history;
mod opening;
mod outbox;
mod reading;
mod recording;
mod retention;
mod trouble;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portero::domain::{
    Answer, CameraId, Decision, DoorId, FrameRef, FrameSeq, Label, ModelId, Observation, RuleId, Score,
    Severity, Stamp, Verdict, ZoneId,
};
use portero::store::{Keep, NewEvent, Picture, Retention, Settings};

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(86_400);

/// Room for everything, in a folder of its own.
fn settings(folder: &Path) -> Settings {
    let keep = Keep { age: 36_500 * DAY, bytes: 100 * MIB };
    Settings {
        path: folder.join("events.db"),
        max_bytes: 256 * MIB,
        outbox_percent: 50,
        keep_free: 0,
        retention: Retention { authorise: keep, deny: keep, alert: keep, log: keep },
    }
}

/// Seconds after a fixed day in 2026, on both clocks.
fn at(seconds: u64) -> Stamp {
    Stamp::new(5_000_000, 1_790_000_000_000_000).plus(Duration::from_secs(seconds))
}

fn decision(verdict: Verdict, seconds: u64) -> Decision {
    let label = Label::new("person").unwrap();
    let score = Score::new(0.97).unwrap();
    Decision {
        rule: Some(RuleId::new("someone-there").unwrap()),
        verdict,
        observation: Observation {
            camera: CameraId::new("street").unwrap(),
            zone: Some(ZoneId::new("gate").unwrap()),
            answer: Answer::Label(label.clone()),
            agreed: 4,
            of: 6,
            mean: score,
            first: at(seconds),
            last: at(seconds + 1),
            track: None,
        },
        frame: FrameRef::new(FrameSeq(seconds), at(seconds + 1)),
        model: ModelId::new("person-v3").unwrap(),
        top: vec![(label, score), (Label::new("empty").unwrap(), Score::new(0.03).unwrap())],
        reason: "person 4 of 6, mean 0.97 ≥ 0.80".to_owned(),
        at: at(seconds + 1),
    }
}

fn new_event(verdict: Verdict, seconds: u64) -> NewEvent {
    NewEvent {
        decision: decision(verdict, seconds),
        model_sha256: Arc::from("ab".repeat(32)),
        config_sha256: Arc::from("cd".repeat(32)),
        picture: Picture::None,
        clip: None,
    }
}

fn log_event(seconds: u64) -> NewEvent {
    new_event(Verdict::Log, seconds)
}

fn grant(seconds: u64) -> NewEvent {
    new_event(Verdict::Authorise { door: DoorId::new("front").unwrap() }, seconds)
}

/// An alert with a picture of `bytes` bytes (none for 0).
fn alert(severity: Severity, seconds: u64, bytes: usize) -> NewEvent {
    let mut event = new_event(Verdict::Alert { severity, snapshot: bytes > 0 }, seconds);
    if bytes > 0 {
        event.picture = Picture::Jpeg(vec![0xA5; bytes]);
    }
    event
}
