//! Sources that are programs: ffmpeg, or any command that writes pictures to its standard output.

use std::sync::Arc;
use std::time::Duration;

use super::copier::Copier;
use super::decode::{Encoded, MAX_STREAM_PICTURE_BYTES, check_size};
use super::mjpeg::{Found, Splitter};
use super::process::{Limits, Outlet, Output, Process};
use super::raw::Cutter;
use super::timeline::Timing;
use super::{
    CaptureError, CommandOutput, Copied, Decoder, FfmpegInput, FrameSource, Grab, Masker, PixelFormat,
    Settings, ffmpeg, nut, ts,
};
use crate::clock::Clock;
use crate::domain::{CameraId, Stamp};
use crate::shutdown::Stop;

/// How often a request to stop is noticed while a child is silent.
const TURN: Duration = Duration::from_millis(250);
/// How long a child that closed its output may take to say with what status it ends.
const FAREWELL: Duration = Duration::from_millis(500);
/// What ffmpeg may take. Decoders in software, their threads and stacks need well below 1 GiB at 4K; they write no
/// file and open few.
pub(super) const FFMPEG_LIMITS: Limits =
    Limits { address_space: Some(4 << 30), file_size: Some(0), files: Some(256) };
/// Drivers of hardware map more memory than they use, and keep caches in files.
pub(super) const HARDWARE_LIMITS: Limits = Limits { address_space: None, file_size: None, files: Some(1024) };
const READ_BYTES: usize = 64 << 10;
/// A picture that is played so much after its moment shifts all that follow.
const LATE: Duration = Duration::from_millis(100);

/// Cuts the child's bytes into pictures.
enum Framer {
    Raw {
        format: PixelFormat,
        width: u32,
        height: u32,
        cutter: Cutter,
    },
    Mjpeg {
        splitter: Splitter,
        read: Vec<u8>,
    },
    /// What ffmpeg writes.
    Nut {
        width: u32,
        height: u32,
        splitter: nut::Splitter,
    },
}

/// What a program wrote instead of pictures.
enum Foreign {
    Bytes(usize),
    Line(String),
}

/// A program whose output is pictures.
pub(super) struct ChildSource {
    process: Process,
    framer: Framer,
    clock: Arc<dyn Clock>,
    /// We set the pace, not the program.
    paced: bool,
    /// A picture that waits for its moment, where we set the pace.
    early: Option<(Grab, Duration)>,
    /// When the first picture was played, where we set the pace; later, when we could not keep up.
    origin: Option<Stamp>,
    /// The moment of the last picture that was given, since the beginning of its file.
    played: Option<Duration>,
    frames: u64,
    /// Ending with status 0 is the end of a file, not a loss.
    may_end: bool,
    copier: Option<Copier>,
    has_ended: bool,
    camera: CameraId,
}

impl ChildSource {
    /// With `copies` the stream is copied as well.
    pub(super) fn ffmpeg(
        source: &FfmpegInput,
        settings: &Settings,
        clock: Arc<dyn Clock>,
        copies: bool,
    ) -> Result<Self, CaptureError> {
        let call = ffmpeg::call(source, settings, copies.then(|| clock.now()))?;
        let is_live = ffmpeg::is_live(&source.input);
        let framer = Framer::nut(settings)?;
        let limits = if source.decoder == Decoder::Software { FFMPEG_LIMITS } else { HARDWARE_LIMITS };
        let outlet = if copies { Outlet::SocketAndSide } else { Outlet::Socket };
        let process = Process::start("ffmpeg", &call.args, call.input.as_ref(), outlet, limits)?;
        let process = process.hiding(Masker::of_url(&source.input, source.login.as_ref()));
        Ok(Self {
            process,
            framer,
            clock,
            paced: call.paced,
            early: None,
            origin: None,
            played: None,
            frames: 0,
            may_end: !is_live,
            copier: copies.then(|| Copier::new(is_live)),
            has_ended: false,
            camera: settings.camera.clone(),
        })
    }

    pub(super) fn command(
        argv: &[String],
        output: CommandOutput,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CaptureError> {
        let (program, args) = argv.split_first().ok_or(CaptureError::EmptyCommand)?;
        let framer = Framer::new(output, settings)?;
        let process = Process::start(program, args, None, Outlet::Pipe, Limits::default())?;
        let process = process.hiding(Masker::of_arguments(argv));
        Ok(Self {
            process,
            framer,
            clock,
            paced: false,
            early: None,
            origin: None,
            played: None,
            frames: 0,
            may_end: false,
            copier: None,
            has_ended: false,
            camera: settings.camera.clone(),
        })
    }

    /// The picture that waits for its moment, when that has come; `None` when `deadline` or a stop comes first.
    fn when_due(&mut self, deadline: Duration, stop: &Stop) -> Option<Grab> {
        let (grab, at) = self.early.take()?;
        let now = self.clock.now();
        let due = self.origin.get_or_insert(now.minus(at)).plus(at);
        let wait = due.since(now);
        if stop.wait_for(wait.min(deadline)) || wait > deadline {
            self.early = Some((grab, at));
            return None;
        }
        // What was missed is not caught up with.
        if now.since(due) > LATE {
            self.origin = Some(now.minus(at));
        }
        self.played = Some(at);
        Some(grab)
    }

    /// The times of a live stream that ffmpeg has opened are its own making as likely as not: they are not believed.
    fn dated(&self, grab: Grab) -> Grab {
        match grab {
            Grab::Encoded(picture, _) if !self.may_end => Grab::Encoded(picture, Timing::NOW),
            grab => grab,
        }
    }

    /// Looks at what has come of the copy.
    fn hear_copy(&mut self) {
        let Some(copier) = &mut self.copier else { return };
        let bytes = self.process.take_side();
        if bytes.is_empty() {
            return;
        }
        let why = match copier.hear(&bytes, self.clock.now()) {
            Ok(()) => return,
            Err(ts::Unfit::Codec(kind)) => {
                format!("it is neither H.264 nor H.265, but of stream type {kind:#04x}")
            }
            Err(ts::Unfit::Foreign) => "ffmpeg did not write MPEG-TS".to_owned(),
            Err(ts::Unfit::Endless) => "a picture in it has no end".to_owned(),
        };
        log::info!("camera {}: its stream is not copied into clips: {why}", self.camera);
    }

    fn foreign(&self, foreign: Foreign) -> CaptureError {
        let program = self.process.name().to_owned();
        match foreign {
            Foreign::Bytes(bytes) => CaptureError::NoPictures { program, bytes },
            Foreign::Line(why) => {
                let why = self.process.masked(&why);
                CaptureError::Damaged { what: format!("the output of {program}"), why }
            }
        }
    }

    /// Standard output is closed: the end of a file, or a loss with its reason.
    fn ended(&mut self) -> Result<Grab, CaptureError> {
        let status = self.process.finish(FAREWELL);
        if self.may_end && self.frames > 0 && status.is_some_and(|status| status.success()) {
            self.has_ended = true;
            if let Some(copier) = &mut self.copier {
                copier.finish(self.clock.now());
            }
            return Ok(Grab::End);
        }
        let more = if self.framer.is_inside() { " (in the middle of a picture)" } else { "" };
        Err(self.process.exited(status, self.frames, more))
    }
}

impl FrameSource for ChildSource {
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError> {
        let began = self.clock.now();
        loop {
            if self.early.is_some() {
                let passed = self.clock.now().since(began);
                return Ok(self.when_due(deadline.saturating_sub(passed), stop).unwrap_or(Grab::Nothing));
            }
            if let Some(found) = self.framer.take() {
                let grab = found.map_err(|foreign| self.foreign(foreign))?;
                let Grab::Encoded(_, timing) = &grab else { return Ok(grab) };
                self.frames += 1;
                let at = timing.media.map(|media| Duration::from_micros(media.us.max(0).unsigned_abs()));
                match at {
                    Some(at) if self.paced => self.early = Some((grab, at)),
                    _ => {
                        self.played = at;
                        return Ok(self.dated(grab));
                    }
                }
                continue;
            }
            let passed = self.clock.now().since(began);
            if passed >= deadline || stop.is_requested() {
                return Ok(Grab::Nothing);
            }
            let wait = (deadline - passed).min(TURN);
            let read = self.process.read(self.framer.room(), wait);
            self.hear_copy();
            match read
                .map_err(|source| CaptureError::Read { program: self.process.name().to_owned(), source })?
            {
                Output::Bytes => self.framer.digest(),
                Output::Nothing => {}
                Output::End => return self.ended(),
            }
        }
    }

    fn copied(&mut self) -> Vec<Copied> {
        let (played, has_ended) = (self.played, self.has_ended);
        self.copier.as_mut().map_or_else(Vec::new, |copier| copier.take(played, has_ended))
    }

    fn copies(&self) -> bool {
        self.copier.as_ref().is_some_and(Copier::works)
    }
}

impl Framer {
    fn new(output: CommandOutput, settings: &Settings) -> Result<Self, CaptureError> {
        let (width, height) = (settings.width, settings.height);
        check_size(width, height)?;
        Ok(match output {
            CommandOutput::Mjpeg => {
                Framer::Mjpeg { splitter: Splitter::new(MAX_STREAM_PICTURE_BYTES), read: Vec::new() }
            }
            CommandOutput::Raw(format) => {
                let cutter = Cutter::new(frame_bytes(format, settings)?);
                Framer::Raw { format, width, height, cutter }
            }
        })
    }

    fn nut(settings: &Settings) -> Result<Self, CaptureError> {
        let (width, height) = (settings.width, settings.height);
        check_size(width, height)?;
        let splitter = nut::Splitter::new(frame_bytes(PixelFormat::Yuv420p, settings)?);
        Ok(Framer::Nut { width, height, splitter })
    }

    /// Where to read to, with free capacity.
    fn room(&mut self) -> &mut Vec<u8> {
        match self {
            Framer::Raw { cutter, .. } => cutter.room(),
            Framer::Nut { splitter, .. } => splitter.room(),
            Framer::Mjpeg { read, .. } => {
                read.reserve_exact(READ_BYTES);
                read
            }
        }
    }

    /// Something was read.
    fn digest(&mut self) {
        if let Framer::Mjpeg { splitter, read } = self {
            splitter.feed(read);
            read.clear();
        }
    }

    /// The next picture, if it is complete; what else was there, if it is too much.
    fn take(&mut self) -> Option<Result<Grab, Foreign>> {
        match self {
            Framer::Raw { format, width, height, cutter } => {
                let picture = |frame| Encoded::raw(*format, *width, *height, frame);
                cutter.take().map(|frame| Ok(Grab::Encoded(picture(frame), Timing::NOW)))
            }
            Framer::Mjpeg { splitter, .. } => match splitter.next() {
                Found::Picture(bytes) => Some(Ok(Grab::Encoded(Encoded::jpeg(bytes), Timing::NOW))),
                Found::Broken(why) => Some(Ok(Grab::Damaged(CaptureError::broken_jpeg(why)))),
                Found::Nothing(bytes) => Some(Err(Foreign::Bytes(bytes))),
                Found::More => None,
            },
            Framer::Nut { width, height, splitter } => match splitter.take() {
                Ok(None) => None,
                Ok(Some((at_ns, frame))) => {
                    let picture = Encoded::raw(PixelFormat::Yuv420p, *width, *height, frame);
                    Some(Ok(Grab::Encoded(picture, Timing::media(at_ns / 1_000))))
                }
                Err(nut::NotNut(why)) => Some(Err(Foreign::Line(why))),
            },
        }
    }

    /// Whether a picture has begun and not ended.
    fn is_inside(&self) -> bool {
        match self {
            Framer::Raw { cutter, .. } => cutter.is_inside(),
            Framer::Nut { splitter, .. } => splitter.is_inside(),
            Framer::Mjpeg { splitter, .. } => splitter.is_inside(),
        }
    }
}

/// Bytes of a frame of the configured size.
fn frame_bytes(format: PixelFormat, settings: &Settings) -> Result<usize, CaptureError> {
    let (width, height) = (settings.width, settings.height);
    format.frame_bytes(width, height).ok_or(CaptureError::Size { width, height })
}
