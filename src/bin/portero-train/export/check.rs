//! What quantising costs: the float model and the quantised one, both run by the daemon's code on val.

use std::sync::Arc;

use portero::domain::NormRect;
use portero::infer::{InferError, Model};
use rayon::prelude::*;

use super::ExportError;
use crate::data::{Dataset, Part};

/// Both models on the same pictures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    /// How many pictures.
    pub(crate) pictures: usize,
    /// How many of them the float model gets right.
    pub(crate) float_right: usize,
    /// How many of them the quantised model gets right.
    pub(crate) quantised_right: usize,
    /// How many get another answer.
    pub(crate) changed: usize,
    /// That chance alone makes such a difference: McNemar's exact test, two-sided.
    pub(crate) p: f64,
}

/// Below this a difference is taken for real.
const SIGNIFICANT: f64 = 0.05;

impl Comparison {
    /// Classifies the val part with both.
    ///
    /// # Errors
    /// [`ExportError::NoPictures`] without a val part; the daemon's when a model cannot run.
    pub(crate) fn run(
        float: &Arc<Model>,
        quantised: &Arc<Model>,
        set: &Dataset,
    ) -> Result<Self, ExportError> {
        let part = set.part(Part::Val);
        if part.is_empty() {
            return Err(ExportError::NoPictures { part: "val" });
        }
        let classes: Vec<usize> = part.iter().map(|i| set.samples[*i].class).collect();
        Ok(Self::of(&classes, &answers(float, set, &part)?, &answers(quantised, set, &part)?))
    }

    /// From the true classes and the two models' answers.
    pub(crate) fn of(classes: &[usize], float: &[usize], quantised: &[usize]) -> Self {
        let right =
            |answers: &[usize]| -> Vec<bool> { answers.iter().zip(classes).map(|(a, c)| a == c).collect() };
        let (float_was, quantised_was) = (right(float), right(quantised));
        let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count() as u64;
        Self {
            pictures: classes.len(),
            float_right: float_was.iter().filter(|right| **right).count(),
            quantised_right: quantised_was.iter().filter(|right| **right).count(),
            changed: float.iter().zip(quantised).filter(|(a, b)| a != b).count(),
            p: mcnemar(only(&float_was, &quantised_was), only(&quantised_was, &float_was)),
        }
    }

    /// Points of accuracy that are lost; negative when some are won.
    pub(crate) fn points(&self) -> f64 {
        100.0 * (self.float_right as f64 - self.quantised_right as f64) / self.pictures as f64
    }

    /// Whether more than `allowed` points are lost and chance does not explain it.
    pub(crate) fn is_too_much(&self, allowed: f64) -> bool {
        self.points() > allowed && self.p < SIGNIFICANT
    }

    /// For people.
    pub(crate) fn report(&self) -> String {
        let Self { pictures, float_right, quantised_right, changed, p } = self;
        format!(
            "on {pictures} pictures of val: float {float_right} right, exported {quantised_right} right, {changed} answers \
             changed, {:.2} points lost (McNemar p = {p:.3})",
            self.points()
        )
    }
}

/// McNemar's exact test (1947, in its binomial form): the probability, if both models were equally good, that those
/// pictures which only one of them gets right are shared out so unevenly.
pub(crate) fn mcnemar(only_first: u64, only_second: u64) -> f64 {
    let (few, all) = (only_first.min(only_second), only_first + only_second);
    // Logarithms, because the binomial coefficients overflow.
    let mut log_term = -(all as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for k in 1..=few {
        log_term += ((all - k + 1) as f64).ln() - (k as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// The class that `model` finds most probable, for each of these samples. Takes all cores.
fn answers(model: &Arc<Model>, set: &Dataset, part: &[usize]) -> Result<Vec<usize>, InferError> {
    let share = part.len().div_ceil(rayon::current_num_threads()).max(1);
    let shares = part.par_chunks(share).map(|share| {
        let mut worker = model.worker()?;
        share
            .iter()
            .map(|i| worker.probabilities(&set.samples[*i].picture, NormRect::FULL).map(|p| best(&p)))
            .collect()
    });
    Ok(shares.collect::<Result<Vec<Vec<usize>>, InferError>>()?.concat())
}

/// The index of the largest.
pub(crate) fn best(probabilities: &[f32]) -> usize {
    (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_is_the_binomial_test() {
        assert_eq!(mcnemar(0, 0), 1.0);
        assert!((mcnemar(5, 0) - 0.0625).abs() < 1e-12, "2 / 2^5");
        assert!((mcnemar(0, 6) - 0.03125).abs() < 1e-12, "2 / 2^6");
        assert!((mcnemar(2, 8) - 0.109_375).abs() < 1e-12, "2 * (1 + 10 + 45) / 2^10");
        assert!(mcnemar(5000, 5000) > 0.98 && mcnemar(5000, 5600) < 1e-8, "no overflow");
    }

    /// 200 pictures of class 0, of which the quantised model gets `wrong` wrong.
    fn with_wrong(wrong: usize) -> Comparison {
        let quantised: Vec<usize> = (0..200).map(|i| usize::from(i < wrong)).collect();
        Comparison::of(&[0; 200], &[0; 200], &quantised)
    }

    #[test]
    fn a_loss_must_be_large_and_significant_to_be_refused() {
        assert!(!with_wrong(5).is_too_much(1.0), "2.5 points, but p = 0.0625");
        assert!(with_wrong(6).is_too_much(1.0), "3 points, p = 0.031");
        assert!(!with_wrong(6).is_too_much(3.0), "not more than allowed");
        let better = Comparison::of(&[0; 200], &[1; 200], &[0; 200]);
        assert!(better.p < 0.01 && better.points() < 0.0 && !better.is_too_much(0.0), "a gain is no loss");
    }
}
