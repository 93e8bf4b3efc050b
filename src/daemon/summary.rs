//! What was done so far, for the log and for the end of a demonstration.

use std::fmt;
use std::time::Duration;

use crate::domain::{CameraId, CameraState};
use crate::evidence::Counts;
use crate::slots::SlotCounts;

/// Counters of the whole daemon since its start. Every loss is here.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Time since the start.
    pub running: Duration,
    /// One per camera.
    pub cameras: Vec<CameraSummary>,
    /// Regions classified.
    pub inferences: u64,
    /// Looks whose classification failed.
    pub failed_looks: u64,
    /// Mean wall time of one preprocessing and inference.
    pub mean_inference: Duration,
    /// Pictures given to the detector.
    pub detections: u64,
    /// Mean wall time of one of them.
    pub mean_detection: Duration,
    /// Tracks begun.
    pub tracks: u64,
    /// Decisions: authorise, deny, alert, log.
    pub decisions: [u64; 4],
    /// Events committed.
    pub committed: u64,
    /// Decisions or events that were lost.
    pub lost: u64,
    /// Alerts refused because the outbox was full.
    pub refused_alerts: u64,
    /// Alerts that the broker has acknowledged; `None` without a broker.
    pub delivered: Option<u64>,
    /// Alerts waiting in the outbox.
    pub waiting: u64,
    /// Clips.
    pub clips: Counts,
    /// Events whose clip is not settled yet.
    pub clips_pending: u64,
    /// Snapshots left out because the write budget was used up.
    pub pictures_refused: u64,
    /// Threads that missed the deadline when stopping.
    pub late: Vec<String>,
}

/// One camera's share.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraSummary {
    /// The camera.
    pub camera: CameraId,
    /// Its state.
    pub state: CameraState,
    /// Frames captured.
    pub frames: u64,
    /// Frames that were not due at the configured rate.
    pub thinned: u64,
    /// Frames in which the motion gate saw nothing.
    pub gated: u64,
    /// Pictures that could not be decoded.
    pub broken: u64,
    /// Times the source was opened again.
    pub reopened: u64,
    /// Looks put, replaced by a newer one, and taken by a worker.
    pub looks: SlotCounts,
}

impl Summary {
    /// One line for the log.
    #[must_use]
    pub fn line(&self) -> String {
        let cameras: Vec<_> = self
            .cameras
            .iter()
            .map(|c| {
                format!(
                    "{} {} {} frames {} looks {} evicted",
                    c.camera,
                    c.state.as_str(),
                    c.frames,
                    c.looks.taken,
                    c.looks.evicted
                )
            })
            .collect();
        let [grants, denials, alerts, logs] = self.decisions;
        format!(
            "{}; {} inferences of {:.1} ms; decisions: {grants} authorise, {denials} deny, {alerts} alert, {logs} log; {} committed, {} lost; outbox {} waiting, {} refused{}",
            cameras.join("; "),
            self.inferences,
            self.mean_inference.as_secs_f64() * 1e3,
            self.committed,
            self.lost,
            self.waiting,
            self.refused_alerts,
            self.kept().map_or(String::new(), |kept| format!("; {kept}")),
        )
    }

    /// What was kept beside the events, and what was not; `None` when there is nothing to say.
    fn kept(&self) -> Option<String> {
        let Counts { written, copied, bytes, refused, failed, pruned, cut, frames_lost, not_copied } =
            self.clips;
        let quiet = self.clips == Counts::default() && self.clips_pending + self.pictures_refused == 0;
        (!quiet).then(|| {
            format!(
                "clips: {written} written ({:.1} MiB), {copied} of them copied, {} pending, {refused} refused, {failed} failed, {pruned} pruned, {cut} cut short, {frames_lost} pictures not kept for them, {not_copied} times not copied; {} snapshots refused",
                bytes as f64 / f64::from(1 << 20),
                self.clips_pending,
                self.pictures_refused,
            )
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Summary after {:.1} s", self.running.as_secs_f64())?;
        for c in &self.cameras {
            writeln!(
                f,
                "  camera {}: {} frames captured, {} not due, {} without motion, {} broken; {} looks, {} of them replaced by a newer one; reopened {} times; now {}",
                c.camera,
                c.frames,
                c.thinned,
                c.gated,
                c.broken,
                c.looks.put,
                c.looks.evicted,
                c.reopened,
                c.state.as_str()
            )?;
        }
        let ms = self.mean_inference.as_secs_f64() * 1e3;
        writeln!(
            f,
            "  model: {} inferences, {ms:.1} ms each, {} looks failed",
            self.inferences, self.failed_looks
        )?;
        if self.detections > 0 {
            let ms = self.mean_detection.as_secs_f64() * 1e3;
            writeln!(f, "  detector: {} pictures, {ms:.1} ms each", self.detections)?;
        }
        if self.tracks > 0 {
            writeln!(f, "  tracks: {} begun", self.tracks)?;
        }
        let [grants, denials, alerts, logs] = self.decisions;
        writeln!(f, "  decisions: {grants} authorise, {denials} deny, {alerts} alert, {logs} log")?;
        write!(f, "  events: {} committed, {} lost; alerts: ", self.committed, self.lost)?;
        match self.delivered {
            Some(delivered) => {
                writeln!(
                    f,
                    "{delivered} delivered, {} waiting, {} refused",
                    self.waiting, self.refused_alerts
                )
            }
            None => writeln!(f, "no broker is configured; {} waiting", self.waiting),
        }?;
        if let Some(kept) = self.kept() {
            writeln!(f, "  {kept}")?;
        }
        if !self.late.is_empty() {
            writeln!(f, "  did not end in time: {}", self.late.join(", "))?;
        }
        Ok(())
    }
}
