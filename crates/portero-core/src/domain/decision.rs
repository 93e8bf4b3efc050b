//! Decisions, the events they leave behind, and what the world is told.

use std::fmt;
use std::sync::Arc;

use super::{
    Answer, CameraId, DoorId, EventId, FrameRef, Label, ModelId, RuleId, Score, Stamp, TrackRef, ZoneId,
};

/// How much an alert matters. Ordered: `Info < Warning < Critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know; the first to be refused when the outbox fills up.
    Info,
    /// Somebody should look.
    Warning,
    /// Somebody must look now; the last to be refused.
    Critical,
}

impl Severity {
    /// All of them, least severe first.
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    /// The word used in configuration, topics and rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// What a rule decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Open this door.
    Authorise {
        /// The door to open.
        door: DoorId,
    },
    /// Somebody stood before a door and no rule let them in.
    Deny {
        /// The door that stays shut.
        door: DoorId,
    },
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

impl Verdict {
    /// The word used in rows, topics and filters: `authorise`, `deny`, `alert` or `log`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Verdict::Authorise { .. } => "authorise",
            Verdict::Deny { .. } => "deny",
            Verdict::Alert { .. } => "alert",
            Verdict::Log => "log",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Authorise { door } => write!(f, "authorise {door}"),
            Verdict::Deny { door } => write!(f, "deny {door}"),
            Verdict::Alert { severity, .. } => write!(f, "alert {}", severity.as_str()),
            Verdict::Log => f.write_str("log"),
        }
    }
}

/// What the smoothing saw when a decision was taken: `agreed` of the last `of` predictions gave `answer`.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The camera.
    pub camera: CameraId,
    /// The zone; `None` for the whole picture.
    pub zone: Option<ZoneId>,
    /// What was seen.
    pub answer: Answer,
    /// How many predictions agreed.
    pub agreed: u32,
    /// Of how many.
    pub of: u32,
    /// Mean probability over those that agreed.
    pub mean: Score,
    /// Capture of the first that agreed.
    pub first: Stamp,
    /// Capture of the last.
    pub last: Stamp,
    /// The track that it is about, where the rule is about one.
    pub track: Option<TrackRef>,
}

/// One decision of the rules engine, complete with its grounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The rule that took it; `None` for the default denial, which is nobody's.
    pub rule: Option<RuleId>,
    /// What is to happen.
    pub verdict: Verdict,
    /// What was seen.
    pub observation: Observation,
    /// The frame that tipped it.
    pub frame: FrameRef,
    /// The model whose predictions it rests on.
    pub model: ModelId,
    /// The last prediction's labels and probabilities, most probable first.
    pub top: Vec<(Label, Score)>,
    /// In words a person can check, e.g. `person 4 of 6, mean 0.97 ≥ 0.80`.
    pub reason: String,
    /// The moment the engine was told (`now` of the step).
    pub at: Stamp,
}

/// How a decision ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Committed, not yet acted upon.
    Pending,
    /// Nothing was to be done (log, deny), or it was handed to the outbox.
    Done,
    /// The door was commanded to open.
    Opened,
    /// The door is in observe mode: it would have been opened.
    Observed,
    /// Refused before anything was done: stale, door busy, no live connection, outbox full.
    Refused(String),
    /// Tried, and it went wrong.
    Failed(String),
    /// The daemon died between commit and outcome; it is never tried again.
    Unknown,
}

impl Outcome {
    /// The word used in rows and topics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Outcome::Pending => "pending",
            Outcome::Done => "done",
            Outcome::Opened => "opened",
            Outcome::Observed => "observed",
            Outcome::Refused(_) => "refused",
            Outcome::Failed(_) => "failed",
            Outcome::Unknown => "unknown",
        }
    }

    /// Why, where there is a why.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Outcome::Refused(why) | Outcome::Failed(why) => Some(why),
            _ => None,
        }
    }
}

/// The durable record of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its identifier.
    pub id: EventId,
    /// What was decided, and why.
    pub decision: Decision,
    /// SHA-256 of the model file, hexadecimal.
    pub model_sha256: Arc<str>,
    /// SHA-256 of the configuration in force, hexadecimal.
    pub config_sha256: Arc<str>,
    /// How it ended.
    pub outcome: Outcome,
}

/// What the world is told of an event. Delivered at least once: a repeat carries the same `event.id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The outbox row that this alert waits in.
    pub row: i64,
    /// The event.
    pub event: Event,
    /// The picture, JPEG, when the rule asked for one.
    pub snapshot: Option<Vec<u8>>,
}
