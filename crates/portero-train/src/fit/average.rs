//! A moving average of the weights (Polyak, Juditsky 1992): often better than the last weights, never part of the
//! steps.

use std::collections::HashMap;

use tch::{Tensor, nn, no_grad};

/// The average of all tensors of a network that hold floats.
pub(super) struct Average {
    decay: f64,
    pub(super) tensors: HashMap<String, Tensor>,
}

impl Average {
    /// Begins with the network as it is.
    pub(super) fn new(vars: &nn::VarStore, decay: f64) -> Self {
        let floats = vars.variables().into_iter().filter(|(_, tensor)| tensor.is_floating_point());
        Self { decay, tensors: floats.map(|(name, tensor)| (name, tensor.detach().copy())).collect() }
    }

    /// After step `steps`. Early on the decay is smaller, so that the first random weights are soon forgotten.
    pub(super) fn follow(&mut self, vars: &nn::VarStore, steps: i32) {
        let steps = f64::from(steps);
        let decay = self.decay.min((1.0 + steps) / (10.0 + steps));
        no_grad(|| {
            for (name, tensor) in vars.variables() {
                if let Some(average) = self.tensors.get_mut(&name) {
                    let _ = average.lerp_(&tensor, 1.0 - decay);
                }
            }
        });
    }

    /// Exchanges the network's values and the averaged ones; a second time brings them back.
    pub(super) fn exchange(&mut self, vars: &nn::VarStore) {
        no_grad(|| {
            for (name, mut tensor) in vars.variables() {
                if let Some(average) = self.tensors.get_mut(&name) {
                    let kept = tensor.detach().copy();
                    tensor.copy_(average);
                    average.copy_(&kept);
                }
            }
        });
    }
}
