//! `export`: from trained weights to a model and a manifest that the daemon runs.
//!
//! Batch norms are folded, numbers are quantised, the file is run by the daemon's own code on the pictures that
//! choose (val), and a model that became worse is refused. Nothing is trained here.

mod check;
mod graph;
mod manifest;
mod onnx;
mod quantise;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use portero::infer::{InferError, Model};
use prost::Message;
use tch::{Device, TchError, Tensor, nn};

use crate::data::{Augment, Batches, DataError, Dataset, Part, Reading, Supply};
use crate::evaluate::MODEL;
use crate::fit::{FitError, Run};
use crate::nets::Net;
use crate::weights::{self, Description, WeightsError};
use check::Comparison;
use graph::Graph;
use manifest::Manifest;
use onnx::Form;
use quantise::{Calibration, Span};

/// Writes trained weights as a model and a manifest that the daemon runs.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The folder of a run of `transfer` or `finetune` that has ended.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the data lies now, if it was moved.
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// What is to be written.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Folder to write `ID.onnx`, `ID.toml` and `golden/` to.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// The model's name, which the daemon records with every event.
    #[arg(long)]
    pub(crate) id: String,
    /// In which numbers.
    #[arg(long, default_value = "byte-weights")]
    pub(crate) form: Numbers,
    /// Percent of the values that calibration keeps within range; 100 keeps all (min/max).
    #[arg(long, value_name = "PERCENT", default_value_t = 99.99)]
    pub(crate) percentile: f64,
    /// How many pictures of the train part calibrate.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) calibrate_on: usize,
    /// A label that means "nothing here"; may be repeated.
    #[arg(long, value_name = "LABEL")]
    pub(crate) background: Vec<String>,
    /// What logits are divided by before softmax, instead of the fitted value.
    #[arg(long, value_name = "T")]
    pub(crate) temperature: Option<f32>,
    /// A best probability below this is unknown, instead of the chosen value.
    #[arg(long, value_name = "P")]
    pub(crate) reject_below: Option<f32>,
    /// Licence of the weights, SPDX; left out, that of the base.
    #[arg(long)]
    pub(crate) licence: Option<String>,
    /// Export even when quantisation made the model significantly worse.
    #[arg(long)]
    pub(crate) accept_loss: bool,
}

/// Trained weights and the data they were trained on, to be exported.
struct Job<'a> {
    weights: PathBuf,
    reading: Reading,
    settings: &'a Settings,
}

/// In which numbers a model is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Numbers {
    /// 32-bit floats.
    Float,
    /// Weights as bytes, a quarter of the size; computed in floats.
    ByteWeights,
    /// Weights and values as bytes, calibrated on pictures.
    Bytes,
}

impl Numbers {
    /// Points of accuracy that quantising may cost.
    fn allowed_loss(self) -> f64 {
        match self {
            Self::Float => 0.0,
            Self::ByteWeights => 0.5,
            Self::Bytes => 1.0,
        }
    }
}

/// Why no model was written. Messages name the file or the option.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The weights were refused.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] FitError),
    /// The pictures are not those of the training: val may have been trained on.
    #[error("{} is not the data that the run was trained on; --data names where that lies now", path.display())]
    OtherData { path: PathBuf },
    /// The pictures were refused.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The daemon's code refuses the model.
    #[error("the daemon's own code refuses the exported model")]
    Infer(#[from] InferError),
    /// libtorch failed.
    #[error("libtorch failed")]
    Torch(#[from] TchError),
    /// The weights are a base or come from elsewhere.
    #[error("{} holds no photo network with labels: train one with transfer or finetune", path.display())]
    Untrained { path: PathBuf },
    /// The pictures are of other classes.
    #[error("{} was trained for {trained:?}, the pictures are of {found:?}", path.display())]
    Labels { path: PathBuf, trained: Vec<String>, found: Vec<String> },
    /// An option makes no sense.
    #[error("{option} is {found}; allowed: {allowed}")]
    Option { option: &'static str, found: String, allowed: String },
    /// No picture to compare or calibrate on.
    #[error("there is no picture in {part}")]
    NoPictures { part: &'static str },
    /// Quantising made it worse than it may.
    #[error(
        "quantising costs {points:.2} points of accuracy on val, {allowed:.1} are allowed, and chance does not explain it \
         (McNemar p = {p:.4}): calibrate on more pictures, try another form, or say --accept-loss"
    )]
    Loss { points: f64, allowed: f64, p: f64 },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A picture could not be made an input.
    #[error("cannot prepare the pictures that calibrate")]
    Picture(#[source] portero::infer::Cause),
    /// The manifest cannot be put into TOML.
    #[error("cannot write the manifest as TOML")]
    Toml(#[source] toml::ser::Error),
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    fs::write(path, bytes).map_err(|source| ExportError::Write { path: path.to_owned(), source })
}

/// Pictures in a batch while calibrating.
const BATCH: usize = 16;

impl Export {
    /// Exports, checks, and gives the report to print. Takes all cores.
    ///
    /// # Errors
    /// [`ExportError`]. Where the loss is too large nothing is left in the folder.
    pub(crate) fn run(&self) -> Result<String, ExportError> {
        let run = Run::load(&self.run)?;
        let mut reading = run.reading.clone();
        if let Some(data) = &self.data {
            reading.data.clone_from(data);
        }
        let weights = run.path(MODEL);
        if !weights.exists() {
            return Err(ExportError::Untrained { path: self.run.clone() });
        }
        Job { weights, reading, settings: &self.settings }.run(Some(&run.data_sha256))
    }
}

impl Job<'_> {
    /// `data_sha256` is that of the data the weights were trained on.
    fn run(&self, data_sha256: Option<&str>) -> Result<String, ExportError> {
        let description = self.description()?;
        let set = Dataset::load(&self.reading, &description.input())?;
        if data_sha256.is_some_and(|trained| trained != set.sha256) {
            return Err(ExportError::OtherData { path: self.reading.data.clone() });
        }
        if set.classes != description.labels {
            let (path, trained, found) = (self.weights.clone(), description.labels, set.classes);
            return Err(ExportError::Labels { path, trained, found });
        }
        let graph = self.graph(&description)?;
        let folder = &self.settings.out;
        fs::create_dir_all(folder).map_err(|source| ExportError::Write { path: folder.clone(), source })?;
        let draft = drafts_in(folder)?;
        let result = self.export(&description, &set, &graph, &draft);
        // Only drafts are in it; that they stay behind would harm nobody.
        let _ = fs::remove_dir_all(&draft);
        result
    }

    fn export(
        &self,
        description: &Description,
        set: &Dataset,
        graph: &Graph,
        draft: &Path,
    ) -> Result<String, ExportError> {
        let mut manifest = Manifest::new(self, description, set)?;
        let float = onnx::model(graph, &self.settings.id, &Form::Float)?.encode_to_vec();
        let float = manifest.with_model(&draft.join("float"), &float)?;
        let bytes = self.encode(graph, description, set)?;
        let quantised = manifest.with_model(&draft.join("quantised"), &bytes)?;
        let comparison = Comparison::run(&float, &quantised, set)?;
        if comparison.is_too_much(self.settings.form.allowed_loss()) && !self.settings.accept_loss {
            let (points, p, allowed) = (comparison.points(), comparison.p, self.settings.form.allowed_loss());
            return Err(ExportError::Loss { points, allowed, p });
        }
        manifest.record(&comparison);
        manifest.choose_golden(&quantised, set, &self.reading.data, &self.settings.out)?;
        manifest.with_model(&self.settings.out, &bytes)?;
        let path = self.settings.out.join(format!("{}.toml", self.settings.id));
        Ok(format!("{}\nwritten to {}, {} bytes", comparison.report(), path.display(), bytes.len()))
    }

    fn description(&self) -> Result<Description, ExportError> {
        let refuse = |option, found: String, allowed: &str| {
            Err(ExportError::Option { option, found, allowed: allowed.to_owned() })
        };
        if !(50.0..=100.0).contains(&self.settings.percentile) {
            return refuse("--percentile", self.settings.percentile.to_string(), "50 to 100");
        }
        if self.settings.calibrate_on == 0 {
            return refuse("--calibrate-on", "0".into(), "1 and more");
        }
        let untrained = || ExportError::Untrained { path: self.weights.clone() };
        let description = weights::describe(&self.weights)?.ok_or_else(untrained)?;
        if description.labels.len() < 2 {
            return Err(untrained());
        }
        match self.settings.background.iter().find(|label| !description.labels.contains(label)) {
            Some(label) => {
                refuse("--background", label.clone(), &format!("some of {:?}", description.labels))
            }
            None => Ok(description),
        }
    }

    /// The network with its weights, traced.
    fn graph(&self, description: &Description) -> Result<Graph, ExportError> {
        let tensors = weights::read(&self.weights)?;
        let store = nn::VarStore::new(Device::Cpu);
        let classes = description.labels.len() as i64;
        let net = Net::new(&store.root(), description.arch, description.padding, classes);
        let copied = weights::copy_into(&store, &net, description.arch, &tensors, &self.weights)?;
        if copied.head_replaced_from.is_some() {
            return Err(ExportError::Untrained { path: self.weights.clone() });
        }
        Ok(Graph::trace(&net, i64::from(description.height), i64::from(description.width)))
    }

    /// The ONNX file in the form that was asked for.
    fn encode(
        &self,
        graph: &Graph,
        description: &Description,
        set: &Dataset,
    ) -> Result<Vec<u8>, ExportError> {
        let scales;
        let form = match self.settings.form {
            Numbers::Float => Form::Float,
            Numbers::ByteWeights => Form::ByteWeights,
            Numbers::Bytes => {
                let batches = self.calibration_batches(description, set)?;
                let calibration = if self.settings.percentile < 100.0 {
                    Calibration::Percentile(self.settings.percentile)
                } else {
                    Calibration::MinMax
                };
                scales = quantise::calibrate(graph, &batches, input_span(description), calibration)?;
                Form::Bytes(&scales)
            }
        };
        Ok(onnx::model(graph, &self.settings.id, &form)?.encode_to_vec())
    }

    /// Pictures of the train part, spread evenly over it, without augmentation.
    fn calibration_batches(
        &self,
        description: &Description,
        set: &Dataset,
    ) -> Result<Vec<Tensor>, ExportError> {
        let part = set.part(Part::Train);
        if part.is_empty() {
            return Err(ExportError::NoPictures { part: "train" });
        }
        let count = self.settings.calibrate_on.min(part.len());
        let chosen: Vec<usize> = (0..count).map(|i| part[i * part.len() / count]).collect();
        let input = Batches::new(set, description.input(), Augment::None.into(), self.reading.seed);
        let batches = chosen.chunks(BATCH).map(|batch| input.plain(batch).map(|(pictures, _)| pictures));
        batches.collect::<Result<_, _>>().map_err(ExportError::Picture)
    }
}

/// All that a normalised pixel can be.
fn input_span(description: &Description) -> Span {
    let ends = description.mean.iter().zip(&description.std);
    let of = |value: f32| ends.clone().map(move |(mean, std)| f64::from((value - mean) / std));
    Span { low: of(0.0).fold(0.0, f64::min), high: of(255.0).fold(0.0, f64::max) }
}

/// A folder for drafts below `folder`, so that it lies on the same disk.
fn drafts_in(folder: &Path) -> Result<PathBuf, ExportError> {
    let path = folder.join(format!(".export-{}", std::process::id()));
    fs::create_dir_all(&path).map_err(|source| ExportError::Write { path: path.clone(), source })?;
    Ok(path)
}

/// The daemon's model at `manifest`.
fn load(manifest: &Path) -> Result<Arc<Model>, ExportError> {
    Ok(Arc::new(Model::load(manifest)?))
}
