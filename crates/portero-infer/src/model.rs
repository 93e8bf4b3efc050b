//! The model: loaded and checked once, run by many workers.

use std::path::Path;
use std::sync::Arc;

use log::debug;
use portero_core::domain::{Frame, NormRect};
use portero_kernels::float::Simd;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

use super::passes::{self, Program, Stored};
use super::{Cause, InferError, Manifest, Worker, instructions, network};

/// How the network runs.
pub(super) enum Plan {
    /// In our kernels from end to end.
    Program(Arc<dyn Program>),
    /// In tract, and in our kernels where it has any.
    Tract(Arc<TypedRunnableModel>),
}

/// A loaded model: its manifest and its optimised plan. Share it in an `Arc`; each thread takes a [`Worker`].
pub struct Model {
    manifest: Manifest,
    plan: Plan,
}

impl Model {
    /// Reads the manifest at `path` and the model it names, compares the hash, optimises the graph. Takes some
    /// tenths of a second of CPU; what it needed meanwhile goes back to the system. Call [`Model::verify`] before trusting it.
    ///
    /// # Errors
    /// [`InferError`] says which file is wrong and how.
    pub fn load(path: &Path) -> Result<Self, InferError> {
        let manifest = Manifest::load(path)?;
        let bytes = network::read(&manifest.file, &manifest.sha256)?;
        let plan = plan(&manifest, &bytes)?;
        drop(bytes);
        portero_kernels::give_back();
        let model = Self { manifest, plan };
        debug!("model {}: {} operators", model.manifest.id, model.operators().len());
        Ok(model)
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
        match &self.plan {
            Plan::Program(program) => program.operators(),
            Plan::Tract(plan) => {
                let model = plan.model();
                let order = model.eval_order().unwrap_or_default();
                order.into_iter().map(|node| model.nodes[node].op.name().into_owned()).collect()
            }
        }
    }

    /// A worker with its own state and buffers.
    ///
    /// # Errors
    /// [`InferError::Run`] when tract cannot make a state.
    pub fn worker(self: &Arc<Self>) -> Result<Worker, InferError> {
        Worker::new(Arc::clone(self), &self.plan)
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
fn plan(manifest: &Manifest, bytes: &[u8]) -> Result<Plan, InferError> {
    let load = |source: TractError| InferError::Load { path: manifest.file.clone(), source: source.into() };
    let framework = tract_onnx::onnx();
    let mut file = framework.proto_model_for_read(&mut &bytes[..]).map_err(load)?;
    let stored = Stored::fold(&mut file);
    let mut model = framework.model_for_proto_model(&file).map_err(load)?;
    drop(file);
    network::check_ends(&manifest.file, model.inputs.len(), model.outputs.len())?;
    let input = &manifest.input;
    let wanted = [1, 3, input.height as usize, input.width as usize];
    check_input(manifest, &model, &wanted)?;
    model.set_input_fact(0, f32::fact(wanted).into()).map_err(load)?;
    let stored = stored.and_of(&model);
    let model = model.into_typed().map_err(load)?;
    let isa = instructions::chosen()?;
    let model = passes::quantised(model, &stored, isa).map_err(load)?;
    check_output(manifest, &model)?;
    let model = passes::floats(model, Simd::best()).map_err(load)?;
    if let Some(program) = passes::program(&model) {
        return Ok(Plan::Program(program));
    }
    let model = model.into_optimized().map_err(load)?;
    Ok(Plan::Tract(model.into_runnable().map_err(load)?))
}

/// A file that states an input shape of its own must state the manifest's; symbols match anything.
fn check_input(manifest: &Manifest, model: &InferenceModel, wanted: &[usize]) -> Result<(), InferError> {
    let fact = model.input_fact(0).map_err(network::run_error)?;
    let stated: Vec<Option<i64>> =
        fact.shape.dims().map(|d| d.concretize().and_then(|d| d.to_i64().ok())).collect();
    let fits = stated.is_empty()
        || (stated.len() == wanted.len()
            && stated.iter().zip(wanted).all(|(s, w)| s.is_none_or(|s| s == *w as i64)));
    if fits {
        return Ok(());
    }
    let found: Vec<String> = stated.iter().map(|d| d.map_or("?".to_owned(), |d| d.to_string())).collect();
    Err(network::wrong_shape(&manifest.file, "the input", found.join("x"), &network::dims(wanted)))
}

fn check_output(manifest: &Manifest, model: &TypedModel) -> Result<(), InferError> {
    let fact = model.output_fact(0).map_err(network::run_error)?;
    let dims: Vec<usize> = fact.shape.iter().filter_map(|d| d.to_usize().ok()).collect();
    let classes = manifest.labels.len();
    if fact.datum_type == f32::datum_type() && dims.iter().product::<usize>() == classes {
        return Ok(());
    }
    let found = format!("{} {:?}", network::dims(&dims), fact.datum_type);
    let expected = format!("1x{classes} F32, one logit per label");
    Err(network::wrong_shape(&manifest.file, "the output", found, &expected))
}
