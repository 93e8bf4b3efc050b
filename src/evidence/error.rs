//! What can go wrong with pictures and clips.

use std::io;
use std::path::PathBuf;

use portero_vision::jpeg::EncodeError;

/// Why there is no picture or clip.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A frame cannot become a JPEG.
    #[error("a picture cannot be encoded")]
    Picture(#[from] EncodeError),

    /// There is no ffmpeg, or it cannot be started.
    #[error("ffmpeg cannot be started: apt-get install ffmpeg")]
    NoFfmpeg(#[source] io::Error),

    /// ffmpeg could not make a clip of the pictures.
    #[error("ffmpeg made no clip: {0}")]
    Ffmpeg(String),

    /// The daemon is stopping and does not wait for the clip.
    #[error("the daemon was stopped before it was made")]
    Stopped,

    /// The system gave no memory for a file.
    #[error("the system gave no memory for a clip")]
    Memory(#[source] io::Error),

    /// The folder of clips cannot be used.
    #[error("the folder {} of clips cannot be used: give it to the daemon's user, or change `clips` under [store]", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// A clip could not be written; nothing of it is left.
    #[error("{} could not be written", path.display())]
    Write {
        /// The clip.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl EvidenceError {
    /// Whether room on the disk would have helped.
    pub(super) fn is_about_room(&self) -> bool {
        let full = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        };
        matches!(self, Self::Write { source, .. } | Self::Folder { source, .. } if full(source))
    }
}
