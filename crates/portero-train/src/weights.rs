//! Weights in files: read, compared, copied by name, written in one step.
//!
//! The format is safetensors with torchvision's tensor names and, under the key `portero` of its metadata, a
//! [`Description`]. A file is never half written: the old one stays until the new one is on the disk. What is
//! trained or exported is decided elsewhere.

mod safetensors;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use portero_infer::{Channels, Input, Resize};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::{Kind, TchError, Tensor, nn};

use crate::nets::{Backbone, Dense, Net, Padding};
pub(crate) use safetensors::sha256;
use safetensors::{header, write};

/// ImageNet's mean and deviation per channel, red first, of values in 0..=255.
pub(crate) const IMAGENET: ([f32; 3], [f32; 3]) = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// What a weights file says of itself, beside the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// The architecture.
    pub(crate) arch: Backbone,
    /// How its strided convolutions pad.
    pub(crate) padding: Padding,
    /// Whether the batch norms were folded into the convolutions: their stored statistics then say nothing
    /// of the data, and training must keep them frozen or estimate them anew.
    pub(crate) folded_norms: bool,
    /// Input width in pixels.
    pub(crate) width: u32,
    /// Input height in pixels.
    pub(crate) height: u32,
    /// Per channel, red first: `(value - mean) / std`, value in 0..=255.
    pub(crate) mean: [f32; 3],
    /// See `mean`.
    pub(crate) std: [f32; 3],
    /// How a picture of another shape is made to fit.
    #[serde(default)]
    pub(crate) resize: Framing,
    /// Number of outputs.
    pub(crate) classes: i64,
    /// Names of the outputs; empty where they are not known, as in a base.
    #[serde(default)]
    pub(crate) labels: Vec<String>,
    /// What the logits are divided by before softmax; `None` where it was not fitted.
    #[serde(default)]
    pub(crate) temperature: Option<f32>,
    /// A best probability below this is *unknown*; `None` where it was not chosen.
    #[serde(default)]
    pub(crate) reject_below: Option<f32>,
    /// Where the weights come from and what they may be used for.
    #[serde(default)]
    pub(crate) provenance: BTreeMap<String, String>,
}

/// How a picture of another shape than the input's is made to fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Framing {
    /// Stretched: all of it is seen, distorted.
    #[default]
    Stretch,
    /// Scaled to fit, with bars: all of it is seen, smaller.
    Letterbox,
    /// The centre: for photos that were framed around what they show.
    Crop,
}

impl From<Framing> for Resize {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Stretch => Self::Stretch,
            Framing::Letterbox => Self::Letterbox,
            Framing::Crop => Self::Crop,
        }
    }
}

impl Framing {
    /// The word in a manifest.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stretch => "stretch",
            Self::Letterbox => "letterbox",
            Self::Crop => "crop",
        }
    }
}

impl Description {
    /// Of a network that is trained from nothing, on inputs of `side` x `side` pixels.
    pub(crate) fn fresh(arch: Backbone, side: u32) -> Self {
        let (mean, std) = IMAGENET;
        Self {
            arch,
            padding: Padding::Torch,
            folded_norms: false,
            width: side,
            height: side,
            mean,
            std,
            resize: Framing::Stretch,
            classes: 0,
            labels: Vec::new(),
            temperature: None,
            reject_below: None,
            provenance: BTreeMap::new(),
        }
    }

    /// The same network for these classes: what was fitted to others is forgotten.
    pub(crate) fn name_classes(&mut self, classes: &[String]) {
        self.classes = classes.len() as i64;
        self.labels = classes.to_vec();
        (self.temperature, self.reject_below) = (None, None);
    }

    /// How a picture becomes the network's input.
    pub(crate) fn input(&self) -> Input {
        let Self { width, height, mean, std, .. } = *self;
        Input { width, height, channels: Channels::Rgb, resize: self.resize.into(), mean, std }
    }
}

/// Why weights were not taken or not written. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WeightsError {
    /// The file could not be read or is cut short.
    #[error("cannot read the weights {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Not safetensors, or damaged.
    #[error("{} is no sound safetensors file", path.display())]
    Format {
        path: PathBuf,
        #[source]
        source: TchError,
    },
    /// A Python pickle.
    #[error(
        "{} is no safetensors file; write one once, in Python: safetensors.torch.save_file(model.state_dict(), \
         \"weights.safetensors\")",
        path.display()
    )]
    Pickle { path: PathBuf },
    /// The header is no JSON, or its description is no such thing.
    #[error("the header of {} does not parse", path.display())]
    Header {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// The tensors are those of another network: choose the architecture they belong to.
    #[error("{} does not hold the weights of {}: {differences}{hint}", path.display(), arch.name())]
    OtherArch { path: PathBuf, arch: Backbone, differences: String, hint: String },
    /// A weight is infinite or no number.
    #[error("{}: {tensor} holds values that are no finite numbers", path.display())]
    NotFinite { path: PathBuf, tensor: String },
    /// The file could not be written; what stood there before is untouched.
    #[error("cannot write the weights {}; what stood there before is untouched", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// libtorch refused a copy.
    #[error("libtorch refuses {tensor}")]
    Copy {
        tensor: String,
        #[source]
        source: TchError,
    },
}

/// What a copy did beside copying.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The last layer was left as it was: the file has this many classes, the network another number.
    pub(crate) head_replaced_from: Option<i64>,
    /// Tensors of the file that the network has no place for.
    pub(crate) unused: Vec<String>,
}

/// Reads the tensors of a safetensors file as 32-bit floats, without the counters of batches that PyTorch keeps.
///
/// # Errors
/// [`WeightsError`] when it is no safetensors file or holds a value that is no finite number.
pub(crate) fn read(path: &Path) -> Result<Tensors, WeightsError> {
    if matches!(path.extension().and_then(|e| e.to_str()), Some("pt" | "pth" | "bin" | "ckpt")) {
        return Err(WeightsError::Pickle { path: path.to_owned() });
    }
    File::open(path).map_err(|source| WeightsError::Read { path: path.to_owned(), source })?;
    let tensors = Tensor::read_safetensors(path)
        .map_err(|source| WeightsError::Format { path: path.to_owned(), source })?;
    let mut floats = Tensors::new();
    for (name, tensor) in tensors.into_iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
        let refuse = |source| WeightsError::Copy { tensor: name.clone(), source };
        let tensor = tensor.f_to_kind(Kind::Float).map_err(refuse)?;
        if !tensor.isfinite().all().f_int64_value(&[]).is_ok_and(|all| all == 1) {
            return Err(WeightsError::NotFinite { path: path.to_owned(), tensor: name });
        }
        floats.insert(name, tensor);
    }
    Ok(floats)
}

/// Reads what a weights file says of itself; `None` where it was not written by this program.
///
/// # Errors
/// [`WeightsError`] when the file is no safetensors file or its description is damaged.
pub(crate) fn describe(path: &Path) -> Result<Option<Description>, WeightsError> {
    let header = header(path).map_err(|source| WeightsError::Read { path: path.to_owned(), source })?;
    let refuse = |source| WeightsError::Header { path: path.to_owned(), source };
    let header: Value = serde_json::from_slice(&header).map_err(refuse)?;
    match header["__metadata__"]["portero"].as_str() {
        Some(text) => serde_json::from_str(text).map(Some).map_err(refuse),
        None => Ok(None),
    }
}

/// The architecture that these names belong to.
pub(crate) fn recognise(tensors: &Tensors) -> Option<Backbone> {
    let has = |name: &str| tensors.contains_key(name);
    if has("layer1.0.conv3.weight") && has("layer3.5.conv1.weight") && !has("layer3.6.conv1.weight") {
        return Some(Backbone::Resnet50);
    }
    let last = tensors.get("features.12.0.weight").filter(|_| has("features.1.block.1.fc1.weight"))?;
    // Widths differ in nothing but their shapes.
    let narrow = last.size().first() == Some(&432);
    Some(if narrow { Backbone::MobileNetV3Small75 } else { Backbone::MobileNetV3Small })
}

/// How many classes the weights of `arch` were made for.
pub(crate) fn classes_of(tensors: &Tensors, arch: Backbone) -> Option<i64> {
    let name = match arch {
        Backbone::MobileNetV3Small | Backbone::MobileNetV3Small75 => "classifier.3.weight",
        Backbone::Resnet50 => "fc.weight",
    };
    tensors.get(name).and_then(|t| t.size().first().copied())
}

/// Copies `tensors` by name into the variables of `store`, every shape compared first. Where only the number of
/// classes differs, the last layer keeps the values it has.
///
/// # Errors
/// [`WeightsError::OtherArch`] names the first tensors that are missing or have another shape; nothing is
/// copied then.
pub(crate) fn copy_into(
    store: &nn::VarStore,
    net: &Net,
    arch: Backbone,
    tensors: &Tensors,
    path: &Path,
) -> Result<Copied, WeightsError> {
    let variables: BTreeMap<_, _> =
        store.variables().into_iter().map(|(name, tensor)| (natural(&name), (name, tensor))).collect();
    let replaced = net.last_dense().and_then(|head| other_classes(head, tensors));
    let head = net.last_dense().map(|dense| format!("{}.", dense.name)).unwrap_or_default();
    let kept = |name: &str| replaced.is_some() && name.starts_with(&head);

    let mut differences = Vec::new();
    for (name, variable) in variables.values().filter(|(name, _)| !kept(name)) {
        match tensors.get(name) {
            None => differences.push(format!("{name} is missing")),
            Some(found) if found.size() != variable.size() => differences.push(format!(
                "{name} is {}, needed {}",
                shape(&found.size()),
                shape(&variable.size())
            )),
            Some(_) => {}
        }
    }
    if !differences.is_empty() {
        let hint = match recognise(tensors) {
            Some(found) if found != arch => format!("; it looks like {}", found.name()),
            _ => String::new(),
        };
        return Err(WeightsError::OtherArch {
            path: path.to_owned(),
            arch,
            differences: listed(&differences),
            hint,
        });
    }
    for (name, variable) in variables.values().filter(|(name, _)| !kept(name)) {
        let refuse = |source| WeightsError::Copy { tensor: name.clone(), source };
        tch::no_grad(|| variable.shallow_clone().f_copy_(&tensors[name])).map_err(refuse)?;
    }
    let names: Vec<&String> = variables.values().map(|(name, _)| name).collect();
    let unused = tensors.keys().filter(|name| !names.contains(name)).cloned().collect();
    Ok(Copied { head_replaced_from: replaced, unused })
}

/// The number of classes of the file's last layer, where it is another number on the same inputs.
fn other_classes(head: &Dense, tensors: &Tensors) -> Option<i64> {
    let (found, needed) = (tensors.get(&format!("{}.weight", head.name))?.size(), head.weight.size());
    (found.len() == 2 && found[1] == needed[1] && found[0] != needed[0]).then(|| found[0])
}

/// Sorts `features.2` before `features.10`.
fn natural(name: &str) -> Vec<(u64, String)> {
    name.split('.').map(|part| (part.parse().unwrap_or(u64::MAX), part.to_owned())).collect()
}

fn shape(dims: &[i64]) -> String {
    dims.iter().map(i64::to_string).collect::<Vec<_>>().join("x")
}

/// The first three, and how many more.
fn listed(differences: &[String]) -> String {
    let first = differences.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    match differences.len() {
        0..=3 => first,
        more => format!("{first}, and {} more", more - 3),
    }
}

/// Writes all variables of `store` with their description to `path`, in one step: a file of another name is
/// written and synced, then renamed. Blocks on the disk.
///
/// # Errors
/// [`WeightsError::Write`]; what stood at `path` before is untouched then.
pub(crate) fn save(path: &Path, store: &nn::VarStore, description: &Description) -> Result<(), WeightsError> {
    save_tensors(path, &store.variables().into_iter().collect(), description)
}

/// Writes `tensors` as [`save`] does.
///
/// # Errors
/// As [`save`].
pub(crate) fn save_tensors(
    path: &Path,
    tensors: &Tensors,
    description: &Description,
) -> Result<(), WeightsError> {
    let text = serde_json::to_string(description)
        .map_err(|source| WeightsError::Header { path: path.to_owned(), source })?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    let written = write(&draft, tensors, &text).and_then(|()| fs::rename(&draft, path));
    written.map_err(|source| {
        // The draft is of no use to anyone; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(&draft);
        WeightsError::Write { path: path.to_owned(), source }
    })
}
