//! The loop of one camera thread: open, read, number, stamp, pass on; when the source is lost, wait and open it
//! anew. It must not end for any reason but a stop or the end of a file.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::quality::Quality;
use super::thin::Thinner;
use super::{
    CaptureError, Copied, Copying, Counters, FrameSource, Grab, Opener, Pace, Picture, Settings, Slowdown,
    Spawn, When, ffmpeg,
};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::domain::{CameraState, Frame, FrameRef, FrameSeq, Stamp, StreamPart};
use crate::shutdown::Stop;
use crate::words::in_words;

/// The longest wait between two signs of life.
const TURN: Duration = Duration::from_secs(1);
/// A source that gave pictures for this long had recovered: the next loss starts with a short pause again.
const HEALTHY: Duration = Duration::from_secs(10);
/// A camera's pictures come no closer than this, 125 a second; a source that floods us is held back by its pipe.
const CLOSEST: Duration = Duration::from_millis(8);
/// Different complaints about pictures that are remembered, so that each is logged once.
const REMEMBERED: usize = 256;

/// The pauses before a lost source is opened again grow from the first to the second.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Is given what came of a camera's own stream, in order.
pub type CopySink = Box<dyn FnMut(Vec<StreamPart>) + Send>;

/// Opens a source; called again after each loss.
pub type Open = Box<dyn FnMut() -> Result<Box<dyn FrameSource>, CaptureError> + Send>;

/// One camera, ready to run on its thread.
///
/// # Stamps
/// In real time a frame is stamped when it has arrived whole. Played fast, frame `n` is stamped `n / fps` after
/// the first one, as if it had been played at its own rate, so that durations in rules mean the same; such stamps
/// run ahead of the clock or behind it.
pub struct Camera {
    settings: Settings,
    clock: Arc<dyn Clock>,
    open: Open,
    counters: Arc<Counters>,
    slowdown: Arc<Slowdown>,
    copying: Arc<Copying>,
    copy_sink: Option<CopySink>,
    /// Of the last picture that the source gave.
    last_stamp: Option<Stamp>,
    quality: Quality,
    next_seq: u64,
    first_stamp: Option<Stamp>,
    complaints: HashSet<String>,
    /// How long the last opening gave good pictures.
    healthy: Duration,
}

/// How one opening ended.
enum Over {
    Stopped,
    Ended,
    /// The end of a looped file: open it again at once.
    Again,
    /// The state, the reason, and how long to wait at least.
    Lost(CameraState, String, Duration),
}

/// Passes state changes on, each once.
struct Health<'a> {
    state: Option<CameraState>,
    tell: &'a mut dyn FnMut(CameraState, &str),
}

impl Health<'_> {
    fn becomes(&mut self, state: CameraState, why: &str) {
        if self.state.replace(state) != Some(state) {
            (self.tell)(state, why);
        }
    }
}

impl Camera {
    /// A camera with the source its settings name. `spawn` starts the reader of a V4L2 device.
    #[must_use]
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, spawn: Spawn) -> Self {
        let copying = Arc::<Copying>::default();
        let opener = Opener::new(settings.clone(), clock.clone(), spawn).copying(copying.clone());
        Self { copying, ..Self::with_open(settings, clock, Box::new(move || opener.open())) }
    }

    /// A camera with a source of another making.
    #[must_use]
    pub fn with_open(settings: Settings, clock: Arc<dyn Clock>, open: Open) -> Self {
        Self {
            settings,
            clock,
            open,
            counters: Arc::default(),
            slowdown: Arc::default(),
            copying: Arc::default(),
            copy_sink: None,
            last_stamp: None,
            quality: Quality::default(),
            next_seq: 0,
            first_stamp: None,
            complaints: HashSet::new(),
            healthy: Duration::ZERO,
        }
    }

    /// What it counts; to be taken before it runs.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// By which it is slowed down for a while; to be taken before it runs. Files and folders keep their pace.
    #[must_use]
    pub fn slowdown(&self) -> Arc<Slowdown> {
        self.slowdown.clone()
    }

    /// By which its own stream is asked for, where it comes through ffmpeg; to be taken before it runs.
    #[must_use]
    pub fn copying(&self) -> Arc<Copying> {
        self.copying.clone()
    }

    /// Gives what is copied of its own stream to `sink`, on the camera's thread, after the frame that it belongs to.
    #[must_use]
    pub fn copy_to(self, sink: CopySink) -> Self {
        Self { copy_sink: Some(sink), ..self }
    }

    /// Blocks until `stop` is requested, or until a file or folder that is not looped has ended.
    ///
    /// `sink` is given each due frame, in order. Played fast, it must return only when the frame has been dealt
    /// with: that is what paces the source. `health` is told each change of state, with the reason in words that
    /// hold no credentials.
    pub fn run(
        mut self,
        stop: &Stop,
        sink: &mut dyn FnMut(Frame),
        health: &mut dyn FnMut(CameraState, &str),
    ) {
        let mut health = Health { state: None, tell: health };
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX, self.seed());
        health.becomes(CameraState::Starting, "");
        loop {
            let pause = match self.run_once(stop, sink, &mut health) {
                Over::Stopped => return,
                Over::Ended => return health.becomes(CameraState::Ended, "its last frame was read"),
                Over::Again => Duration::ZERO,
                Over::Lost(state, why, patience) => {
                    if self.healthy >= HEALTHY {
                        backoff.reset();
                    }
                    self.copying.ended(!self.healthy.is_zero());
                    let pause = backoff.pause().max(patience);
                    health.becomes(state, &why);
                    let camera = &self.settings.camera;
                    log::info!("camera {camera}: {why}; next attempt in {:.1} s", pause.as_secs_f32());
                    pause
                }
            };
            if self.wait(pause, stop) {
                return;
            }
            self.counters.reopened.add_one();
        }
    }

    /// Differs between cameras, so that those lost together do not come back together.
    fn seed(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.settings.camera.hash(&mut hasher);
        hasher.finish() ^ self.clock.now().mono_us()
    }

    /// Waits, turning; true when stopping was requested.
    fn wait(&self, mut time: Duration, stop: &Stop) -> bool {
        loop {
            self.counters.turn(self.clock.now());
            let slice = time.min(TURN);
            if stop.wait_for(slice) {
                return true;
            }
            time -= slice;
            if time.is_zero() {
                return false;
            }
        }
    }

    /// From one opening to its end.
    fn run_once(&mut self, stop: &Stop, sink: &mut dyn FnMut(Frame), health: &mut Health<'_>) -> Over {
        self.healthy = Duration::ZERO;
        self.last_stamp = None;
        self.copying.set_works(false);
        self.counters.turn(self.clock.now());
        let mut source = match (self.open)() {
            Ok(source) => source,
            Err(error) => return lost(&error),
        };
        let stall_after = self.settings.stall_after;
        let may_be_silent = self.settings.source.may_be_silent();
        if may_be_silent {
            health.becomes(CameraState::Online, "waiting for pictures");
        }
        let mut thinner = Thinner::new(self.settings.period());
        let opened = self.clock.now();
        let mut last_good = opened;
        let mut last_damage = None;
        let mut frames = 0u64;
        loop {
            let now = self.clock.now();
            self.counters.turn(now);
            self.pass_copies(source.as_mut(), now);
            if stop.is_requested() {
                return Over::Stopped;
            }
            let idle = if may_be_silent { Duration::ZERO } else { now.since(last_good) };
            if idle >= stall_after {
                self.counters.stalled.add_one();
                return Over::Lost(CameraState::Stalled, stalled(stall_after, last_damage), Duration::ZERO);
            }
            let grab = match source.next((stall_after - idle).min(TURN), stop) {
                Ok(grab) => grab,
                Err(error) => {
                    self.pass_copies(source.as_mut(), now);
                    self.blame(&error);
                    return lost(&error);
                }
            };
            let stamp = match &grab {
                Grab::Nothing => continue,
                Grab::End => {
                    self.pass_copies(source.as_mut(), now);
                    let again = self.settings.looped && frames > 0;
                    return if again { Over::Again } else { Over::Ended };
                }
                Grab::Waited(_, arrived) => *arrived,
                Grab::Picture(_) | Grab::Encoded(_) | Grab::Damaged(_) => self.clock.now(),
            };
            if let Grab::Waited(..) = grab {
                self.counters.captured.add_one();
            } else if let Grab::Picture(_) | Grab::Encoded(_) = grab {
                self.counters.captured.add_one();
                if self.pace() == Pace::Realtime && !self.is_due(&mut thinner, stamp, stop) {
                    self.counters.thinned.add_one();
                    last_good = stamp;
                    self.last_stamp = Some(stamp);
                    continue;
                }
            }
            match decoded(grab).and_then(|picture| self.frame(picture, stamp)) {
                Ok(frame) => {
                    self.quality.saw(false);
                    match self.quality.complaint() {
                        None => {
                            let size = format!("{}x{}", frame.width(), frame.height());
                            health.becomes(CameraState::Online, &size);
                        }
                        Some(complaint) => health.becomes(CameraState::Degraded, &complaint),
                    }
                    self.next_seq += 1;
                    frames += 1;
                    sink(frame);
                    last_good = self.clock.now();
                    self.healthy = last_good.since(opened);
                }
                Err(error) => last_damage = Some(self.complain(&error)),
            }
        }
    }

    /// Passes on what has come of the source's own stream; what nobody wants is let go.
    fn pass_copies(&mut self, source: &mut dyn FrameSource, now: Stamp) {
        self.copying.set_works(source.copies());
        let copied = source.copied();
        let Some(sink) = self.copy_sink.as_mut().filter(|_| !copied.is_empty() && self.copying.is_wanted())
        else {
            return;
        };
        let last = self.last_stamp.unwrap_or(now);
        let part = |Copied { when, codec, is_key, bytes }| {
            let stamp = match when {
                When::Arrived(stamp) => stamp,
                When::Before(time) => last.minus(time),
            };
            StreamPart { stamp, codec, is_key, bytes: bytes.into() }
        };
        sink(copied.into_iter().map(part).collect());
    }

    /// Copies no more when that is what the source was lost over.
    fn blame(&self, error: &CaptureError) {
        if let CaptureError::Exited { said, .. } = error
            && self.copying.works()
            && ffmpeg::failed_at_copy(said)
        {
            self.copying.give_up();
            let camera = &self.settings.camera;
            log::warn!("camera {camera}: its stream is not copied into clips any more: ffmpeg fails over it");
        }
    }

    fn pace(&self) -> Pace {
        self.settings.effective_pace()
    }

    /// Whether a picture that came now is due. Holds a flood back.
    fn is_due(&self, thinner: &mut Thinner, now: Stamp, stop: &Stop) -> bool {
        thinner.set_period(self.slowdown.stretch(self.settings.period()));
        let too_close = thinner.since_last(now).and_then(|gap| CLOSEST.checked_sub(gap));
        if let Some(rest) = too_close {
            // The loop asks for the stop itself.
            let _ = stop.wait_for(rest);
        }
        thinner.is_due(now)
    }

    /// The next frame, from a picture that arrived at this moment.
    fn frame(&mut self, picture: Picture, arrived: Stamp) -> Result<Frame, CaptureError> {
        let first = *self.first_stamp.get_or_insert(arrived);
        let stamp = match self.pace() {
            Pace::Realtime => arrived,
            Pace::Fast => first
                .plus(Duration::from_secs_f64(self.next_seq as f64 / f64::from(self.settings.fps.max(0.01)))),
        };
        self.last_stamp = Some(stamp);
        let at = FrameRef::new(FrameSeq(self.next_seq), stamp);
        let Picture { width, height, pixels } = picture;
        Frame::new(self.settings.camera.clone(), at, width, height, pixels)
            .map_err(|error| CaptureError::Damaged { what: "a picture".to_owned(), why: error.to_string() })
    }

    /// Counts a damaged picture, and logs each kind of damage once.
    fn complain(&mut self, error: &dyn std::error::Error) -> String {
        self.counters.damaged.add_one();
        self.quality.saw(true);
        let why = in_words(error);
        if self.complaints.len() >= REMEMBERED {
            self.complaints.clear();
        }
        if self.complaints.insert(why.clone()) {
            log::warn!("camera {}: a picture was passed over: {why}", self.settings.camera);
        }
        why
    }
}

fn lost(error: &CaptureError) -> Over {
    Over::Lost(CameraState::Offline, in_words(error), error.patience())
}

/// The picture of a grab that holds one.
fn decoded(grab: Grab) -> Result<Picture, CaptureError> {
    match grab {
        Grab::Picture(picture) | Grab::Waited(picture, _) => Ok(picture),
        Grab::Encoded(encoded) => encoded.decode(),
        Grab::Damaged(error) => Err(error),
        Grab::Nothing | Grab::End => Err(CaptureError::NoFrame),
    }
}

fn stalled(after: Duration, last_damage: Option<String>) -> String {
    match last_damage {
        None => format!("no picture for {:.1} s", after.as_secs_f32()),
        Some(why) => format!("no good picture for {:.1} s; the last: {why}", after.as_secs_f32()),
    }
}
