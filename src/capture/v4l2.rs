//! V4L2 devices; the only place that knows nokhwa and v4l.
//!
//! Frames come through nokhwa. Its read can wait for ever when a device is silent, so it happens on a thread of its
//! own, the pump, which hands frames over a channel of one place; whoever reads waits with a deadline. A pump that
//! hangs cannot be interrupted: it is left behind, counted, and ends by itself at the next frame or when the device
//! is unplugged. Two of them are the most a camera may have.
//!
//! Before nokhwa opens a device, v4l (which lies under it) sets format and rate: nokhwa refuses a device that was
//! left at a rate such as 25/2 before it would set another. It also looks for answers of drivers that would make
//! nokhwa panic or run out of memory.

mod choice;
mod offers;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use choice::{Layout, Offer, Wish};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use nokhwa::utils::{CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType};
pub use offers::{DeviceInfo, list};
use offers::{MJPG, YUYV, breaks_nokhwa, offers};
use v4l::capability::Flags;
use v4l::video::Capture;
use v4l::video::capture::Parameters;
use v4l::{Device, Format, FourCC};

use super::decode::Encoded;
use super::{CaptureError, FrameSource, Grab, MediaTime, PixelFormat, Settings, Spawn, Timing, mjpeg};
use crate::clock::Clock;
use crate::domain::Stamp;
use crate::shutdown::Stop;

/// Pumps of one camera that may hang at the same time.
const MOST_STUCK: usize = 2;
/// How long a pump may take to end after it was let go: several frames.
const FAREWELL: Duration = Duration::from_secs(1);
const NAP: Duration = Duration::from_millis(10);
/// How often a request to stop is noticed while the device is silent.
const TURN: Duration = Duration::from_millis(250);
/// What a device that refuses is to be called. nokhwa passes the system's error on as text only.
fn refusal(device: &Path, what: &'static str, why: String) -> CaptureError {
    let busy = io::Error::from(rustix::io::Errno::BUSY).to_string();
    let device = device.to_owned();
    if why.contains(&busy) {
        CaptureError::InUse { device }
    } else {
        CaptureError::Device { device, what, why }
    }
}

/// Sets the best format that the device takes at a whole rate.
fn negotiate(device: &Path, node: &Path, wish: &Wish) -> Result<Offer, CaptureError> {
    let refused = |what| move |error: io::Error| refusal(device, what, error.to_string());
    let not_a_camera =
        |why: &str| CaptureError::NotACamera { device: device.to_owned(), why: why.to_owned() };
    let handle = Device::with_path(node).map_err(refused("be opened"))?;
    let caps = handle.query_caps().map_err(|error| not_a_camera(&error.to_string()))?;
    if !caps.capabilities.contains(Flags::VIDEO_CAPTURE) {
        return Err(not_a_camera("it captures no video; a camera may have several nodes, take its first"));
    }
    if breaks_nokhwa(&handle).map_err(refused("list its formats"))? {
        return Err(not_a_camera("its driver states sizes or rates without end; read it through ffmpeg"));
    }
    let ranked = choice::ranked(offers(&handle, wish).map_err(refused("list its formats"))?, wish);
    if ranked.is_empty() {
        return Err(not_a_camera("it offers neither MJPEG nor YUYV at a whole number of frames a second"));
    }
    let mut last = None;
    for offer in ranked {
        match set(&handle, offer) {
            Ok(Some(taken)) => return Ok(taken),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || not_a_camera("it takes none of the formats it offers"),
        refused("take any of its formats"),
    ))
}

/// Sets an offer; what the device made of it, unless that is something we cannot read.
fn set(handle: &Device, offer: Offer) -> io::Result<Option<Offer>> {
    let fourcc = FourCC::new(if offer.layout == Layout::Mjpeg { MJPG } else { YUYV });
    let format = handle.set_format(&Format::new(offer.width, offer.height, fourcc))?;
    let interval = handle.set_params(&Parameters::with_fps(offer.rate))?.interval;
    let readable = format.fourcc == fourcc && interval.numerator == 1 && interval.denominator > 0;
    Ok(readable.then_some(Offer {
        width: format.width,
        height: format.height,
        rate: interval.denominator,
        ..offer
    }))
}

/// A device whose frames a pump hands over.
pub(super) struct V4l2Source {
    device: PathBuf,
    /// Taken at the drop: that is what lets the pump go.
    frames: Option<Receiver<Result<Grab, CaptureError>>>,
    pump: Option<JoinHandle<()>>,
}

/// Counts a pump for as long as it runs.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts a pump for `device`; what goes wrong with the device itself is said by the first read.
pub(super) fn open(
    device: &Path,
    settings: &Settings,
    spawn: &Spawn,
    readers: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
) -> Result<V4l2Source, CaptureError> {
    let (node, number) = choice::resolve(device)?;
    let stuck = readers.load(Ordering::SeqCst);
    if stuck >= MOST_STUCK {
        return Err(CaptureError::ReadersStuck { device: device.to_owned(), readers: stuck });
    }
    let (sender, frames) = bounded(1);
    let wish = Wish { width: settings.width, height: settings.height, fps: settings.fps };
    readers.fetch_add(1, Ordering::SeqCst);
    let running = Running(readers);
    // A bare number would read oddly in a message.
    let device = if device.is_absolute() { device.to_owned() } else { node.clone() };
    let named = device.clone();
    let work = move || {
        let _running = running;
        if let Err(error) = pump(&named, &node, number, &wish, clock.as_ref(), &sender) {
            // While an earlier reader hangs on it, the device refuses everything as busy.
            let error = match error {
                CaptureError::Device { device, .. } | CaptureError::InUse { device } if stuck > 0 => {
                    CaptureError::ReadersStuck { device, readers: stuck }
                }
                error => error,
            };
            // Nobody listens when the camera was closed meanwhile.
            let _ = sender.send(Err(error));
        }
    };
    let pump = spawn(&format!("v4l2-{number}"), Box::new(work))
        .map_err(|source| CaptureError::Thread { device: device.clone(), source })?;
    Ok(V4l2Source { device, frames: Some(frames), pump: Some(pump) })
}

/// Opens the device and hands over frames until nobody wants them any more.
fn pump(
    device: &Path,
    node: &Path,
    number: u32,
    wish: &Wish,
    clock: &dyn Clock,
    frames: &Sender<Result<Grab, CaptureError>>,
) -> Result<(), CaptureError> {
    let offer = negotiate(device, node, wish)?;
    let refused = |what| move |error: nokhwa::NokhwaError| refusal(device, what, error.to_string());
    let layout = if offer.layout == Layout::Mjpeg { FrameFormat::MJPEG } else { FrameFormat::YUYV };
    let exact = CameraFormat::new_from(offer.width, offer.height, layout, offer.rate);
    let request =
        RequestedFormat::with_formats(RequestedFormatType::Exact(exact), std::slice::from_ref(&layout));
    let mut camera =
        nokhwa::Camera::new(CameraIndex::Index(number), request).map_err(refused("be opened"))?;
    camera.open_stream().map_err(refused("stream"))?;
    log::info!("{}: {exact}", device.display());
    loop {
        let buffer = camera.frame().map_err(refused("give a frame"))?;
        let timing = timing(buffer.capture_timestamp(), clock.now());
        match frames.try_send(Ok(cut(buffer.buffer(), &offer, timing))) {
            // The reader has the one before still to take: this one is thinned here.
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => return Ok(()),
        }
    }
}

/// When a frame was taken: the kernel stamps it, and nokhwa says that by the wall clock. What that clock does meanwhile
/// plays no part: the two moments lie a few microseconds apart.
fn timing(taken: Option<Duration>, now: Stamp) -> Timing {
    let taken_us = taken.and_then(|taken| i64::try_from(taken.as_micros()).ok());
    let age_us = taken_us.map(|taken_us| now.wall_us() - taken_us);
    let media = age_us.map(|age| MediaTime::fine(now.mono_us().cast_signed() - age));
    Timing { arrived: Some(now), media }
}

/// The picture in a driver's buffer, which may be larger than the picture.
fn cut(buffer: &[u8], offer: &Offer, timing: Timing) -> Grab {
    let damaged = |why: &str| {
        Grab::Damaged(CaptureError::Damaged { what: "a frame of the device".to_owned(), why: why.to_owned() })
    };
    match offer.layout {
        Layout::Mjpeg => match mjpeg::trim(buffer) {
            Some(picture) => Grab::Encoded(Encoded::jpeg(picture.to_vec()), timing),
            None => damaged("it holds no whole JPEG picture"),
        },
        Layout::Yuyv => {
            let wanted = PixelFormat::Yuyv.frame_bytes(offer.width, offer.height);
            match wanted.and_then(|n| buffer.get(..n)) {
                Some(frame) => {
                    let picture = Encoded::raw(PixelFormat::Yuyv, offer.width, offer.height, frame.to_vec());
                    Grab::Encoded(picture, timing)
                }
                None => damaged("it is shorter than its format says"),
            }
        }
    }
}

impl FrameSource for V4l2Source {
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError> {
        let Some(frames) = &self.frames else { return Ok(Grab::End) };
        let mut left = deadline;
        while !left.is_zero() && !stop.is_requested() {
            let wait = left.min(TURN);
            match frames.recv_timeout(wait) {
                Ok(grab) => return grab,
                Err(RecvTimeoutError::Timeout) => left -= wait,
                Err(RecvTimeoutError::Disconnected) => {
                    let why = "its reader ended".to_owned();
                    return Err(CaptureError::Device { device: self.device.clone(), what: "go on", why });
                }
            }
        }
        Ok(Grab::Nothing)
    }
}

impl Drop for V4l2Source {
    fn drop(&mut self) {
        self.frames = None;
        let Some(pump) = self.pump.take() else { return };
        let mut waited = Duration::ZERO;
        while !pump.is_finished() && waited < FAREWELL {
            std::thread::sleep(NAP);
            waited += NAP;
        }
        if pump.is_finished() {
            if pump.join().is_err() {
                log::error!("{}: its reader panicked", self.device.display());
            }
        } else {
            log::warn!("{}: its reader hangs and was left behind", self.device.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_somebody_else_reads_is_in_use_and_not_wrong() {
        let said = |errno: rustix::io::Errno| format!("Could not set format: {}", io::Error::from(errno));
        let of = |errno| refusal(Path::new("/dev/video0"), "stream", said(errno));
        assert!(matches!(of(rustix::io::Errno::BUSY), CaptureError::InUse { .. }));
        assert!(matches!(of(rustix::io::Errno::NODEV), CaptureError::Device { .. }));
    }

    #[test]
    fn a_drivers_buffer_is_cut_to_its_picture() {
        let offer = |layout| Offer { layout, width: 3, height: 2, rate: 5 };
        let cut = |bytes: &[u8], offer: &Offer| cut(bytes, offer, Timing::NOW);
        let jpeg = [&[0xff, 0xd8, 0xff, 0xda, 0, 2, 1, 0xff, 0xd9][..], &[0; 4000]].concat();
        assert!(
            matches!(cut(&jpeg, &offer(Layout::Mjpeg)), Grab::Encoded(e, _) if e == Encoded::jpeg(jpeg[..9].to_vec()))
        );
        assert!(matches!(cut(&[0; 4000], &offer(Layout::Mjpeg)), Grab::Damaged(_)));
        let whole = Encoded::raw(PixelFormat::Yuyv, 3, 2, vec![9; 16]);
        assert!(matches!(cut(&[9; 20], &offer(Layout::Yuyv)), Grab::Encoded(e, _) if e == whole));
        assert!(matches!(cut(&[9; 15], &offer(Layout::Yuyv)), Grab::Damaged(_)));
    }
}
