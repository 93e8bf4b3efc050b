//! The manifest that goes with an exported model: what the daemon reads, and where the model comes from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portero_core::domain::NormRect;
use portero_core::words::hex;
use portero_infer::Model;
use serde::Serialize;
use sha2::{Digest, Sha256};
use toml::Value;

use super::cost::Cost;
use super::{ExportError, Job, Numbers, load, onnx, write};
use crate::answers::best;
use crate::compare::Origin;
use crate::data::{Dataset, Part};
use crate::evaluate::REJECTION;
use crate::report::Rate;
use crate::weights::Description;

/// A manifest as it is written; what the keys mean is in `docs/config.md`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Manifest {
    version: u32,
    pub(super) id: String,
    file: String,
    pub(super) sha256: String,
    pub(super) licence: String,
    input: Input,
    pub(super) output: Output,
    golden: Vec<Golden>,
    provenance: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Serialize)]
struct Input {
    width: u32,
    height: u32,
    channels: &'static str,
    resize: &'static str,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Output {
    labels: Vec<String>,
    pub(super) background: Vec<String>,
    activation: &'static str,
    pub(super) temperature: f32,
    pub(super) reject_below: f32,
}

#[derive(Debug, Clone, Serialize)]
struct Golden {
    image: String,
    probabilities: Vec<f32>,
    tolerance: f32,
}

/// How far a golden probability may be off on another machine.
const TOLERANCE: f32 = 0.02;

impl Manifest {
    /// Without a model and without golden pictures.
    ///
    /// # Errors
    /// [`ExportError::Option`] for a temperature or a threshold out of range.
    pub(crate) fn new(job: &Job<'_>, description: &Description, set: &Dataset) -> Result<Self, ExportError> {
        let settings = job.settings;
        let temperature = settings.temperature.or(description.temperature).unwrap_or(1.0);
        let reject_below = settings.reject_below.or(description.reject_below).unwrap_or(0.0);
        let refuse = |option, found: f32, allowed: &str| {
            Err(ExportError::Option { option, found: found.to_string(), allowed: allowed.to_owned() })
        };
        if !(temperature.is_finite() && temperature > 0.0) {
            return refuse("--temperature", temperature, "a number above 0");
        }
        if !(0.0..=1.0).contains(&reject_below) {
            return refuse("--reject-below", reject_below, "0.0 to 1.0");
        }
        let base = |key: &str| description.provenance.get(key).cloned();
        Ok(Self {
            version: 1,
            id: settings.id.clone(),
            file: format!("{}.onnx", settings.id),
            sha256: String::new(),
            licence: settings.licence.clone().or_else(|| base("licence")).unwrap_or_else(|| "unknown".into()),
            input: Input {
                width: description.width,
                height: description.height,
                channels: "rgb",
                resize: description.resize.as_str(),
                mean: description.mean,
                std: description.std,
            },
            output: Output {
                labels: description.labels.clone(),
                background: settings.background.clone(),
                activation: "softmax",
                temperature,
                reject_below,
            },
            golden: Vec::new(),
            provenance: provenance(job, description, set),
        })
    }

    /// A note of the provenance.
    pub(super) fn note(&self, key: &str) -> &str {
        self.provenance.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Writes `model` and this manifest to `folder` and lets the daemon's code load and verify them.
    ///
    /// # Errors
    /// [`ExportError::Write`], or what the daemon says of them.
    pub(crate) fn with_model(&mut self, folder: &Path, model: &[u8]) -> Result<Arc<Model>, ExportError> {
        fs::create_dir_all(folder)
            .map_err(|source| ExportError::Write { path: folder.to_owned(), source })?;
        self.sha256 = hex(&Sha256::digest(model));
        let path = folder.join(format!("{}.toml", self.id));
        write(&folder.join(&self.file), model)?;
        write(&path, toml::to_string(self).map_err(ExportError::Toml)?.as_bytes())?;
        let model = load(&path)?;
        model.verify(&|path| {
            let bytes = fs::read(path)?;
            crate::data::decode(&bytes)
        })?;
        Ok(model)
    }

    /// Adds what quantising cost, and what the exported model is worth, on one part.
    pub(crate) fn record(&mut self, cost: &Cost) {
        let part = cost.part.as_str();
        let paired = &cost.paired;
        let counts = [
            ("pictures", paired.pictures),
            ("float_right", paired.first_right),
            ("exported_right", paired.second_right),
            ("answers_changed", paired.changed),
        ];
        let counts = counts.map(|(key, count)| (format!("{part}_{key}"), Value::Integer(count as i64)));
        self.provenance.extend(counts);
        let rate = |rate: Rate| {
            Value::Array([rate.value, rate.low, rate.high].map(|v| Value::Float(rounded(v))).to_vec())
        };
        let [float, exported] = paired.accuracies();
        let numbers = [
            ("points_lost", Value::Float(rounded(paired.points_lost()))),
            ("mcnemar_p", Value::Float(rounded(paired.p))),
            ("float_accuracy", rate(float)),
            ("exported_accuracy", rate(exported)),
            ("exported_balanced_accuracy", rate(cost.figures.balanced_accuracy)),
        ];
        self.provenance.extend(numbers.map(|(key, value)| (format!("{part}_{key}"), value)));
        let rejection = &cost.figures.rejection;
        let accepted = [("known", Some(rejection.known_accepted)), ("unknown", rejection.unknown_accepted)];
        for (who, share) in accepted {
            if let Some(share) = share {
                self.provenance.insert(format!("{part}_{who}_accepted"), rate(share));
            }
        }
    }

    /// Copies `pictures` to `out` and notes the probabilities that `model` gives them.
    ///
    /// # Errors
    /// [`ExportError::Golden`] names the one that is no picture; [`ExportError::Write`]; the daemon's when the model cannot
    /// run.
    pub(crate) fn take_golden(
        &mut self,
        model: &Arc<Model>,
        pictures: &[PathBuf],
        out: &Path,
    ) -> Result<(), ExportError> {
        let folder = out.join("golden");
        fs::create_dir_all(&folder).map_err(|source| ExportError::Write { path: folder.clone(), source })?;
        let mut worker = model.worker()?;
        for path in pictures {
            let golden = |source| ExportError::Golden { path: path.clone(), source };
            let bytes = fs::read(path).map_err(|source| golden(source.into()))?;
            let picture = crate::data::decode(&bytes).map_err(golden)?;
            let probabilities = worker.probabilities(&picture, NormRect::FULL)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // It may be the very file: what it holds is read already.
            write(&folder.join(&*name), &bytes)?;
            let image = format!("golden/{name}");
            self.golden.push(Golden { image, probabilities, tolerance: TOLERANCE });
        }
        Ok(())
    }

    /// Takes the first picture of each class in val that `model` gets right, copies it to `out` and notes its
    /// probabilities.
    ///
    /// # Errors
    /// [`ExportError::Write`]; the daemon's when the model cannot run.
    pub(crate) fn choose_golden(
        &mut self,
        model: &Arc<Model>,
        set: &Dataset,
        data: &Path,
        out: &Path,
    ) -> Result<(), ExportError> {
        let folder = out.join("golden");
        fs::create_dir_all(&folder).map_err(|source| ExportError::Write { path: folder.clone(), source })?;
        let mut worker = model.worker()?;
        for (class, label) in set.classes.iter().enumerate() {
            let val = set.part(Part::Val).into_iter().map(|i| &set.samples[i]);
            for sample in val.filter(|sample| sample.class == class) {
                let original = data.join(&sample.name);
                let Ok(picture) =
                    fs::read(&original).map_err(Into::into).and_then(|b| crate::data::decode(&b))
                else {
                    continue;
                };
                let probabilities = worker.probabilities(&picture, NormRect::FULL)?;
                if best(&probabilities) != class {
                    continue;
                }
                let ending = original.extension().unwrap_or_default().to_string_lossy().into_owned();
                let name = format!("{}-{label}.{ending}", self.id);
                let path = folder.join(&name);
                fs::copy(&original, &path).map_err(|source| ExportError::Write { path, source })?;
                let image = format!("golden/{name}");
                self.golden.push(Golden { image, probabilities, tolerance: TOLERANCE });
                break;
            }
        }
        Ok(())
    }
}

/// The data that the model of this manifest was trained on, where it says so.
pub(crate) fn origin(manifest: &Path) -> Option<Origin> {
    let table: toml::Table = fs::read_to_string(manifest).ok()?.parse().ok()?;
    table.get("provenance")?.clone().try_into().ok()
}

/// To four digits: more would claim more than the pictures can tell.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn provenance(job: &Job<'_>, description: &Description, set: &Dataset) -> BTreeMap<String, Value> {
    let settings = job.settings;
    let text = |text: &str| Value::String(text.to_owned());
    let mut table: BTreeMap<String, Value> =
        description.provenance.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let command: Vec<String> = std::env::args().collect();
    let form = match settings.form {
        Numbers::Float => "32-bit floats".to_owned(),
        Numbers::ByteWeights => "weights as bytes, one scale per output channel".to_owned(),
        Numbers::Bytes => format!(
            "weights and values as bytes, calibrated on {} pictures, {} percent kept{}",
            settings.calibrate_on.min(set.part(Part::Train).len()),
            settings.percentile,
            match settings.qat {
                0 => String::new(),
                epochs => format!(", {epochs} epochs of quantisation-aware fine-tuning"),
            }
        ),
    };
    let padding = serde_json::to_value(description.padding);
    table.extend([
        ("architecture".to_owned(), text(description.arch.name())),
        ("padding".to_owned(), text(padding.ok().as_ref().and_then(|p| p.as_str()).unwrap_or_default())),
        ("form".to_owned(), text(&form)),
        ("opset".to_owned(), Value::Integer(onnx::OPSET)),
        ("data_sha256".to_owned(), text(&set.sha256)),
        ("reading".to_owned(), Value::try_from(&job.reading).unwrap_or(Value::Boolean(false))),
        ("seed".to_owned(), Value::Integer(job.reading.seed as i64)),
        ("export_command".to_owned(), text(&command.join(" "))),
        ("held_out".to_owned(), Value::Array(set.held_out.iter().map(|class| text(class)).collect())),
        (REJECTION.to_owned(), text(&job.rejection(description))),
        ("card".to_owned(), text(&format!("{}.md", settings.id))),
    ]);
    table
}
