//! Clips: the film around an event, and what became of it.

use std::time::Duration;

/// How much of a film a rule wants around the moment at which it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipWish {
    /// So much of what went before.
    pub before: Duration,
    /// So much of what came after.
    pub after: Duration,
}

/// A clip that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClipFile {
    /// Its name in the folder of clips. Several events may share one clip.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Capture of its first picture, microseconds since 1970-01-01 UTC.
    pub from_wall_us: i64,
    /// Capture of its last picture, likewise.
    pub until_wall_us: i64,
}

/// What became of the clip that an event was to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClipState {
    /// It is being gathered or written.
    Pending,
    /// It lies in the folder of clips.
    Written(ClipFile),
    /// It was left out on purpose, and why: write budget, full disk, nothing to show.
    Refused(String),
    /// It could not be made, and why.
    Failed(String),
    /// It was there and had to go, and why.
    Pruned(String),
}

impl ClipState {
    /// The word used in rows and lists.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            ClipState::Pending => "pending",
            ClipState::Written(_) => "written",
            ClipState::Refused(_) => "refused",
            ClipState::Failed(_) => "failed",
            ClipState::Pruned(_) => "pruned",
        }
    }

    /// Why, where there is a why.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            ClipState::Refused(why) | ClipState::Failed(why) | ClipState::Pruned(why) => Some(why),
            ClipState::Pending | ClipState::Written(_) => None,
        }
    }

    /// The file, while there is one.
    #[must_use]
    pub fn file(&self) -> Option<&ClipFile> {
        match self {
            ClipState::Written(file) => Some(file),
            _ => None,
        }
    }
}
