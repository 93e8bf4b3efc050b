//! Pictures and films that show what happened: snapshots with boxes, and clips that begin before their event.
//!
//! ```text
//! cam-ID ──Frame (masked)──▶ keeper: JPEG, a ring per camera ──Film──▶ filer: ffmpeg, folder, retention ──Report──▶ store
//!    └──StreamPart (no masks)──▶┤
//! recorder ──committed event──▶┘
//! ```
//! Only frames that passed the masks come here, and the own stream only of cameras that have none: the keeper throws away
//! what comes of the others. So nothing of what is masked is in a clip. This room must not start
//! threads (the daemon runs [`Keeper`] and [`Filer`] on theirs), must not slow a camera or the recorder down, must not
//! know the database, and must not let anything grow without bound.
//!
//! | file | what |
//! |---|---|
//! | `mark` | boxes and text in pictures |
//! | `feed`, `ring`, `keeper` | the last seconds of each camera, gathered into films |
//! | `plan` | whose pictures are kept, and which way, as it is now |
//! | `film`, `child`, `matroska` | films to clips that browsers play |
//! | `shelf`, `filer` | the folder of clips: whole files, the oldest of which go |

mod child;
mod counters;
mod error;
mod feed;
mod filer;
mod film;
mod keeper;
mod mark;
mod matroska;
mod plan;
mod ring;
mod shelf;

use std::path::PathBuf;
use std::time::Duration;

pub use counters::{Counters, Counts};
pub use error::EvidenceError;
pub use feed::{Feed, Orders};
pub use filer::{Filer, Report, Ties};
pub use film::{Form, copy as copy_clip, encode as encode_clip};
pub use keeper::{Keeper, keeper};
pub use mark::{Mark, snapshot};
pub use plan::Keep;
pub use portero_vision::jpeg::encode as encode_picture;
pub use ring::Kept;
pub use shelf::{Found, look};

use crate::domain::{CameraId, ClipWish, EventId, Stamp, StreamPart};

/// Where clips lie, and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Their folder; it is made when it is needed.
    pub folder: PathBuf,
    /// Bytes of all clips together; the oldest go first.
    pub max_bytes: u64,
    /// Clips older than this go.
    pub age: Duration,
    /// Clips go when less than this is free on their disk, in bytes.
    pub keep_free: u64,
    /// Bytes of the pictures that are held in memory, for all cameras together. Those that wait to be written come on
    /// top: once more the same at most.
    pub memory: u64,
}

/// What a rule wants to be kept beside its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// A clip.
    pub clip: Option<ClipWish>,
    /// Whether its snapshot shows where the thing was seen.
    pub boxes: bool,
}

/// What becomes a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Film {
    /// The camera.
    pub camera: CameraId,
    /// The events that want it, in the order of their coming; at least one.
    pub events: Vec<EventId>,
    /// What it shows.
    pub footage: Footage,
}

/// What a clip is made of, oldest first; may be nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Footage {
    /// Pictures, which are to be encoded.
    Pictures(Vec<Kept>),
    /// The camera's own stream, which is copied.
    Stream(Vec<StreamPart>),
}

impl Footage {
    /// The capture of the first and of the last picture.
    fn span(&self) -> Option<(Stamp, Stamp)> {
        match self {
            Footage::Pictures(frames) => {
                frames.first().map(|kept| kept.stamp).zip(frames.last().map(|kept| kept.stamp))
            }
            Footage::Stream(parts) => {
                parts.first().map(|part| part.stamp).zip(parts.last().map(|part| part.stamp))
            }
        }
    }
}
