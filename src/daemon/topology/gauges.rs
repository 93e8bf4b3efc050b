//! What the running daemon can be asked: is it quiet, does every part turn, what has been counted.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::super::camera::Desk;
use super::super::summary::{CameraSummary, Summary};
use super::Topology;
use crate::budget::Extra;
use crate::capture;
use crate::clock::Clock;
use crate::domain::CameraState;
use crate::store::Reader;

impl Topology {
    /// Every camera is a file or folder that has come to its end.
    pub(in crate::daemon) fn all_cameras_ended(&self) -> bool {
        self.desks.iter().all(|desk| desk.state() == CameraState::Ended)
    }

    /// No look waits or is worked on, and no decision waits to be recorded.
    pub(in crate::daemon) fn is_quiet(&self) -> bool {
        let no_time = Duration::ZERO;
        self.desks.iter().all(|desk| self.slots.wait_free(desk.index, no_time))
            && self.to_rules.as_ref().is_none_or(Sender::is_empty)
            && self.jobs.as_ref().is_none_or(Sender::is_empty)
    }

    /// Alerts in the outbox, 0 when no broker is configured or the store cannot be asked.
    pub(in crate::daemon) fn alerts_waiting(&self) -> u64 {
        if self.notified.is_none() {
            return 0;
        }
        outbox_size(&self.config.store.path)
    }

    /// The heartbeats of the parts that must turn.
    pub(in crate::daemon) fn beats(&self) -> Vec<(&'static str, u64)> {
        let mut beats =
            vec![("rules", self.judged.beat.load(Ordering::Relaxed)), ("recorder", self.recorded.beat())];
        if let Some(handles) = &self.notified {
            beats.push(("publisher", handles.counters.heartbeat_us()));
        }
        beats
    }

    /// All counters.
    pub(in crate::daemon) fn summary(&self, clock: &dyn Clock) -> Summary {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let inferences = load(&self.pool.inferences);
        let detections = load(&self.pool.detections);
        let mean = |busy_us: &AtomicU64, count: u64| {
            let busy = Duration::from_micros(load(busy_us));
            busy.checked_div(u32::try_from(count).unwrap_or(u32::MAX)).unwrap_or_default()
        };
        Summary {
            running: clock.now().since(self.started),
            cameras: self.desks.iter().zip(&self.captured).map(|(d, c)| self.camera_summary(d, c)).collect(),
            inferences,
            detections,
            mean_detection: mean(&self.pool.detecting_us, detections),
            tracks: load(&self.judged.tracks),
            failed_looks: load(&self.pool.failed),
            mean_inference: mean(&self.pool.busy_us, inferences),
            decisions: [0, 1, 2, 3].map(|i| load(&self.judged.decisions[i])),
            committed: self.recorded.committed(),
            lost: self.recorded.lost() + load(&self.judged.lost),
            refused_alerts: self.recorded.refused().iter().sum(),
            delivered: self.notified.as_ref().map(|handles| handles.counters.read().acked),
            waiting: outbox_size(&self.config.store.path),
            clips: self.clips.counters.read(),
            clips_pending: self.clips.counters.pending(),
            pictures_refused: self.budget.refused(Extra::Snapshot),
            late: Vec::new(),
        }
    }

    fn camera_summary(&self, desk: &Desk, counters: &capture::Counters) -> CameraSummary {
        CameraSummary {
            camera: desk.camera.clone(),
            state: desk.state(),
            frames: counters.frames(),
            thinned: counters.thinned(),
            gated: desk.gated.load(Ordering::Relaxed),
            broken: counters.decode_errors(),
            reopened: counters.reopens(),
            looks: self.slots.counts(desk.index),
        }
    }
}

/// Alerts waiting in the outbox at `path`; 0 when it cannot be asked.
fn outbox_size(path: &Path) -> u64 {
    Reader::open(path).and_then(|reader| reader.counts()).map_or(0, |counts| counts.outbox)
}
