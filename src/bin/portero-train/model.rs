//! What can be trained, by name: the architecture, its input and its tensors together.
//!
//! Pictures come in as `N x 3 x H x W` floats made by the daemon's own preprocessing, logits go out as
//! `N x classes`.

use portero::infer::{Channels, Input, Resize};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor, nn};

use crate::nets::small;

/// The architectures.
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

impl Arch {
    /// How pictures become its input: RGB, stretched, `x / 127.5 - 1`.
    pub(crate) fn input(self) -> Input {
        let side = match self {
            Arch::SimpleCnn | Arch::Lenet5 => 28,
        };
        Input {
            width: side,
            height: side,
            channels: Channels::Rgb,
            resize: Resize::Stretch,
            mean: [127.5; 3],
            std: [127.5; 3],
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Arch::SimpleCnn => "simple-cnn",
            Arch::Lenet5 => "lenet-5",
        })
    }
}

/// An architecture with its weights.
pub(crate) struct Network {
    pub(crate) vars: nn::VarStore,
    layers: Box<dyn nn::ModuleT>,
}

impl Network {
    /// With fresh weights, drawn from torch's generator: seed that first.
    pub(crate) fn fresh(arch: Arch, classes: usize) -> Self {
        let vars = nn::VarStore::new(Device::Cpu);
        let classes = classes as i64;
        let layers: Box<dyn nn::ModuleT> = match arch {
            Arch::SimpleCnn => Box::new(small::simple_cnn(&vars.root(), classes)),
            Arch::Lenet5 => Box::new(small::lenet5(&vars.root(), classes)),
        };
        Self { vars, layers }
    }

    /// How many numbers are fitted.
    pub(crate) fn parameters(&self) -> usize {
        self.vars.trainable_variables().iter().map(Tensor::numel).sum()
    }

    /// Logits, `N x classes`. `train` switches dropout on and lets norms follow the batch.
    pub(crate) fn forward(&self, pictures: &Tensor, train: bool) -> Tensor {
        self.layers.forward_t(pictures, train)
    }
}
