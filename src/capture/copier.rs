//! The copy of a stream that ffmpeg writes beside the pictures: cut into coded pictures, and each given its moment.
//!
//! A live stream's pictures are as old as their arrival. A file is read ahead of its pictures, so that a coded picture waits
//! here until the decoded one of its time has been taken.

use std::collections::VecDeque;
use std::time::Duration;

use super::ts::{Splitter, Unfit, Unit};
use super::{Copied, When};
use crate::domain::Stamp;

/// So much of a file may wait for its pictures; what is beyond goes early.
const WAITING: usize = 32 << 20;
/// Times in the stream count modulo this.
const WRAP: u64 = 1 << 33;
/// Ticks a second.
const TICKS: u64 = 90_000;
/// A step in the stream's times larger than this, in ticks, is none of the clock: ten seconds.
const LEAP: u64 = 10 * TICKS;

/// Turns bytes into coded pictures.
pub(super) struct Copier {
    splitter: Splitter,
    is_live: bool,
    /// The time of the newest picture since the first, in ticks.
    media: u64,
    newest: Option<u64>,
    waiting: VecDeque<(Duration, Stamp, Unit)>,
    waiting_bytes: usize,
    unfit: bool,
}

impl Copier {
    pub(super) fn new(is_live: bool) -> Self {
        Self {
            splitter: Splitter::default(),
            is_live,
            media: 0,
            newest: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            unfit: false,
        }
    }

    /// Whether coded pictures come, as far as is known.
    pub(super) fn works(&self) -> bool {
        !self.unfit
    }

    /// Takes in what arrived now. Once it was found unfit, which is told once, everything is let go.
    pub(super) fn hear(&mut self, bytes: &[u8], now: Stamp) -> Result<(), Unfit> {
        if self.unfit {
            return Ok(());
        }
        let mut units = Vec::new();
        let fed = self.splitter.feed(bytes, &mut units);
        units.into_iter().for_each(|unit| self.wait(unit, now));
        if fed.is_err() {
            *self = Self { unfit: true, ..Self::new(self.is_live) };
        }
        fed
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, now: Stamp) {
        if let Some(unit) = self.splitter.finish() {
            self.wait(unit, now);
        }
    }

    fn wait(&mut self, unit: Unit, now: Stamp) {
        if let Some(shown) = unit.shown {
            let newest = *self.newest.get_or_insert(shown);
            let step = shown.wrapping_sub(newest) % WRAP;
            // Pictures may come in another order than they are shown in: those that lie back move nothing.
            if step <= LEAP {
                self.media += step;
                self.newest = Some(shown);
            } else if WRAP - step > LEAP {
                self.newest = Some(shown);
            }
        }
        let micros = u128::from(self.media) * 1_000_000 / u128::from(TICKS);
        self.waiting_bytes += unit.bytes.len();
        self.waiting.push_back((Duration::from_micros(micros as u64), now, unit));
    }

    /// The coded pictures whose time has come. `taken` is how far a file has been played: when, since its beginning, its
    /// last decoded picture is shown; `None` before the first.
    pub(super) fn take(&mut self, taken: Option<Duration>, has_ended: bool) -> Vec<Copied> {
        let Some(codec) = self.splitter.codec() else { return Vec::new() };
        let mut copied = Vec::new();
        while let Some((media, arrived, _)) = self.waiting.front() {
            let when = match taken {
                _ if self.is_live => When::Arrived(*arrived),
                Some(taken) if *media <= taken => When::Before(taken - *media),
                _ if self.waiting_bytes > WAITING || has_ended => When::Before(Duration::ZERO),
                _ => break,
            };
            let Some((_, _, unit)) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= unit.bytes.len();
            let bytes = unit.bytes.into();
            copied.push(Copied { when, codec, is_key: unit.is_key, bytes, head: None });
        }
        copied
    }
}
