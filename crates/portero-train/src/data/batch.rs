//! Batches: which samples in which order, and their tensors.
//!
//! What a batch holds depends on the seed, the epoch and the sample only, never on threads or on where a run was
//! interrupted.

use portero_infer::Input;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::augment::{Augmentation, Augmenter};
use super::picture::Cause;
use super::{Dataset, mix};

/// What is done about classes of different sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Balance {
    /// Nothing.
    None,
    /// The loss of a class is weighted by the inverse of its size.
    Weights,
    /// Every class is drawn equally often, with repetition.
    Sampling,
}

/// `total / (classes * count)` for each class, so that their mean over the samples is 1.
pub(crate) fn class_weights(counts: &[usize]) -> Vec<f32> {
    let total: usize = counts.iter().sum();
    counts.iter().map(|count| total as f32 / (counts.len() as f32 * (*count).max(1) as f32)).collect()
}

/// Inputs and classes.
pub(crate) type Batch = (Tensor, Tensor);

/// Where batches come from.
pub(crate) trait Supply {
    /// The same supply for another thread, which makes a batch while the one before it is learned from; nothing where
    /// making one takes no time.
    fn concurrent(&self) -> Option<&(dyn Supply + Sync)> {
        None
    }
    /// The samples of one epoch over `indices`, in the order in which they are to be met.
    fn order(&self, indices: &[usize], balance: Balance, epoch: u64) -> Vec<usize>;
    /// Inputs for training, varied by augmentation, and their classes. `draw` is the epoch.
    fn training(&self, indices: &[usize], draw: u64) -> Result<Batch, Cause>;
    /// Inputs as the daemon would see them, and their classes.
    fn plain(&self, indices: &[usize]) -> Result<Batch, Cause>;
}

/// Makes batches of pictures, `N x 3 x H x W`, with their classes, `N`.
pub(crate) struct Batches<'a> {
    set: &'a Dataset,
    input: Input,
    augmentation: Augmentation,
    seed: u64,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(set: &'a Dataset, input: Input, augmentation: Augmentation, seed: u64) -> Self {
        Self { set, input, augmentation, seed }
    }

    fn batch(
        &self,
        indices: &[usize],
        fill: impl Fn(&mut Augmenter, usize, &mut [f32]) -> Result<(), Cause> + Sync,
    ) -> Result<Batch, Cause> {
        let (width, height) = (i64::from(self.input.width), i64::from(self.input.height));
        let size = (3 * width * height) as usize;
        let mut planes = vec![0.0_f32; size * indices.len()];
        planes.par_chunks_exact_mut(size).zip(indices).try_for_each_init(
            || Augmenter::new(&self.input),
            |augmenter, (planes, &i)| fill(augmenter, i, planes),
        )?;
        let pictures = Tensor::from_slice(&planes).view([-1, 3, height, width]);
        Ok((pictures, self.set.truth(indices)))
    }
}

impl Supply for Batches<'_> {
    fn concurrent(&self) -> Option<&(dyn Supply + Sync)> {
        Some(self)
    }

    fn order(&self, indices: &[usize], balance: Balance, epoch: u64) -> Vec<usize> {
        let mut rng = fastrand::Rng::with_seed(mix(&[self.seed, 1, epoch]));
        let mut order = indices.to_vec();
        if balance == Balance::Sampling {
            let mut members = vec![Vec::new(); self.set.classes.len()];
            indices.iter().for_each(|&i| members[self.set.samples[i].class].push(i));
            members.retain(|m| !m.is_empty());
            // Each class passes through all its members before one comes again.
            let share = indices.len().div_ceil(members.len());
            order.clear();
            for class in &mut members {
                rng.shuffle(class);
                order.extend(class.iter().cycle().take(share));
            }
        }
        rng.shuffle(&mut order);
        order
    }

    fn training(&self, indices: &[usize], draw: u64) -> Result<Batch, Cause> {
        let seed = |i: usize| mix(&[self.seed, 2, draw, i as u64]);
        self.batch(indices, |augmenter, i, planes| {
            let picture = &self.set.samples[i].picture;
            augmenter.fill(&self.augmentation, picture, seed(i), planes)
        })
    }

    fn plain(&self, indices: &[usize]) -> Result<Batch, Cause> {
        self.batch(indices, |augmenter, i, planes| {
            augmenter.plain(&self.set.samples[i].picture, planes);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::class_weights;

    #[test]
    fn rare_classes_weigh_more_and_the_mean_over_samples_is_one() {
        let counts = [30, 10];
        let weights = class_weights(&counts);
        assert!(weights[1] > weights[0]);
        let sum: f32 = weights.iter().zip(counts).map(|(w, n)| w * n as f32).sum();
        assert!((sum / 40.0 - 1.0).abs() < 1e-6);
    }
}
