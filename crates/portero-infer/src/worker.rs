//! One thread's share of a model: preprocessing, the run, softmax.

use std::sync::Arc;

use tract_onnx::prelude::*;

use super::model::Plan;
use super::network::run_error;
use super::passes::Session;
use super::{Answer, Classifier, InferError, Model, Preprocessor};
use portero_core::domain::{Frame, NormRect, Score};

/// Most pictures of a batch: more bring nothing, and cost memory.
const BATCH: usize = 8;

/// One thread's share of a model. Its buffers grow with the first runs; after that a run allocates nothing if the
/// network is recognised from end to end.
pub struct Worker {
    model: Arc<Model>,
    preprocessor: Preprocessor,
    planes: Vec<f32>,
    logits: Vec<f32>,
    state: State,
}

/// What a run needs beside the planes.
enum State {
    Program(Box<dyn Session>),
    /// The tensor is lent to the plan for a run and back in our hands after it, so that it is allocated once.
    Tract(TypedSimpleState, Arc<Tensor>),
}

/// Writes the planes of a picture, given its number in the batch.
type Fill<'a> = dyn FnMut(usize, &mut [f32]) + 'a;

impl State {
    /// The logits of a batch, one after another, in `logits`.
    fn run(
        &mut self,
        batch: usize,
        planes: &mut [f32],
        logits: &mut [f32],
        fill: &mut Fill<'_>,
    ) -> Result<(), InferError> {
        match self {
            Self::Program(session) => {
                for number in 0..batch {
                    fill(number, planes);
                    session.begin(number, planes);
                }
                session.finish(logits);
            }
            Self::Tract(state, tensor) => {
                let each = logits.len() / batch;
                for (number, logits) in logits.chunks_exact_mut(each).enumerate() {
                    let shared = Arc::make_mut(tensor);
                    let mut view = shared.try_as_plain_ram_mut().map_err(run_error)?;
                    fill(number, view.as_slice_mut::<f32>().map_err(run_error)?);
                    let outputs =
                        state.run(tvec!(TValue::from_const(Arc::clone(tensor)))).map_err(run_error)?;
                    let found = outputs[0].try_as_plain_ram().map_err(run_error)?;
                    logits.copy_from_slice(found.as_slice::<f32>().map_err(run_error)?);
                }
            }
        }
        Ok(())
    }
}

impl Worker {
    pub(super) fn new(model: Arc<Model>, plan: &Plan) -> Result<Self, InferError> {
        let input = &model.manifest().input;
        let shape = [1, 3, input.height as usize, input.width as usize];
        let preprocessor = Preprocessor::new(input.clone());
        let (state, planes) = match plan {
            Plan::Program(program) => {
                (State::Program(Arc::clone(program).session()), vec![0.0; preprocessor.len()])
            }
            Plan::Tract(plan) => {
                let tensor = Tensor::zero::<f32>(&shape).map_err(run_error)?;
                (State::Tract(plan.spawn().map_err(run_error)?, Arc::new(tensor)), Vec::new())
            }
        };
        Ok(Self { model, preprocessor, planes, logits: Vec::new(), state })
    }

    /// The network alone: the raw outputs, one per label and picture, of pictures that are already
    /// [preprocessed](Preprocessor::fill), `planes` being these end to end.
    ///
    /// # Errors
    /// [`InferError::Run`] when tract fails, or `planes` is not a whole number of pictures.
    pub fn logits(&mut self, planes: &[f32]) -> Result<&[f32], InferError> {
        let (each, classes) = (self.preprocessor.len(), self.model.manifest().labels.len());
        if !planes.len().is_multiple_of(each) {
            let message = format!("{} floats are no whole number of pictures of {each}", planes.len());
            return Err(InferError::Run(message.into()));
        }
        self.logits.resize(planes.len() / each * classes, 0.0);
        let batches = planes.chunks(BATCH * each).zip(self.logits.chunks_mut(BATCH * classes));
        for (planes, logits) in batches {
            if let State::Program(session) = &mut self.state {
                for (number, planes) in planes.chunks_exact(each).enumerate() {
                    session.begin(number, planes);
                }
                session.finish(logits);
                continue;
            }
            let mut fill = |number: usize, to: &mut [f32]| {
                to.copy_from_slice(&planes[number * each..][..each]);
            };
            self.state.run(planes.len() / each, &mut self.planes, logits, &mut fill)?;
        }
        Ok(&self.logits)
    }

    /// Calibrated probabilities for the part `rect` of `frame`, in the order of the manifest's labels.
    ///
    /// # Errors
    /// [`InferError::Run`] when tract fails or a probability is no finite number.
    pub fn probabilities(&mut self, frame: &Frame, rect: NormRect) -> Result<Vec<f32>, InferError> {
        Ok(self.probabilities_of(frame, &[rect])?.remove(0))
    }

    /// The same for several parts of one picture, which go through the network together.
    ///
    /// # Errors
    /// As [`Worker::probabilities`].
    pub fn probabilities_of(
        &mut self,
        frame: &Frame,
        rects: &[NormRect],
    ) -> Result<Vec<Vec<f32>>, InferError> {
        let (classes, temperature) = (self.model.manifest().labels.len(), self.model.manifest().temperature);
        self.logits.resize(rects.len() * classes, 0.0);
        for (rects, logits) in rects.chunks(BATCH).zip(self.logits.chunks_mut(BATCH * classes)) {
            let mut fill = |number: usize, planes: &mut [f32]| {
                self.preprocessor.fill(frame, rects[number], planes);
            };
            self.state.run(rects.len(), &mut self.planes, logits, &mut fill)?;
        }
        let softened = |logits: &[f32]| {
            let probabilities = softmax(logits, temperature);
            if probabilities.iter().all(|p| p.is_finite()) {
                Ok(probabilities)
            } else {
                Err(InferError::Run(format!("the model's outputs are no numbers: {logits:?}").into()))
            }
        };
        self.logits.chunks_exact(classes).map(softened).collect()
    }
}

impl Classifier for Worker {
    fn classify_all(&mut self, frame: &Frame, rects: &[NormRect]) -> Result<Vec<Answer>, InferError> {
        let probabilities = self.probabilities_of(frame, rects)?;
        let manifest = self.model.manifest();
        let answer = |probabilities: Vec<f32>| {
            let scores = probabilities.into_iter().map(|p| Score::new(p.clamp(0.0, 1.0)));
            let mut top: Vec<_> =
                manifest.labels.iter().cloned().zip(scores).filter_map(|(l, s)| s.map(|s| (l, s))).collect();
            top.sort_by(|a, b| b.1.get().total_cmp(&a.1.get()));
            let rejected = top.first().is_none_or(|(_, best)| *best < manifest.reject_below);
            (top, rejected)
        };
        Ok(probabilities.into_iter().map(answer).collect())
    }
}

/// Softmax of `logits / temperature` (Guo et al. 2017, "On Calibration of Modern Neural Networks"), shifted by
/// the maximum so that it cannot overflow.
fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|l| ((l - max) / temperature).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::softmax;

    #[test]
    fn softmax_survives_large_logits_and_softens() {
        let sharp = softmax(&[1000.0, 0.0], 1.0);
        assert!((sharp[0] - 1.0).abs() < 1e-6 && sharp[1] >= 0.0);
        let soft = softmax(&[2.0, 0.0], 2.0);
        assert!((soft[0] - 0.731_058_6).abs() < 1e-6, "{soft:?}");
    }
}
