//! `export`: from trained weights to a model and a manifest that the daemon runs.
//!
//! Batch norms are folded, numbers are quantised, the file is run by the daemon's own code on the pictures that
//! choose (val), and a model that became worse is refused. Nothing is trained here.

mod aware;
mod card;
mod cost;
mod error;
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
use portero_infer::Model;
use prost::Message;
use tch::{Device, Tensor, nn};
use tract_onnx::pb;

use crate::data::{Augment, Augmentation, Balance, Batches, Dataset, Part, Reading, Supply};
use crate::evaluate::{MODEL, REJECTION};
use crate::fit::Run;
use crate::nets::Net;
use crate::weights::{self, Description};
use aware::Schedule;
use card::Card;
use cost::Cost;
pub(crate) use error::ExportError;
use graph::Graph;
use manifest::Manifest;
pub(crate) use manifest::origin;
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
    /// Epochs of quantisation-aware fine-tuning before a model is written as bytes: brings back what rounding costs.
    #[arg(long, value_name = "EPOCHS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) qat: u32,
    /// The highest learning rate of that fine-tuning.
    #[arg(long, value_name = "RATE", default_value_t = 5e-5)]
    pub(crate) qat_lr: f64,
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
    /// A Markdown file for the model card: what the model is for, where it fails, what it must not be used for.
    #[arg(long, value_name = "FILE")]
    pub(crate) notes: Option<PathBuf>,
    /// A picture that shows whether the model still answers as it did; may be repeated. Left out, the first of each
    /// class in val that it gets right: pictures that are passed on with the model.
    #[arg(long, value_name = "PICTURE")]
    pub(crate) golden: Vec<PathBuf>,
    /// Export even when quantisation made the model significantly worse.
    #[arg(long)]
    pub(crate) accept_loss: bool,
}

/// Trained weights and the data they were trained on, to be exported.
struct Job<'a> {
    weights: PathBuf,
    reading: Reading,
    settings: &'a Settings,
    /// How they were trained; `None` in tests, which train nothing.
    run: Option<&'a Run>,
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
        Job { weights, reading, settings: &self.settings, run: Some(&run) }.run()
    }
}

impl Job<'_> {
    fn run(&self) -> Result<String, ExportError> {
        let description = self.description()?;
        let notes = self.notes()?;
        let set = Dataset::load(&self.reading, &description.input())?;
        if self.run.is_some_and(|run| run.data_sha256 != set.sha256) {
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
        let result = self.export(&description, &set, &graph, notes.as_deref(), &draft);
        // Only drafts are in it; that they stay behind would harm nobody.
        let _ = fs::remove_dir_all(&draft);
        result
    }

    fn export(
        &self,
        description: &Description,
        set: &Dataset,
        graph: &Graph,
        notes: Option<&str>,
        draft: &Path,
    ) -> Result<String, ExportError> {
        let mut manifest = Manifest::new(self, description, set)?;
        let float = onnx::model(graph, &self.settings.id, &Form::Float)?.encode_to_vec();
        let float = manifest.with_model(&draft.join("float"), &float)?;
        let proto = self.encode(graph, description, set)?;
        let bytes = proto.encode_to_vec();
        let exported = manifest.with_model(&draft.join("exported"), &bytes)?;
        let how = self.rejection(description);
        let mut costs = vec![Cost::of(Part::Val, &float, &exported, set, &how)?];
        let (paired, allowed) = (&costs[0].paired, self.settings.form.allowed_loss());
        if paired.is_too_much(allowed) && !self.settings.accept_loss {
            return Err(ExportError::Loss { points: paired.points_lost(), allowed, p: paired.p });
        }
        if !set.part(Part::Test).is_empty() {
            costs.push(Cost::of(Part::Test, &float, &exported, set, &how)?);
        }
        costs.iter().for_each(|cost| manifest.record(cost));
        if self.settings.golden.is_empty() {
            manifest.choose_golden(&exported, set, &self.reading.data, &self.settings.out)?;
        } else {
            manifest.take_golden(&exported, &self.settings.golden, &self.settings.out)?;
        }
        manifest.with_model(&self.settings.out, &bytes)?;
        let operators = onnx::operators(&proto);
        let card = Card {
            job: self,
            description,
            set,
            manifest: &manifest,
            costs: &costs,
            notes,
            operators,
            bytes: bytes.len(),
        };
        let out = |ending: &str| self.settings.out.join(format!("{}.{ending}", self.settings.id));
        write(&out("md"), card.to_markdown().as_bytes())?;
        let costs: Vec<String> = costs.iter().map(Cost::report).collect();
        Ok(format!(
            "{}\nwritten to {}, {} bytes; the model card is {}",
            costs.join("\n"),
            out("toml").display(),
            bytes.len(),
            out("md").display()
        ))
    }

    /// How the rejection threshold was chosen.
    fn rejection(&self, description: &Description) -> String {
        match self.settings.reject_below {
            Some(_) => "set by hand".to_owned(),
            None => description.provenance.get(REJECTION).cloned().unwrap_or_else(|| "not chosen".to_owned()),
        }
    }

    /// What `--notes` names.
    fn notes(&self) -> Result<Option<String>, ExportError> {
        let read = |path: &PathBuf| {
            fs::read_to_string(path).map_err(|source| ExportError::Notes { path: path.clone(), source })
        };
        self.settings.notes.as_ref().map(read).transpose()
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
        if self.settings.qat > 0 && self.settings.form != Numbers::Bytes {
            return refuse("--qat", self.settings.qat.to_string(), "0, or more with --form bytes");
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
    ) -> Result<pb::ModelProto, ExportError> {
        let id = &self.settings.id;
        match self.settings.form {
            Numbers::Float => Ok(onnx::model(graph, id, &Form::Float)?),
            Numbers::ByteWeights => Ok(onnx::model(graph, id, &Form::ByteWeights)?),
            Numbers::Bytes => {
                let batches = self.calibration_batches(description, set)?;
                let calibration = if self.settings.percentile < 100.0 {
                    Calibration::Percentile(self.settings.percentile)
                } else {
                    Calibration::MinMax
                };
                let scales = quantise::calibrate(graph, &batches, input_span(description), calibration)?;
                if self.settings.qat == 0 {
                    return Ok(onnx::model(graph, id, &Form::Bytes(&scales))?);
                }
                let plan = self.run.map(|run| &run.plan);
                let schedule = Schedule {
                    epochs: self.settings.qat,
                    batch: plan.map_or(BATCH, |plan| plan.batch as usize),
                    lr: self.settings.qat_lr,
                    balance: plan.map_or(Balance::None, |plan| plan.balance),
                    seed: self.reading.seed,
                };
                let augment = plan.map_or(Augment::Light.into(), |p| Augmentation::of(p.augment, p.crop));
                let supply = Batches::new(set, description.input(), augment, self.reading.seed);
                let graph = aware::fit(graph, &scales, schedule, set, &supply)?;
                Ok(onnx::model(&graph, id, &Form::Bytes(&scales))?)
            }
        }
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
