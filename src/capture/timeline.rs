//! How old a picture is, and whether its camera's time can be trusted. Pure: it reads no clock.
//!
//! A picture's *lag* is its arrival less its own time, both in microseconds on clocks whose origins do not matter. Its
//! *age at arrival* is its lag beyond the smallest lag of this opening of the source, where that smallest lag may grow by
//! [`DRIFT_PPM`] of the time that passes. So a picture that waited in a socket, a pipe or a decoder is known to be old,
//! and its stamp is its arrival less that age.
//!
//! The smallest lag is not yet known while a backlog drains: it falls with every picture. So after an opening and after a
//! break it must prove itself: for [`PROVING`] each fall of more than [`NUDGE`], beyond what drift explains, is a break.
//!
//! A source without a clock of its own is held to its own rate: after a gap it owes the time of the gap, and each picture
//! that comes sooner than usual pays a little of it back. Until its rate is known it is unsteady. The same befalls a source
//! whose clock turns out to be none.
//!
//! A picture that is late or made up is not looked at. Whenever the time of a source breaks a new run begins, so that what was
//! seen before is no evidence for what is seen after; and for [`STEADY`] after the last break no frame opens a door.

mod rate;

use std::time::Duration;

use crate::domain::{FrameClock, Stamp, Withheld};
use rate::Rate;

/// A camera's clock may run this much slower or faster than ours, in millionths.
const DRIFT_PPM: i64 = 200;
/// What the media time gained is forgotten at this rate, in millionths. The smallest lag of a camera that is fast by the whole
/// allowance falls by as much again as it was let rise, together twice the allowance; this must be more.
const FORGET_PPM: i64 = 3 * DRIFT_PPM;
/// No media time lies further from its origin: sums and differences of a few such times do not overflow.
const FURTHEST: i64 = 1 << 60;
/// A picture that is older than this when it arrives is late: it is not looked at.
pub(super) const LATE: Duration = Duration::from_millis(1_500);
/// A step of the media time that differs from the time that passed by more than this is none: the clock was set.
const JUMP: i64 = 1_000_000;
/// The media time may gain this much on ours before it is called too fast.
const GAIN: i64 = 250_000;
/// The same while the smallest lag proves itself. A backlog that drains by half a percent does this within [`STEADY`].
const NUDGE: i64 = 10_000;
/// So long the smallest lag proves itself.
const PROVING: Duration = Duration::from_secs(60);
/// In its first time a connection may bring what had waited at the camera.
const FIRST: i64 = 2_000_000;
/// For this long after a break the source must run at its own rate before a frame opens a door again.
pub(super) const STEADY: Duration = Duration::from_secs(6);
/// Pictures that stay late for this long will not catch up: the source is opened anew.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where nothing but a new opening can tell whether they are late.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);
/// A clock that jumps at so many pictures in a row is none.
const MOST_JUMPS: u32 = 10;

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
        Self { arrived: None, media: Some(MediaTime::fine(us)) }
    }
}

/// A moment on a source's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaTime {
    /// Microseconds since whatever the source counts from.
    pub us: i64,
    /// The finest difference that its clock shows, in microseconds: a million where it counts in seconds.
    pub step: i64,
    /// Whose word it is: the source's, or ours, who know when we asked for the picture and no more.
    pub clock: FrameClock,
}

impl MediaTime {
    /// A moment that the source gives to the microsecond.
    #[must_use]
    pub fn fine(us: i64) -> Self {
        Self { us, step: 1, clock: FrameClock::Media }
    }
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
    /// It is late or made up: it is not looked at.
    Skipped,
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
    /// The last picture that had a media time.
    last: Option<Last>,
    /// The smallest lag, with what drift allows.
    base: i64,
    /// Since when the smallest lag proves itself.
    proves_since: Option<Stamp>,
    /// How much the media time has gained on ours.
    gained: i64,
    /// What of drift and of forgetting was too little for a whole microsecond, in millionths of one.
    drift_rest: i64,
    forget_rest: i64,
    set_back: Option<SetBack>,
    repeats_since: Option<Stamp>,
    /// Pictures in a row at which the clock jumped.
    jumps: u32,
    /// Its clock is none.
    is_distrusted: bool,
    /// The last picture, with a media time or without one.
    heard: Option<Stamp>,
    rate: Rate,
    /// What a source without a clock owes: how far it lies behind its usual rate.
    owed: i64,
    late_since: Option<Stamp>,
    broken: Option<(Break, Stamp)>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    arrived: Stamp,
    media: i64,
    /// When the media time went on last.
    moved: Stamp,
}

/// A clock that went back a little. When the lag stays as large as that made it, it is the lag of the new time.
#[derive(Debug, Clone, Copy)]
struct SetBack {
    by: i64,
    since: Stamp,
    smallest: i64,
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
            proves_since: None,
            gained: 0,
            drift_rest: 0,
            forget_rest: 0,
            set_back: None,
            repeats_since: None,
            jumps: 0,
            is_distrusted: false,
            heard: None,
            rate: Rate::Unasked,
            owed: 0,
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
        if self.complaint(now).is_some() || matches!(self.rate, Rate::Learning { .. }) {
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
        let age = match media.filter(|_| !self.is_distrusted) {
            Some(media) => self.by_media(arrived, media),
            None => self.by_arrival(arrived),
        };
        self.heard = Some(arrived);
        match age {
            Some(age) => self.aged(age, arrived, now),
            None if self.repeats_for(PATIENCE, arrived) => {
                Worth::Hopeless("its clock stands still".to_owned())
            }
            None => Worth::Skipped,
        }
    }

    /// How old a picture is when it arrives, in microseconds; `None` of one that was there before.
    fn by_media(&mut self, arrived: Stamp, media: MediaTime) -> Option<i64> {
        (self.clock, self.rate) = (media.clock, Rate::Unasked);
        let us = media.us.clamp(-FURTHEST, FURTHEST);
        let lag = micros(arrived) - us;
        let Some(last) = self.last.replace(Last { arrived, media: us, moved: arrived }) else {
            (self.base, self.proves_since) = (lag, Some(arrived));
            return Some(0);
        };
        let passed = micros(arrived) - micros(last.arrived);
        let step = us - last.media;
        if step == 0 && media.step > 1 && micros(arrived) - micros(last.moved) <= JUMP + media.step {
            self.last = Some(Last { arrived, ..last });
        } else if step <= 0 {
            if step > -JUMP {
                // An old picture once more. The newest moment stays what later ones are compared with.
                self.last = Some(Last { arrived, ..last });
                return self.repeated(step, passed, lag, media, arrived);
            }
            return Some(self.jumped(step - passed, lag, arrived));
        }
        self.repeats_since = None;
        self.drift(passed);
        let ahead = self.base - lag;
        if ahead > JUMP + media.step {
            return Some(self.jumped(step - passed, lag, arrived));
        }
        self.jumps = 0;
        if ahead > 0 {
            self.base = lag;
            self.gain(ahead, media.step, arrived);
        }
        self.follow_back(lag, arrived);
        Some(lag - self.base)
    }

    /// Time passes on two clocks that differ a little.
    fn drift(&mut self, passed: i64) {
        let whole = |rest: &mut i64, ppm: i64| {
            let sum = passed.saturating_mul(ppm).saturating_add(*rest);
            *rest = sum.rem_euclid(1_000_000);
            sum.div_euclid(1_000_000)
        };
        self.base += whole(&mut self.drift_rest, DRIFT_PPM);
        self.gained = (self.gained - whole(&mut self.forget_rest, FORGET_PPM)).max(0);
    }

    /// A picture whose time is not after that of the one before.
    fn repeated(
        &mut self,
        step: i64,
        passed: i64,
        lag: i64,
        media: MediaTime,
        arrived: Stamp,
    ) -> Option<i64> {
        self.drift(passed);
        match &mut self.set_back {
            Some(back) => (back.since, back.smallest) = (arrived, back.smallest.min(lag)),
            none if step < 0 => {
                *none = Some(SetBack { by: (passed - step).min(JUMP), since: arrived, smallest: lag });
            }
            _ => {}
        }
        self.break_off(Break::Repeated, arrived);
        self.repeats_since.get_or_insert(arrived);
        // A date in whole seconds that never changes is that of something else than the pictures.
        if media.step > 1 && self.repeats_for(PATIENCE, arrived) {
            self.distrust();
            return self.by_arrival(arrived);
        }
        None
    }

    fn repeats_for(&self, time: Duration, now: Stamp) -> bool {
        self.repeats_since.is_some_and(|since| now.since(since) >= time)
    }

    /// Takes the larger lag of a clock that was set back for its smallest, once it has stayed that large.
    fn follow_back(&mut self, lag: i64, arrived: Stamp) {
        let Some(back) = &mut self.set_back else { return };
        back.smallest = back.smallest.min(lag);
        if arrived.since(back.since) >= STEADY {
            self.base += back.by.min(back.smallest - self.base).max(0);
            self.set_back = None;
        }
    }

    /// What the source calls its time is none: from here on only its rate is looked at.
    fn distrust(&mut self) {
        (self.is_distrusted, self.last, self.repeats_since, self.late_since) = (true, None, None, None);
        (self.gained, self.owed) = (0, 0);
    }

    /// A picture of a file or folder that we set the pace of: it was taken when it is played.
    pub(super) fn play(&mut self, taken: Stamp) -> Worth {
        self.clock = FrameClock::Media;
        self.opened.get_or_insert(taken);
        Worth::Fresh(taken)
    }

    /// A picture that came into a folder: it was taken when it came.
    pub(super) fn came(&mut self, arrived: Stamp) {
        self.clock = FrameClock::Arrival;
        self.opened.get_or_insert(arrived);
    }

    /// The source's clock was set: its lag is known from here on only. Returns the age of the picture.
    fn jumped(&mut self, by: i64, lag: i64, arrived: Stamp) -> i64 {
        (self.base, self.gained, self.late_since, self.repeats_since) = (lag, 0, None, None);
        (self.set_back, self.proves_since) = (None, Some(arrived));
        self.break_off(Break::Jumped(by as f64 / 1e6), arrived);
        self.jumps += 1;
        if self.jumps >= MOST_JUMPS {
            self.distrust();
        }
        0
    }

    /// The media time came nearer to ours than it ever was.
    fn gain(&mut self, by: i64, step: i64, arrived: Stamp) {
        let since_opened = self.opened.map_or(0, |opened| micros(arrived) - micros(opened));
        if since_opened < FIRST {
            return;
        }
        self.gained += by;
        let proves = self.proves_since.is_some_and(|since| arrived.since(since) < PROVING);
        if self.gained > step + if proves { NUDGE } else { GAIN } {
            (self.gained, self.set_back, self.proves_since) = (0, None, Some(arrived));
            self.break_off(Break::TooFast, arrived);
        }
    }

    /// The same of a source without a clock.
    fn by_arrival(&mut self, arrived: Stamp) -> Option<i64> {
        self.clock = FrameClock::Arrival;
        if matches!(self.rate, Rate::Unasked) {
            self.rate = Rate::NEW;
        }
        let Some(last) = self.heard else { return Some(0) };
        let interval = micros(arrived) - micros(last);
        let Rate::Learnt { usual, .. } = self.rate else {
            self.rate.learn(interval);
            return Some(self.owed);
        };
        let is_gap = interval > usual + usual / 2;
        self.owed += if is_gap { interval - usual } else { 0 };
        let paid = (usual - interval).clamp(0, self.owed);
        self.owed -= paid;
        self.run_ahead(usual - interval - paid, usual, arrived);
        // What is made up for says nothing of the usual rate.
        let is_made_up_for = self.owed > 2 * usual && interval < usual / 2;
        if !is_made_up_for && Duration::from_micros(self.owed.unsigned_abs()) <= LATE {
            let beyond = self.rate.learn(interval);
            self.owed += if is_gap { 0 } else { beyond.max(0) };
        }
        Some(self.owed)
    }

    /// A picture came sooner than usual by so much, beyond what was owed; later, where that is negative.
    fn run_ahead(&mut self, by: i64, usual: i64, arrived: Stamp) {
        self.gained = (self.gained + by).max(0);
        if self.gained > JUMP.max(5 * usual) {
            self.gained = 0;
            self.break_off(Break::TooFast, arrived);
        }
    }

    /// A picture that was `age` microseconds old when it arrived.
    fn aged(&mut self, age: i64, arrived: Stamp, now: Stamp) -> Worth {
        let taken = arrived.minus(Duration::from_micros(age.max(0).unsigned_abs()));
        let age = now.since(taken);
        if age <= LATE {
            self.late_since = None;
            return Worth::Fresh(taken);
        }
        self.set_back = None;
        self.break_off(Break::Late(age), arrived);
        let since = *self.late_since.get_or_insert(arrived);
        let patience = if self.clock == FrameClock::Media { PATIENCE } else { SHORT_PATIENCE };
        if arrived.since(since) >= patience {
            return Worth::Hopeless(format!("its pictures stay {:.1} s late", age.as_secs_f32()));
        }
        Worth::Skipped
    }

    /// A new run begins.
    fn break_off(&mut self, what: Break, at: Stamp) {
        self.run = self.run.wrapping_add(1);
        self.broken = Some((what, at));
    }
}

fn micros(stamp: Stamp) -> i64 {
    i64::try_from(stamp.mono_us()).map_or(FURTHEST, |us| us.min(FURTHEST))
}

#[cfg(test)]
mod tests;
