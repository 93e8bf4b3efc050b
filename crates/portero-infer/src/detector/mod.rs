//! Detectors: pictures in, boxes with labels out.
//!
//! A detector is a network of the YOLOX family (Ge et al., 2021) as its authors export it, with a manifest that says
//! what is not in the file. It is loaded once like a classifier: hash compared, graph optimised, ends checked. Each
//! thread takes a [`Finder`] of its own.

mod decode;
mod letterbox;
mod manifest;

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::DimLike;

use super::network::{self, run_error};
use super::{Detector, Found, InferError, passes};
use decode::Decoder;
use letterbox::Letterbox;
pub use manifest::DetectorManifest;
use portero_core::domain::{Frame, Label};
use portero_kernels::{self as kernels, float::Simd};

/// Which detector, and what it is to find.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorSettings {
    /// The manifest.
    pub manifest: std::path::PathBuf,
    /// The labels that it tells of; some of the manifest's, never empty.
    pub labels: Vec<Label>,
}

/// A loaded detector. Share it in an `Arc`.
pub struct DetectorModel {
    manifest: DetectorManifest,
    /// Places of the wanted labels among the manifest's.
    wanted: Vec<usize>,
    plan: Arc<TypedRunnableModel>,
}

impl DetectorModel {
    /// Reads the manifest and the network that it names, compares the hash, optimises the graph. Takes some tenths
    /// of a second of CPU.
    ///
    /// # Errors
    /// [`InferError`] says which file is wrong and how.
    pub fn load(settings: &DetectorSettings) -> Result<Self, InferError> {
        let manifest = DetectorManifest::load(&settings.manifest)?;
        let bytes = network::read(&manifest.file, &manifest.sha256)?;
        let wanted = (0..manifest.labels.len()).filter(|i| settings.labels.contains(&manifest.labels[*i]));
        let wanted = wanted.collect();
        let plan = plan(&manifest, &bytes)?;
        drop(bytes);
        kernels::give_back();
        Ok(Self { manifest, wanted, plan })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &DetectorManifest {
        &self.manifest
    }

    /// What one thread detects with.
    ///
    /// # Errors
    /// [`InferError::Run`] when tract cannot make a state.
    pub fn finder(self: &Arc<Self>) -> Result<Finder, InferError> {
        let DetectorManifest { width, height, .. } = self.manifest;
        let state = self.plan.spawn().map_err(run_error)?;
        let tensor = Tensor::zero::<f32>(&[1, 3, height as usize, width as usize]).map_err(run_error)?;
        let letterbox = Letterbox::new(width, height, self.manifest.channels);
        Ok(Finder { model: Arc::clone(self), letterbox, state, tensor: Arc::new(tensor) })
    }
}

/// One thread's share of a detector.
pub struct Finder {
    model: Arc<DetectorModel>,
    letterbox: Letterbox,
    state: TypedSimpleState,
    /// Lent to the plan for a run.
    tensor: Arc<Tensor>,
}

impl Detector for Finder {
    fn detect(&mut self, frame: &Frame) -> Result<Vec<Found>, InferError> {
        let mut view = Arc::make_mut(&mut self.tensor).try_as_plain_ram_mut().map_err(run_error)?;
        let planes = view.as_slice_mut::<f32>().map_err(run_error)?;
        let scale = self.letterbox.fill(frame, planes).map_err(InferError::Run)?;
        let outputs =
            self.state.run(tvec!(TValue::from_const(Arc::clone(&self.tensor)))).map_err(run_error)?;
        let raw = outputs[0].try_as_plain_ram().map_err(run_error)?;
        let rows = raw.as_slice::<f32>().map_err(run_error)?;
        let size = (frame.width() as f32 * scale, frame.height() as f32 * scale);
        Ok(Decoder { manifest: &self.model.manifest, wanted: &self.model.wanted }.found(rows, size))
    }
}

fn plan(manifest: &DetectorManifest, bytes: &[u8]) -> Result<Arc<TypedRunnableModel>, InferError> {
    let load = |source: TractError| InferError::Load { path: manifest.file.clone(), source: source.into() };
    let (width, height) = (manifest.width as usize, manifest.height as usize);
    let model = tract_onnx::onnx().model_for_read(&mut &bytes[..]).map_err(load)?;
    network::check_ends(&manifest.file, model.inputs.len(), model.outputs.len())?;
    let model = model.with_input_fact(0, f32::fact([1, 3, height, width]).into()).map_err(load)?;
    let model = model.into_typed().map_err(load)?;
    let fact = model.output_fact(0).map_err(load)?;
    let dims: Vec<usize> = fact.shape.iter().filter_map(|d| d.to_usize().ok()).collect();
    let wanted = [1, manifest.rows(), manifest.columns()];
    if fact.datum_type != f32::datum_type() || dims != wanted {
        let [found, wanted] = [&dims[..], &wanted].map(network::dims);
        return Err(network::wrong_shape(&manifest.file, "the output", found, &wanted));
    }
    let model = passes::floats(model, Simd::best()).map_err(load)?;
    model.into_optimized().and_then(|model| model.into_runnable()).map_err(load)
}
