//! What is kept of each camera, as it is now: shared, so that no message can be late when something must not be shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::CameraId;

/// What is kept of one camera for clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So much of the time before an event.
    pub before: Duration,
    /// Whether its own stream may be shown: nothing in it is masked.
    pub copied: bool,
    /// Which masks its frames have, as a number that grows with every change; frames with others are not kept, nor is what
    /// was kept before.
    pub masks: u64,
}

/// The plan in force.
#[derive(Debug)]
pub(super) struct Plan {
    cameras: Mutex<BTreeMap<CameraId, Keep>>,
    /// Grows with every change.
    edition: AtomicU64,
    /// Cameras whose stream the memory cannot hold.
    hopeless: Mutex<BTreeSet<CameraId>>,
}

impl Plan {
    pub(super) fn new(cameras: BTreeMap<CameraId, Keep>) -> Self {
        Self { cameras: Mutex::new(cameras), edition: AtomicU64::new(1), hopeless: Mutex::default() }
    }

    pub(super) fn replace(&self, cameras: BTreeMap<CameraId, Keep>) {
        let mut held = lock(&self.cameras);
        *held = cameras;
        lock(&self.hopeless).clear();
        self.edition.fetch_add(1, Ordering::Release);
    }

    pub(super) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    pub(super) fn read(&self) -> (u64, BTreeMap<CameraId, Keep>) {
        let held = lock(&self.cameras);
        (self.edition(), held.clone())
    }

    pub(super) fn takes_stream(&self, camera: &CameraId) -> bool {
        !lock(&self.hopeless).contains(camera)
    }

    pub(super) fn refuse_stream(&self, camera: &CameraId) {
        lock(&self.hopeless).insert(camera.clone());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
