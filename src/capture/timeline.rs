//! How old a picture is, and whether its camera's time can be trusted. Pure: it reads no clock.
//!
//! A picture's *lag* is its arrival less its own time, both in microseconds on clocks whose origins do not matter. Its
//! *age at arrival* is its lag beyond the smallest lag of this opening of the source, where that smallest lag may grow by
//! [`DRIFT_PPM`] of the time that passes. So a picture that waited in a socket, a pipe or a decoder is known to be old,
//! and its stamp is its arrival less that age.
//!
//! A source without a clock of its own is held to its own rate: after a gap it owes the time of the gap, and each picture
//! that comes sooner than usual pays a little of it back.
//!
//! A picture that is late or made up is not looked at. Whenever the time of a source breaks a new run begins, so that what was
//! seen before is no evidence for what is seen after; and for [`STEADY`] after the last break no frame opens a door.

use std::time::Duration;

use crate::domain::{FrameClock, Stamp, Withheld};

/// A camera's clock may run this much slower than ours, in millionths.
const DRIFT_PPM: i64 = 200;
/// A picture that is older than this when it arrives is late: it is not looked at.
pub(super) const LATE: Duration = Duration::from_millis(1_500);
/// A step of the media time that differs from the time that passed by more than this is none: the clock was set.
const JUMP: i64 = 1_000_000;
/// The media time may gain this much on ours before it is called too fast.
const GAIN: i64 = 250_000;
/// In its first time a connection may bring what had waited at the camera.
const FIRST: i64 = 2_000_000;
/// For this long after a break the source must run at its own rate before a frame opens a door again.
pub(super) const STEADY: Duration = Duration::from_secs(6);
/// Pictures that stay late for this long will not catch up: the source is opened anew.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where nothing but a new opening can tell whether they are late.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// Without a clock: intervals that its usual rate is the mean of.
const INTERVALS: usize = 31;
/// Without a clock: a picture that comes after so many usual intervals, and after [`JUMP`] at least, comes after a gap.
const GAP: i64 = 4;

/// When a picture came, and when it was taken, as far as its source says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// When it arrived; `None` is now.
    pub arrived: Option<Stamp>,
    /// The moment that its source gives it.
    pub media: Option<MediaTime>,
}

impl Timing {
    /// It has just arrived, and says nothing of when it was taken.
    pub const NOW: Timing = Timing { arrived: None, media: None };

    /// It has just arrived, and was taken at this moment of its source's clock, in microseconds.
    #[must_use]
    pub fn media(us: i64) -> Self {
        Self { arrived: None, media: Some(MediaTime { us, step: 1 }) }
    }
}

/// A moment on a source's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTime {
    /// Microseconds since whatever the source counts from.
    pub us: i64,
    /// The finest difference that its clock shows, in microseconds: a million where it counts in seconds.
    pub step: i64,
}

/// What is wrong with a source's time.
#[derive(Debug, Clone, PartialEq)]
enum Break {
    /// It was not read for so long.
    Stopped(Duration),
    /// The picture is so old.
    Late(Duration),
    /// The media time went on by so much more than time did (seconds, signed).
    Jumped(f64),
    /// The media time stood still or went back.
    Repeated,
    /// Pictures come faster than time passes.
    TooFast,
}

impl std::fmt::Display for Break {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Break::Stopped(time) => write!(f, "it was not read for {:.1} s", time.as_secs_f32()),
            Break::Late(age) => write!(f, "its pictures come {:.1} s late", age.as_secs_f32()),
            Break::Jumped(by) => write!(f, "its clock jumped by {by:+.1} s"),
            Break::Repeated => f.write_str("its time stamps repeat or go back"),
            Break::TooFast => f.write_str("its time stamps run faster than time"),
        }
    }
}

/// What a picture is worth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Worth {
    /// It may be looked at: it was taken at this moment.
    Fresh(Stamp),
    /// It is late or made up: it is passed over.
    Passed,
    /// It is late, and has been for so long that the source should be opened anew.
    Hopeless(String),
}

/// The time of one source, from one opening to the next.
#[derive(Debug)]
pub(super) struct Timeline {
    settle: Duration,
    run: u32,
    clock: FrameClock,
    opened: Option<Stamp>,
    last: Option<Last>,
    /// The smallest lag, with what drift allows.
    base: i64,
    /// How much the media time has gained on ours.
    gained: i64,
    /// What a source without a clock owes, see the page.
    owed: i64,
    intervals: Vec<i64>,
    late_since: Option<Stamp>,
    broken: Option<(Break, Stamp)>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    arrived: Stamp,
    media: i64,
}

impl Timeline {
    /// For a source whose frames open no door in their first `settle`.
    pub(super) fn new(settle: Duration) -> Self {
        Self {
            settle,
            run: 0,
            clock: FrameClock::Arrival,
            opened: None,
            last: None,
            base: 0,
            gained: 0,
            owed: 0,
            intervals: Vec::new(),
            late_since: None,
            broken: None,
        }
    }

    /// The source is opened anew: nothing that was known of its lag holds.
    pub(super) fn reopened(&mut self) {
        *self = Self { run: self.run.wrapping_add(1), ..Self::new(self.settle) };
    }

    /// The number of the run that the next frame belongs to.
    pub(super) fn run(&self) -> u32 {
        self.run
    }

    /// How the age of the last picture is known.
    pub(super) fn clock(&self) -> FrameClock {
        self.clock
    }

    /// Why a frame of this moment opens no door.
    pub(super) fn withheld(&self, now: Stamp) -> Option<Withheld> {
        if self.complaint(now).is_some() {
            return Some(Withheld::Unsteady);
        }
        let settling = self.opened.is_some_and(|opened| now.since(opened) < self.settle);
        settling.then_some(Withheld::Settling)
    }

    /// What is wrong with the source's time, or was a moment ago.
    pub(super) fn complaint(&self, now: Stamp) -> Option<String> {
        let (what, since) = self.broken.as_ref()?;
        (now.since(*since) < STEADY).then(|| what.to_string())
    }

    /// For `time` the source was not read: what comes now may have waited.
    pub(super) fn stopped(&mut self, time: Duration, now: Stamp) {
        self.break_off(Break::Stopped(time), now);
    }

    /// What a picture is worth that arrived at `arrived`. Must be asked of each picture, in order.
    /// What it waited between its arrival and `now` makes it older.
    pub(super) fn judge(&mut self, arrived: Stamp, media: Option<MediaTime>, now: Stamp) -> Worth {
        self.opened.get_or_insert(arrived);
        let age = match media {
            Some(media) => self.by_media(arrived, media),
            None => self.by_arrival(arrived),
        };
        age.map_or(Worth::Passed, |age| self.aged(age, arrived, now))
    }

    /// How old a picture is when it arrives, in microseconds; `None` of one that was there before.
    fn by_media(&mut self, arrived: Stamp, media: MediaTime) -> Option<i64> {
        self.clock = FrameClock::Media;
        let lag = micros(arrived) - media.us;
        let Some(last) = self.last.replace(Last { arrived, media: media.us }) else {
            self.base = lag;
            return Some(0);
        };
        let passed = micros(arrived) - micros(last.arrived);
        let step = media.us - last.media;
        if step <= 0 && !(step == 0 && media.step > 1 && passed <= media.step) {
            if step > -JUMP {
                // An old picture once more. The newest moment stays what later ones are compared with.
                self.last = Some(Last { arrived, ..last });
                self.break_off(Break::Repeated, arrived);
                return None;
            }
            self.jumped(step - passed, lag, arrived);
            return Some(0);
        }
        self.base += passed * DRIFT_PPM / 1_000_000;
        self.gained -= (passed * DRIFT_PPM / 1_000_000).min(self.gained);
        let ahead = self.base - lag;
        if ahead > JUMP + media.step {
            self.jumped(step - passed, lag, arrived);
        } else if ahead > 0 {
            self.base = lag;
            self.gain(ahead, media.step, arrived);
        }
        Some(lag - self.base)
    }

    /// A picture of a file or folder that we set the pace of: it is as old as its being played.
    pub(super) fn play(&mut self, taken: Stamp) -> Worth {
        self.clock = FrameClock::Media;
        self.opened.get_or_insert(taken);
        Worth::Fresh(taken)
    }

    /// A picture that came into a folder: it is as old as its coming.
    pub(super) fn came(&mut self, arrived: Stamp) {
        self.clock = FrameClock::Arrival;
        self.opened.get_or_insert(arrived);
    }

    /// The source's clock was set: its lag is known from here on only.
    fn jumped(&mut self, by: i64, lag: i64, arrived: Stamp) {
        (self.base, self.gained, self.late_since) = (lag, 0, None);
        self.break_off(Break::Jumped(by as f64 / 1e6), arrived);
    }

    /// The media time came nearer to ours than it ever was.
    fn gain(&mut self, by: i64, step: i64, arrived: Stamp) {
        let since_opened = self.opened.map_or(0, |opened| micros(arrived) - micros(opened));
        if since_opened < FIRST {
            return;
        }
        self.gained += by;
        if self.gained > GAIN + step {
            self.gained = 0;
            self.break_off(Break::TooFast, arrived);
        }
    }

    /// The same of a source without a clock.
    fn by_arrival(&mut self, arrived: Stamp) -> Option<i64> {
        self.clock = FrameClock::Arrival;
        let last = self.last.replace(Last { arrived, media: 0 });
        let Some(last) = last else { return Some(0) };
        let interval = micros(arrived) - micros(last.arrived);
        let usual = self.usual_interval();
        if let Some(usual) = usual.filter(|usual| interval > JUMP.max(usual * GAP)) {
            self.owed += interval - usual;
        } else {
            if let Some(usual) = usual.filter(|_| self.owed > 0) {
                self.owed -= (usual - interval).clamp(0, self.owed);
            } else if let Some(usual) = usual {
                self.run_ahead(usual - interval, usual, arrived);
            }
            // What is made up for says nothing of the usual rate.
            if self.owed <= micros_of(LATE) {
                self.remember(interval);
            }
        }
        Some(self.owed)
    }

    /// Without anything owed, pictures come sooner than usual by so much.
    fn run_ahead(&mut self, by: i64, usual: i64, arrived: Stamp) {
        self.gained = (self.gained + by).max(0);
        if self.gained > JUMP.max(5 * usual) {
            self.gained = 0;
            self.break_off(Break::TooFast, arrived);
        }
    }

    fn remember(&mut self, interval: i64) {
        if self.intervals.len() == INTERVALS {
            self.intervals.remove(0);
        }
        self.intervals.push(interval);
    }

    /// The mean of the last intervals, once there are enough.
    fn usual_interval(&self) -> Option<i64> {
        let count = self.intervals.len();
        (count >= INTERVALS / 4).then(|| (self.intervals.iter().sum::<i64>() / count as i64).max(1))
    }

    /// A picture that was `age` microseconds old when it arrived.
    fn aged(&mut self, age: i64, arrived: Stamp, now: Stamp) -> Worth {
        let taken = arrived.minus(Duration::from_micros(age.max(0).unsigned_abs()));
        let age = now.since(taken);
        if age <= LATE {
            self.late_since = None;
            return Worth::Fresh(taken);
        }
        self.break_off(Break::Late(age), arrived);
        let since = *self.late_since.get_or_insert(arrived);
        let patience = if self.clock == FrameClock::Media { PATIENCE } else { SHORT_PATIENCE };
        if arrived.since(since) >= patience {
            return Worth::Hopeless(format!("its pictures stay {:.1} s late", age.as_secs_f32()));
        }
        Worth::Passed
    }

    /// A new run begins.
    fn break_off(&mut self, what: Break, at: Stamp) {
        self.run = self.run.wrapping_add(1);
        self.broken = Some((what, at));
    }
}

fn micros(stamp: Stamp) -> i64 {
    stamp.mono_us().cast_signed()
}

fn micros_of(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
