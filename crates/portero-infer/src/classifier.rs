//! What a worker asks of a network, as traits: tests put faults in their place.

use portero_core::domain::{Frame, Label, NormRect, Score};

use super::InferError;

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
