//! Shares with their intervals, and figures per class.

use serde::Serialize;

/// The 97.5 % point of the normal distribution: intervals are of 95 %.
const Z: f64 = 1.959_964;

/// A share and the interval in which it lies with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Rate {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Rate {
    /// `hits` of `all`, with Wilson's score interval (Wilson 1927). Of nothing, anything is possible.
    pub(crate) fn of(hits: usize, all: usize) -> Self {
        if all == 0 {
            return Self { value: 0.0, low: 0.0, high: 1.0 };
        }
        let n = all as f64;
        let p = hits as f64 / n;
        let z2 = Z * Z;
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        Self { value: p, low: (centre - half).max(0.0), high: (centre + half).min(1.0) }
    }

    /// The mean of independent rates; its interval is put together from theirs (Zou, Donner 2008).
    pub(super) fn mean(rates: &[Rate]) -> Self {
        let n = rates.len().max(1) as f64;
        let value = rates.iter().map(|r| r.value).sum::<f64>() / n;
        let reach = |side: fn(&Rate) -> f64| rates.iter().map(|r| (side(r) / n).powi(2)).sum::<f64>().sqrt();
        Self { value, low: value - reach(|r| r.value - r.low), high: value + reach(|r| r.high - r.value) }
    }

    /// `93.4 % (92.0 to 94.6)`.
    pub(crate) fn percent(self) -> String {
        let [value, low, high] = [self.value, self.low, self.high].map(|v| 100.0 * v);
        format!("{value:.2} % ({low:.1} to {high:.1})")
    }
}

/// Figures of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ClassRates {
    pub(super) name: String,
    /// Samples of it.
    pub(super) support: usize,
    pub(super) precision: Rate,
    pub(super) recall: Rate,
    pub(super) f1: f64,
    /// Area under the ROC curve of this class against the rest; `None` without both.
    pub(super) roc_auc: Option<f64>,
    /// Mean precision over all recalls.
    pub(super) average_precision: Option<f64>,
}

/// How often each true class (row) was taken for each (column).
pub(super) fn confusion(classes: usize, truth: &[usize], answers: &[usize]) -> Vec<Vec<usize>> {
    let mut matrix = vec![vec![0; classes]; classes];
    truth.iter().zip(answers).for_each(|(t, a)| matrix[*t][*a] += 1);
    matrix
}

/// Precision, recall and their harmonic mean for class `class`.
pub(super) fn precision_recall_f1(confusion: &[Vec<usize>], class: usize) -> (Rate, Rate, f64) {
    let hits = confusion[class][class];
    let taken_for_it: usize = confusion.iter().map(|row| row[class]).sum();
    let of_it: usize = confusion[class].iter().sum();
    let f1 = 2.0 * hits as f64 / (taken_for_it + of_it).max(1) as f64;
    (Rate::of(hits, taken_for_it), Rate::of(hits, of_it), f1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 5e-4
    }

    #[test]
    fn intervals_are_those_of_wilson() {
        // Newcombe 1998, table I, method 3.
        for (hits, all, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let rate = Rate::of(hits, all);
            assert!(near(rate.low, low) && near(rate.high, high), "{hits} of {all}: {rate:?}");
        }
        assert_eq!(Rate::of(0, 0).high, 1.0);
    }

    #[test]
    fn a_mean_of_one_rate_is_that_rate_and_more_narrow_it() {
        let rate = Rate::of(81, 263);
        let one = Rate::mean(&[rate]);
        assert!(near(one.low, rate.low) && near(one.high, rate.high));
        let two = Rate::mean(&[rate, rate]);
        assert!(two.high - two.low < rate.high - rate.low);
    }

    #[test]
    fn precision_and_recall_read_the_matrix_the_right_way_round() {
        let matrix = confusion(2, &[0, 0, 0, 1], &[0, 1, 0, 1]);
        assert_eq!(matrix, [[2, 1], [0, 1]]);
        let (precision, recall, f1) = precision_recall_f1(&matrix, 1);
        assert_eq!((precision.value, recall.value), (0.5, 1.0));
        assert!(near(f1, 2.0 / 3.0));
    }
}
