//! What can go wrong between a camera and a frame, in words that say what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::{HttpError, RtspError};

/// Why a camera gives no picture. Everything here is tried again by [`super::Camera::run`]; the messages hold no
/// credentials. They do not name the camera: whoever reports them does.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A program that the camera needs is missing.
    #[error("`{program}` is not installed{hint}")]
    NotInstalled {
        /// The program's name or path.
        program: String,
        /// How to get it, with its punctuation; may be empty.
        hint: &'static str,
    },
    /// There is no such file, folder or device.
    #[error("{} does not exist", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// A `command` without a program.
    #[error("the command is empty: give the program and its arguments")]
    EmptyCommand,
    /// A URL whose protocol is not let in.
    #[error("`{found}://` is not read: allowed are a path, {allowed}")]
    Scheme {
        /// The protocol found.
        found: String,
        /// The protocols that are let in.
        allowed: String,
    },
    /// The program could not be started.
    #[error("`{program}` could not be started")]
    Start {
        /// The program's name or path.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The program ended although pictures were still wanted.
    #[error("`{program}` ended ({status}) after {frames} frames{said}")]
    Exited {
        /// The program's name or path.
        program: String,
        /// Its exit status in words.
        status: String,
        /// Whole frames it had written.
        frames: u64,
        /// Its last words, with their punctuation; may be empty.
        said: String,
    },
    /// The program writes, but no pictures.
    #[error("`{program}` wrote {bytes} bytes without a JPEG picture in them")]
    NoPictures {
        /// The program's name or path.
        program: String,
        /// Bytes seen since the last picture.
        bytes: usize,
    },
    /// Reading from the program failed.
    #[error("reading from `{program}` failed")]
    Read {
        /// The program's name or path.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A size that cannot be captured.
    #[error("{width}x{height} is no size for a picture: both sides must be 1 to {max} pixels", max = super::MAX_SIDE)]
    Size {
        /// Width found.
        width: u32,
        /// Height found.
        height: u32,
    },
    /// A picture that cannot be decoded.
    #[error("{what} is damaged: {why}")]
    Damaged {
        /// The picture: a file, or `a JPEG picture`.
        what: String,
        /// What the decoder said.
        why: String,
    },
    /// A picture beyond the limits.
    #[error("{what} is too large: {found}, allowed are {allowed}")]
    TooLarge {
        /// The picture.
        what: String,
        /// Its size, with the unit.
        found: String,
        /// The limit, with the unit.
        allowed: String,
    },
    /// A file or folder that cannot be read.
    #[error("{} cannot be read", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder without a single usable picture.
    #[error("{} holds no picture that can be read ({files} files with a picture's name; .jpg, .jpeg, .png, .bmp and .webp count)", path.display())]
    NoneInFolder {
        /// The folder.
        path: PathBuf,
        /// Files with a fitting name.
        files: usize,
    },
    /// More pictures came into a folder than its camera's rate lets through.
    #[error("{lost} pictures in {} were passed over: they come faster than `fps`", path.display())]
    Crowded {
        /// The folder.
        path: PathBuf,
        /// How many.
        lost: usize,
    },
    /// A device that is not what the configuration says.
    #[error("{} is no V4L2 camera: {why}", device.display())]
    NotACamera {
        /// The device as configured.
        device: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// A device that refuses.
    #[error("{} refused to {what}: {why}", device.display())]
    Device {
        /// The device as configured.
        device: PathBuf,
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        why: String,
    },
    /// Somebody else captures from the device.
    #[error("{} is in use by another program", device.display())]
    InUse {
        /// The device as configured.
        device: PathBuf,
    },
    /// Earlier readers of the device never came back.
    #[error(
        "{} is silent: {readers} earlier attempt(s) to read it still wait for a frame and cannot be interrupted; \
         unplug the camera, or restart the program that feeds it",
        device.display()
    )]
    ReadersStuck {
        /// The device as configured.
        device: PathBuf,
        /// Readers that hang.
        readers: usize,
    },
    /// The thread that reads a device could not be started.
    #[error("the thread that reads {} could not be started", device.display())]
    Thread {
        /// The device as configured.
        device: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A camera's web server.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An RTSP camera.
    #[error(transparent)]
    Rtsp(#[from] RtspError),
    /// No frame within the time allowed.
    #[error("no frame came within {0:?}")]
    TimedOut(Duration),
    /// A file or folder ended before its first frame.
    #[error("it ended without a single frame")]
    NoFrame,
}

/// How long a camera that refused the login is left alone: some lock an account after a few tries.
const LOGIN_PAUSE: Duration = Duration::from_secs(60);

impl CaptureError {
    /// How long to wait at least before the source is opened again.
    pub(super) fn patience(&self) -> Duration {
        let is_login = match self {
            Self::Http(HttpError::LoginRefused { .. } | HttpError::LoginWanted { .. }) => true,
            Self::Rtsp(error) => error.is_login(),
            // As ffmpeg says it, whatever the protocol.
            Self::Exited { said, .. } => said.contains("401 Unauthorized"),
            _ => false,
        };
        if is_login { LOGIN_PAUSE } else { Duration::ZERO }
    }

    /// A JPEG picture in a stream that is none.
    pub(super) fn broken_jpeg(why: &str) -> Self {
        Self::Damaged { what: "a JPEG picture".to_owned(), why: why.to_owned() }
    }
}
