//! Rejection: below which probability an answer is *unknown*, and what passes then.
//!
//! Val chooses the threshold. With classes held out of training it is the lowest at which no more of their pictures
//! pass than is allowed; without, nothing is known of false accepts, and the threshold is the one that most right
//! answers pass.

use std::fmt::Write as _;

use serde::Serialize;

use super::curves::{self, Points};
use super::rates::Rate;

/// Without held-out classes, this share of the right answers on val passes (the usual operating point of open-set
/// studies: Hendrycks, Gimpel 2016), unless that takes more than [`HIGHEST`].
pub(crate) const KEPT: f64 = 0.95;
/// A network that is never wrong on val is hardly ever unsure there; at another camera it would reject everything.
const HIGHEST: f32 = 0.9;

/// A probability and whether the answer is right; of an unknown there is no right answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answer {
    pub(super) probability: f32,
    pub(super) right: bool,
}

/// Below which probability an answer is *unknown*, and why there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Threshold {
    pub(crate) value: f32,
    /// How it was chosen, in words.
    pub(crate) how: String,
}

/// What passes at the chosen threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rejection {
    pub(crate) threshold: Threshold,
    pub(crate) held_out: Vec<String>,
    /// Pictures of held-out classes.
    pub(crate) unknown: usize,
    /// Of the pictures of known classes, those that pass.
    pub(crate) known_accepted: Rate,
    /// Of those that pass, the right ones.
    pub(crate) right_of_accepted: Rate,
    /// Of the pictures of held-out classes, those that pass.
    pub(crate) unknown_accepted: Option<Rate>,
    /// Area under known accepted over unknown accepted; a half is chance.
    pub(crate) roc_auc: Option<f64>,
    /// Unknown accepted, known accepted.
    pub(super) roc: Points,
    /// The same figures at every hundredth.
    pub(super) curve: Vec<Passing>,
}

/// What passes at one threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Passing {
    pub(super) threshold: f32,
    pub(super) known: f64,
    /// `None` when nothing passes.
    pub(super) right: Option<f64>,
    pub(super) unknown: Option<f64>,
}

/// The threshold that val chooses; at most the share `far` of `unknown` passes.
pub(super) fn choose(known: &[Answer], unknown: &[Answer], far: f64) -> Threshold {
    let sorted = |answers: &mut dyn Iterator<Item = &Answer>| {
        let mut probabilities: Vec<f32> = answers.map(|a| a.probability).collect();
        probabilities.sort_by(|a, b| b.total_cmp(a));
        probabilities
    };
    let strangers = sorted(&mut unknown.iter());
    if !strangers.is_empty() {
        let may_pass = (far * strangers.len() as f64 + 1e-9).floor() as usize;
        let value = strangers.get(may_pass).map_or(0.0, |p| p.next_up().min(1.0));
        let how = format!("on val at most {:.1} % of the pictures of held-out classes pass", 100.0 * far);
        return Threshold { value, how };
    }
    let right = sorted(&mut known.iter().filter(|a| a.right));
    let kept = (KEPT * right.len() as f64).ceil() as usize;
    let value = kept.checked_sub(1).map_or(0.0, |last| right[last].min(HIGHEST));
    let how = format!(
        "on val at least {:.0} % of the right answers pass; no class was held out, so nothing is known of false accepts",
        100.0 * KEPT
    );
    Threshold { value, how }
}

/// How many pass, and how many of these are right.
fn passing(answers: &[Answer], threshold: f32) -> (usize, usize) {
    let accepted = answers.iter().filter(|a| a.probability >= threshold);
    (accepted.clone().count(), accepted.filter(|a| a.right).count())
}

impl Rejection {
    /// What passes at `threshold`.
    pub(super) fn at(
        threshold: &Threshold,
        known: &[Answer],
        unknown: &[Answer],
        held_out: &[String],
    ) -> Self {
        let (accepted, right) = passing(known, threshold.value);
        let scored: Vec<(f32, bool)> = known
            .iter()
            .map(|a| (a.probability, true))
            .chain(unknown.iter().map(|a| (a.probability, false)))
            .collect();
        let roc = curves::curves(&scored);
        let is_open = !unknown.is_empty();
        let share = |count: usize, all: usize| count as f64 / all.max(1) as f64;
        let point = |hundredth: u8| {
            let threshold = f32::from(hundredth) / 100.0;
            let (accepted, right) = passing(known, threshold);
            Passing {
                threshold,
                known: share(accepted, known.len()),
                right: (accepted > 0).then(|| share(right, accepted)),
                unknown: is_open.then(|| share(passing(unknown, threshold).0, unknown.len())),
            }
        };
        Self {
            threshold: threshold.clone(),
            held_out: held_out.to_vec(),
            unknown: unknown.len(),
            known_accepted: Rate::of(accepted, known.len()),
            right_of_accepted: Rate::of(right, accepted),
            unknown_accepted: is_open.then(|| Rate::of(passing(unknown, threshold.value).0, unknown.len())),
            roc_auc: roc.as_ref().map(|curves| curves.roc_auc),
            roc: roc.map(|curves| curves.roc).unwrap_or_default(),
            curve: (0..=100).map(point).collect(),
        }
    }

    /// The figures as lines.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("rejected below     {:.3}: {}\n", self.threshold.value, self.threshold.how);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "known accepted     {}", self.known_accepted.percent());
        let _ = writeln!(text, "right of accepted  {}", self.right_of_accepted.percent());
        if let (Some(rate), Some(area)) = (self.unknown_accepted, self.roc_auc) {
            let _ = writeln!(
                text,
                "unknown accepted   {} of {}, ROC AUC {area:.4}",
                rate.percent(),
                self.unknown
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(probabilities: &[f32], right: bool) -> Vec<Answer> {
        probabilities.iter().map(|&probability| Answer { probability, right }).collect()
    }

    #[test]
    fn no_more_strangers_pass_than_are_allowed() {
        let known = answers(&[0.9, 0.95, 0.99], true);
        let strangers: Vec<f32> = (0..100).map(|i| i as f32 / 100.0).collect();
        let unknown = answers(&strangers, false);
        for (far, pass) in [(0.0, 0), (0.05, 5), (0.055, 5), (0.2, 20), (1.0, 100)] {
            let threshold = choose(&known, &unknown, far).value;
            assert_eq!(passing(&unknown, threshold).0, pass, "{far}: {threshold}");
        }
        let equal = answers(&[0.8; 10], false);
        assert_eq!(
            passing(&equal, choose(&known, &equal, 0.5).value).0,
            0,
            "equals pass together or not at all"
        );
    }

    #[test]
    fn without_strangers_most_right_answers_pass_and_a_sure_network_is_not_believed() {
        let mut known = answers(&(0..100).map(|i| 0.5 + i as f32 / 1000.0).collect::<Vec<_>>(), true);
        known.extend(answers(&[0.1; 50], false));
        let threshold = choose(&known, &[], 0.05).value;
        assert_eq!(passing(&known, threshold).1, 95, "{threshold}");
        assert_eq!(choose(&answers(&[0.999; 50], true), &[], 0.05).value, HIGHEST);
        assert_eq!(
            choose(&answers(&[0.9; 5], false), &[], 0.05).value,
            0.0,
            "nothing right, nothing to keep"
        );
    }

    #[test]
    fn figures_are_those_of_the_threshold() {
        let known = [answers(&[0.9, 0.8], true), answers(&[0.7, 0.2], false)].concat();
        let unknown = answers(&[0.75, 0.3], false);
        let threshold = Threshold { value: 0.6, how: String::new() };
        let found = Rejection::at(&threshold, &known, &unknown, &["bag".into()]);
        assert_eq!(found.known_accepted.value, 0.75);
        assert!((found.right_of_accepted.value - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(found.unknown_accepted.map(|r| r.value), Some(0.5));
        assert_eq!(found.roc_auc, Some(0.625), "5 of the 8 pairs in the right order");
        assert_eq!(found.curve[100].known, 0.0);
        assert_eq!(found.curve[0].unknown, Some(1.0));
        assert_eq!(Rejection::at(&threshold, &known, &[], &[]).unknown_accepted, None);
    }
}
