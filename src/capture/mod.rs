//! Cameras: from a device, a child process or a folder to RGB frames.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::CameraId;

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
    /// No frame for this long is a stall: the source is closed and opened anew.
    pub stall_after: Duration,
    /// How a file or folder is played.
    pub pace: Pace,
    /// Whether a file or folder starts again at its end.
    pub looped: bool,
}

/// Where pictures come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A V4L2 device: `/dev/video0`, a link below `/dev/v4l/by-id/`, or a bare number.
    V4l2 {
        /// The device node or a link to it.
        device: PathBuf,
    },
    /// A file or URL that ffmpeg opens, in a child process.
    Ffmpeg {
        /// What follows `-i`.
        input: String,
    },
    /// A folder of JPEG, PNG, BMP or WebP pictures, in the order of their names.
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Any program that writes pictures to its standard output.
    Command {
        /// The program and its arguments; no shell is involved.
        argv: Vec<String>,
        /// What it writes.
        output: CommandOutput,
    },
}

/// What a `command` source writes to its standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutput {
    /// JPEG pictures one after the other (MJPEG, without multipart headers).
    Mjpeg,
    /// Raw frames of exactly `width * height` pixels of the camera's size.
    Raw(PixelFormat),
}

/// Layout of raw frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    /// 8-bit R, G, B; 3 bytes a pixel.
    Rgb24,
    /// Planar Y, U, V with chroma at half size in both directions (I420), BT.601 limited range; 1.5 bytes a pixel.
    Yuv420p,
    /// Packed Y0 U Y1 V, BT.601 limited range; 2 bytes a pixel.
    Yuyv,
}

/// How a file or folder is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At its own rate, as a camera would deliver; frames may be dropped downstream.
    Realtime,
    /// As fast as the pipeline takes it: the source waits for its last look to be decided, no frame is dropped.
    Fast,
}
