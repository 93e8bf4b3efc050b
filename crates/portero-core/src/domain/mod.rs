//! The nouns of the trade: frames, predictions, observations, decisions, events.
//!
//! Everything else in Portero speaks in these types. Their constructors keep what the rest relies on: a
//! [`Score`] is finite and within 0..=1, a [`Frame`] holds exactly its pixels, a name is fit
//! for a topic, a file name and a log line.
//!
//! This room must not do I/O, must not read a clock, and derives no `Serialize`: wire forms live in
//! `notify`, row forms in `store`.

mod clip;
mod decision;
mod frame;
mod geometry;
mod line;
mod name;
mod pixels;
mod record;
mod secret;
mod stamp;
mod stream;
mod track;
pub mod yuv;

pub use clip::{ClipFile, ClipState, ClipWish};
pub use decision::{Alert, Decision, Event, Observation, Outcome, Severity, Verdict};
pub use frame::{
    Answer, CameraState, Frame, FrameClock, FrameRef, FrameSizeError, Look, Prediction, Region, Score,
    Tamper, Withheld,
};
pub use geometry::{NormRect, PixelRect, Polygon, Zone, ZoneError};
pub use line::{Line, Side};
pub use name::{
    BadName, CameraId, DoorId, EventId, FrameSeq, Label, LineId, ModelId, RuleId, ScheduleId, ZoneId,
};
pub use pixels::{Pixels, Planes};
pub use record::RecordState;
pub use secret::{Login, Secret};
pub use stamp::Stamp;
pub use stream::{Codec, StreamPart};
pub use track::{Detection, Scene, Sighting, Things, Track, TrackId, TrackRef, Tracks};
