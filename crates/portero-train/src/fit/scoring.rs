//! What a network says of pictures that it is not being fitted to.

use tch::{Kind, Tensor, no_grad};

use super::FitError;
use crate::data::Supply;
use crate::model::Model;

/// Pictures per forward pass.
const BATCH: usize = 128;

/// Logits with the true classes.
pub(crate) struct Scored {
    /// `N x classes`.
    pub(crate) logits: Tensor,
    /// `N`.
    pub(crate) truth: Vec<usize>,
}

/// Runs the model over the samples `indices`, as the daemon would see them.
pub(crate) fn score(model: &dyn Model, supply: &dyn Supply, indices: &[usize]) -> Result<Scored, FitError> {
    let mut logits = Vec::new();
    let mut truth = Vec::new();
    for chunk in indices.chunks(BATCH) {
        let (pictures, classes) = supply.plain(chunk).map_err(FitError::Batch)?;
        logits.push(no_grad(|| model.forward(&pictures, false)));
        truth.extend(Vec::<i64>::try_from(&classes).unwrap_or_default().into_iter().map(|c| c as usize));
    }
    Ok(Scored { logits: Tensor::cat(&logits, 0), truth })
}

impl Scored {
    /// Probabilities of each sample, after division by `temperature`.
    pub(crate) fn probabilities(&self, temperature: f64) -> Vec<Vec<f32>> {
        let classes = self.logits.size()[1] as usize;
        let flat = (&self.logits / temperature).softmax(-1, Kind::Float).contiguous().view(-1);
        let flat = Vec::<f32>::try_from(&flat).unwrap_or_default();
        flat.chunks_exact(classes).map(<[f32]>::to_vec).collect()
    }

    /// Mean cross-entropy.
    pub(crate) fn loss(&self) -> f64 {
        self.loss_at(1.0)
    }

    /// Mean cross-entropy after division by `temperature`.
    pub(crate) fn loss_at(&self, temperature: f64) -> f64 {
        let truth: Vec<i64> = self.truth.iter().map(|c| *c as i64).collect();
        (&self.logits / temperature).cross_entropy_for_logits(&Tensor::from_slice(&truth)).double_value(&[])
    }

    /// The most probable class of each sample.
    pub(crate) fn answers(&self) -> Vec<usize> {
        let answers = Vec::<i64>::try_from(&self.logits.argmax(-1, false)).unwrap_or_default();
        answers.into_iter().map(|c| c as usize).collect()
    }

    /// The share of right answers, and the mean over the classes of the share of right answers in each.
    pub(crate) fn accuracies(&self) -> (f64, f64) {
        let classes = self.logits.size()[1] as usize;
        let (mut right, mut all) = (vec![0.0_f64; classes], vec![0.0_f64; classes]);
        for (answer, truth) in self.answers().iter().zip(&self.truth) {
            all[*truth] += 1.0;
            right[*truth] += f64::from(u8::from(answer == truth));
        }
        let accuracy = right.iter().sum::<f64>() / all.iter().sum::<f64>().max(1.0);
        let present: Vec<f64> =
            right.iter().zip(&all).filter(|(_, n)| **n > 0.0).map(|(r, n)| r / n).collect();
        (accuracy, present.iter().sum::<f64>() / present.len().max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_accuracy_is_not_fooled_by_a_large_class() {
        let logits = Tensor::from_slice(&[2.0_f32, 0.0]).repeat([10, 1]);
        let truth = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let (accuracy, balanced) = Scored { logits, truth }.accuracies();
        assert!((accuracy - 0.9).abs() < 1e-9 && (balanced - 0.5).abs() < 1e-9);
    }
}
