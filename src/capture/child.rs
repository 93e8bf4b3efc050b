//! Sources that are programs: ffmpeg, or any command that writes pictures to its standard output.

use std::sync::Arc;
use std::time::Duration;

use super::copier::Copier;
use super::decode::{Encoded, MAX_STREAM_PICTURE_BYTES, check_size};
use super::mjpeg::{Found, Splitter};
use super::process::{Limits, Outlet, Output, Process};
use super::raw::Cutter;
use super::schedule::Schedule;
use super::{
    CaptureError, CommandOutput, Copied, Decoder, FfmpegInput, FrameSource, Grab, PixelFormat, Settings,
    ffmpeg, ts, y4m,
};
use crate::clock::Clock;
use crate::domain::CameraId;
use crate::shutdown::Stop;

/// How often a request to stop is noticed while a child is silent.
const TURN: Duration = Duration::from_millis(250);
/// How long a child that closed its output may take to say with what status it ends.
const FAREWELL: Duration = Duration::from_millis(500);
/// What ffmpeg may take. Decoders in software, their threads and stacks need well below 1 GiB at 4K; they write no
/// file and open few.
const FFMPEG_LIMITS: Limits = Limits { address_space: Some(4 << 30), file_size: Some(0), files: Some(256) };
/// Drivers of hardware map more memory than they use, and keep caches in files.
const HARDWARE_LIMITS: Limits = Limits { address_space: None, file_size: None, files: Some(1024) };
const READ_BYTES: usize = 64 << 10;

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
    Y4m {
        width: u32,
        height: u32,
        splitter: y4m::Splitter,
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
    /// When the next picture is due, where we set the pace.
    schedule: Option<Schedule>,
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
        let framer = Framer::y4m(settings)?;
        let limits = if source.decoder == Decoder::Software { FFMPEG_LIMITS } else { HARDWARE_LIMITS };
        let outlet = if copies { Outlet::SocketAndSide } else { Outlet::Socket };
        let process = Process::start("ffmpeg", &call.args, call.input.as_ref(), outlet, limits)?;
        Ok(Self {
            process,
            framer,
            clock,
            paced: call.paced,
            schedule: None,
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
        Ok(Self {
            process,
            framer,
            clock,
            paced: false,
            schedule: None,
            frames: 0,
            may_end: false,
            copier: None,
            has_ended: false,
            camera: settings.camera.clone(),
        })
    }

    /// A picture was taken: when is the next one due?
    fn schedule_next(&mut self) {
        match (&mut self.schedule, self.framer.rate()) {
            (Some(schedule), _) => schedule.advance(),
            (None, Some(rate)) if self.paced => {
                let mut schedule = Schedule::new(self.clock.clone(), Duration::from_secs_f64(1.0 / rate));
                schedule.advance();
                self.schedule = Some(schedule);
            }
            (None, _) => {}
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
            Foreign::Line(why) => CaptureError::Damaged { what: format!("the output of {program}"), why },
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
        let status = status.map_or_else(|| "no exit status".to_owned(), |status| status.to_string());
        let mut said = self.process.last_words();
        if !said.is_empty() {
            said.insert_str(0, ": ");
        }
        if self.framer.is_inside() {
            said.push_str(" (in the middle of a picture)");
        }
        Err(CaptureError::Exited {
            program: self.process.name().to_owned(),
            status,
            frames: self.frames,
            said,
        })
    }
}

impl FrameSource for ChildSource {
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError> {
        let began = self.clock.now();
        if self.schedule.as_ref().is_some_and(|schedule| !schedule.is_due(deadline, stop)) {
            return Ok(Grab::Nothing);
        }
        loop {
            if let Some(found) = self.framer.take() {
                self.frames += u64::from(matches!(found, Ok(Grab::Encoded(_))));
                self.schedule_next();
                return found.map_err(|foreign| self.foreign(foreign));
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
        let rate = self.framer.rate().filter(|rate| *rate > 0.0);
        let taken = self.frames.checked_sub(1).zip(rate);
        let taken = taken.map(|(last, rate)| Duration::from_secs_f64(last as f64 / rate));
        self.copier.as_mut().map_or_else(Vec::new, |copier| copier.take(taken, self.has_ended))
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

    fn y4m(settings: &Settings) -> Result<Self, CaptureError> {
        let (width, height) = (settings.width, settings.height);
        check_size(width, height)?;
        let splitter = y4m::Splitter::new(frame_bytes(PixelFormat::Yuv420p, settings)?);
        Ok(Framer::Y4m { width, height, splitter })
    }

    /// Where to read to, with free capacity.
    fn room(&mut self) -> &mut Vec<u8> {
        match self {
            Framer::Raw { cutter, .. } => cutter.room(),
            Framer::Y4m { splitter, .. } => splitter.room(),
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

    /// Pictures a second, where the stream says so.
    fn rate(&self) -> Option<f64> {
        match self {
            Framer::Y4m { splitter, .. } => splitter.rate(),
            Framer::Raw { .. } | Framer::Mjpeg { .. } => None,
        }
    }

    /// The next picture, if it is complete; what else was there, if it is too much.
    fn take(&mut self) -> Option<Result<Grab, Foreign>> {
        match self {
            Framer::Raw { format, width, height, cutter } => {
                cutter.take().map(|frame| Ok(Grab::Encoded(Encoded::raw(*format, *width, *height, frame))))
            }
            Framer::Mjpeg { splitter, .. } => match splitter.next() {
                Found::Picture(bytes) => Some(Ok(Grab::Encoded(Encoded::jpeg(bytes)))),
                Found::Broken(why) => Some(Ok(Grab::Damaged(CaptureError::broken_jpeg(why)))),
                Found::Nothing(bytes) => Some(Err(Foreign::Bytes(bytes))),
                Found::More => None,
            },
            Framer::Y4m { width, height, splitter } => match splitter.take() {
                Ok(None) => None,
                Ok(Some(frame)) => {
                    Some(Ok(Grab::Encoded(Encoded::raw(PixelFormat::Yuv420p, *width, *height, frame))))
                }
                Err(y4m::NotY4m(why)) => Some(Err(Foreign::Line(why))),
            },
        }
    }

    /// Whether a picture has begun and not ended.
    fn is_inside(&self) -> bool {
        match self {
            Framer::Raw { cutter, .. } => cutter.is_inside(),
            Framer::Y4m { splitter, .. } => splitter.is_inside(),
            Framer::Mjpeg { splitter, .. } => splitter.is_inside(),
        }
    }
}

/// Bytes of a frame of the configured size.
fn frame_bytes(format: PixelFormat, settings: &Settings) -> Result<usize, CaptureError> {
    let (width, height) = (settings.width, settings.height);
    format.frame_bytes(width, height).ok_or(CaptureError::Size { width, height })
}
