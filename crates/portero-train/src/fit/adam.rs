//! Adam (Kingma, Ba 2014) and AdamW (Loshchilov, Hutter 2017), with their state in reach.
//!
//! libtorch's own optimisers do not give their moments out, and a run that is resumed without them is another run.

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Where weight decay acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Decay {
    /// In the gradient.
    Adam,
    /// On the weights themselves.
    #[value(name = "adamw")]
    AdamW,
}

/// A tensor that is fitted.
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) value: Tensor,
    /// Its learning rate is the step's, times this.
    pub(crate) rate: f64,
    mean: Tensor,
    square: Tensor,
}

/// The optimiser.
pub(crate) struct Adam {
    pub(crate) parameters: Vec<Parameter>,
    decay: Decay,
    weight_decay: f64,
    /// The greatest norm of all gradients together.
    clip: Option<f64>,
    /// Steps taken.
    pub(crate) steps: i32,
}

impl Adam {
    /// For tensors by name, with the factor of their learning rate.
    pub(crate) fn new(
        tensors: Vec<(String, Tensor, f64)>,
        decay: Decay,
        weight_decay: f64,
        clip: Option<f64>,
    ) -> Self {
        let parameter = |(name, value, rate): (String, Tensor, f64)| {
            let zero = || value.detach().zeros_like();
            Parameter { name, mean: zero(), square: zero(), value, rate }
        };
        Self { parameters: tensors.into_iter().map(parameter).collect(), decay, weight_decay, clip, steps: 0 }
    }

    /// Clears the gradients, computes those of `loss`, and moves every parameter.
    pub(crate) fn step(&mut self, loss: &Tensor, rate: f64) {
        for parameter in &mut self.parameters {
            parameter.value.zero_grad();
        }
        loss.backward();
        let shrink = self.clip.map_or(1.0, |most| (most / (self.gradient_norm() + 1e-6)).min(1.0));
        self.steps += 1;
        let correct1 = 1.0 - BETA1.powi(self.steps);
        let correct2 = 1.0 - BETA2.powi(self.steps);
        no_grad(|| {
            for parameter in &mut self.parameters {
                let mut gradient = parameter.value.grad();
                if !gradient.defined() {
                    continue;
                }
                if shrink < 1.0 {
                    gradient = &gradient * shrink;
                }
                let rate = rate * parameter.rate;
                if self.weight_decay > 0.0 {
                    match self.decay {
                        Decay::Adam => gradient = &gradient + &parameter.value * self.weight_decay,
                        Decay::AdamW => {
                            let _ = parameter.value.g_mul_scalar_(1.0 - rate * self.weight_decay);
                        }
                    }
                }
                let _ = parameter.mean.lerp_(&gradient, 1.0 - BETA1);
                let _ = parameter.square.lerp_(&(&gradient * &gradient), 1.0 - BETA2);
                let scale = (&parameter.square / correct2).sqrt_().g_add_scalar_(EPSILON);
                let _ = parameter.value.g_sub_(&(&parameter.mean * (rate / correct1) / scale));
            }
        });
    }

    /// The norm of all gradients together.
    fn gradient_norm(&self) -> f64 {
        let gradients = self.parameters.iter().map(|p| p.value.grad()).filter(Tensor::defined);
        gradients.map(|g| g.norm().double_value(&[]).powi(2)).sum::<f64>().sqrt()
    }

    /// The moments by name, for a checkpoint; they share their memory with the optimiser.
    pub(crate) fn moments(&self) -> Vec<(String, Tensor)> {
        let both = |p: &Parameter| {
            [
                (format!("mean.{}", p.name), p.mean.shallow_clone()),
                (format!("square.{}", p.name), p.square.shallow_clone()),
            ]
        };
        self.parameters.iter().flat_map(both).collect()
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::{self, OptimizerConfig};
    use tch::{Device, Kind};

    use super::*;

    /// Twenty steps on a small problem, by `step`.
    fn fit(mut step: impl FnMut(&nn::VarStore) -> Box<dyn FnMut(&Tensor)>) -> Tensor {
        // No random numbers: other tests seed the one generator at the same time.
        let wave = |rows: i64, columns: i64, by: f64| {
            (Tensor::arange(rows * columns, (Kind::Float, Device::Cpu)) * by).sin().view([rows, columns])
        };
        let vars = nn::VarStore::new(Device::Cpu);
        let layer = nn::linear(vars.root(), 4, 2, Default::default());
        no_grad(|| {
            layer.ws.shallow_clone().copy_(&wave(2, 4, 1.3));
            layer.bs.iter().for_each(|bias| bias.shallow_clone().copy_(&wave(1, 2, 0.7).view(-1)));
        });
        let (x, y) = (wave(32, 4, 0.9), wave(32, 2, 1.7));
        let mut step = step(&vars);
        for _ in 0..20 {
            step(&(x.apply(&layer) - &y).square().mean(Kind::Float));
        }
        layer.ws.detach()
    }

    #[test]
    fn twenty_steps_equal_those_of_libtorch() {
        let cases = [
            (Decay::Adam, 0.0, None),
            (Decay::Adam, 0.1, None),
            (Decay::AdamW, 0.1, None),
            (Decay::AdamW, 0.1, Some(0.3)),
        ];
        for (decay, weight_decay, clip) in cases {
            let theirs = fit(|vars| {
                let mut optimiser = match decay {
                    Decay::Adam => nn::adam(BETA1, BETA2, weight_decay).build(vars, 0.01),
                    Decay::AdamW => nn::adamw(BETA1, BETA2, weight_decay).build(vars, 0.01),
                }
                .unwrap();
                Box::new(move |loss| match clip {
                    Some(most) => optimiser.backward_step_clip_norm(loss, most),
                    None => optimiser.backward_step(loss),
                })
            });
            let ours = fit(|vars| {
                let tensors =
                    vars.variables().into_iter().map(|(name, tensor)| (name, tensor, 1.0)).collect();
                let mut optimiser = Adam::new(tensors, decay, weight_decay, clip);
                Box::new(move |loss| optimiser.step(loss, 0.01))
            });
            let apart: f64 = (ours - theirs).abs().max().try_into().unwrap();
            assert!(apart < 1e-6, "{decay:?} with weight decay {weight_decay}, clipped at {clip:?}: {apart}");
        }
    }
}
