//! Statistics for batch norms that have none.
//!
//! Weights whose norms were folded into the convolutions carry norms that do nothing. Trained as they are, with the
//! statistics of each batch, the first step would throw the pretrained function away. So the mean and variance of what
//! each norm really meets are measured first, and its weight and bias changed so that the result stays the same.

use std::collections::BTreeMap;
use std::ops::Range;

use tch::{Kind, Tensor, no_grad};

use super::Net;
use super::layers::{Activation, Conv, Dense, Eager, Norm, Walker};

/// Sums over all values of a channel, in double precision.
struct Sums {
    values: Tensor,
    squares: Tensor,
    count: f64,
}

/// Computes as in evaluation and adds up what comes to each norm.
pub(crate) struct Statistics {
    eager: Eager,
    /// By the name of the convolution before the norm.
    sums: BTreeMap<String, Sums>,
}

impl Statistics {
    /// Nothing measured yet.
    pub(crate) const fn new() -> Self {
        Self { eager: Eager::EVAL, sums: BTreeMap::new() }
    }

    fn add_up(&mut self, name: &str, values: &Tensor) {
        let size = values.size();
        let (axes, count) = ([0_i64, 2, 3], (size[0] * size[2] * size[3]) as f64);
        let sum = |x: &Tensor| x.sum_dim_intlist(axes.as_slice(), false, Kind::Double);
        let (added, squares) = (sum(values), sum(&values.square()));
        match self.sums.get_mut(name) {
            Some(sums) => {
                let _ = sums.values.g_add_(&added);
                let _ = sums.squares.g_add_(&squares);
                sums.count += count;
            }
            None => {
                self.sums.insert(name.to_owned(), Sums { values: added, squares, count });
            }
        }
    }

    /// Gives what was measured to the norms of these stages. What the network computes stays the same.
    pub(crate) fn adopt(&self, net: &Net, stages: Range<usize>) {
        for conv in net.convs(stages) {
            if let (Some(norm), Some(sums)) = (&conv.norm, self.sums.get(&conv.name)) {
                let mean = &sums.values / sums.count;
                let variance = (&sums.squares / sums.count - mean.square()).clamp_min(0.0);
                no_grad(|| adopt(norm, &mean.to_kind(Kind::Float), &variance.to_kind(Kind::Float)));
            }
        }
    }
}

/// With `y = factor * x + offset` before and after: `weight = factor * sqrt(variance + eps)`,
/// `bias = offset + factor * mean`.
fn adopt(norm: &Norm, mean: &Tensor, variance: &Tensor) {
    let (factor, offset) = norm.affine();
    let weight = &factor * (variance + norm.eps).sqrt();
    let bias = offset + factor * mean;
    for (to, from) in [
        (&norm.weight, &weight),
        (&norm.bias, &bias),
        (&norm.running_mean, mean),
        (&norm.running_var, variance),
    ] {
        to.shallow_clone().copy_(from);
    }
}

impl Walker for Statistics {
    type Value = Tensor;

    fn conv(&mut self, x: &Tensor, layer: &Conv) -> Tensor {
        if layer.norm.is_some() {
            self.add_up(&layer.name, &layer.convolve(x, &layer.weight, layer.bias.as_ref()));
        }
        self.eager.conv(x, layer)
    }

    fn dense(&mut self, x: &Tensor, layer: &Dense) -> Tensor {
        self.eager.dense(x, layer)
    }

    fn activation(&mut self, x: &Tensor, activation: Activation) -> Tensor {
        self.eager.activation(x, activation)
    }

    fn max_pool(&mut self, x: &Tensor, kernel: i64, stride: i64, pad: i64) -> Tensor {
        self.eager.max_pool(x, kernel, stride, pad)
    }

    fn average(&mut self, x: &Tensor) -> Tensor {
        self.eager.average(x)
    }

    fn add(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        self.eager.add(a, b)
    }

    fn scale(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        self.eager.scale(a, b)
    }

    fn dropout(&mut self, x: Tensor, _probability: f64) -> Tensor {
        x
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tch::{Device, nn};

    use super::super::{Backbone, NormMode, Padding};
    use super::*;
    use crate::weights;

    /// The network with folded norms that `weights` gives it, or random ones.
    fn folded(weights: Option<&Path>) -> (nn::VarStore, Net) {
        tch::manual_seed(5);
        let store = nn::VarStore::new(Device::Cpu);
        let net = Net::new(&store.root(), Backbone::MobileNetV3Small, Padding::Tensorflow, 1000);
        if let Some(path) = weights {
            let tensors = weights::read(path).unwrap();
            weights::copy_into(&store, &net, Backbone::MobileNetV3Small, &tensors, path).unwrap();
        }
        (store, net)
    }

    #[test]
    fn new_statistics_change_nothing_at_first_and_hold_in_training() {
        let shared = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/models/mobilenet_v3_small.imagenet.safetensors");
        if !shared.exists() {
            println!("{} is not here: random weights instead", shared.display());
        }
        let (_store, net) = folded(shared.exists().then_some(shared.as_path()));
        let pictures = Tensor::rand([24, 3, 96, 96], (Kind::Float, Device::Cpu)) * 2.0 - 1.0;
        no_grad(|| {
            let before = net.forward(&pictures, Eager::EVAL);
            let destroyed = net.forward(&pictures, Eager::training(NormMode::Batch));
            let mut statistics = Statistics::new();
            let (_store, net) = folded(shared.exists().then_some(shared.as_path()));
            let all = 0..net.stage_count();
            let _ = net.walk_stages(&mut statistics, pictures.shallow_clone(), all.clone());
            statistics.adopt(&net, all);
            let apart = |logits: &Tensor| (logits - &before).abs().max().double_value(&[]);
            let after = apart(&net.forward(&pictures, Eager::EVAL));
            assert!(after < 1e-4, "the logits moved by {after}");
            let moved = net.norms().iter().all(|n| n.running_mean.abs().max().double_value(&[]) > 1e-6);
            assert!(moved, "every norm has statistics now");
            // On the pictures that were measured, a batch's statistics are the stored ones.
            let map = |net: &Net, mut mode: Eager| {
                net.walk_stages(&mut mode, pictures.shallow_clone(), 0..net.stage_count())
            };
            let [eval, batch] = [Eager::EVAL, Eager::training(NormMode::Batch)].map(|mode| map(&net, mode));
            let far = (batch - &eval).abs().max().double_value(&[]);
            let scale = eval.abs().max().double_value(&[]);
            assert!(far < 0.01 * scale, "in training the features move by {far}, of at most {scale}");
            assert!(apart(&destroyed) > 100.0 * after.max(1e-6), "without it they would be lost");
        });
    }
}
