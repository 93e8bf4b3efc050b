//! What is brought to the recorder, and what it hands back.

use std::fmt;
use std::sync::Arc;

use crate::domain::{ClipState, ClipWish, Decision, Event, EventId, Outcome};

/// A decision that is to become an [`Event`].
#[derive(Debug)]
pub struct NewEvent {
    /// What was decided, and why.
    pub decision: Decision,
    /// SHA-256 of the model file, hexadecimal.
    pub model_sha256: Arc<str>,
    /// SHA-256 of the configuration in force, hexadecimal.
    pub config_sha256: Arc<str>,
    /// The picture that is kept with it.
    pub picture: Picture,
    /// The clip that it is to have.
    pub clip: Option<ClipWish>,
}

/// A snapshot, or how to come by it.
#[derive(Default)]
pub enum Picture {
    /// None is kept.
    #[default]
    None,
    /// A JPEG.
    Jpeg(Vec<u8>),
    /// Encodes the JPEG when called: on the recorder's thread, so that the rules need not wait for it. `None`
    /// when it cannot be encoded; the event is recorded without it.
    Later(Box<dyn FnOnce() -> Option<Vec<u8>> + Send>),
}

impl Picture {
    /// The JPEG, encoded now if it was not before.
    #[must_use]
    pub fn into_jpeg(self) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            Self::Jpeg(jpeg) => Some(jpeg),
            Self::Later(encode) => encode(),
        }
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Jpeg(jpeg) => write!(f, "Jpeg({} bytes)", jpeg.len()),
            Self::Later(_) => f.write_str("Later(…)"),
        }
    }
}

/// One thing for the recorder to write.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most of them are events, and there are never many at a time")]
pub enum Job {
    /// A decision.
    Record(NewEvent),
    /// How an event ended.
    Outcome {
        /// The event.
        event: EventId,
        /// Its end.
        outcome: Outcome,
    },
    /// Alerts that the broker has acknowledged, by their outbox rows.
    Delivered(Vec<i64>),
    /// What became of the clip of these events.
    Clip {
        /// The events.
        events: Vec<EventId>,
        /// Its state.
        state: ClipState,
    },
    /// Files of clips that are gone.
    ClipsGone {
        /// Their names.
        files: Vec<String>,
        /// Why.
        why: String,
    },
}

/// An event that is now on the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The event, with its id.
    pub event: Event,
    /// It is an alert and the outbox had no room for it: it is kept, and will not be sent.
    pub alert_refused: bool,
    /// The clip that it is to have.
    pub clip: Option<ClipWish>,
}

/// A job made ready: id assigned, picture encoded. It can be written again and again until it succeeds.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most of them are events, and there are never many at a time")]
pub(super) enum Write {
    Event { event: Event, jpeg: Option<Vec<u8>>, picture_refused: Option<String>, clip: Option<ClipWish> },
    Outcome { event: EventId, outcome: Outcome },
    Delivered(Vec<i64>),
    Clip { events: Vec<EventId>, state: ClipState },
    ClipsGone { files: Vec<String>, why: String },
}
