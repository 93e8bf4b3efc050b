//! What a worker thread does: take a look, classify its regions, find its things, pass on what was said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::warn;

use super::InferError;
use crate::clock::Clock;
use crate::domain::{
    Detection, Frame, Label, Look, ModelId, NormRect, Prediction, Score, Sighting, Things, ZoneId,
};
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

/// Something that a detector found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The smallest rectangle around it.
    pub rect: NormRect,
    /// What it is.
    pub label: Label,
    /// How certain that is.
    pub score: Score,
}

/// Finds things in a picture. A trait because tests inject faults.
pub trait Detector: Send {
    /// What is in the picture, most certain first. Blocks for the time of one inference.
    ///
    /// # Errors
    /// [`InferError::Run`] when there is no answer; the look is then counted as failed.
    fn detect(&mut self, frame: &Frame) -> Result<Vec<Found>, InferError>;
}

/// What one worker looks with.
pub struct Eyes {
    /// The classifier.
    pub classifier: Box<dyn Classifier>,
    /// Its name.
    pub model: ModelId,
    /// The detector and its name, where there is one.
    pub detector: Option<(Box<dyn Detector>, ModelId)>,
}

/// A look with what was said of it.
#[derive(Debug)]
pub struct Seen {
    /// The picture: only the snapshot of an event is made of it.
    pub frame: Arc<Frame>,
    /// One per region, in their order.
    pub predictions: Vec<Prediction>,
    /// Where each was looked for.
    pub rects: Vec<NormRect>,
    /// What was found of things, where that was asked.
    pub sighted: Option<Sighted>,
}

/// What was found of things in a frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sighted {
    /// The things; `None` when nothing can be said of them.
    pub things: Option<Vec<Detection>>,
    /// As in [`Sighting`].
    pub covered: Vec<(Option<ZoneId>, f32)>,
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
    /// Pictures given to the detector.
    pub detections: AtomicU64,
    /// Wall time that took, in microseconds.
    pub detecting_us: AtomicU64,
}

/// Runs until the slots are closed and drained, or `out` says that nobody listens any more. `out` may block as
/// long as the rules are behind: after the prediction nothing is dropped.
pub fn run_worker(
    slots: &Slots,
    mut eyes: Eyes,
    clock: &dyn Clock,
    counts: &PoolCounts,
    out: &mut dyn FnMut(Seen) -> bool,
) {
    while let Some(ticket) = slots.take() {
        match eyes.see(&ticket.look, clock, counts) {
            Ok(seen) => {
                if !out(seen) {
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

impl Eyes {
    fn see(&mut self, look: &Look, clock: &dyn Clock, counts: &PoolCounts) -> Result<Seen, InferError> {
        let rects: Vec<NormRect> = look.regions.iter().map(|region| region.rect).collect();
        let mut predictions = self.classify(look, &rects, clock, counts)?;
        for (prediction, region) in predictions.iter_mut().zip(&look.regions) {
            prediction.zone = region.zone.clone();
        }
        let sighted = match &look.sighting {
            Some(sighting) => Some(self.sight(look, sighting, clock, counts)?),
            None => None,
        };
        counts.looks.fetch_add(1, Ordering::Relaxed);
        Ok(Seen { frame: Arc::clone(&look.frame), predictions, rects, sighted })
    }

    fn sight(
        &mut self,
        look: &Look,
        sighting: &Sighting,
        clock: &dyn Clock,
        counts: &PoolCounts,
    ) -> Result<Sighted, InferError> {
        let things = match &sighting.things {
            Things::Unsaid => None,
            Things::Moving { rects, crops } => {
                let said = self.classify(look, crops, clock, counts)?.into_iter().map(Some);
                let said = said.chain(std::iter::repeat_with(|| None));
                let thing = |(rect, prediction): (&NormRect, _)| Detection {
                    rect: *rect,
                    score: Score::CERTAIN,
                    prediction,
                };
                Some(rects.iter().zip(said).map(thing).collect())
            }
            Things::Detect => self.detect(look, clock, counts)?,
        };
        Ok(Sighted { things, covered: sighting.covered.clone() })
    }

    /// What the classifier says of parts of a picture; the predictions belong to no zone yet.
    fn classify(
        &mut self,
        look: &Look,
        rects: &[NormRect],
        clock: &dyn Clock,
        counts: &PoolCounts,
    ) -> Result<Vec<Prediction>, InferError> {
        if rects.is_empty() {
            return Ok(Vec::new());
        }
        let frame = &look.frame;
        let begun = clock.now();
        let answers = self.classifier.classify_all(frame, rects)?;
        let busy = clock.now().since(begun);
        counts.busy_us.fetch_add(busy.as_micros() as u64, Ordering::Relaxed);
        counts.inferences.fetch_add(answers.len() as u64, Ordering::Relaxed);
        let latency = busy / rects.len() as u32;
        let predictions = answers.into_iter().map(|(top, rejected)| Prediction {
            camera: frame.camera().clone(),
            zone: None,
            frame: frame.at(),
            withheld: look.withheld,
            model: self.model.clone(),
            top,
            rejected,
            latency,
        });
        Ok(predictions.collect())
    }

    /// What the detector finds; `None` when there is no detector.
    fn detect(
        &mut self,
        look: &Look,
        clock: &dyn Clock,
        counts: &PoolCounts,
    ) -> Result<Option<Vec<Detection>>, InferError> {
        let Some((detector, model)) = &mut self.detector else { return Ok(None) };
        let frame = &look.frame;
        let begun = clock.now();
        let found = detector.detect(frame)?;
        let latency = clock.now().since(begun);
        counts.detecting_us.fetch_add(latency.as_micros() as u64, Ordering::Relaxed);
        counts.detections.fetch_add(1, Ordering::Relaxed);
        let detections = found.into_iter().map(|Found { rect, label, score }| Detection {
            rect,
            score,
            prediction: Some(Prediction {
                camera: frame.camera().clone(),
                zone: None,
                frame: frame.at(),
                withheld: look.withheld,
                model: model.clone(),
                top: vec![(label, score)],
                rejected: false,
                latency,
            }),
        });
        Ok(Some(detections.collect()))
    }
}
