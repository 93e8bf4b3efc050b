//! The thread that keeps the last seconds of every camera whose events want clips, and gathers the clips.
//!
//! Camera threads hand it frames and never wait for it: when it falls behind, frames are passed over and counted. It
//! encodes each to JPEG and puts it into the ring of its camera. Events come when they are committed; what is complete
//! goes to the [`Filer`](super::Filer).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select};

use super::counters::Counters;
use super::ring::{Gathered, Kept, Ring};
use super::{Film, picture};
use crate::clock::Clock;
use crate::domain::{CameraId, ClipWish, EventId, Frame, Stamp};
use crate::shutdown::Stop;

/// The keeper looks whether clips are complete at least this often; also how often a wait asks whether to stop.
const TURN: Duration = Duration::from_millis(200);
/// Frames that wait to be encoded.
const FRAMES: usize = 12;
/// Events that wait to be heard of.
const ORDERS: usize = 1024;
/// JPEG quality of the pictures in memory; those that become H.264 lose little by it.
const QUALITY: u8 = 75;

/// What a camera's thread says.
#[derive(Debug)]
pub(super) enum Fed {
    Frame(Arc<Frame>),
    /// Nothing more comes.
    Ended(CameraId),
}

/// What the daemon says.
#[derive(Debug)]
pub(super) enum Order {
    Clip { event: EventId, camera: CameraId, at: Stamp, wish: ClipWish },
    Keep(BTreeMap<CameraId, Duration>),
}

/// A camera thread's way to the keeper.
#[derive(Debug, Clone)]
pub struct Feed {
    frames: Sender<Fed>,
    counters: Arc<Counters>,
}

impl Feed {
    /// Hands a frame over without waiting; one that finds no room is passed over and counted.
    pub fn offer(&self, frame: Arc<Frame>) {
        if let Err(TrySendError::Full(_)) = self.frames.try_send(Fed::Frame(frame)) {
            Counters::add(&self.counters.frames_lost, 1);
        }
    }

    /// Hands a frame over and waits for room, but not beyond a request to stop: for files that are played fast.
    pub fn hand(&self, frame: Arc<Frame>, stop: &Stop) {
        let mut fed = Fed::Frame(frame);
        while let Err(crossbeam_channel::SendTimeoutError::Timeout(back)) =
            self.frames.send_timeout(fed, TURN)
        {
            if stop.is_requested() {
                return;
            }
            fed = back;
        }
    }

    /// Nothing more comes from this camera: its clips need not wait.
    pub fn ended(&self, camera: &CameraId) {
        // When there is no room for this word, the clips are finished when their time has passed.
        let _ = self.frames.try_send(Fed::Ended(camera.clone()));
    }
}

/// The daemon's way to the keeper.
#[derive(Debug, Clone)]
pub struct Orders {
    orders: Sender<Order>,
    counters: Arc<Counters>,
}

impl Orders {
    /// An event is committed and wants a clip around `at`, the capture of its frame. Never blocks; false when the keeper
    /// is too far behind to hear of it, or gone.
    pub fn clip(&self, event: EventId, camera: &CameraId, at: Stamp, wish: ClipWish) -> bool {
        self.counters.begin();
        let sent = self.orders.try_send(Order::Clip { event, camera: camera.clone(), at, wish }).is_ok();
        if !sent {
            self.counters.settle(1);
            Counters::add(&self.counters.failed, 1);
            log::warn!("event {event} goes without a clip: too many events at once");
        }
        sent
    }

    /// For each camera, how much of the time before an event is kept; the others keep nothing. Waits for the keeper a
    /// little; false when it did not hear.
    pub fn keep(&self, cameras: BTreeMap<CameraId, Duration>) -> bool {
        self.orders.send_timeout(Order::Keep(cameras), TURN).is_ok()
    }
}

/// The keeper; run it on a thread of its own.
pub struct Keeper {
    frames: Receiver<Fed>,
    orders: Receiver<Order>,
    films: Sender<Film>,
    keep: BTreeMap<CameraId, Duration>,
    rings: BTreeMap<CameraId, Ring>,
    /// In bytes, for all rings together.
    memory: u64,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

/// A keeper with the two ways to it. `keep` is as in [`Orders::keep`]; `memory` bounds the bytes of all pictures, shared
/// evenly by the cameras that keep some; complete clips go to `films`.
#[must_use]
pub fn keeper(
    keep: BTreeMap<CameraId, Duration>,
    memory: u64,
    films: Sender<Film>,
    counters: &Arc<Counters>,
    clock: Arc<dyn Clock>,
) -> (Keeper, Feed, Orders) {
    let ((frames, fed), (orders, ordered)) = (bounded(FRAMES), bounded(ORDERS));
    let keeper = Keeper {
        frames: fed,
        orders: ordered,
        films,
        keep,
        rings: BTreeMap::new(),
        memory,
        counters: Arc::clone(counters),
        clock,
    };
    let feed = Feed { frames, counters: Arc::clone(counters) };
    (keeper, feed, Orders { orders, counters: Arc::clone(counters) })
}

impl Keeper {
    /// Runs until `stop`, then hands over what is gathered so far. Blocks while the filer is behind, which costs frames.
    pub fn run(mut self, stop: &Stop) {
        while !stop.is_requested() {
            select! {
                recv(self.frames) -> fed => match fed {
                    Ok(fed) => self.hear(fed),
                    // All cameras are gone: only events and the time are left.
                    Err(_) => self.wait(stop),
                },
                recv(self.orders) -> order => if let Ok(order) = order { self.obey(order) } else { self.wait(stop) },
                recv(stop.receiver()) -> _ => break,
                default(TURN) => {}
            }
            self.hand_over();
        }
        while let Ok(fed) = self.frames.try_recv() {
            self.hear(fed);
        }
        self.obey_all();
        self.rings.values_mut().for_each(Ring::end);
        self.hand_over();
    }

    fn wait(&mut self, stop: &Stop) {
        let _ = stop.wait_for(TURN / 4);
        self.obey_all();
    }

    fn obey_all(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
    }

    fn hear(&mut self, fed: Fed) {
        match fed {
            Fed::Frame(frame) => self.keep(&frame),
            Fed::Ended(camera) => self.rings.entry(camera).or_default().end(),
        }
    }

    fn keep(&mut self, frame: &Frame) {
        let Some(&keep) = self.keep.get(frame.camera()) else { return };
        match picture::encode(frame, QUALITY) {
            Ok(jpeg) => {
                let bound = self.memory / self.keep.len().max(1) as u64;
                let ring = self.rings.entry(frame.camera().clone()).or_default();
                let kept = Kept { stamp: frame.at().stamp, jpeg: jpeg.into() };
                let lost = ring.push(kept, keep, usize::try_from(bound).unwrap_or(usize::MAX));
                Counters::add(&self.counters.frames_lost, lost);
            }
            Err(error) => {
                Counters::add(&self.counters.frames_lost, 1);
                log::debug!("a frame is not kept for clips: {error}");
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Clip { event, camera, at, wish } => {
                self.rings.entry(camera).or_default().want(event, at, wish, self.clock.now());
            }
            Order::Keep(keep) => {
                let gone = self.rings.iter_mut().filter(|(camera, _)| !keep.contains_key(*camera));
                gone.for_each(|(_, ring)| ring.clear());
                self.keep = keep;
            }
        }
    }

    fn hand_over(&mut self) {
        let now = self.clock.now();
        for (camera, ring) in &mut self.rings {
            for Gathered { events, frames, cut } in ring.finished(now) {
                Counters::add(&self.counters.cut, u64::from(cut));
                if cut {
                    log::warn!(
                        "camera {camera}: a clip is shorter than asked for: raise `clips_memory` under [store]"
                    );
                }
                let count = events.len();
                let film = Film { camera: camera.clone(), events, frames };
                if self.films.send(film).is_err() {
                    self.counters.settle(count);
                    log::warn!("camera {camera}: a clip is lost, its writer has ended");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::domain::{FrameRef, FrameSeq};
    use crate::shutdown::stop_pair;

    fn frame(camera: &str, ms: u64) -> Arc<Frame> {
        let at = FrameRef { seq: FrameSeq(ms), stamp: Stamp::new(ms * 1000, 0) };
        Arc::new(Frame::new(CameraId::new(camera).unwrap(), at, 32, 32, vec![9; 32 * 32 * 3]).unwrap())
    }

    #[test]
    fn events_of_one_camera_get_the_frames_of_that_camera_also_when_stopping() {
        let (films, made) = bounded(8);
        let one = CameraId::new("one").unwrap();
        let keep = BTreeMap::from([(one.clone(), Duration::from_secs(2))]);
        let counters = Arc::<Counters>::default();
        let (keeper, feed, orders) = keeper(keep, 1 << 20, films, &counters, Arc::new(SystemClock));
        let (handle, stop) = stop_pair();
        std::thread::scope(|scope| {
            scope.spawn(|| keeper.run(&stop));
            for ms in (0..4000).step_by(100) {
                feed.hand(frame("one", ms), &stop);
                feed.hand(frame("two", ms), &stop);
            }
            let wish = ClipWish { before: Duration::from_secs(1), after: Duration::from_secs(60) };
            assert!(orders.clip(EventId::from_u128(1), &one, Stamp::new(3_000_000, 0), wish));
            assert!(orders.clip(EventId::from_u128(2), &one, Stamp::new(3_500_000, 0), wish));
            drop(handle);
        });
        let film = made.recv().unwrap();
        assert_eq!(film.events, [EventId::from_u128(1), EventId::from_u128(2)]);
        assert_eq!(film.frames.first().unwrap().stamp, Stamp::new(2_000_000, 0));
        assert_eq!(film.frames.last().unwrap().stamp, Stamp::new(3_900_000, 0));
        assert_eq!((counters.pending(), counters.read().frames_lost), (2, 0));
        assert!(made.recv().is_err(), "nothing of the other camera");
    }

    #[test]
    fn a_keeper_that_is_behind_costs_frames_and_no_time() {
        let (films, _made) = bounded(1);
        let counters = Arc::<Counters>::default();
        let (_keeper, feed, _orders) = keeper(BTreeMap::new(), 0, films, &counters, Arc::new(SystemClock));
        (0..100).for_each(|ms| feed.offer(frame("one", ms)));
        assert_eq!(counters.read().frames_lost, 100 - FRAMES as u64);
    }
}
