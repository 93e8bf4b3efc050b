//! The ways to the keeper of clips: frames and streams from camera threads, which never wait for it, and events from the
//! recorder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};

use super::counters::Counters;
use super::plan::{Keep, Plan};
use crate::domain::{CameraId, ClipWish, EventId, Frame, Stamp, StreamPart};
use crate::shutdown::Stop;

/// How often a wait asks whether to stop.
const TURN: Duration = Duration::from_millis(200);
/// Frames that wait to be encoded.
pub(super) const FRAMES: usize = 12;
/// Parts of streams that wait to be kept, as many as came in one turn of a camera's thread.
const STREAMS: usize = 64;
/// Events that wait to be heard of.
const ORDERS: usize = 1024;

/// What a camera's thread says.
#[derive(Debug)]
pub(super) enum Fed {
    /// With the number of its masks, as in [`Keep`].
    Frame(Arc<Frame>, u64),
    /// Nothing more comes.
    Ended(CameraId),
}

/// An event that wants a clip.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) event: EventId,
    pub(super) camera: CameraId,
    pub(super) at: Stamp,
    pub(super) wish: ClipWish,
}

/// Parts of one camera's stream.
pub(super) type Parts = (CameraId, Vec<StreamPart>);

/// A camera thread's way to the keeper.
#[derive(Debug, Clone)]
pub struct Feed {
    frames: Sender<Fed>,
    streams: Sender<Parts>,
    plan: Arc<Plan>,
    counters: Arc<Counters>,
}

impl Feed {
    /// Hands a frame with these masks (see [`Keep`]) over without waiting; one that finds no room is passed over and counted.
    pub fn offer(&self, frame: Arc<Frame>, masks: u64) {
        if let Err(TrySendError::Full(_)) = self.frames.try_send(Fed::Frame(frame, masks)) {
            Counters::add(&self.counters.frames_lost, 1);
        }
    }

    /// Hands a frame over and waits for room, but not beyond a request to stop: for files that are played fast.
    pub fn hand(&self, frame: Arc<Frame>, masks: u64, stop: &Stop) {
        hand(&self.frames, Fed::Frame(frame, masks), stop);
    }

    /// Hands parts of a camera's own stream over without waiting; false when they found no room and are counted as lost:
    /// those up to the next key picture are of no use then.
    pub fn offer_stream(&self, camera: &CameraId, parts: Vec<StreamPart>) -> bool {
        let count = parts.len() as u64;
        let taken = !matches!(self.streams.try_send((camera.clone(), parts)), Err(TrySendError::Full(_)));
        Counters::add(&self.counters.frames_lost, if taken { 0 } else { count });
        taken
    }

    /// The same, waiting as [`Feed::hand`] does.
    pub fn hand_stream(&self, camera: &CameraId, parts: Vec<StreamPart>, stop: &Stop) {
        hand(&self.streams, (camera.clone(), parts), stop);
    }

    /// Whether clips of this camera can be made of its own stream: not when a piece of it that stands by itself is more than
    /// the memory holds.
    #[must_use]
    pub fn takes_stream(&self, camera: &CameraId) -> bool {
        self.plan.takes_stream(camera)
    }

    /// A camera's stream was to be copied, and its frames come instead.
    pub fn does_not_copy(&self) {
        Counters::add(&self.counters.not_copied, 1);
    }

    /// Nothing more comes from this camera: its clips need not wait.
    pub fn ended(&self, camera: &CameraId) {
        // When there is no room for this word, the clips are finished when their time has passed.
        let _ = self.frames.try_send(Fed::Ended(camera.clone()));
    }
}

/// Waits for room, but not beyond a request to stop.
fn hand<T>(way: &Sender<T>, what: T, stop: &Stop) {
    let mut waiting = what;
    while let Err(SendTimeoutError::Timeout(back)) = way.send_timeout(waiting, TURN) {
        if stop.is_requested() {
            return;
        }
        waiting = back;
    }
}

/// The daemon's way to the keeper.
#[derive(Debug, Clone)]
pub struct Orders {
    orders: Sender<Order>,
    plan: Arc<Plan>,
    counters: Arc<Counters>,
}

impl Orders {
    /// An event is committed and wants a clip around `at`, the capture of its frame. Never blocks; false when the keeper
    /// is too far behind to hear of it, or gone.
    pub fn clip(&self, event: EventId, camera: &CameraId, at: Stamp, wish: ClipWish) -> bool {
        self.counters.begin();
        let sent = self.orders.try_send(Order { event, camera: camera.clone(), at, wish }).is_ok();
        if !sent {
            self.counters.settle(1);
            Counters::add(&self.counters.failed, 1);
            log::warn!("event {event} goes without a clip: too many events at once");
        }
        sent
    }

    /// What is kept of each camera from now on; the others keep nothing. What was kept otherwise until now is in no clip that
    /// is handed over after this.
    pub fn keep(&self, cameras: BTreeMap<CameraId, Keep>) {
        self.plan.replace(cameras);
    }
}

/// What comes to the keeper.
pub(super) struct Inlet {
    pub(super) frames: Receiver<Fed>,
    pub(super) streams: Receiver<Parts>,
    pub(super) orders: Receiver<Order>,
}

/// The ways to a keeper with this plan.
pub(super) fn ways(plan: &Arc<Plan>, counters: &Arc<Counters>) -> (Inlet, Feed, Orders) {
    let ((frames, fed), (streams, streamed)) = (bounded(FRAMES), bounded(STREAMS));
    let (orders, ordered) = bounded(ORDERS);
    let feed = Feed { frames, streams, plan: Arc::clone(plan), counters: Arc::clone(counters) };
    let orders = Orders { orders, plan: Arc::clone(plan), counters: Arc::clone(counters) };
    (Inlet { frames: fed, streams: streamed, orders: ordered }, feed, orders)
}
