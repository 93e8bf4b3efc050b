//! What a worker thread does: take a look, classify its regions, find its things, pass on what was said.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::warn;

use crate::clock::Clock;
use crate::domain::{Detection, Frame, Look, ModelId, NormRect, Prediction, Score, Sighting, Things, ZoneId};
use crate::infer::{Classifier, Detector, Found, InferError};
use crate::slots::Slots;
use crate::words::in_words;

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
