//! The newest look of each camera, taken in fair turns.
//!
//! Between a camera and the workers there is one place per camera. A newer look replaces an older one, and the
//! replacement is counted: a dropped frame is always a number somewhere. Workers take cameras in turn, so one
//! busy camera cannot starve another, and at most one look per camera is in flight, so predictions reach the
//! rules in the order of capture.
//!
//! One look wakes one worker, the one that came to rest last: what it works with is still in the caches.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::Look;

/// How many looks a camera's place has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotCounts {
    /// Looks put in.
    pub put: u64,
    /// Looks replaced by a newer one before a worker came.
    pub evicted: u64,
    /// Looks taken by a worker.
    pub taken: u64,
}

#[derive(Default)]
struct Place {
    look: Option<Look>,
    in_flight: bool,
    counts: SlotCounts,
}

struct Table {
    places: Vec<Place>,
    /// The place whose turn is next.
    turn: usize,
    /// What wakes each worker that waits; the last one came to rest last.
    resting: Vec<Arc<Condvar>>,
    closed: bool,
}

struct Shared {
    table: Mutex<Table>,
    /// A worker is through with a look.
    done: Condvar,
}

/// One place per camera, shared by camera threads and workers. Cloning shares.
#[derive(Clone)]
pub struct Slots {
    shared: Arc<Shared>,
}

/// A look in a worker's hands. While it lives, no other look of the same camera is handed out: drop it only
/// after the predictions were passed on.
pub struct Ticket {
    /// The look to work on.
    pub look: Look,
    camera_index: usize,
    slots: Slots,
}

impl Slots {
    /// Empty places for `cameras` cameras, numbered from 0.
    #[must_use]
    pub fn new(cameras: usize) -> Self {
        let places = (0..cameras).map(|_| Place::default()).collect();
        let table = Table { places, turn: 0, resting: Vec::new(), closed: false };
        Self { shared: Arc::new(Shared { table: Mutex::new(table), done: Condvar::new() }) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the newest look in camera `index`'s place. Returns whether an older one was evicted. Never blocks
    /// on a worker; after [`Slots::close`] the look is dropped and counted as evicted.
    pub fn put(&self, index: usize, look: Look) -> bool {
        let mut table = self.table();
        let closed = table.closed;
        let Some(place) = table.places.get_mut(index) else { return false };
        place.counts.put += 1;
        let evicted = closed || place.look.is_some();
        if evicted {
            place.counts.evicted += 1;
        }
        if !closed {
            place.look = Some(look);
            // While an older one is in flight, its worker takes care of this one.
            if !place.in_flight {
                table.wake_one();
            }
        }
        evicted
    }

    /// Blocks until camera `index` has no look waiting or in flight, at most for `time`. Returns whether that
    /// is so. A source that must not lose a frame waits here before it puts the next.
    #[must_use]
    pub fn wait_free(&self, index: usize, time: Duration) -> bool {
        let busy = |table: &mut Table| {
            let place = table.places.get(index);
            !table.closed && place.is_some_and(|p| p.look.is_some() || p.in_flight)
        };
        let waited = self.shared.done.wait_timeout_while(self.table(), time, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// The number of the look of camera `index` that is being worked on; `None` while none is. A number that stands for
    /// long says that its worker hangs. Never blocks on a worker.
    #[must_use]
    pub fn in_work(&self, index: usize) -> Option<u64> {
        let table = self.table();
        let place = table.places.get(index)?;
        place.in_flight.then_some(place.counts.taken)
    }

    /// Blocks until a look is free to be worked on; `None` once the slots are closed and drained.
    #[must_use]
    pub fn take(&self) -> Option<Ticket> {
        let mut table = self.table();
        let me = Arc::new(Condvar::new());
        loop {
            if let Some((camera_index, look)) = table.next_ready() {
                return Some(Ticket { look, camera_index, slots: self.clone() });
            }
            if table.closed && table.places.iter().all(|p| p.look.is_none()) {
                return None;
            }
            table.resting.push(Arc::clone(&me));
            table = me.wait(table).unwrap_or_else(PoisonError::into_inner);
            // Nobody may have woken it: threads wake without a reason at times.
            table.resting.retain(|worker| !Arc::ptr_eq(worker, &me));
        }
    }

    /// No more looks will come: workers drain what is there and then get `None`.
    pub fn close(&self) {
        let mut table = self.table();
        table.closed = true;
        table.wake_all();
        self.shared.done.notify_all();
    }

    /// What camera `index`'s place has seen so far.
    #[must_use]
    pub fn counts(&self, index: usize) -> SlotCounts {
        self.table().places.get(index).map(|p| p.counts).unwrap_or_default()
    }
}

impl Table {
    fn wake_one(&mut self) {
        if let Some(worker) = self.resting.pop() {
            worker.notify_one();
        }
    }

    fn wake_all(&mut self) {
        self.resting.drain(..).for_each(|worker| worker.notify_one());
    }

    fn next_ready(&mut self) -> Option<(usize, Look)> {
        let n = self.places.len();
        let index = (0..n).map(|i| (self.turn + i) % n).find(|&i| {
            let place = &self.places[i];
            place.look.is_some() && !place.in_flight
        })?;
        self.turn = (index + 1) % n;
        let place = &mut self.places[index];
        place.in_flight = true;
        place.counts.taken += 1;
        place.look.take().map(|look| (index, look))
    }
}

impl Ticket {
    /// The number of the camera this look came from.
    #[must_use]
    pub fn camera_index(&self) -> usize {
        self.camera_index
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = self.slots.table();
        table.places[self.camera_index].in_flight = false;
        if table.closed {
            table.wake_all();
        } else if table.places[self.camera_index].look.is_some() {
            table.wake_one();
        }
        self.slots.shared.done.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Region, Stamp};

    fn look(seq: u64) -> Look {
        let at = FrameRef::new(FrameSeq(seq), Stamp::new(seq, 0));
        let frame = Frame::new(CameraId::new("c").unwrap(), at, 1, 1, vec![0; 3]).unwrap();
        Look {
            frame: Arc::new(frame),
            regions: vec![Region { zone: None, rect: NormRect::FULL }],
            withheld: None,
            sighting: None,
        }
    }

    fn seq(ticket: &Ticket) -> u64 {
        ticket.look.frame.at().seq.0
    }

    #[test]
    fn the_newest_look_wins_and_evictions_are_counted() {
        let slots = Slots::new(1);
        assert!(!slots.put(0, look(1)));
        assert!(slots.put(0, look(2)));
        assert!(slots.put(0, look(3)));
        assert_eq!(seq(&slots.take().unwrap()), 3);
        assert_eq!(slots.counts(0), SlotCounts { put: 3, evicted: 2, taken: 1 });
    }

    #[test]
    fn a_busy_camera_does_not_starve_another() {
        let slots = Slots::new(2);
        slots.put(0, look(1));
        slots.put(1, look(100));
        let first = slots.take().unwrap();
        assert_eq!(first.camera_index(), 0);
        drop(first);
        slots.put(0, look(2));
        assert_eq!(slots.take().unwrap().camera_index(), 1);
    }

    #[test]
    fn one_look_per_camera_is_in_flight() {
        let slots = Slots::new(1);
        slots.put(0, look(1));
        let first = slots.take().unwrap();
        slots.put(0, look(2));
        let (sender, receiver) = crossbeam_channel::bounded(1);
        std::thread::scope(|scope| {
            let waiting = slots.clone();
            scope.spawn(move || sender.send(seq(&waiting.take().unwrap())));
            assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "second one handed out");
            drop(first);
            assert_eq!(receiver.recv_timeout(Duration::from_secs(5)), Ok(2));
        });
    }

    #[test]
    fn a_source_can_wait_until_its_look_was_passed_on() {
        let slots = Slots::new(1);
        let moment = Duration::from_millis(5);
        assert!(slots.wait_free(0, moment));
        slots.put(0, look(1));
        assert!(!slots.wait_free(0, moment), "a look is waiting");
        let ticket = slots.take();
        assert!(!slots.wait_free(0, moment), "a look is in flight");
        drop(ticket);
        assert!(slots.wait_free(0, moment));
    }

    #[test]
    fn every_worker_gets_its_share_and_ends_when_closed() {
        let slots = Slots::new(2);
        let (sender, receiver) = crossbeam_channel::bounded(1000);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (slots, sender) = (slots.clone(), sender.clone());
                scope.spawn(move || {
                    while let Some(ticket) = slots.take() {
                        sender.send((ticket.camera_index(), seq(&ticket))).unwrap();
                    }
                });
            }
            for n in 0..500 {
                for camera in 0..2 {
                    // Fast, so that a wake-up that is missed stops everything.
                    assert!(slots.wait_free(camera, Duration::from_secs(20)), "look {n} was left lying");
                    slots.put(camera, look(n));
                }
            }
            slots.close();
        });
        let mut seen: Vec<_> = receiver.try_iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..2).flat_map(|camera| (0..500).map(move |n| (camera, n))).collect::<Vec<_>>());
    }

    #[test]
    fn closing_drains_then_ends() {
        let slots = Slots::new(1);
        slots.put(0, look(1));
        slots.close();
        assert!(slots.take().is_some());
        assert!(slots.take().is_none());
        assert!(slots.put(0, look(2)), "a late look is counted as evicted");
    }
}
