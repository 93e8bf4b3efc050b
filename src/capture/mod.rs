//! Cameras: from a device, a child process or a folder to RGB frames.
//!
//! One [`Camera`] runs on one thread: it opens its source, stamps and numbers frames as they arrive, drops those
//! that are not due, and opens the source again when it was lost. Whatever a source does (dies, stalls, floods,
//! writes garbage) becomes a state with a reason and a number in [`Counters`].
//!
//! This room must not start threads (it is given a [`Spawn`]), must not look at what a picture shows, and must not
//! let anything that comes from outside panic, grow without bound or block for ever.
//!
//! | file | what |
//! |---|---|
//! | `camera`, `thin`, `schedule`, `slowdown`, `quality`, `counters` | the loop of a camera thread |
//! | `source` | the trait, opening, trying out |
//! | `child`, `process`, `ffmpeg`, `presets` | programs that write pictures |
//! | `http` | web servers of cameras: Motion JPEG and single pictures |
//! | `rtsp` | RTSP cameras; the only place that knows retina |
//! | `timeline` | how old a picture is, and whether its camera's time can be trusted |
//! | `tls`, `waiting` | whom to trust, and how to wait, on the network |
//! | `copying`, `copier`, `ts` | the stream of ffmpeg's input as it is, beside its pictures |
//! | `folder`, `inbox` | pictures in a folder, and those that come into one |
//! | `onvif` | which cameras the network has |
//! | `v4l2` | devices; the only place that knows nokhwa and v4l |
//! | `mjpeg`, `raw`, `nut`, `decode` | bytes to pixels |
//! | `redact`, `masker`, `userinfo` | no credentials in what is shown |

mod camera;
mod child;
mod copier;
mod copying;
mod counters;
mod decode;
mod error;
mod ffmpeg;
mod folder;
mod http;
mod inbox;
mod masker;
mod mjpeg;
mod nut;
pub mod onvif;
pub mod presets;
mod process;
mod quality;
mod raw;
mod redact;
mod rtsp;
mod schedule;
#[cfg(test)]
mod secrecy;
mod settings;
mod slowdown;
mod source;
mod thin;
mod timeline;
mod tls;
mod ts;
mod userinfo;
pub mod v4l2;
mod waiting;

pub use camera::{Camera, CopySink, Open};
pub use copying::{Copied, Copying, When};
pub use counters::Counters;
pub use decode::{Encoded, MAX_FILE_BYTES, MAX_PIXELS, MAX_SIDE, load_picture};
pub use error::CaptureError;
pub use folder::is_picture_name;
pub use http::{Address, HttpCamera, HttpError};
pub use masker::{Masker, takes_secret};
pub use redact::{Extent, is_secret_key, redact, secrets, shown_url};
pub use rtsp::{RtspAddress, RtspCamera, RtspError, Transport};
pub use settings::{CommandOutput, Decoder, FfmpegInput, Pace, Pictures, PixelFormat, Settings, Source};
pub use slowdown::Slowdown;
pub use source::{FrameSource, Grab, Opener, Picture, ProbeReport, Spawn, probe};
pub use timeline::{MediaTime, Timing};
