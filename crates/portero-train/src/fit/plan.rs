//! The hyper-parameters of a run, and what follows from them for one step.

use serde::{Deserialize, Serialize};

use super::adam::Decay;
use crate::data::{Augment, Balance};

/// Which epoch's weights are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Keep {
    /// Those that are best on val.
    #[default]
    Best,
    /// Those of the last one: where val is too small or too easy to tell good epochs apart.
    Last,
}

/// How the weights are fitted.
#[derive(Debug, Clone, PartialEq, clap::Args, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How often all training pictures are passed through.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) epochs: u32,
    /// End after this epoch, although the learning rate is planned for --epochs: for a first stage that another one follows.
    #[arg(long, value_name = "EPOCH", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) until: Option<u32>,
    /// Pictures per step.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: u32,
    /// The highest learning rate.
    #[arg(long, default_value_t = 1e-3, value_name = "RATE")]
    pub(crate) lr: f64,
    /// Adam takes weight decay as part of the gradient, AdamW apart from it.
    #[arg(long, value_enum, default_value_t = Decay::Adam)]
    pub(crate) optimizer: Decay,
    /// Weight decay.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) weight_decay: f64,
    /// Gradients whose norm, over all that is fitted, is greater are scaled down to it.
    #[arg(long, value_name = "NORM", value_parser = positive)]
    pub(crate) clip: Option<f64>,
    /// Epochs over which the learning rate rises from 0, before it falls along a cosine to 0.
    #[arg(long, default_value_t = 0.5, value_name = "EPOCHS")]
    pub(crate) warmup: f64,
    /// Label smoothing, 0 to below 1.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) smoothing: f64,
    /// Keep a moving average of the weights with this decay (0.999 is usual), and evaluate that.
    #[arg(long, value_name = "DECAY")]
    pub(crate) ema: Option<f64>,
    /// Which epoch's weights are kept.
    #[arg(long, value_enum, default_value_t = Keep::Best)]
    #[serde(default)]
    pub(crate) keep: Keep,
    /// Stop when so many epochs in a row brought nothing better on val.
    #[arg(long, value_name = "EPOCHS", conflicts_with = "keep")]
    pub(crate) patience: Option<usize>,
    /// Train once more when val has chosen, on train and val together, for as many epochs, and keep those weights: for few
    /// pictures. Needs a test part, because val cannot be reported on then.
    #[arg(long)]
    #[serde(default)]
    pub(crate) refit: bool,
    /// What is done about classes of different sizes.
    #[arg(long, value_enum, default_value_t = Balance::None)]
    pub(crate) balance: Balance,
    /// How training pictures are varied.
    #[arg(long, value_enum, default_value_t = Augment::Light)]
    pub(crate) augment: Augment,
    /// The share of the pictures of held-out classes that may pass as known: decides the threshold on val.
    #[arg(long, default_value_t = FAR, value_name = "SHARE", value_parser = share)]
    #[serde(default = "far")]
    pub(crate) far: f64,
    /// The least share of a training picture that a random crop takes, instead of what --augment says; 1 takes all of it.
    #[arg(long, value_name = "SHARE", value_parser = part)]
    pub(crate) crop: Option<f32>,
}

/// The false-accept rate that is allowed when nobody says.
const FAR: f64 = 0.05;

fn far() -> f64 {
    FAR
}

/// A number from 0 to 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    number.ok_or_else(|| "a share from 0 to 1 is needed".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
    number.ok_or_else(|| "a number above 0 is needed".to_owned())
}

/// A share that is not nothing.
fn part(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|n: &f32| *n > 0.0 && *n <= 1.0);
    number.ok_or_else(|| "a number above 0 and up to 1 is needed".to_owned())
}

impl Plan {
    /// How many epochs are done at most.
    pub(crate) fn last_epoch(&self) -> usize {
        self.until.map_or(self.epochs, |until| until.min(self.epochs)) as usize
    }

    /// The learning rate at `step` (from 0) of a run with `steps` in each epoch: linear warm-up, then a cosine
    /// (Loshchilov, Hutter 2016) down to 0.
    pub(crate) fn learning_rate(&self, step: usize, steps: usize) -> f64 {
        let total = (self.epochs as usize * steps) as f64;
        let warmup = (self.warmup.max(0.0) * steps as f64).min(total);
        let at = step as f64 + 1.0;
        if at <= warmup {
            return self.lr * at / warmup;
        }
        let share = (at - warmup) / (total - warmup).max(1.0);
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * share.min(1.0)).cos())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A plan for tests.
    pub(crate) fn plan() -> Plan {
        Plan {
            epochs: 10,
            until: None,
            batch: 16,
            lr: 1e-3,
            optimizer: Decay::Adam,
            weight_decay: 0.0,
            clip: None,
            warmup: 2.0,
            smoothing: 0.0,
            ema: None,
            keep: Keep::Best,
            patience: None,
            refit: false,
            balance: Balance::None,
            augment: Augment::None,
            far: FAR,
            crop: None,
        }
    }

    #[test]
    fn a_first_stage_ends_early_at_the_rate_that_was_planned() {
        let whole = plan();
        let first = Plan { until: Some(3), ..plan() };
        assert_eq!((whole.last_epoch(), first.last_epoch()), (10, 3));
        assert_eq!(Plan { until: Some(30), ..plan() }.last_epoch(), 10);
        assert_eq!(first.learning_rate(149, 50), whole.learning_rate(149, 50));
    }

    #[test]
    fn the_rate_rises_to_its_height_and_falls_to_nothing() {
        let plan = plan();
        let rate = |step| plan.learning_rate(step, 50);
        assert!((rate(0) - 1e-5).abs() < 1e-12);
        assert!((rate(99) - 1e-3).abs() < 1e-12, "the height, after two epochs");
        assert!((rate(299) - 5e-4).abs() < 1e-9, "half of it halfway down");
        assert!(rate(499).abs() < 1e-12);
        assert!((0..499).all(|s| rate(s).is_finite() && (s < 99 || rate(s + 1) <= rate(s))));
    }
}
