//! The loop of one camera thread: open, read, number, stamp, pass on; when the source is lost, wait and open it
//! anew. It must not end for any reason but a stop or the end of a file.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::quality::Quality;
use super::thin::Thinner;
use super::timeline::{MediaTime, Timeline, Worth};
use super::{
    CaptureError, Copied, Copying, Counters, FrameSource, Grab, Opener, Pace, Picture, Settings, Slowdown,
    Spawn, When, ffmpeg,
};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::domain::{CameraState, Frame, FrameClock, FrameRef, FrameSeq, Stamp, StreamPart};
use crate::shutdown::Stop;
use crate::words::in_words;

/// The longest wait between two signs of life.
const TURN: Duration = Duration::from_secs(1);
/// A turn of the loop that takes longer was no turn: the machine slept, or we were stopped.
const LONGEST_TURN: Duration = Duration::from_secs(4);
/// A source that gave pictures for this long had recovered: the next loss starts with a short pause again.
const HEALTHY: Duration = Duration::from_secs(10);
/// A camera's pictures come no closer than this, 125 a second; a source that floods us is held back by its pipe.
const CLOSEST: Duration = Duration::from_millis(8);
/// So long pictures may come closer, to make up for a moment without any.
const BURST: Duration = Duration::from_millis(100);
/// A state is told again, for another reason, after so long at the earliest: some reasons hold numbers that always change.
const REASON_PAUSE: Duration = Duration::from_secs(10);
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
/// In real time a frame is stamped with the moment when it was taken, as `timeline` finds it: its arrival, less the time that it
/// waited on the way. What is late or made up is skipped, counted, and said. Played fast, a frame is stamped so long after
/// the first as it lies behind it in its file (in a folder, frame `n` lies at `n / fps`), as if it had been played at its own rate,
/// so that durations in rules mean the same; such stamps run ahead of the clock or behind it.
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
    timeline: Timeline,
    quality: Quality,
    next_seq: u64,
    /// When the first picture was played fast, and how far it lay in its file.
    first_stamp: Option<(Stamp, i64)>,
    complaints: HashSet<String>,
    /// For how long the last opening gave good pictures.
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

/// Passes state changes on, each once. Another reason for the same state is one, but not too often.
struct Health<'a> {
    clock: Arc<dyn Clock>,
    told: Option<(CameraState, String, Stamp)>,
    tell: &'a mut dyn FnMut(CameraState, &str),
}

impl Health<'_> {
    fn becomes(&mut self, state: CameraState, why: &str) {
        let now = self.clock.now();
        let is_known = self.told.as_ref().is_some_and(|(known, reason, at)| {
            *known == state && (reason == why || now.since(*at) < REASON_PAUSE)
        });
        if !is_known {
            self.told = Some((state, why.to_owned(), now));
            (self.tell)(state, why);
        }
    }
}

/// Holds a flood of pictures back, whatever they are worth: each costs time to look at.
#[derive(Default)]
struct Brake {
    next: Option<Stamp>,
}

impl Brake {
    /// How long to wait before the next picture, which is there now.
    fn rest(&mut self, now: Stamp) -> Duration {
        let earliest = now.minus(BURST);
        let due = self.next.filter(|next| next.is_after(earliest)).unwrap_or(earliest);
        self.next = Some(due.plus(CLOSEST));
        due.since(now).min(CLOSEST)
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
            timeline: Timeline::new(settings.settle),
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
        let mut health = Health { clock: self.clock.clone(), told: None, tell: health };
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
        self.timeline.reopened();
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
        let mut brake = Brake::default();
        let mut turned = opened;
        loop {
            let now = self.clock.now();
            self.counters.turn(now);
            let stood_still = now.since(std::mem::replace(&mut turned, now));
            if stood_still > LONGEST_TURN
                && self.pace() == Pace::Realtime
                && let Some(over) = self.stood_still(stood_still, now)
            {
                return over;
            }
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
            if self.pace() == Pace::Realtime && !matches!(grab, Grab::Nothing | Grab::End) {
                // The loop asks for the stop itself.
                let _ = stop.wait_for(brake.rest(self.clock.now()));
            }
            let stamp = match &grab {
                Grab::Nothing => continue,
                Grab::End => {
                    self.pass_copies(source.as_mut(), now);
                    let again = self.settings.looped && frames > 0;
                    return if again { Over::Again } else { Over::Ended };
                }
                Grab::Waited(_, arrived) => {
                    self.counters.captured.add_one();
                    self.timeline.came(*arrived);
                    *arrived
                }
                Grab::Damaged(_) => self.clock.now(),
                Grab::Picture(_, timing) | Grab::Encoded(_, timing) => {
                    self.counters.captured.add_one();
                    let arrived = timing.arrived.unwrap_or_else(|| self.clock.now());
                    if self.pace() == Pace::Fast {
                        self.played_fast(arrived, timing.media)
                    } else {
                        match self.judge(arrived, timing.media) {
                            Worth::Fresh(stamp) if self.is_due(&mut thinner, stamp) => stamp,
                            Worth::Fresh(stamp) => {
                                self.counters.thinned.add_one();
                                (last_good, self.last_stamp) = (arrived, Some(stamp));
                                continue;
                            }
                            Worth::Skipped => {
                                self.counters.late.add_one();
                                last_good = arrived;
                                let why = self.timeline.complaint(arrived).unwrap_or_default();
                                health.becomes(CameraState::Degraded, &why);
                                continue;
                            }
                            Worth::Hopeless(why) => {
                                return Over::Lost(CameraState::Offline, why, Duration::ZERO);
                            }
                        }
                    }
                }
            };
            match decoded(grab).and_then(|picture| self.frame(picture, stamp)) {
                Ok(frame) => {
                    self.quality.saw(false);
                    let troubled = || self.timeline.complaint(self.clock.now());
                    match self.quality.complaint().or_else(troubled) {
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
        let part = |Copied { when, codec, is_key, bytes, head }| {
            let stamp = match when {
                When::Arrived(stamp) => stamp,
                When::Before(time) => last.minus(time),
            };
            StreamPart { stamp, codec, is_key, bytes, head }
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

    /// What a picture of the running source is worth.
    fn judge(&mut self, arrived: Stamp, media: Option<MediaTime>) -> Worth {
        if self.settings.source.is_live() {
            self.timeline.judge(arrived, media, self.clock.now())
        } else {
            self.timeline.play(arrived)
        }
    }

    /// Nobody read the source for so long. What has piled up behind us meanwhile is old: a live source is opened anew.
    fn stood_still(&mut self, time: Duration, now: Stamp) -> Option<Over> {
        self.timeline.stopped(time, now);
        let piles_up = self.settings.source.is_live() && !self.settings.source.may_be_silent();
        piles_up.then(|| {
            let why =
                format!("it was not read for {:.1} s: what has come since is too old", time.as_secs_f32());
            Over::Lost(CameraState::Offline, why, Duration::ZERO)
        })
    }

    /// When a picture that is played fast was taken.
    fn played_fast(&mut self, arrived: Stamp, media: Option<MediaTime>) -> Stamp {
        let at = media.map_or_else(
            || (self.next_seq as f64 / f64::from(self.settings.fps.max(0.01)) * 1e6) as i64,
            |media| media.us,
        );
        let (first, origin) = *self.first_stamp.get_or_insert((arrived, at));
        let stamp = first.plus(Duration::from_micros((at - origin).max(0).unsigned_abs()));
        // A loop begins at zero again; time does not.
        match self.last_stamp.filter(|last| *last >= stamp) {
            Some(last) => {
                self.first_stamp = Some((last.plus(self.settings.period()), at));
                last.plus(self.settings.period())
            }
            None => stamp,
        }
    }

    /// Whether a picture that was taken at `stamp` is due.
    fn is_due(&self, thinner: &mut Thinner, stamp: Stamp) -> bool {
        thinner.set_period(self.slowdown.stretch(self.settings.period()));
        thinner.is_due(stamp)
    }

    /// The next frame, from a picture that was taken at this moment.
    fn frame(&mut self, picture: Picture, stamp: Stamp) -> Result<Frame, CaptureError> {
        self.last_stamp = Some(stamp);
        let (run, clock) = match self.pace() {
            Pace::Realtime => (self.timeline.run(), self.timeline.clock()),
            Pace::Fast => (0, FrameClock::Media),
        };
        let at = FrameRef { seq: FrameSeq(self.next_seq), stamp, run, clock };
        let Picture { width, height, pixels } = picture;
        let withheld = self.timeline.withheld(self.clock.now());
        Frame::new(self.settings.camera.clone(), at, width, height, pixels)
            .map(|frame| frame.withhold(withheld))
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
        Grab::Picture(picture, _) | Grab::Waited(picture, _) => Ok(picture),
        Grab::Encoded(encoded, _) => encoded.decode(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_flood_is_held_back_whatever_its_pictures_are_worth() {
        let mut brake = Brake::default();
        let (begun, mut now) = (Stamp::new(1_000_000, 0), Stamp::new(1_000_000, 0));
        for _ in 0..1_000 {
            now = now.plus(brake.rest(now));
        }
        assert!(now.since(begun) + BURST + CLOSEST >= CLOSEST * 1_000, "{:?}", now.since(begun));
        // A camera that is slower than that is not held back, also where its pictures come two by two.
        let later = |n: u32| now.plus(Duration::from_millis(20) * (n / 2));
        let waits: Duration = (0..500).map(|n| brake.rest(later(n))).sum();
        assert!(waits <= BURST + CLOSEST, "{waits:?}");
    }

    #[test]
    fn a_state_is_told_again_for_another_reason_but_not_all_the_time() {
        let clock = Arc::new(ManualClock::new(Stamp::new(1_000_000, 0)));
        let mut told = Vec::new();
        let mut tell = |state, why: &str| told.push((state, why.to_owned()));
        let mut health = Health { clock: clock.clone(), told: None, tell: &mut tell };
        for n in 0..30 {
            health.becomes(CameraState::Degraded, &format!("{n} s late"));
            clock.advance(Duration::from_secs(1));
        }
        health.becomes(CameraState::Online, "1x1");
        health.becomes(CameraState::Online, "1x1");
        let reasons: Vec<&str> = told.iter().map(|(_, why)| why.as_str()).collect();
        assert_eq!(reasons, ["0 s late", "10 s late", "20 s late", "1x1"]);
    }
}
