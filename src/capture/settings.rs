//! What one camera is and how it is to be read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{CaptureError, HttpCamera, Masker, RtspCamera, ffmpeg, shown_url};
use crate::domain::{CameraId, Codec, Login};

/// What one camera is and how it is to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its name.
    pub camera: CameraId,
    /// Where pictures come from.
    pub source: Source,
    /// Frames per second passed on, 0.1 to 60; a faster source is thinned out.
    pub fps: f32,
    /// Size of the frames in pixels. Sources that can scale (ffmpeg) do; for a device it is the wanted format.
    pub width: u32,
    /// See `width`.
    pub height: u32,
    /// Its frames open no door in this time after it came online.
    pub settle: Duration,
    /// No frame for this long is a stall: the source is closed and opened anew. Counts from the opening, too.
    pub stall_after: Duration,
    /// How a file or folder is played; everything else is always `Realtime`.
    pub pace: Pace,
    /// Whether a file or folder starts again at its end.
    pub looped: bool,
}

impl Settings {
    /// The time between two frames.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_secs_f32(1.0 / self.fps.clamp(0.01, 1000.0))
    }

    /// The pace that counts: only files and folders can be played fast.
    #[must_use]
    pub fn effective_pace(&self) -> Pace {
        if self.source.is_live() { Pace::Realtime } else { self.pace }
    }
}

/// Where pictures come from.
#[derive(Clone, PartialEq)]
pub enum Source {
    /// A V4L2 device: `/dev/video0`, a link below `/dev/v4l/by-id/`, or a bare number.
    V4l2 {
        /// The device node or a link to it.
        device: PathBuf,
    },
    /// A file or URL that ffmpeg opens, in a child process.
    Ffmpeg(FfmpegInput),
    /// An RTSP camera, which we connect to ourselves.
    Rtsp(RtspCamera),
    /// A camera's web server: Motion JPEG or single pictures, read in this process.
    Http(HttpCamera),
    /// A folder of JPEG, PNG, BMP or WebP pictures.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Whether those count that come into it, and into folders below, from now on; otherwise those that are
        /// there, in the order of their names.
        watch: bool,
    },
    /// Any program that writes pictures to its standard output.
    Command {
        /// The program and its arguments; no shell is involved.
        argv: Vec<String>,
        /// What it writes.
        output: CommandOutput,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::V4l2 { device } => f.debug_struct("V4l2").field("device", device).finish(),
            Source::Ffmpeg(input) => f.debug_tuple("Ffmpeg").field(input).finish(),
            Source::Rtsp(camera) => f.debug_tuple("Rtsp").field(camera).finish(),
            Source::Http(camera) => f.debug_tuple("Http").field(camera).finish(),
            Source::Folder { path, watch } => {
                f.debug_struct("Folder").field("path", path).field("watch", watch).finish()
            }
            Source::Command { argv, output } => {
                let masker = Masker::of_arguments(argv);
                let argv: Vec<String> = argv.iter().map(|argument| masker.mask(argument)).collect();
                f.debug_struct("Command").field("argv", &argv).field("output", output).finish()
            }
        }
    }
}

impl Source {
    /// Whether it has no end and no pace of its own to play at: everything but files and folders.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self {
            Source::Folder { watch, .. } => *watch,
            Source::Ffmpeg(file) => ffmpeg::is_live(&file.input),
            Source::V4l2 { .. } | Source::Rtsp(_) | Source::Http(_) | Source::Command { .. } => true,
        }
    }

    /// Whether its pictures carry the time at which they were taken, so that one that was held up on its way is known
    /// to be old. What a web camera does shows only when it runs: the answer for it is no.
    #[must_use]
    pub fn dates_pictures(&self) -> bool {
        match self {
            Source::V4l2 { .. } | Source::Rtsp(_) | Source::Folder { watch: false, .. } => true,
            Source::Ffmpeg(_) => !self.is_live(),
            Source::Http(_) | Source::Command { .. } | Source::Folder { watch: true, .. } => false,
        }
    }

    /// Whether it may give nothing for hours without being lost: then no silence is a stall.
    #[must_use]
    pub fn may_be_silent(&self) -> bool {
        matches!(self, Source::Folder { watch: true, .. })
    }

    /// Whether it could ever be opened, as far as its text alone tells. Does no I/O.
    ///
    /// # Errors
    /// [`CaptureError::Scheme`] for a url of a kind that is not allowed.
    pub fn check(&self) -> Result<(), CaptureError> {
        match self {
            Source::Ffmpeg(file) => ffmpeg::protocols(&file.input).map(drop),
            _ => Ok(()),
        }
    }
}

/// What ffmpeg opens, and how.
#[derive(Clone, PartialEq)]
pub struct FfmpegInput {
    /// A file, or a URL with or without a login.
    pub input: String,
    /// Put into the URL where only ffmpeg sees it.
    pub login: Option<Login>,
    /// What decodes.
    pub decoder: Decoder,
    /// What of the stream is decoded.
    pub pictures: Pictures,
}

impl FfmpegInput {
    /// A file or URL, all of it decoded in software.
    #[must_use]
    pub fn new(input: impl Into<String>) -> Self {
        Self { input: input.into(), login: None, decoder: Decoder::Software, pictures: Pictures::All }
    }
}

impl fmt::Debug for FfmpegInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, login, decoder, pictures } = self;
        let mut shown = f.debug_struct("FfmpegInput");
        shown.field("input", &shown_url(input)).field("login", login);
        shown.field("decoder", decoder).field("pictures", pictures).finish()
    }
}

/// What decodes a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    /// ffmpeg's own decoders, any codec.
    Software,
    /// A graphics processor through VA-API, any codec that it knows.
    Vaapi,
    /// A decoder of the kernel's V4L2 memory-to-memory kind, as on a Raspberry Pi.
    V4l2M2m(Codec),
    /// The decoder of a Jetson, in NVIDIA's build of ffmpeg.
    Nvv4l2(Codec),
}

/// Which pictures of a video are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pictures {
    /// All.
    All,
    /// Those that others are predicted from: the rest can be left out without harm to any other. Software only.
    Referenced,
}

/// What a `command` source writes to its standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutput {
    /// JPEG pictures one after the other (MJPEG; what stands between two pictures is skipped).
    Mjpeg,
    /// Raw frames of exactly `width * height` pixels of the camera's size.
    Raw(PixelFormat),
}

/// Layout of raw frames, rows from the top without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    /// 8-bit R, G, B; 3 bytes a pixel.
    Rgb24,
    /// Planar Y, U, V with chroma at half size in both directions, rounded up (I420), BT.601 limited range;
    /// 1.5 bytes a pixel.
    Yuv420p,
    /// Packed Y0 U Y1 V, BT.601 limited range; 2 bytes a pixel, the width rounded up to even.
    Yuyv,
}

impl PixelFormat {
    /// Bytes of one frame of `width` x `height` pixels; `None` when no machine could hold them.
    #[must_use]
    pub fn frame_bytes(self, width: u32, height: u32) -> Option<usize> {
        let (w, h) = (usize::try_from(width).ok()?, usize::try_from(height).ok()?);
        match self {
            PixelFormat::Rgb24 => w.checked_mul(h)?.checked_mul(3),
            PixelFormat::Yuv420p => {
                let chroma = w.div_ceil(2).checked_mul(h.div_ceil(2))?.checked_mul(2)?;
                w.checked_mul(h)?.checked_add(chroma)
            }
            PixelFormat::Yuyv => w.div_ceil(2).checked_mul(4)?.checked_mul(h),
        }
    }

    /// The name ffmpeg and GStreamer users know it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PixelFormat::Rgb24 => "rgb24",
            PixelFormat::Yuv420p => "yuv420p",
            PixelFormat::Yuyv => "yuyv",
        }
    }
}

/// How a file or folder is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At its own rate, as a camera would deliver; frames may be dropped downstream.
    Realtime,
    /// As fast as the pipeline takes it: the source waits for its last look to be decided, no frame is dropped.
    Fast,
}
