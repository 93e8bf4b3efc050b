//! One door to every kind of source: open it, ask it for pictures, ask it who it is.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use super::decode::Encoded;
use super::timeline::Timing;
use super::{CaptureError, Copied, Copying, Settings, Source, child, folder, http, inbox, rtsp, v4l2};
use crate::clock::Clock;
use crate::domain::{Pixels, Stamp};
use crate::shutdown::Stop;

/// A decoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The pixels: exactly as many as the size says.
    pub pixels: Pixels,
}

/// What a source had to give.
#[derive(Debug)]
pub enum Grab {
    /// A picture, decoded, and its time.
    Picture(Picture, Timing),
    /// A picture that is still to be decoded, so that one that is not due costs nothing, and its time.
    Encoded(Encoded, Timing),
    /// A picture that arrived earlier, at this moment, and had to wait for its turn; decoded.
    Waited(Picture, Stamp),
    /// A picture came but is unusable; the source goes on.
    Damaged(CaptureError),
    /// The deadline passed, or stopping was requested.
    Nothing,
    /// The file or folder is at its end. A looped folder never ends.
    End,
}

/// Where pictures come from. A trait because tests inject faults.
pub trait FrameSource: Send {
    /// Waits at most `deadline` for the next picture; returns earlier when `stop` is requested (within 250 ms).
    ///
    /// # Errors
    /// [`CaptureError`] when the source is lost: drop it and open it anew.
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError>;

    /// What came of the source's own stream since the last call, where it is copied.
    fn copied(&mut self) -> Vec<Copied> {
        Vec::new()
    }

    /// Whether its own stream is copied, as far as is known.
    fn copies(&self) -> bool {
        false
    }
}

/// Starts a named thread. Handed in by the daemon, where threads are born.
pub type Spawn = Arc<dyn Fn(&str, Box<dyn FnOnce() + Send>) -> std::io::Result<JoinHandle<()>> + Send + Sync>;

/// Opens one camera's source, as often as needed. It remembers the readers of a device that still hang from
/// earlier openings, so that they cannot pile up.
#[derive(Clone)]
pub struct Opener {
    settings: Settings,
    clock: Arc<dyn Clock>,
    spawn: Spawn,
    readers: Arc<AtomicUsize>,
    copying: Arc<Copying>,
}

impl Opener {
    /// `spawn` is used for V4L2 devices only, whose read can block for ever.
    #[must_use]
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, spawn: Spawn) -> Self {
        Self { settings, clock, spawn, readers: Arc::default(), copying: Arc::default() }
    }

    /// The same, which copies the source's own stream when it is asked to.
    #[must_use]
    pub fn copying(self, copying: Arc<Copying>) -> Self {
        Self { copying, ..self }
    }

    /// Opens the source; returns before the first picture. A child process lives no longer than the calling
    /// thread.
    ///
    /// # Errors
    /// [`CaptureError`] says what is missing or refused.
    pub fn open(&self) -> Result<Box<dyn FrameSource>, CaptureError> {
        let settings = &self.settings;
        let clock = self.clock.clone();
        Ok(match &settings.source {
            Source::V4l2 { device } => {
                Box::new(v4l2::open(device, settings, &self.spawn, self.readers.clone(), clock)?)
            }
            Source::Ffmpeg(input) => {
                Box::new(child::ChildSource::ffmpeg(input, settings, clock, self.copying.is_due())?)
            }
            Source::Rtsp(camera) => {
                Box::new(rtsp::RtspSource::open(camera, settings, clock, Arc::clone(&self.copying))?)
            }
            Source::Http(camera) => Box::new(http::HttpSource::open(camera, settings, clock)?),
            Source::Folder { path, watch: false } => {
                Box::new(folder::FolderSource::open(path, settings, clock)?)
            }
            Source::Folder { path, watch: true } => Box::new(inbox::Inbox::open(path, settings, clock)?),
            Source::Command { argv, output } => {
                Box::new(child::ChildSource::command(argv, *output, settings, clock)?)
            }
        })
    }
}

/// What a trial of a camera found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeReport {
    /// Width of the first frame in pixels.
    pub width: u32,
    /// Height of the first frame in pixels.
    pub height: u32,
    /// How it arrived: `jpeg`, `yuv420p`, `yuyv`, `rgb24`.
    pub format: &'static str,
    /// From opening to the first decoded frame.
    pub took: Duration,
}

/// Opens the camera, waits at most `timeout` for one good frame and closes it again. Blocks.
///
/// # Errors
/// [`CaptureError`] when the source cannot be opened, ends, or gives no good frame in time.
pub fn probe(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    spawn: Spawn,
    timeout: Duration,
    stop: &Stop,
) -> Result<ProbeReport, CaptureError> {
    let began = clock.now();
    let mut source = Opener::new(settings.clone(), clock.clone(), spawn).open()?;
    let mut damaged = None;
    loop {
        let passed = clock.now().since(began);
        if passed >= timeout || stop.is_requested() {
            return Err(damaged.unwrap_or(CaptureError::TimedOut(timeout)));
        }
        let (picture, format) = match source.next(timeout - passed, stop)? {
            Grab::Picture(picture, _) | Grab::Waited(picture, _) => (Ok(picture), "rgb24"),
            Grab::Encoded(encoded, _) => {
                let format = encoded.format();
                (encoded.decode(), format)
            }
            Grab::Damaged(error) => (Err(error), ""),
            Grab::Nothing => continue,
            Grab::End => return Err(damaged.unwrap_or(CaptureError::NoFrame)),
        };
        match picture {
            Ok(Picture { width, height, .. }) => {
                return Ok(ProbeReport { width, height, format, took: clock.now().since(began) });
            }
            Err(error) => damaged = Some(error),
        }
    }
}
