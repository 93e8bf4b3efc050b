//! Two models on the same pictures: McNemar's test, which looks only at the pictures that one of them gets right.

use serde::Serialize;

use super::rates::Rate;

/// What two models got right of the same pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Paired {
    /// How many pictures.
    pub(crate) pictures: usize,
    /// How many of them the first model gets right, and the second.
    pub(crate) first_right: usize,
    pub(crate) second_right: usize,
    /// How many only the first gets right, and only the second.
    pub(crate) only_first: usize,
    pub(crate) only_second: usize,
    /// How many get another answer.
    pub(crate) changed: usize,
    /// That chance alone makes such a difference: McNemar's exact test, two-sided.
    pub(crate) p: f64,
}

impl Paired {
    /// Below this a difference is taken for real.
    pub(crate) const SIGNIFICANT: f64 = 0.05;

    /// From the true classes and the two models' answers.
    pub(crate) fn of(truth: &[usize], first: &[usize], second: &[usize]) -> Self {
        let right =
            |answers: &[usize]| -> Vec<bool> { answers.iter().zip(truth).map(|(a, t)| a == t).collect() };
        let (first_was, second_was) = (right(first), right(second));
        let count = |was: &[bool]| was.iter().filter(|right| **right).count();
        let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count();
        let (only_first, only_second) = (only(&first_was, &second_was), only(&second_was, &first_was));
        Self {
            pictures: truth.len(),
            first_right: count(&first_was),
            second_right: count(&second_was),
            only_first,
            only_second,
            changed: first.iter().zip(second).filter(|(a, b)| a != b).count(),
            p: mcnemar(only_first as u64, only_second as u64),
        }
    }

    /// The accuracies of both, with their intervals.
    pub(crate) fn accuracies(&self) -> [Rate; 2] {
        [self.first_right, self.second_right].map(|right| Rate::of(right, self.pictures))
    }

    /// Points of accuracy by which the second is worse; negative when it is better.
    pub(crate) fn points_lost(&self) -> f64 {
        100.0 * (self.first_right as f64 - self.second_right as f64) / self.pictures.max(1) as f64
    }

    /// Whether the second lost more than `allowed` points and chance does not explain it.
    pub(crate) fn is_too_much(&self, allowed: f64) -> bool {
        self.points_lost() > allowed && self.p < Self::SIGNIFICANT
    }
}

/// McNemar's exact test (1947, in its binomial form): the probability, if both models were equally good, that those
/// pictures which only one of them gets right are shared out so unevenly.
fn mcnemar(only_first: u64, only_second: u64) -> f64 {
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

    #[test]
    fn only_what_one_of_them_gets_right_tells_them_apart() {
        let paired = Paired::of(&[0, 0, 0, 1, 1, 1], &[0, 0, 1, 1, 1, 0], &[0, 1, 1, 1, 0, 2]);
        assert_eq!((paired.first_right, paired.second_right), (4, 2));
        assert_eq!((paired.only_first, paired.only_second), (2, 0));
        assert_eq!(paired.changed, 3, "an answer that is wrong in another way counts as changed");
        assert_eq!(paired.p, 0.5);
        assert!((paired.points_lost() - 100.0 / 3.0).abs() < 1e-9);
    }

    /// 200 pictures of class 0, of which the second model gets `wrong` wrong.
    fn with_wrong(wrong: usize) -> Paired {
        let second: Vec<usize> = (0..200).map(|i| usize::from(i < wrong)).collect();
        Paired::of(&[0; 200], &[0; 200], &second)
    }

    #[test]
    fn a_loss_must_be_large_and_significant_to_be_refused() {
        assert!(!with_wrong(5).is_too_much(1.0), "2.5 points, but p = 0.0625");
        assert!(with_wrong(6).is_too_much(1.0), "3 points, p = 0.031");
        assert!(!with_wrong(6).is_too_much(3.0), "not more than allowed");
        let better = Paired::of(&[0; 200], &[1; 200], &[0; 200]);
        assert!(
            better.p < 0.01 && better.points_lost() < 0.0 && !better.is_too_much(0.0),
            "a gain is no loss"
        );
    }
}
