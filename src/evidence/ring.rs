//! The last seconds of one camera in memory, and the clips that are being gathered from them.
//!
//! They are JPEG pictures, each of which stands by itself, or coded pictures of the camera's own stream, of which only some
//! do: a clip begins with one of these, and the ring gives up a whole group from one to the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{ClipWish, EventId, Stamp, StreamPart};

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

/// What a ring is made of.
pub(super) trait Piece: Clone {
    /// Its capture.
    fn stamp(&self) -> Stamp;
    /// Its size in memory.
    fn bytes(&self) -> usize;
    /// Whether a clip may begin with it.
    fn stands_alone(&self) -> bool;
}

impl Piece for Kept {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn bytes(&self) -> usize {
        self.jpeg.len()
    }

    fn stands_alone(&self) -> bool {
        true
    }
}

impl Piece for StreamPart {
    fn stamp(&self) -> Stamp {
        self.stamp
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn stands_alone(&self) -> bool {
        self.is_key
    }
}

/// Pieces that belong together, with the events that want them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gathered<P> {
    /// In the order in which they came; at least one.
    pub(super) events: Vec<EventId>,
    /// Oldest first, the first stands alone; may be none.
    pub(super) pieces: Vec<P>,
    /// The memory did not suffice for all of it.
    pub(super) cut: bool,
}

/// What taking a piece cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cost {
    /// Pieces that are lost although they lie within the time that is kept.
    pub(super) lost: u64,
    /// From one piece that stands alone to the next it is more than the memory holds.
    pub(super) is_hopeless: bool,
}

/// The ring of one camera.
#[derive(Debug)]
pub(super) struct Ring<P> {
    pieces: VecDeque<P>,
    bytes: usize,
    open: Vec<Open>,
    /// Clips that the memory's bound has ended.
    cut: Vec<Gathered<P>>,
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
}

impl<P> Default for Ring<P> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), bytes: 0, open: Vec::new(), cut: Vec::new(), ended: false }
    }
}

impl<P: Piece> Ring<P> {
    /// Takes a piece; older ones go, as far as nobody wants them, or all the same when more than `bound` bytes would be held:
    /// then clips that want them end here. A piece that needs one before it which is not there is not taken.
    pub(super) fn push(&mut self, piece: P, keep: Duration, bound: usize) -> Cost {
        self.ended = false;
        if self.pieces.is_empty() && !piece.stands_alone() {
            return Cost::default();
        }
        let now_us = piece.stamp().mono_us();
        self.bytes += piece.bytes();
        self.pieces.push_back(piece);
        self.trim(now_us, keep);
        let mut cost = Cost::default();
        while self.bytes > bound {
            self.end_clips_of_the_oldest();
            let group = self.second_group().unwrap_or(self.pieces.len());
            cost.is_hopeless |= group == self.pieces.len() && group > 1;
            let within = |piece: &P| now_us.saturating_sub(piece.stamp().mono_us()) <= micros(keep);
            cost.lost += self.drop_group().iter().filter(|piece| within(piece)).count() as u64;
        }
        cost
    }

    /// Lets go what is older than `keep` and wanted by nobody.
    pub(super) fn trim(&mut self, now_us: u64, keep: Duration) {
        let wanted_us = self.open.iter().map(|open| open.from_us).min().unwrap_or(u64::MAX);
        let floor_us = now_us.saturating_sub(micros(keep + LATENCY)).min(wanted_us);
        // The group in which that moment lies stays whole.
        while self.second_group().is_some_and(|second| self.pieces[second].stamp().mono_us() <= floor_us) {
            self.drop_group();
        }
    }

    /// Where the second group begins.
    fn second_group(&self) -> Option<usize> {
        (1..self.pieces.len()).find(|at| self.pieces[*at].stands_alone())
    }

    fn drop_group(&mut self) -> Vec<P> {
        let group = self.second_group().unwrap_or(self.pieces.len());
        let gone: Vec<P> = self.pieces.drain(..group).collect();
        self.bytes -= gone.iter().map(Piece::bytes).sum::<usize>();
        gone
    }

    /// Clips that want something of the oldest group get what is there now.
    fn end_clips_of_the_oldest(&mut self) {
        let Some(oldest) = self.pieces.front() else { return };
        let next_us = self.second_group().map_or(u64::MAX, |second| self.pieces[second].stamp().mono_us());
        let wants = |open: &mut Open| open.from_us < next_us && oldest.stamp().mono_us() <= open.until_us;
        let hit: Vec<Open> = self.open.extract_if(.., wants).collect();
        let cut: Vec<_> = hit.into_iter().map(|open| self.gather(open, true)).collect();
        self.cut.extend(cut);
    }

    /// An event of the frame at `at` wants a clip: it joins one that is being gathered, or begins another.
    pub(super) fn want(&mut self, event: EventId, at: Stamp, wish: ClipWish, now: Stamp) {
        let from_us = at.mono_us().saturating_sub(micros(wish.before));
        let until_us = at.mono_us().saturating_add(micros(wish.after));
        let deadline = now.plus(wish.after + PATIENCE);
        let joins = |open: &&mut Open| {
            from_us <= open.until_us && until_us.saturating_sub(open.from_us.min(from_us)) <= micros(LONGEST)
        };
        if let Some(open) = self.open.last_mut().filter(joins) {
            open.from_us = open.from_us.min(from_us);
            open.until_us = open.until_us.max(until_us);
            open.deadline = open.deadline.max(deadline);
            open.events.push(event);
            return;
        }
        self.open.push(Open { from_us, until_us, events: vec![event], deadline });
    }

    /// Nothing more comes from this camera: what is being gathered is finished at the next turn.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The clips that are complete: their last piece is there, or will not come.
    pub(super) fn finished(&mut self, now: Stamp) -> Vec<Gathered<P>> {
        let newest_us = self.newest().map_or(0, Stamp::mono_us);
        let ended = self.ended;
        let is_done = |open: &mut Open| ended || newest_us > open.until_us || now >= open.deadline;
        let done: Vec<Open> = self.open.extract_if(.., is_done).collect();
        let done: Vec<_> = done.into_iter().map(|open| self.gather(open, false)).collect();
        let mut all = std::mem::take(&mut self.cut);
        all.extend(done);
        all
    }

    fn gather(&self, open: Open, cut: bool) -> Gathered<P> {
        let begins = |piece: &P| piece.stands_alone() && piece.stamp().mono_us() <= open.from_us;
        let first = self.pieces.iter().rposition(begins).unwrap_or(0);
        let wanted = self.pieces.iter().skip(first);
        let wanted = wanted.take_while(|piece| piece.stamp().mono_us() <= open.until_us);
        let mut pieces: Vec<P> = wanted.cloned().collect();
        if pieces.last().is_none_or(|last| last.stamp().mono_us() < open.from_us) {
            // Only the beginning of a group that ended long before.
            pieces.clear();
        }
        Gathered { events: open.events, pieces, cut }
    }

    /// The capture of the newest piece.
    pub(super) fn newest(&self) -> Option<Stamp> {
        self.pieces.back().map(Piece::stamp)
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets all pieces; clips that are being gathered keep none.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.cut.iter_mut().for_each(|clip| clip.pieces.clear());
        self.bytes = 0;
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
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
    fn play(ring: &mut Ring<Kept>, tenths: std::ops::Range<u64>, bound: usize) -> u64 {
        let kept = |t| Kept { stamp: at(t), jpeg: vec![0; 100].into() };
        tenths.map(|t| ring.push(kept(t), KEEP, bound).lost).sum()
    }

    /// A stream of 100 bytes for each picture, ten a second, that begins anew every `group` pictures.
    fn stream(
        ring: &mut Ring<StreamPart>,
        tenths: std::ops::Range<u64>,
        group: u64,
        bound: usize,
    ) -> Vec<Cost> {
        let part = |t: u64| StreamPart {
            stamp: at(t),
            codec: crate::domain::Codec::H264,
            is_key: t.is_multiple_of(group),
            bytes: vec![0; 100].into(),
            head: None,
        };
        tenths.map(|t| ring.push(part(t), KEEP, bound)).collect()
    }

    fn span<P: Piece>(gathered: &Gathered<P>) -> (Stamp, Stamp, usize) {
        let pieces = &gathered.pieces;
        (pieces[0].stamp(), pieces[pieces.len() - 1].stamp(), pieces.len())
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
        let mut ring = Ring::<Kept>::default();
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
        assert!(done[0].cut && done[0].pieces.len() == 11);
    }

    #[test]
    fn a_camera_that_falls_silent_or_ends_keeps_no_clip_open() {
        let mut ring = Ring::<Kept>::default();
        play(&mut ring, 0..100, 1 << 20);
        ring.want(event(1), at(99), WISH, at(99));
        assert!(ring.finished(at(150)).is_empty());
        assert_eq!(ring.finished(at(160)).len(), 1, "three seconds after it should have been complete");
        ring.want(event(2), at(99), WISH, at(99));
        ring.end();
        assert_eq!(span(&ring.finished(at(100))[0]).1, at(99));
    }

    #[test]
    fn a_clip_of_a_stream_begins_where_it_can_be_decoded() {
        let mut ring = Ring::default();
        stream(&mut ring, 5..95, 20, 1 << 20);
        ring.want(event(1), at(90), WISH, at(0));
        assert!(ring.finished(at(0)).is_empty());
        stream(&mut ring, 95..122, 20, 1 << 20);
        let done = ring.finished(at(0));
        assert_eq!(
            span(&done[0]),
            (at(60), at(120), 61),
            "two seconds before is 7.0, the group begins at 6.0"
        );
        assert!(done[0].pieces[0].is_key && !done[0].cut);
        stream(&mut ring, 122..1000, 20, 1 << 20);
        assert!(ring.bytes <= 100 * (70 + 20), "{} bytes", ring.bytes);
        ring.want(event(2), at(20), WISH, at(0));
        let late = ring.finished(at(0));
        assert!(late[0].pieces.is_empty(), "nothing of that time is left");
    }

    #[test]
    fn a_group_that_memory_does_not_hold_goes_whole_and_clips_that_want_it_get_what_there_is() {
        let mut ring = Ring::default();
        stream(&mut ring, 0..40, 10, 2500);
        assert!(ring.bytes <= 2500 && ring.pieces[0].is_key);
        ring.want(event(1), at(39), ClipWish { before: Duration::ZERO, ..WISH }, at(0));
        let costs = stream(&mut ring, 40..60, 10, 2500);
        assert!(costs.iter().all(|cost| !cost.is_hopeless) && costs.iter().any(|cost| cost.lost > 0));
        let done = ring.finished(at(0));
        assert!(done[0].cut, "{done:?}");
        assert_eq!(span(&done[0]).0, at(30), "its beginning is not lost");

        let mut ring = Ring::default();
        let costs = stream(&mut ring, 0..200, 100, 2500);
        assert!(ring.bytes <= 2500 && costs.iter().filter(|cost| cost.is_hopeless).count() == 2);
        assert_eq!(
            stream(&mut ring, 201..205, 100, 2500),
            [Cost::default(); 4],
            "of no use without their beginning"
        );
    }
}
