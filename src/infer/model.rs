//! The model in tract: loaded and checked once, run by many workers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use log::debug;
use sha2::{Digest, Sha256};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use super::kernels::Isa;
use super::kernels::float::Simd;
use super::passes::{self, Stored};
use super::{Cause, Classifier, InferError, Manifest, Preprocessor};
use crate::domain::{Frame, Label, NormRect, Score};

type Plan = TypedRunnableModel;

/// A loaded model: its manifest and its optimised plan. Share it in an `Arc`; each thread takes a [`Worker`].
pub struct Model {
    manifest: Manifest,
    plan: Arc<Plan>,
}

impl Model {
    /// Reads the manifest at `path` and the model it names, compares the hash, optimises the graph. Takes some
    /// tenths of a second of CPU. Call [`Model::verify`] before trusting it.
    ///
    /// # Errors
    /// [`InferError`] says which file is wrong and how.
    pub fn load(path: &Path) -> Result<Self, InferError> {
        let manifest = Manifest::load(path)?;
        let bytes = fs::read(&manifest.file)
            .map_err(|source| InferError::Read { path: manifest.file.clone(), source })?;
        let found = hex(&Sha256::digest(&bytes));
        if found != manifest.sha256 {
            let (path, expected) = (manifest.file, manifest.sha256);
            return Err(InferError::Hash { path, expected, found });
        }
        let plan = plan(&manifest, &bytes)?;
        debug!("model {}: {} nodes after optimisation", manifest.id, plan.model().nodes.len());
        Ok(Self { manifest, plan })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The operators of the plan in the order in which they run, as they call themselves. Those that begin with
    /// `Int8` or `Float` are kernels of ours, in integers and in floats.
    #[must_use]
    pub fn operators(&self) -> Vec<String> {
        let model = self.plan.model();
        let order = model.eval_order().unwrap_or_default();
        order.into_iter().map(|node| model.nodes[node].op.name().into_owned()).collect()
    }

    /// A worker with its own state and buffers.
    ///
    /// # Errors
    /// [`InferError::Run`] when tract cannot make a state.
    pub fn worker(self: &Arc<Self>) -> Result<Worker, InferError> {
        let input = &self.manifest.input;
        let shape = [1, 3, input.height as usize, input.width as usize];
        let tensor = Tensor::zero::<f32>(&shape).map_err(run_error)?;
        Ok(Worker {
            preprocessor: Preprocessor::new(input.clone()),
            state: self.plan.spawn().map_err(run_error)?,
            tensor: Arc::new(tensor),
            model: Arc::clone(self),
        })
    }

    /// Classifies every golden picture and compares. `read` opens a picture.
    ///
    /// # Errors
    /// [`InferError::Golden`] names the picture and the class that is furthest off.
    pub fn verify(self: &Arc<Self>, read: &dyn Fn(&Path) -> Result<Frame, Cause>) -> Result<(), InferError> {
        let mut worker = self.worker()?;
        for golden in &self.manifest.golden {
            let frame = read(&golden.image)
                .map_err(|source| InferError::GoldenPicture { path: golden.image.clone(), source })?;
            let found = worker.probabilities(&frame, NormRect::FULL)?;
            let off = |i: usize| (found[i] - golden.probabilities[i]).abs();
            let worst = (0..found.len()).max_by(|a, b| off(*a).total_cmp(&off(*b))).unwrap_or(0);
            debug!("golden picture {}: off by {:.4} at most", golden.image.display(), off(worst));
            if off(worst) > golden.tolerance {
                return Err(InferError::Golden {
                    picture: golden.image.clone(),
                    label: self.manifest.labels[worst].to_string(),
                    expected: golden.probabilities[worst],
                    found: found[worst],
                    tolerance: golden.tolerance,
                });
            }
        }
        Ok(())
    }
}

/// Parses and optimises; checks that both ends are what the manifest needs.
fn plan(manifest: &Manifest, bytes: &[u8]) -> Result<Arc<Plan>, InferError> {
    let path = || manifest.file.clone();
    let load = |source: TractError| InferError::Load { path: path(), source: source.into() };
    let mut model = tract_onnx::onnx().model_for_read(&mut &bytes[..]).map_err(load)?;
    let (inputs, outputs) = (model.inputs.len(), model.outputs.len());
    if (inputs, outputs) != (1, 1) {
        return Err(shape_error(
            path(),
            "the graph",
            format!("{inputs} inputs and {outputs} outputs"),
            "1 and 1",
        ));
    }
    let input = &manifest.input;
    let wanted = [1, 3, input.height as usize, input.width as usize];
    check_input(manifest, &model, &wanted)?;
    model.set_input_fact(0, f32::fact(wanted).into()).map_err(load)?;
    let stored = Stored::of(&model);
    let model = model.into_typed().map_err(load)?;
    let model = passes::quantised(model, &stored, Isa::best()).map_err(load)?;
    let model = passes::floats(model, Simd::best()).map_err(load)?;
    let model = model.into_optimized().map_err(load)?;
    check_output(manifest, &model)?;
    model.into_runnable().map_err(load)
}

/// A file that states an input shape of its own must state the manifest's; symbols match anything.
fn check_input(manifest: &Manifest, model: &InferenceModel, wanted: &[usize]) -> Result<(), InferError> {
    let fact = model.input_fact(0).map_err(|e| InferError::Run(e.into()))?;
    let stated: Vec<Option<i64>> =
        fact.shape.dims().map(|d| d.concretize().and_then(|d| d.to_i64().ok())).collect();
    let fits = stated.is_empty()
        || (stated.len() == wanted.len()
            && stated.iter().zip(wanted).all(|(s, w)| s.is_none_or(|s| s == *w as i64)));
    if fits {
        return Ok(());
    }
    let found: Vec<String> = stated.iter().map(|d| d.map_or("?".to_owned(), |d| d.to_string())).collect();
    Err(shape_error(manifest.file.clone(), "the input", found.join("x"), &join(wanted)))
}

fn check_output(manifest: &Manifest, model: &TypedModel) -> Result<(), InferError> {
    let fact = model.output_fact(0).map_err(|e| InferError::Run(e.into()))?;
    let dims: Vec<usize> = fact.shape.iter().filter_map(|d| d.to_usize().ok()).collect();
    let classes = manifest.labels.len();
    if fact.datum_type == f32::datum_type() && dims.iter().product::<usize>() == classes {
        return Ok(());
    }
    let found = format!("{} {:?}", join(&dims), fact.datum_type);
    let expected = format!("1x{classes} F32, one logit per label");
    Err(shape_error(manifest.file.clone(), "the output", found, &expected))
}

fn shape_error(path: PathBuf, what: &'static str, found: String, expected: &str) -> InferError {
    InferError::Shape { path, what, found, expected: expected.to_owned() }
}

fn join(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn run_error(error: TractError) -> InferError {
    InferError::Run(error.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// One thread's share of a model.
pub struct Worker {
    model: Arc<Model>,
    preprocessor: Preprocessor,
    state: TypedSimpleState,
    /// Lent to the plan for a run and back in our hands after it, so that it is allocated once.
    tensor: Arc<Tensor>,
}

impl Worker {
    /// The raw outputs for the part `rect` of `frame`, one per label.
    fn logits(&mut self, frame: &Frame, rect: NormRect) -> Result<Vec<f32>, InferError> {
        let tensor = Arc::make_mut(&mut self.tensor);
        let mut view = tensor.try_as_plain_ram_mut().map_err(run_error)?;
        let planes = view.as_slice_mut::<f32>().map_err(run_error)?;
        self.preprocessor.fill(frame, rect, planes).map_err(InferError::Run)?;
        let outputs =
            self.state.run(tvec!(TValue::from_const(Arc::clone(&self.tensor)))).map_err(run_error)?;
        let logits = outputs[0].try_as_plain_ram().map_err(run_error)?;
        Ok(logits.as_slice::<f32>().map_err(run_error)?.to_vec())
    }

    /// Calibrated probabilities for the part `rect` of `frame`, in the order of the manifest's labels.
    ///
    /// # Errors
    /// [`InferError::Run`] when tract fails or a probability is no finite number.
    pub fn probabilities(&mut self, frame: &Frame, rect: NormRect) -> Result<Vec<f32>, InferError> {
        let logits = self.logits(frame, rect)?;
        let probabilities = softmax(&logits, self.model.manifest.temperature);
        if probabilities.iter().all(|p| p.is_finite()) {
            Ok(probabilities)
        } else {
            Err(InferError::Run(format!("the model's outputs are no numbers: {logits:?}").into()))
        }
    }
}

impl Classifier for Worker {
    fn classify(&mut self, frame: &Frame, rect: NormRect) -> Result<(Vec<(Label, Score)>, bool), InferError> {
        let probabilities = self.probabilities(frame, rect)?;
        let manifest = &self.model.manifest;
        let scores = probabilities.iter().map(|p| Score::new(p.clamp(0.0, 1.0)));
        let mut top: Vec<_> =
            manifest.labels.iter().cloned().zip(scores).filter_map(|(l, s)| s.map(|s| (l, s))).collect();
        top.sort_by(|a, b| b.1.get().total_cmp(&a.1.get()));
        let rejected = top.first().is_none_or(|(_, best)| *best < manifest.reject_below);
        Ok((top, rejected))
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
