//! The last seconds of one camera, as JPEG pictures in memory, and the clips that are being gathered from them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{ClipWish, EventId, Stamp};

/// Beyond what rules want of the time before, so much is kept: a decision comes later than its frame.
const LATENCY: Duration = Duration::from_secs(5);
/// A clip that further events prolong ends here; the next event begins another.
const LONGEST: Duration = Duration::from_secs(120);
/// A camera that falls silent holds a clip up for so long beyond its end.
const PATIENCE: Duration = Duration::from_secs(3);

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its capture.
    pub stamp: Stamp,
    /// The picture.
    pub jpeg: Arc<[u8]>,
}

/// Pictures that belong together, with the events that want them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gathered {
    /// In the order in which they came; at least one.
    pub(super) events: Vec<EventId>,
    /// Oldest first; may be none.
    pub(super) frames: Vec<Kept>,
    /// The memory did not suffice for all of it.
    pub(super) cut: bool,
}

/// The ring of one camera.
#[derive(Debug, Default)]
pub(super) struct Ring {
    frames: VecDeque<Kept>,
    bytes: usize,
    open: Vec<Open>,
    /// Nothing more comes.
    ended: bool,
}

/// A clip that is being gathered.
#[derive(Debug)]
struct Open {
    from_us: u64,
    until_us: u64,
    events: Vec<EventId>,
    /// On the clock: then it is finished with whatever is there.
    deadline: Stamp,
    /// It lost pictures to the memory's bound.
    cut: bool,
}

impl Ring {
    /// Takes a picture; older ones go, as far as nobody wants them, or all the same when more than `bound` bytes would
    /// be held. Those that are lost so, although they lie within `keep`, are returned as a number.
    pub(super) fn push(&mut self, kept: Kept, keep: Duration, bound: usize) -> u64 {
        let now_us = kept.stamp.mono_us();
        self.ended = false;
        self.bytes += kept.jpeg.len();
        self.frames.push_back(kept);
        let keep_us = (keep + LATENCY).as_micros() as u64;
        let oldest_wanted = self.open.iter().map(|open| open.from_us).min().unwrap_or(u64::MAX);
        let floor = now_us.saturating_sub(keep_us).min(oldest_wanted);
        let mut lost = 0;
        while let Some(oldest) = self.frames.front() {
            let is_wanted = oldest.stamp.mono_us() >= floor;
            if is_wanted && self.bytes <= bound {
                break;
            }
            let at_us = oldest.stamp.mono_us();
            lost += u64::from(now_us.saturating_sub(at_us) <= keep.as_micros() as u64);
            for open in self.open.iter_mut().filter(|open| open.from_us <= at_us) {
                open.cut = true;
            }
            self.bytes -= oldest.jpeg.len();
            self.frames.pop_front();
        }
        lost
    }

    /// An event of the frame at `at` wants a clip: it joins one that is being gathered, or begins another.
    pub(super) fn want(&mut self, event: EventId, at: Stamp, wish: ClipWish, now: Stamp) {
        let us = |time: Duration| time.as_micros() as u64;
        let from_us = at.mono_us().saturating_sub(us(wish.before));
        let until_us = at.mono_us().saturating_add(us(wish.after));
        let deadline = now.plus(wish.after + PATIENCE);
        let joins = |open: &&mut Open| {
            from_us <= open.until_us && until_us.saturating_sub(open.from_us.min(from_us)) <= us(LONGEST)
        };
        if let Some(open) = self.open.last_mut().filter(joins) {
            open.from_us = open.from_us.min(from_us);
            open.until_us = open.until_us.max(until_us);
            open.deadline = open.deadline.max(deadline);
            open.events.push(event);
            return;
        }
        self.open.push(Open { from_us, until_us, events: vec![event], deadline, cut: false });
    }

    /// Nothing more comes from this camera: what is being gathered is finished at the next turn.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The clips that are complete: their last picture is there, or will not come.
    pub(super) fn finished(&mut self, now: Stamp) -> Vec<Gathered> {
        let newest_us = self.frames.back().map_or(0, |kept| kept.stamp.mono_us());
        let ended = self.ended;
        let is_done =
            |open: &mut Open| ended || newest_us > open.until_us || now >= open.deadline || open.cut;
        let done: Vec<Open> = self.open.extract_if(.., is_done).collect();
        done.into_iter().map(|open| self.gather(open)).collect()
    }

    fn gather(&self, open: Open) -> Gathered {
        let within = |kept: &&Kept| (open.from_us..=open.until_us).contains(&kept.stamp.mono_us());
        let frames = self.frames.iter().filter(within).cloned().collect();
        Gathered { events: open.events, frames, cut: open.cut }
    }

    /// Forgets all pictures; clips that are being gathered keep none.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: ClipWish = ClipWish { before: Duration::from_secs(2), after: Duration::from_secs(3) };
    const KEEP: Duration = Duration::from_secs(2);

    fn at(tenths: u64) -> Stamp {
        Stamp::new(10_000_000 + tenths * 100_000, 0)
    }

    /// Pictures of 100 bytes, ten a second, from `tenths.start` on.
    fn play(ring: &mut Ring, tenths: std::ops::Range<u64>, bound: usize) -> u64 {
        tenths.map(|t| ring.push(Kept { stamp: at(t), jpeg: vec![0; 100].into() }, KEEP, bound)).sum()
    }

    fn span(gathered: &Gathered) -> (Stamp, Stamp, usize) {
        let frames = &gathered.frames;
        (frames[0].stamp, frames[frames.len() - 1].stamp, frames.len())
    }

    fn event(n: u128) -> EventId {
        EventId::from_u128(n)
    }

    #[test]
    fn a_clip_has_what_went_before_and_what_came_after() {
        let mut ring = Ring::default();
        assert_eq!(play(&mut ring, 0..100, 1 << 20), 0);
        ring.want(event(1), at(90), WISH, at(0));
        assert!(ring.finished(at(0)).is_empty());
        play(&mut ring, 100..121, 1 << 20);
        assert!(ring.finished(at(0)).is_empty(), "its last picture is there, the next is not");
        play(&mut ring, 121..122, 1 << 20);
        let done = ring.finished(at(0));
        assert_eq!(span(&done[0]), (at(70), at(120), 51));
        assert_eq!((&done[0].events[..], done[0].cut), (&[event(1)][..], false));
        assert!(ring.finished(at(0)).is_empty());
    }

    #[test]
    fn events_close_to_each_other_share_a_clip_up_to_its_longest() {
        let mut ring = Ring::default();
        let mut films = Vec::new();
        for step in 0..80 {
            play(&mut ring, step * 20..step * 20 + 20, 1 << 20);
            ring.want(event(u128::from(step)), at(step * 20 + 19), WISH, at(0));
            films.extend(ring.finished(at(0)));
        }
        ring.end();
        films.extend(ring.finished(at(0)));
        assert_eq!(films.iter().map(|film| film.events.len()).sum::<usize>(), 80, "nobody is forgotten");
        assert_eq!(films.len(), 2);
        for film in &films {
            let (first, last, _) = span(film);
            assert!(last.since(first) <= LONGEST, "{:?}", last.since(first));
        }
    }

    #[test]
    fn what_nobody_wants_is_let_go() {
        let mut ring = Ring::default();
        play(&mut ring, 0..10_000, 1 << 20);
        assert!(ring.bytes <= 100 * 75, "{} bytes", ring.bytes);
    }

    #[test]
    fn memory_is_bounded_and_what_it_costs_is_told() {
        let mut ring = Ring::default();
        assert!(play(&mut ring, 0..100, 1000) > 0);
        assert!(ring.bytes <= 1000);
        ring.want(event(1), at(99), WISH, at(0));
        play(&mut ring, 100..103, 1000);
        let done = ring.finished(at(0));
        assert!(done[0].cut && !done[0].frames.is_empty(), "{done:?}");
    }

    #[test]
    fn a_camera_that_falls_silent_or_ends_keeps_no_clip_open() {
        let mut ring = Ring::default();
        play(&mut ring, 0..100, 1 << 20);
        ring.want(event(1), at(99), WISH, at(99));
        assert!(ring.finished(at(150)).is_empty());
        assert_eq!(ring.finished(at(160)).len(), 1, "three seconds after it should have been complete");
        ring.want(event(2), at(99), WISH, at(99));
        ring.end();
        assert_eq!(span(&ring.finished(at(100))[0]).1, at(99));
    }
}
