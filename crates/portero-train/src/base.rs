//! `base`: checks a file of pretrained weights and writes it as a base for training.
//!
//! A base is the weights with a description: which network, how it pads, what its input is. Nothing is
//! downloaded and nothing is trained.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tch::{Device, Kind, Tensor, nn};

use crate::nets::{Backbone, Eager, Net, Padding, prune};
use crate::weights::{self, Copied, Description, Framing, Tensors, WeightsError};

/// Checks pretrained weights and writes them as a base for training.
#[derive(Debug, Args)]
pub(crate) struct Base {
    /// Weights with torchvision's tensor names, `.safetensors`.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The base to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Their architecture; recognised by the tensor names when left out.
    #[arg(long)]
    pub(crate) arch: Option<Backbone>,
    /// How strided convolutions pad. Weights that come from TensorFlow want `tensorflow`.
    #[arg(long, default_value = "torch")]
    pub(crate) padding: Padding,
    /// What the weights take as input. Left out: `imagenet` with torch's padding, `unit` with TensorFlow's.
    #[arg(long)]
    pub(crate) normalise: Option<Normalise>,
    /// Make a narrower network of MobileNetV3-Small: of each group of channels those whose weights are largest are
    /// kept. It must be trained before it is of use.
    #[arg(long)]
    pub(crate) width: Option<Width>,
    /// Licence of the weights, SPDX; recorded.
    #[arg(long)]
    pub(crate) licence: Option<String>,
    /// Where the weights come from; recorded.
    #[arg(long)]
    pub(crate) origin: Option<String>,
}

/// The share of its channels that a network keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Width {
    /// Three quarters.
    #[value(name = "0.75")]
    ThreeQuarters,
}

impl Width {
    /// What a network becomes; `None` where there is no such network.
    fn of(self, arch: Backbone) -> Option<Backbone> {
        match (self, arch) {
            (Self::ThreeQuarters, Backbone::MobileNetV3Small) => Some(Backbone::MobileNetV3Small75),
            _ => None,
        }
    }
}

/// What a network takes as input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Normalise {
    /// ImageNet's mean and deviation, as torchvision's weights want it.
    Imagenet,
    /// -1 to 1, as TensorFlow's mobile networks want it.
    Unit,
}

impl Normalise {
    /// Mean and deviation per channel, red first, of values in 0..=255.
    fn mean_std(self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::Imagenet => weights::IMAGENET,
            Self::Unit => ([127.5; 3], [127.5; 3]),
        }
    }
}

/// Why no base was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BaseError {
    /// The weights were refused.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The names are those of no network known here.
    #[error("{} holds no network known here: its tensors begin with {names}", path.display())]
    Unknown { path: PathBuf, names: String },
    /// Only MobileNetV3-Small of full width can be made narrower.
    #[error("{} holds {}; --width narrows mobilenet-v3-small only", path.display(), arch.name())]
    Width { path: PathBuf, arch: Backbone },
    /// The network gives nonsense with these weights.
    #[error("{}: the logits of a grey picture are no finite numbers", path.display())]
    Nonsense { path: PathBuf },
}

/// Side of the input in pixels, for every network here.
const SIDE: u32 = 224;

impl Base {
    /// Checks, converts and writes; gives the report to print.
    ///
    /// # Errors
    /// [`BaseError`] says what is wrong with the file; nothing is written then.
    pub(crate) fn run(&self) -> Result<String, BaseError> {
        let tensors = weights::read(&self.from)?;
        let arch = self.arch.or_else(|| weights::recognise(&tensors)).ok_or_else(|| {
            let names = tensors.keys().take(3).cloned().collect::<Vec<_>>().join(", ");
            BaseError::Unknown { path: self.from.clone(), names }
        })?;
        let classes = weights::classes_of(&tensors, arch).unwrap_or(1000);
        let build = |arch| {
            let store = nn::VarStore::new(Device::Cpu);
            let net = Net::new(&store.root(), arch, self.padding, classes);
            (store, net)
        };
        let (mut store, mut net) = build(arch);
        let copied = weights::copy_into(&store, &net, arch, &tensors, &self.from)?;
        let mut written = arch;
        if let Some(width) = self.width {
            let refuse = || BaseError::Width { path: self.from.clone(), arch };
            written = width.of(arch).ok_or_else(refuse)?;
            let (narrow_store, narrow) = build(written);
            if !prune(&net, &narrow) {
                return Err(refuse());
            }
            (store, net) = (narrow_store, narrow);
        }
        let grey = Tensor::zeros([1, 3, i64::from(SIDE), i64::from(SIDE)], (Kind::Float, Device::Cpu));
        let logits = tch::no_grad(|| net.forward(&grey, Eager::EVAL));
        if logits.isfinite().all().int64_value(&[]) != 1 {
            return Err(BaseError::Nonsense { path: self.from.clone() });
        }
        let description = self.description(written, classes, norms_are_folded(&net));
        weights::save(&self.out, &store, &description)?;
        Ok(self.report(&tensors, &copied, &description))
    }

    fn description(&self, arch: Backbone, classes: i64, folded_norms: bool) -> Description {
        let normalise = self.normalise.unwrap_or(match self.padding {
            Padding::Torch => Normalise::Imagenet,
            Padding::Tensorflow => Normalise::Unit,
        });
        let (mean, std) = normalise.mean_std();
        let name = self.from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pruned = self.width.map(|_| {
            "made of mobilenet-v3-small: of each group of channels three quarters were kept, those whose weights are largest"
        });
        let notes = [
            ("base", Some(name)),
            ("licence", self.licence.clone()),
            ("origin", self.origin.clone()),
            ("pruned", pruned.map(str::to_owned)),
        ];
        let provenance = notes.into_iter().filter_map(|(key, note)| Some((key.to_owned(), note?))).collect();
        Description {
            arch,
            padding: self.padding,
            folded_norms,
            width: SIDE,
            height: SIDE,
            mean,
            std,
            resize: Framing::Stretch,
            classes,
            labels: Vec::new(),
            temperature: None,
            reject_below: None,
            provenance,
        }
    }

    fn report(&self, tensors: &Tensors, copied: &Copied, description: &Description) -> String {
        let values: usize = tensors.values().map(Tensor::numel).sum();
        let mut text = format!(
            "{}: {}, {} tensors, {values} values, {} classes",
            self.from.display(),
            description.arch.name(),
            tensors.len() - copied.unused.len(),
            description.classes,
        );
        let padding = description.padding.to_possible_value().map(|v| v.get_name().to_owned());
        let [mean, std] = [description.mean, description.std].map(|v| format!("{v:?}"));
        // Writing to a string does not fail.
        let _ = write!(text, "\npadding {}, mean {mean}, std {std}", padding.unwrap_or_default());
        if !copied.unused.is_empty() {
            let _ = write!(text, "\nleft out, no place for them: {}", copied.unused.join(", "));
        }
        if self.width.is_some() {
            text +=
                "\nthree quarters of the channels were kept: train it before use (finetune --unfreeze all)";
        }
        if description.folded_norms {
            text += "\nbatch norms are folded: training keeps them frozen";
            if description.padding == Padding::Torch {
                text += "\nfolded weights often come from TensorFlow; those need --padding tensorflow";
            }
        }
        let _ = write!(text, "\nwritten to {}", self.out.display());
        text
    }
}

/// Whether every batch norm does nothing but add its bias: `weight` 1, `mean` 0, `variance + eps` 1.
fn norms_are_folded(net: &Net) -> bool {
    net.norms().iter().all(|norm| {
        let (factor, _) = norm.affine();
        let one = (factor - 1.0).abs().max().double_value(&[]) < 1e-4;
        one && norm.running_mean.abs().max().double_value(&[]) == 0.0
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn base(from: PathBuf, out: PathBuf, padding: Padding) -> Base {
        Base { from, out, arch: None, padding, normalise: None, width: None, licence: None, origin: None }
    }

    #[test]
    fn the_shared_weights_become_a_base_that_knows_its_padding() {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/models/mobilenet_v3_small.imagenet.safetensors");
        if !from.exists() {
            println!("skipped: {} is not here", from.display());
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("base.safetensors");
        let report = base(from, out.clone(), Padding::Tensorflow).run().unwrap();
        assert!(report.contains("mobilenet-v3-small, 210 tensors, 2554968 values, 1000 classes"), "{report}");
        assert!(report.contains("padding tensorflow") && report.contains("norms are folded"), "{report}");
        let description = weights::describe(&out).unwrap().unwrap();
        assert!(description.folded_norms && description.padding == Padding::Tensorflow);
        assert_eq!((description.mean, description.std), ([127.5; 3], [127.5; 3]));
    }

    #[test]
    fn a_narrower_base_says_that_it_was_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let store = nn::VarStore::new(Device::Cpu);
        let _ = Net::new(&store.root(), Backbone::MobileNetV3Small, Padding::Torch, 4);
        weights::save(&path("wide"), &store, &Description::fresh(Backbone::MobileNetV3Small, 224)).unwrap();
        let narrow = |from: &str, out: &str| Base {
            width: Some(Width::ThreeQuarters),
            ..base(path(from), path(out), Padding::Torch)
        };
        let report = narrow("wide", "narrow").run().unwrap();
        assert!(report.contains("mobilenet-v3-small-0.75") && report.contains("train it"), "{report}");
        let description = weights::describe(&path("narrow")).unwrap().unwrap();
        assert_eq!((description.arch, description.classes), (Backbone::MobileNetV3Small75, 4));
        assert!(description.provenance["pruned"].contains("mobilenet-v3-small"));
        base(path("narrow"), path("again"), Padding::Torch).run().unwrap();
        let error = narrow("narrow", "narrower").run().unwrap_err().to_string();
        assert!(error.contains("holds mobilenet-v3-small-0.75; --width narrows"), "{error}");
        assert!(!path("narrower").exists());
    }

    #[test]
    fn a_file_of_another_network_is_no_base() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("strange.safetensors");
        Tensor::write_safetensors(
            &[("bert.embedding", &Tensor::zeros([2], (Kind::Float, Device::Cpu)))],
            &from,
        )
        .unwrap();
        let out = folder.path().join("base.safetensors");
        let error = base(from, out.clone(), Padding::Torch).run().unwrap_err().to_string();
        assert!(error.contains("no network known here") && error.contains("bert.embedding"), "{error}");
        assert!(!out.exists());
    }
}
