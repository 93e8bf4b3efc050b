//! What the running daemon can be asked: is it quiet, does every part turn, what has been counted.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::super::camera::Desk;
use super::super::summary::{CameraSummary, Summary};
use super::super::watchdog::Beat;
use super::Topology;
use crate::budget::Extra;
use crate::capture::{self, Pace};
use crate::clock::Clock;
use crate::domain::{CameraState, RecordState};
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

    /// The beats of all parts. While the store cannot be written, whoever has something to record waits for it, as
    /// intended: then they count as at rest.
    pub(in crate::daemon) fn beats(&self) -> Vec<Beat> {
        let waits = self.recorded.is_degraded();
        let unless_waiting = |count: u64| (!waits).then_some(count);
        let mut beats = vec![
            Beat::of("rules", self.judged.beat.load(Ordering::Relaxed)),
            Beat::of("recorder", self.recorded.beat()),
            Beat::of("doors", unless_waiting(self.door_beat.load(Ordering::Relaxed))),
        ];
        if let Some(handles) = &self.notified {
            beats.push(Beat::of("publisher", handles.counters.heartbeat_us()));
        }
        let [keeper, filer] = self.clips.counters.turns();
        beats.push(Beat::of_clips("clip keeper", keeper));
        beats.push(Beat::of_clips("clip filer", filer));
        for (desk, counters) in self.desks.iter().zip(&self.captured) {
            // Its thread is gone when all of a file was read; played fast, it waits for the workers.
            let runs = desk.state() != CameraState::Ended && desk.pace == Pace::Realtime;
            let turned = unless_waiting(counters.heartbeat_us()).filter(|_| runs);
            beats.push(Beat::of(format!("camera {}", desk.camera), turned));
            let in_work = self.slots.in_work(desk.index).filter(|_| !waits);
            beats.push(Beat::of(format!("worker on camera {}", desk.camera), in_work));
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
            lost: self.lost(),
            refused_alerts: self.recorded.refused().iter().sum(),
            delivered: self.notified.as_ref().map(|handles| handles.counters.read().acked),
            waiting: outbox_size(&self.config.store.path),
            clips: self.clips.counters.read(),
            clips_pending: self.clips.counters.pending(),
            pictures_refused: self.budget.refused(Extra::Snapshot),
            late: Vec::new(),
        }
    }

    /// Decisions that are lost. While the record fails, or after it has died, these are all that were taken and are not
    /// committed: what still waits may never be.
    fn lost(&self) -> u64 {
        let known = self.recorded.lost() + self.judged.lost.load(Ordering::Relaxed);
        if self.recorded.state().0 == RecordState::Ok {
            return known;
        }
        let decided: u64 = self.judged.decisions.iter().map(|count| count.load(Ordering::Relaxed)).sum();
        decided.saturating_sub(self.recorded.committed())
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
