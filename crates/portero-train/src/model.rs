//! What can be trained: an architecture, its input and its tensors together.
//!
//! Pictures come in as `N x 3 x H x W` floats made by the daemon's own preprocessing, logits go out as
//! `N x classes`.

use std::path::Path;

use portero_infer::{Channels, Input, Resize};
use serde::{Deserialize, Serialize};
use tch::nn::{self, ModuleT};
use tch::{Device, Tensor, no_grad};

use crate::data::{Cause, Supply};
use crate::nets::{Eager, Net, NormMode, Statistics, Walker, small};
use crate::weights::{self, Description, WeightsError};

/// The small architectures, which are trained from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arch {
    /// Two convolutions with ReLU and max-pool, two dense layers; 28x28.
    SimpleCnn,
    /// LeCun et al. 1998, with softmax instead of radial basis functions; 28x28, padded to 32x32.
    #[value(name = "lenet-5")]
    #[serde(rename = "lenet-5")]
    Lenet5,
}

/// A network, with all that decides its tensors and its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Design {
    Small(Arch),
    Photo(Description),
}

impl Design {
    /// How pictures become its input. The small ones take RGB, stretched, `x / 127.5 - 1`.
    pub(crate) fn input(&self) -> Input {
        match self {
            Design::Photo(description) => description.input(),
            Design::Small(Arch::SimpleCnn | Arch::Lenet5) => Input {
                width: 28,
                height: 28,
                channels: Channels::Rgb,
                resize: Resize::Stretch,
                mean: [127.5; 3],
                std: [127.5; 3],
            },
        }
    }
}

impl Design {
    /// Tells a photo network which classes it is for.
    pub(crate) fn name_classes(&mut self, classes: &[String]) {
        if let Self::Photo(description) = self {
            description.name_classes(classes);
        }
    }
}

impl std::fmt::Display for Design {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Design::Small(Arch::SimpleCnn) => "simple-cnn",
            Design::Small(Arch::Lenet5) => "lenet-5",
            Design::Photo(description) => description.arch.name(),
        })
    }
}

/// Pictures per forward pass.
const BATCH: usize = 32;

/// What the loop fits and what is scored.
pub(crate) trait Model {
    /// Its tensors.
    fn vars(&self) -> &nn::VarStore;
    /// Logits, `N x classes`. `train` switches dropout on.
    fn forward(&self, input: &Tensor, train: bool) -> Tensor;
    /// The factor to the learning rate of a tensor.
    fn rate(&self, name: &str) -> f64;
}

/// An architecture with its weights.
pub(crate) struct Network {
    vars: nn::VarStore,
    layers: Layers,
    /// Of what is pretrained, as a share of the last layer's.
    features_rate: f64,
    /// What the norms of the stages that are fitted do in training.
    norms: NormMode,
}

enum Layers {
    Small(Box<dyn ModuleT>),
    /// With the number of stages, from the input on, that are not fitted.
    Photo(Box<Net>, usize),
}

/// How much of a photo network is fitted beside its last layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unfreeze {
    /// Nothing: also the classifier's hidden layer, where there is one, stays what it was.
    Nothing,
    /// The classifier and so many of the last stages before it.
    Last(usize),
    All,
}

impl std::str::FromStr for Unfreeze {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            number => {
                number.parse().map(Self::Last).map_err(|_| "a number of stages or `all` is needed".to_owned())
            }
        }
    }
}

impl std::fmt::Display for Unfreeze {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Last(stages) => write!(f, "{stages}"),
            Self::All => f.write_str("all"),
        }
    }
}

impl Network {
    /// With fresh weights, drawn from torch's generator: seed that first.
    pub(crate) fn fresh(design: &Design, classes: usize) -> Self {
        let vars = nn::VarStore::new(Device::Cpu);
        let (root, classes) = (vars.root(), classes as i64);
        let layers = match design {
            Design::Small(Arch::SimpleCnn) => Layers::Small(Box::new(small::simple_cnn(&root, classes))),
            Design::Small(Arch::Lenet5) => Layers::Small(Box::new(small::lenet5(&root, classes))),
            Design::Photo(d) => Layers::Photo(Box::new(Net::new(&root, d.arch, d.padding, classes)), 0),
        };
        Self { vars, layers, features_rate: 1.0, norms: NormMode::Batch }
    }

    /// A photo network with the weights of `base`, but a last layer of its own where the number of classes differs or
    /// `new_head` is set. What is not named by `unfreeze` is frozen; what is, learns `features_rate` times as fast as
    /// the last layer. Its norms keep their statistics until [`Network::reestimate`].
    ///
    /// # Errors
    /// [`WeightsError`] names the first tensors of the file that differ.
    pub(crate) fn of_base(
        base: &Path,
        description: &Description,
        classes: usize,
        unfreeze: Unfreeze,
        features_rate: f64,
        new_head: bool,
    ) -> Result<Self, WeightsError> {
        let mut network = Self::fresh(&Design::Photo(description.clone()), classes);
        (network.features_rate, network.norms) = (features_rate, NormMode::Frozen);
        if let Layers::Photo(net, frozen) = &mut network.layers {
            let last =
                net.last_dense().map(|dense| [&dense.weight, &dense.bias].map(|t| (t, t.detach().copy())));
            weights::copy_into(&network.vars, net, description.arch, &weights::read(base)?, base)?;
            for (tensor, fresh) in last.into_iter().flatten().filter(|_| new_head) {
                no_grad(|| tensor.shallow_clone().copy_(&fresh));
            }
            *frozen = match unfreeze {
                Unfreeze::Nothing => net.stage_count(),
                Unfreeze::Last(stages) => net.stage_count().saturating_sub(stages),
                Unfreeze::All => 0,
            };
            let prefixes: Vec<&String> = (0..*frozen).flat_map(|stage| net.stage_prefixes(stage)).collect();
            for (name, tensor) in network.vars.variables() {
                let stays = prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
                    || (unfreeze == Unfreeze::Nothing && !net.is_last(&name));
                if stays {
                    let _ = tensor.set_requires_grad(false);
                }
            }
        }
        Ok(network)
    }

    /// How many numbers are fitted.
    pub(crate) fn parameters(&self) -> usize {
        self.vars.variables().values().filter(|t| t.requires_grad()).map(Tensor::numel).sum()
    }

    /// Gives the norms of the stages that are fitted the statistics of the samples `indices`, with weights and biases
    /// that leave the network's function as it is. From then on they learn from their batches.
    ///
    /// # Errors
    /// What the supply says.
    pub(crate) fn reestimate(&mut self, supply: &dyn Supply, indices: &[usize]) -> Result<(), Cause> {
        let Layers::Photo(net, frozen) = &self.layers else { return Ok(()) };
        let (mut still, mut statistics) = (Eager::EVAL, Statistics::new());
        for chunk in indices.chunks(BATCH) {
            let (pictures, _) = supply.plain(chunk)?;
            let _ = no_grad(|| {
                let map = net.walk_stages(&mut still, pictures, 0..*frozen);
                net.walk_stages(&mut statistics, map, *frozen..net.stage_count())
            });
        }
        statistics.adopt(net, *frozen..net.stage_count());
        self.norms = NormMode::Batch;
        Ok(())
    }

    /// What the last layer sees of `pictures`, `N x values`; nothing for a small network.
    pub(crate) fn features(&self, pictures: &Tensor) -> Option<Tensor> {
        let Layers::Photo(net, _) = &self.layers else { return None };
        let mut mode = Eager::EVAL;
        Some(no_grad(|| {
            let map = net.walk_stages(&mut mode, pictures.shallow_clone(), 0..net.stage_count());
            let features = mode.average(&map);
            net.walk_hidden(&mut mode, features).flatten(1, -1)
        }))
    }
}

impl Model for Network {
    fn vars(&self) -> &nn::VarStore {
        &self.vars
    }

    fn forward(&self, pictures: &Tensor, train: bool) -> Tensor {
        match &self.layers {
            Layers::Small(layers) => layers.forward_t(pictures, train),
            Layers::Photo(net, frozen) => {
                let mut still = Eager::EVAL;
                let mut mode = if train { Eager::training(self.norms) } else { Eager::EVAL };
                let map = no_grad(|| net.walk_stages(&mut still, pictures.shallow_clone(), 0..*frozen));
                let map = net.walk_stages(&mut mode, map, *frozen..net.stage_count());
                let features = mode.average(&map);
                net.walk_head(&mut mode, features)
            }
        }
    }

    fn rate(&self, name: &str) -> f64 {
        match &self.layers {
            Layers::Photo(net, _) if !net.is_last(name) => self.features_rate,
            _ => 1.0,
        }
    }
}

/// The last layer of a photo network alone: its input is what [`Network::features`] gave.
pub(crate) struct Head<'a>(pub(crate) &'a Network);

impl Model for Head<'_> {
    fn vars(&self) -> &nn::VarStore {
        self.0.vars()
    }

    fn forward(&self, features: &Tensor, train: bool) -> Tensor {
        match &self.0.layers {
            Layers::Small(layers) => layers.forward_t(features, train),
            Layers::Photo(net, _) => {
                let mut mode = if train { Eager::training(NormMode::Frozen) } else { Eager::EVAL };
                net.walk_last(&mut mode, features.shallow_clone())
            }
        }
    }

    fn rate(&self, name: &str) -> f64 {
        self.0.rate(name)
    }
}
