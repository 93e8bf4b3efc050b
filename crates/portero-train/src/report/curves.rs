//! ROC and precision-recall curves of one class against the rest, and calibration.

use serde::Serialize;

/// Points of a curve, both coordinates 0 to 1.
pub(super) type Points = Vec<(f64, f64)>;

/// Both curves of one class, with the areas under them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Curves {
    /// False-positive rate, true-positive rate.
    pub(super) roc: Points,
    pub(super) roc_auc: f64,
    /// Recall, precision.
    pub(super) precision_recall: Points,
    pub(super) average_precision: f64,
}

/// A drawn curve has no more points than this.
const DRAWN: usize = 200;

/// From scores and whether each sample is of the class. `None` when all are or none is. Equal scores count together.
pub(super) fn curves(scored: &[(f32, bool)]) -> Option<Curves> {
    let positives = scored.iter().filter(|(_, is)| *is).count() as f64;
    let negatives = scored.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hits, mut alarms) = (0.0, 0.0);
    let mut roc = vec![(0.0, 0.0)];
    let mut precision_recall = Vec::new();
    let (mut roc_auc, mut average_precision) = (0.0, 0.0);
    for tie in sorted.chunk_by(|a, b| a.0 == b.0) {
        let (x0, y0) = (alarms / negatives, hits / positives);
        for (_, is) in tie {
            if *is { hits += 1.0 } else { alarms += 1.0 }
        }
        let (x1, y1) = (alarms / negatives, hits / positives);
        let precision = hits / (hits + alarms);
        roc_auc += (x1 - x0) * (y0 + y1) / 2.0;
        average_precision += (y1 - y0) * precision;
        roc.push((x1, y1));
        precision_recall.push((y1, precision));
    }
    Some(Curves { roc: thin(roc), roc_auc, precision_recall: thin(precision_recall), average_precision })
}

/// Every n-th point, and the last.
fn thin(points: Points) -> Points {
    let step = points.len().div_ceil(DRAWN);
    let last = points.len().saturating_sub(1);
    points.into_iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last).map(|(_, p)| p).collect()
}

/// Predictions whose confidence lies in one tenth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(super) struct Bin {
    pub(super) count: usize,
    pub(super) confidence: f64,
    pub(super) accuracy: f64,
}

const BINS: usize = 10;

/// Bins of equal width over the probability of the best class, and the expected calibration error over them (Guo et
/// al. 2017).
pub(super) fn reliability(probabilities: &[Vec<f32>], truth: &[usize]) -> (Vec<Bin>, f64) {
    let mut bins = vec![Bin::default(); BINS];
    for (row, truth) in probabilities.iter().zip(truth) {
        let Some((best, p)) = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)) else { continue };
        let bin = &mut bins[((p * BINS as f32) as usize).min(BINS - 1)];
        bin.count += 1;
        bin.confidence += f64::from(*p);
        bin.accuracy += f64::from(u8::from(best == *truth));
    }
    let mut error = 0.0;
    for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
        let n = bin.count as f64;
        bin.confidence /= n;
        bin.accuracy /= n;
        error += n / truth.len() as f64 * (bin.confidence - bin.accuracy).abs();
    }
    (bins, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_those_of_the_definitions() {
        // scikit-learn's own example: roc_auc_score 0.75, average_precision_score 0.8333.
        let curves = curves(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]).unwrap();
        assert!((curves.roc_auc - 0.75).abs() < 1e-9);
        assert!((curves.average_precision - 0.833_333).abs() < 1e-5);
        assert_eq!((curves.roc.first(), curves.roc.last()), (Some(&(0.0, 0.0)), Some(&(1.0, 1.0))));
    }

    #[test]
    fn equal_scores_say_nothing() {
        let flat: Vec<_> = (0..10).map(|i| (0.5, i % 2 == 0)).collect();
        assert!((curves(&flat).unwrap().roc_auc - 0.5).abs() < 1e-9);
        assert_eq!(curves(&[(0.5, true)]), None);
    }

    #[test]
    fn sure_and_wrong_is_the_worst_calibration() {
        let sure = vec![vec![1.0_f32, 0.0]; 4];
        assert_eq!(reliability(&sure, &[0, 0, 0, 0]).1, 0.0);
        assert_eq!(reliability(&sure, &[1, 1, 1, 1]).1, 1.0);
        let (bins, error) = reliability(&sure, &[0, 0, 0, 1]);
        assert!((error - 0.25).abs() < 1e-9 && bins[9].count == 4);
    }
}
