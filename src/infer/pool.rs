//! What a worker thread does: take a look, classify its regions, pass the predictions on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::warn;

use super::InferError;
use crate::clock::Clock;
use crate::domain::{Frame, Label, Look, ModelId, NormRect, Prediction, Score};
use crate::slots::Slots;
use crate::words::in_words;

/// Labels with probabilities, most probable first, and whether the best is below the rejection threshold.
pub type Answer = (Vec<(Label, Score)>, bool);

/// Says what parts of a picture show. A trait because tests inject faults.
pub trait Classifier: Send {
    /// One answer for each part. Blocks for the time of so many inferences, or less: they share the way.
    ///
    /// # Errors
    /// [`InferError::Run`] when there is no answer; the look is then counted as failed.
    fn classify_all(&mut self, frame: &Frame, rects: &[NormRect]) -> Result<Vec<Answer>, InferError>;

    /// The answer for one part.
    ///
    /// # Errors
    /// As [`Classifier::classify_all`].
    fn classify(&mut self, frame: &Frame, rect: NormRect) -> Result<Answer, InferError> {
        let mut answers = self.classify_all(frame, &[rect])?;
        answers.pop().ok_or_else(|| InferError::Run("one picture gave no answer".into()))
    }
}

/// A look with what the model said of each of its regions, in their order.
#[derive(Debug)]
pub struct Seen {
    /// The picture: only the snapshot of an event is made of it.
    pub frame: Arc<Frame>,
    /// One per region.
    pub predictions: Vec<Prediction>,
    /// Where each was looked for.
    pub rects: Vec<NormRect>,
}

/// What all workers together have done.
#[derive(Debug, Default)]
pub struct PoolCounts {
    /// Looks whose predictions were passed on.
    pub looks: AtomicU64,
    /// Regions classified.
    pub inferences: AtomicU64,
    /// Looks that failed.
    pub failed: AtomicU64,
    /// Wall time spent in preprocessing and inference, in microseconds.
    pub busy_us: AtomicU64,
}

/// Runs until the slots are closed and drained, or `out` says that nobody listens any more. `out` may block as
/// long as the rules are behind: after the prediction nothing is dropped.
pub fn run_worker(
    slots: &Slots,
    mut classifier: Box<dyn Classifier>,
    model: &ModelId,
    clock: &dyn Clock,
    counts: &PoolCounts,
    out: &mut dyn FnMut(Seen) -> bool,
) {
    while let Some(ticket) = slots.take() {
        match predict(&ticket.look, classifier.as_mut(), model, clock) {
            Ok(predictions) => {
                let busy: u64 = predictions.iter().map(|p| p.latency.as_micros() as u64).sum();
                counts.busy_us.fetch_add(busy, Ordering::Relaxed);
                counts.inferences.fetch_add(predictions.len() as u64, Ordering::Relaxed);
                counts.looks.fetch_add(1, Ordering::Relaxed);
                let frame = Arc::clone(&ticket.look.frame);
                let rects = ticket.look.regions.iter().map(|region| region.rect).collect();
                if !out(Seen { frame, predictions, rects }) {
                    return;
                }
            }
            Err(error) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                warn!("{:?} could not be classified: {}", ticket.look.frame, in_words(&error));
            }
        }
    }
}

fn predict(
    look: &Look,
    classifier: &mut dyn Classifier,
    model: &ModelId,
    clock: &dyn Clock,
) -> Result<Vec<Prediction>, InferError> {
    let frame = &look.frame;
    let rects: Vec<NormRect> = look.regions.iter().map(|region| region.rect).collect();
    let begun = clock.now();
    let answers = classifier.classify_all(frame, &rects)?;
    let latency = clock.now().since(begun) / rects.len().max(1) as u32;
    let predictions = look.regions.iter().zip(answers).map(|(region, (top, rejected))| Prediction {
        camera: frame.camera().clone(),
        zone: region.zone.clone(),
        frame: frame.at(),
        model: model.clone(),
        top,
        rejected,
        latency,
    });
    Ok(predictions.collect())
}
