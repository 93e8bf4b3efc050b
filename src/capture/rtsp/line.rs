//! A steady line of time for the decoder: whatever the camera's clock does, times neither jump nor stand still.
//!
//! RTP times are mapped to ticks of 1/90000 s that follow them where they go on sensibly, and our own clock across a jump.
//! What each picture's RTP time was is remembered, so that it is known of the picture when it comes back decoded.

use std::collections::BTreeMap;

use crate::domain::Stamp;

/// Ticks a second.
const TICKS: i64 = 90_000;
/// Pictures may come in another order than they are shown in: so far back a time may go, in ticks.
const REORDERED: i64 = TICKS;
/// So much further than the time that passed a step may go before it is a jump, in ticks.
const LEAP: i64 = 10 * TICKS;
/// Pictures whose times are remembered; a decoder holds back a few.
const REMEMBERED: usize = 512;

/// When a coded picture came, and when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) arrived: Stamp,
    /// Microseconds on the camera's clock.
    pub(super) media_us: i64,
}

/// Maps the camera's times.
#[derive(Debug)]
pub(super) struct Line {
    last: Option<(i64, Stamp)>,
    at: i64,
    /// The furthest tick that was given.
    high: i64,
    sent: BTreeMap<i64, Sent>,
}

impl Line {
    /// Begins at our own time, so that the lines of later connections lie behind those of earlier ones.
    pub(super) fn new(now: Stamp) -> Self {
        let at = ticks(now.mono_us());
        Self { last: None, at, high: at, sent: BTreeMap::new() }
    }

    /// The tick of a coded picture that the camera stamped `time`, in units of `rate` a second.
    pub(super) fn put(&mut self, time: i64, rate: u32, arrived: Stamp) -> u64 {
        let scaled = i128::from(time) * i128::from(TICKS) / i128::from(rate.max(1));
        let scaled = i64::try_from(scaled).unwrap_or(0);
        if let Some((last, heard)) = self.last.replace((scaled, arrived)) {
            let (step, passed) = (scaled.saturating_sub(last), ticks_of(arrived, heard));
            self.at = if step < -REORDERED || step > passed + LEAP {
                self.high + passed.max(1)
            } else {
                (self.at + step).max(self.high - REORDERED)
            };
        }
        while self.sent.contains_key(&self.at) {
            self.at += 1;
        }
        self.high = self.high.max(self.at);
        let media_us = media_us(time, rate);
        self.sent.insert(self.at, Sent { arrived, media_us });
        if self.sent.len() > REMEMBERED {
            self.sent.pop_first();
        }
        self.at.max(0).unsigned_abs()
    }

    /// What is known of the picture that was given this tick. What lies further back is forgotten.
    pub(super) fn take(&mut self, tick: i64) -> Option<Sent> {
        let found = self.sent.remove(&tick);
        // A picture that comes later in the line may have been sent earlier.
        let forgotten = tick.saturating_sub(REORDERED);
        while self.sent.first_key_value().is_some_and(|(first, _)| *first < forgotten) {
            self.sent.pop_first();
        }
        found
    }
}

/// A time of the camera, in units of `rate` a second, in microseconds.
pub(super) fn media_us(time: i64, rate: u32) -> i64 {
    i64::try_from(i128::from(time) * 1_000_000 / i128::from(rate.max(1))).unwrap_or(0)
}

fn ticks(mono_us: u64) -> i64 {
    i64::try_from(u128::from(mono_us) * TICKS.unsigned_abs() as u128 / 1_000_000).unwrap_or(i64::MAX / 4)
}

fn ticks_of(later: Stamp, earlier: Stamp) -> i64 {
    ticks(u64::try_from(later.since(earlier).as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(5_000_000 + ms * 1000, 0)
    }

    #[test]
    fn times_are_kept_to_the_tick_and_a_set_clock_moves_nothing() {
        let mut line = Line::new(stamp(0));
        // One picture in four is shown after the one that follows it.
        let times = [0i64, 2, 1, 3, 4, 5].map(|n| 1_000_000 + n * 3_000);
        let ticks: Vec<u64> = (0u64..).zip(times).map(|(n, t)| line.put(t, 90_000, stamp(n * 33))).collect();
        let steps: Vec<i64> = ticks.iter().map(|t| t.cast_signed() - ticks[0].cast_signed()).collect();
        assert_eq!(steps, [0, 6_000, 3_000, 9_000, 12_000, 15_000]);
        assert_eq!(line.take(ticks[2].cast_signed()).unwrap().media_us, 1_003_000 * 100 / 9);
        for jump in [900_000_000i64, -900_000_000, i64::from(u32::MAX)] {
            let before = line.high;
            let tick = line.put(1_000_000 + jump, 90_000, stamp(300)).cast_signed();
            assert!((before + 1..=before + TICKS).contains(&tick), "{jump}: {}", tick - before);
            let next = line.put(1_003_000 + jump, 90_000, stamp(333)).cast_signed();
            assert_eq!(next - tick, 3_000, "{jump}");
        }
    }

    proptest! {
        #[test]
        fn no_two_pictures_share_a_tick_and_every_picture_is_known_again(
            steps in prop::collection::vec((-10_000_000_000i64..10_000_000_000, 0u64..5_000), 1..200)
        ) {
            let mut line = Line::new(stamp(0));
            let (mut time, mut ms) = (0i64, 0);
            for (step, passed) in steps {
                time = time.wrapping_add(step);
                ms += passed;
                let tick = line.put(time, 90_000, stamp(ms)).cast_signed();
                let sent = line.take(tick).expect("it was just sent");
                prop_assert_eq!(sent.arrived, stamp(ms));
            }
        }
    }
}
