//! Temperature scaling (Guo et al. 2017): one number, chosen on val, that makes probabilities mean what they say.

use crate::fit::Scored;

/// Within this range. Where val has no error at all, ever lower temperatures would look ever better; half is the least
/// that a small val part can be believed.
const RANGE: (f64, f64) = (0.5, 20.0);

/// The temperature with the least cross-entropy on `val`.
pub(super) fn temperature(val: &Scored) -> f64 {
    least(|log| val.loss_at(log.exp()), RANGE.0.ln(), RANGE.1.ln()).exp()
}

/// Where a function with one minimum has it: golden-section search.
fn least(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut fa, mut fb) = (f(a), f(b));
    while high - low > 1e-4 {
        if fa < fb {
            (high, b, fb) = (b, a, fa);
            a = high - ratio * (high - low);
            fa = f(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + ratio * (high - low);
            fb = f(b);
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::*;

    #[test]
    fn the_least_is_found() {
        assert!((least(|x| (x - 1.3).powi(2), -3.0, 3.0) - 1.3).abs() < 1e-3);
    }

    #[test]
    fn too_sure_a_network_is_cooled_to_its_accuracy() {
        // Three of four right, always with a margin of 6: at the right temperature the margin is ln 3.
        let logits = Tensor::from_slice(&[6.0_f32, 0.0]).repeat([4, 1]);
        let found = temperature(&Scored { logits, truth: vec![0, 0, 0, 1] });
        assert!((found - 6.0 / 3.0_f64.ln()).abs() < 0.01, "{found}");
    }
}
