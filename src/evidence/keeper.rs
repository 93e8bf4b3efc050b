//! The thread that keeps the last seconds of every camera whose events want clips, and gathers the clips.
//!
//! Camera threads hand it frames and never wait for it: when it falls behind, frames are passed over and counted. It
//! encodes each to JPEG and puts it into the ring of its camera. Where a camera's own stream may be copied, its parts come in
//! place of frames and stay as they are. Events come when they are committed; what is complete goes to the
//! [`Filer`](super::Filer).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, select};

use super::counters::Counters;
use super::feed::{Fed, Feed, Inlet, Order, Orders, Parts, ways};
use super::plan::{Keep, Plan};
use super::ring::{Cost, Gathered, Kept, Piece, Ring};
use super::{Film, Footage};
use crate::clock::Clock;
use crate::domain::{CameraId, EventId, Frame, Stamp, StreamPart};
use crate::shutdown::Stop;

/// While clips are gathered the keeper looks whether they are complete at least this often; also how often a wait asks whether to stop.
const TURN: Duration = Duration::from_millis(200);
/// It turns this often while none is.
const REST: Duration = Duration::from_secs(1);
/// JPEG quality of the pictures in memory; those that become H.264 lose little by it.
const QUALITY: u8 = 75;

/// What is held of one camera: one of both, except for a moment after a change.
#[derive(Debug, Default)]
struct Reel {
    pictures: Ring<Kept>,
    stream: Ring<StreamPart>,
}

/// The keeper; run it on a thread of its own.
pub struct Keeper {
    inlet: Inlet,
    films: Sender<Film>,
    plan: Arc<Plan>,
    /// The plan as it was last looked at.
    edition: u64,
    keep: BTreeMap<CameraId, Keep>,
    reels: BTreeMap<CameraId, Reel>,
    /// In bytes, for all rings together.
    memory: u64,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

/// A keeper with the two ways to it. `keep` is as in [`Orders::keep`]; `memory` bounds the bytes of all pictures, shared
/// evenly by the cameras that keep some; complete clips go to `films`.
#[must_use]
pub fn keeper(
    keep: BTreeMap<CameraId, Keep>,
    memory: u64,
    films: Sender<Film>,
    counters: &Arc<Counters>,
    clock: Arc<dyn Clock>,
) -> (Keeper, Feed, Orders) {
    let plan = Arc::new(Plan::new(keep));
    let (edition, keep) = plan.read();
    let (inlet, feed, orders) = ways(&plan, counters);
    let keeper = Keeper {
        inlet,
        films,
        plan,
        edition,
        keep,
        reels: BTreeMap::new(),
        memory,
        counters: Arc::clone(counters),
        clock,
    };
    (keeper, feed, orders)
}

impl Keeper {
    /// Runs until `stop`, then hands over what is gathered so far. Blocks while the filer is behind, which costs frames.
    pub fn run(mut self, stop: &Stop) {
        while !stop.is_requested() {
            Counters::add(&self.counters.keeper_turns, 1);
            let turn = if self.counters.pending() > 0 { TURN } else { REST };
            select! {
                recv(self.inlet.frames) -> fed => match fed {
                    Ok(fed) => self.hear(fed),
                    // All cameras are gone: only events and the time are left.
                    Err(_) => self.wait(stop),
                },
                recv(self.inlet.streams) -> parts => match parts {
                    Ok(parts) => self.keep_stream(parts),
                    Err(_) => self.wait(stop),
                },
                recv(self.inlet.orders) -> order => if let Ok(order) = order { self.obey(order) } else { self.wait(stop) },
                recv(stop.receiver()) -> _ => break,
                default(turn) => {}
            }
            self.hand_over();
        }
        while let Ok(fed) = self.inlet.frames.try_recv() {
            self.hear(fed);
        }
        self.keep_streams();
        self.obey_all();
        self.reels.values_mut().for_each(Reel::end);
        self.hand_over();
    }

    fn wait(&mut self, stop: &Stop) {
        let _ = stop.wait_for(TURN / 4);
        self.obey_all();
    }

    fn obey_all(&mut self) {
        while let Ok(order) = self.inlet.orders.try_recv() {
            self.obey(order);
        }
    }

    fn keep_streams(&mut self) {
        while let Ok(parts) = self.inlet.streams.try_recv() {
            self.keep_stream(parts);
        }
    }

    fn hear(&mut self, fed: Fed) {
        match fed {
            Fed::Frame(frame, masks) => self.keep(&frame, masks),
            Fed::Ended(camera) => {
                // What was handed over before this word may still wait.
                self.keep_streams();
                self.reels.entry(camera).or_default().end();
            }
        }
    }

    fn keep(&mut self, frame: &Frame, masks: u64) {
        self.look();
        let Some(&Keep { before, .. }) = self.keep.get(frame.camera()).filter(|keep| keep.masks == masks)
        else {
            return;
        };
        match portero_vision::jpeg::encode(frame, QUALITY) {
            Ok(jpeg) => {
                let bound = self.share();
                let reel = self.reels.entry(frame.camera().clone()).or_default();
                let kept = Kept { stamp: frame.at().stamp, jpeg: jpeg.into() };
                reel.stream.trim(kept.stamp.mono_us(), before);
                let cost = reel.pictures.push(kept, before, bound.saturating_sub(reel.stream.bytes()));
                Counters::add(&self.counters.frames_lost, cost.lost);
            }
            Err(error) => {
                Counters::add(&self.counters.frames_lost, 1);
                log::debug!("a frame is not kept for clips: {error}");
            }
        }
    }

    /// Takes parts of a stream, unless that of this camera may not be shown.
    fn keep_stream(&mut self, (camera, parts): Parts) {
        self.look();
        let Some(&Keep { before, copied: true, .. }) = self.keep.get(&camera) else { return };
        if !self.plan.takes_stream(&camera) {
            return;
        }
        let bound = self.share();
        let reel = self.reels.entry(camera.clone()).or_default();
        for part in parts {
            reel.pictures.trim(part.stamp.mono_us(), before);
            let room = bound.saturating_sub(reel.pictures.bytes());
            let Cost { lost, is_hopeless } = reel.stream.push(part, before, room);
            Counters::add(&self.counters.frames_lost, lost);
            if is_hopeless {
                self.plan.refuse_stream(&camera);
                log::warn!(
                    "camera {camera}: clips are encoded from its pictures: {} KiB of its stream have no two key pictures; \
                     raise `clips_memory` under [store], or let the camera send key pictures more often",
                    room >> 10
                );
                return;
            }
        }
    }

    /// The memory of one camera.
    fn share(&self) -> usize {
        usize::try_from(self.memory / self.keep.len().max(1) as u64).unwrap_or(usize::MAX)
    }

    fn obey(&mut self, Order { event, camera, at, wish }: Order) {
        self.look();
        let (now, reel) = (self.clock.now(), self.reels.entry(camera).or_default());
        if reel.stream.newest().is_some() && reel.stream.newest() >= reel.pictures.newest() {
            reel.stream.want(event, at, wish, now);
        } else {
            reel.pictures.want(event, at, wish, now);
        }
    }

    /// Takes up a new plan: what may not be shown any more is forgotten before anything else is done.
    fn look(&mut self) {
        if self.plan.edition() == self.edition {
            return;
        }
        let (edition, keep) = self.plan.read();
        for (camera, reel) in &mut self.reels {
            let (old, new) = (self.keep.get(camera), keep.get(camera));
            // A change that was changed back meanwhile is one all the same.
            let was_missed = edition != self.edition + 1;
            if was_missed || new.is_none_or(|new| !new.copied) {
                reel.stream.clear();
            }
            if old.map(|old| old.masks) != new.map(|new| new.masks) {
                reel.stream.clear();
                reel.pictures.clear();
            }
        }
        (self.edition, self.keep) = (edition, keep);
    }

    fn hand_over(&mut self) {
        self.look();
        let now = self.clock.now();
        for (camera, Reel { pictures, stream }) in &mut self.reels {
            let mut films = Vec::new();
            take(pictures, now, Footage::Pictures, &mut films);
            take(stream, now, Footage::Stream, &mut films);
            for (events, footage, cut) in films {
                Counters::add(&self.counters.cut, u64::from(cut));
                if cut {
                    log::warn!(
                        "camera {camera}: a clip is shorter than asked for: raise `clips_memory` under [store]"
                    );
                }
                let count = events.len();
                let film = Film { camera: camera.clone(), events, footage };
                if self.films.send(film).is_err() {
                    self.counters.settle(count);
                    log::warn!("camera {camera}: a clip is lost, its writer has ended");
                }
            }
        }
    }
}

impl Reel {
    fn end(&mut self) {
        self.pictures.end();
        self.stream.end();
    }
}

/// The clips of a ring that are complete.
fn take<P: Piece>(
    ring: &mut Ring<P>,
    now: Stamp,
    footage: fn(Vec<P>) -> Footage,
    films: &mut Vec<(Vec<EventId>, Footage, bool)>,
) {
    let done = ring.finished(now).into_iter();
    films.extend(done.map(|Gathered { events, pieces, cut }| (events, footage(pieces), cut)));
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::super::feed::FRAMES;
    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::{ClipWish, FrameRef, FrameSeq};
    use crate::shutdown::stop_pair;

    fn frame(camera: &str, ms: u64) -> Arc<Frame> {
        let at = FrameRef::new(FrameSeq(ms), Stamp::new(ms * 1000, 0));
        Arc::new(Frame::new(CameraId::new(camera).unwrap(), at, 32, 32, vec![9; 32 * 32 * 3]).unwrap())
    }

    #[test]
    fn events_of_one_camera_get_the_frames_of_that_camera_also_when_stopping() {
        let (films, made) = bounded(8);
        let one = CameraId::new("one").unwrap();
        let keep =
            BTreeMap::from([(one.clone(), Keep { before: Duration::from_secs(2), copied: false, masks: 0 })]);
        let counters = Arc::<Counters>::default();
        let (keeper, feed, orders) = keeper(keep, 1 << 20, films, &counters, Arc::new(SystemClock));
        let (handle, stop) = stop_pair();
        std::thread::scope(|scope| {
            scope.spawn(|| keeper.run(&stop));
            for ms in (0..4000).step_by(100) {
                feed.hand(frame("one", ms), 0, &stop);
                feed.hand(frame("two", ms), 0, &stop);
            }
            let wish = ClipWish { before: Duration::from_secs(1), after: Duration::from_secs(60) };
            assert!(orders.clip(EventId::from_u128(1), &one, Stamp::new(3_000_000, 0), wish));
            assert!(orders.clip(EventId::from_u128(2), &one, Stamp::new(3_500_000, 0), wish));
            drop(handle);
        });
        let film = made.recv().unwrap();
        assert_eq!(film.events, [EventId::from_u128(1), EventId::from_u128(2)]);
        let span = film.footage.span().unwrap();
        assert_eq!(span, (Stamp::new(2_000_000, 0), Stamp::new(3_900_000, 0)));
        assert_eq!((counters.pending(), counters.read().frames_lost), (2, 0));
        assert!(made.recv().is_err(), "nothing of the other camera");
    }

    /// Parts of a stream from `ms.start` on, 20 a second, a key picture every second.
    fn parts(ms: std::ops::Range<u64>, bytes: usize) -> Vec<StreamPart> {
        let part = |ms: u64| StreamPart {
            stamp: Stamp::new(ms * 1000, 0),
            codec: crate::domain::Codec::H264,
            is_key: ms.is_multiple_of(1000),
            bytes: vec![0; bytes].into(),
            head: None,
        };
        ms.step_by(50).map(part).collect()
    }

    const WISH: ClipWish = ClipWish { before: Duration::from_secs(2), after: Duration::from_secs(1) };

    fn plan(one: &CameraId, copied: bool, masks: u64) -> BTreeMap<CameraId, Keep> {
        BTreeMap::from([(one.clone(), Keep { before: Duration::from_secs(2), copied, masks })])
    }

    #[test]
    fn a_mask_takes_away_what_was_kept_without_it_and_what_comes_late() {
        let (films, made) = bounded(8);
        let one = CameraId::new("one").unwrap();
        let counters = Arc::<Counters>::default();
        let keep = plan(&one, true, 0);
        let (mut keeper, feed, orders) = keeper(keep, 1 << 20, films, &counters, Arc::new(SystemClock));
        let order = |orders: &Orders| {
            assert!(orders.clip(EventId::from_u128(1), &one, Stamp::new(3_000_000, 0), WISH));
        };
        assert!(feed.offer_stream(&one, parts(0..3500, 100)));
        keeper.keep_streams();
        order(&orders);
        keeper.obey_all();
        // The stream of the time before waits in the queue, too, and a frame without the mask.
        assert!(feed.offer_stream(&one, parts(3500..4500, 100)));
        feed.offer(frame("one", 3200), 0);
        orders.keep(plan(&one, false, 1));
        order(&orders);
        feed.offer(frame("one", 3400), 1);
        keeper.keep_streams();
        while let Ok(fed) = keeper.inlet.frames.try_recv() {
            keeper.hear(fed);
        }
        keeper.obey_all();
        feed.ended(&one);
        while let Ok(fed) = keeper.inlet.frames.try_recv() {
            keeper.hear(fed);
        }
        keeper.hand_over();
        let films: Vec<Footage> = made.try_iter().map(|film| film.footage).collect();
        let shown = Stamp::new(3_400_000, 0);
        assert_eq!(films.len(), 2);
        for footage in films {
            match footage {
                Footage::Stream(parts) => assert_eq!(parts, [], "nothing without the mask"),
                Footage::Pictures(kept) => assert!(kept.iter().all(|kept| kept.stamp == shown), "{kept:?}"),
            }
        }
    }

    #[test]
    fn a_stream_that_memory_cannot_hold_is_given_up_for_pictures() {
        let (films, made) = bounded(8);
        let one = CameraId::new("one").unwrap();
        let counters = Arc::<Counters>::default();
        let keep = plan(&one, true, 0);
        let (mut keeper, feed, orders) = keeper(keep, 10_000, films, &counters, Arc::new(SystemClock));
        assert!(feed.takes_stream(&one));
        feed.offer_stream(&one, parts(0..3500, 1000));
        keeper.keep_streams();
        assert!(!feed.takes_stream(&one), "20 parts of 1000 bytes lie between two key pictures");
        (3500..4500).step_by(200).for_each(|ms| feed.offer(frame("one", ms), 0));
        assert!(orders.clip(EventId::from_u128(1), &one, Stamp::new(4_000_000, 0), WISH));
        feed.ended(&one);
        while let Ok(fed) = keeper.inlet.frames.try_recv() {
            keeper.hear(fed);
        }
        keeper.obey_all();
        keeper.hand_over();
        let Footage::Pictures(kept) = made.try_recv().unwrap().footage else { panic!("a stream") };
        assert!(!kept.is_empty());
    }

    #[test]
    fn a_keeper_that_is_behind_costs_frames_and_no_time() {
        let (films, _made) = bounded(1);
        let counters = Arc::<Counters>::default();
        let (_keeper, feed, _orders) = keeper(BTreeMap::new(), 0, films, &counters, Arc::new(SystemClock));
        (0..100).for_each(|ms| feed.offer(frame("one", ms), 0));
        assert_eq!(counters.read().frames_lost, 100 - FRAMES as u64);
    }
}
