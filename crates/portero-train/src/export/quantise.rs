//! From floats to bytes: scales, zero points, and the ranges they are made from.
//!
//! Weights are signed and symmetric with one scale per output channel. Activations are unsigned with a zero
//! point, one scale per value; their ranges come from running the float graph on real pictures. The ranges of
//! the input and of a hard sigmoid are known without looking. Every range holds zero, so that padding is exact.

use tch::{Kind, Tensor, no_grad};

use super::graph::{FoldedConv, Graph, Op, ValueId};
use crate::nets::Activation;

/// How the range of a value is chosen from what was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Calibration {
    /// Everything that was seen.
    MinMax,
    /// The middle `percent` of it: a few extremes are cut off so that the rest is finer.
    Percentile(f64),
}

/// Smallest and largest of a value's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// How numbers become unsigned bytes: `byte = round(number / scale) + zero_point`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ByteScale {
    /// Above 0.
    pub(crate) scale: f32,
    /// The byte that means 0.
    pub(crate) zero_point: u8,
}

impl Span {
    /// The scale whose bytes reach from `low` to `high`, widened to hold 0.
    pub(crate) fn byte_scale(self) -> ByteScale {
        let (low, high) = (self.low.min(0.0), self.high.max(0.0));
        let scale = ((high - low) / 255.0).max(f64::from(f32::MIN_POSITIVE)) as f32;
        let zero_point = (-low / f64::from(scale)).round().clamp(0.0, 255.0) as u8;
        ByteScale { scale, zero_point }
    }
}

/// Weights as signed bytes.
pub(crate) struct ByteWeights {
    /// As the weights; -127 to 127.
    pub(crate) bytes: Vec<i8>,
    /// One per output channel.
    pub(crate) scales: Vec<f32>,
}

/// One scale per output channel of `conv`, so that its largest weight is 127. A channel of zeros has scale 1.
fn weight_scales(conv: &FoldedConv) -> Tensor {
    let largest = conv.weight.abs().flatten(1, -1).amax([1], false) / 127.0;
    largest.where_self(&largest.gt(0.0), &largest.ones_like())
}

/// Quantises the weights of `conv`, to the nearest, halves to even.
///
/// # Errors
/// libtorch's, when the weights cannot be copied out.
pub(crate) fn weights(conv: &FoldedConv) -> Result<ByteWeights, tch::TchError> {
    no_grad(|| {
        let scales = weight_scales(conv);
        let bytes = (&conv.weight / scales.reshape([-1, 1, 1, 1])).round().clamp(-127.0, 127.0);
        let bytes = Vec::<i8>::try_from(bytes.to_kind(Kind::Int8).flatten(0, -1))?;
        Ok(ByteWeights { bytes, scales: Vec::<f32>::try_from(scales)? })
    })
}

/// The weights of `conv` rounded to what their bytes mean; backward, the gradient passes as if they were not.
pub(crate) fn rounded_weights(conv: &FoldedConv) -> Tensor {
    let scales = no_grad(|| weight_scales(conv));
    let zeros = scales.zeros_like().to_kind(Kind::Int);
    conv.weight.fake_quantize_per_channel_affine(&scales, &zeros, 0, -127, 127)
}

/// Which values go through bytes, with their scales; `None` for the logits and for what a ReLU takes in.
pub(crate) type ByteScales = Vec<Option<ByteScale>>;

/// The values of `graph` that go through bytes.
fn is_quantised(graph: &Graph, value: ValueId) -> bool {
    value != graph.output() && !graph.only_feeds_relu(value)
}

/// Numbers sorted into bins of one width.
struct Histogram {
    counts: Vec<f64>,
    span: Span,
}

/// Bins of a histogram: fine enough that a bin is an eighth of a byte's step.
const BINS: i64 = 2048;

impl Histogram {
    fn new(span: Span) -> Self {
        Self { counts: vec![0.0; BINS as usize], span }
    }

    fn add(&mut self, x: &Tensor) -> Result<(), tch::TchError> {
        let (low, high) = (self.span.low, self.span.high.max(self.span.low + 1e-12));
        let counts = x
            .flatten(0, -1)
            .clamp(low, high)
            .f_histogram_bin_ct(BINS, [low, high].as_slice(), None::<&Tensor>, false)?
            .0;
        for (sum, count) in self.counts.iter_mut().zip(Vec::<f64>::try_from(counts.to_kind(Kind::Double))?) {
            *sum += count;
        }
        Ok(())
    }

    /// The span that leaves out `(1 - share) / 2` of the numbers at each end.
    fn middle(&self, share: f64) -> Span {
        let total: f64 = self.counts.iter().sum();
        let tail = total * (1.0 - share) / 2.0;
        let width = (self.span.high - self.span.low) / self.counts.len() as f64;
        let bins_before = |counts: &mut dyn Iterator<Item = &f64>| {
            let mut sum = 0.0;
            counts
                .take_while(|count| {
                    sum += **count;
                    sum <= tail
                })
                .count() as f64
        };
        Span {
            low: self.span.low + width * bins_before(&mut self.counts.iter()),
            high: self.span.high - width * bins_before(&mut self.counts.iter().rev()),
        }
    }
}

/// Runs `graph` on batches of pictures and chooses the scale of every value that goes through bytes. `input` is
/// the span that normalised pixels can have. The batches are gone through twice for a percentile.
///
/// # Errors
/// libtorch's, when numbers cannot be copied out.
pub(crate) fn calibrate(
    graph: &Graph,
    batches: &[Tensor],
    input: Span,
    calibration: Calibration,
) -> Result<ByteScales, tch::TchError> {
    let mut spans = vec![Span { low: 0.0, high: 0.0 }; graph.nodes.len() + 1];
    observe(graph, batches, &mut |value, x| {
        let span = &mut spans[value];
        span.low = span.low.min(x.min().f_double_value(&[])?);
        span.high = span.high.max(x.max().f_double_value(&[])?);
        Ok(())
    })?;
    if let Calibration::Percentile(percent) = calibration {
        let mut histograms: Vec<Histogram> = spans.iter().map(|span| Histogram::new(*span)).collect();
        observe(graph, batches, &mut |value, x| histograms[value].add(x))?;
        spans = histograms.iter().map(|histogram| histogram.middle(percent / 100.0)).collect();
    }
    spans[0] = input;
    for (node, span) in graph.nodes.iter().zip(&mut spans[1..]) {
        if matches!(node.op, Op::Activation(Activation::HardSigmoid)) {
            *span = Span { low: 0.0, high: 1.0 };
        }
    }
    let scale = |(value, span): (ValueId, Span)| is_quantised(graph, value).then(|| span.byte_scale());
    Ok(spans.into_iter().enumerate().map(scale).collect())
}

/// Shows `see` every value that goes through bytes, for every batch; stops at its first error.
fn observe(
    graph: &Graph,
    batches: &[Tensor],
    see: &mut dyn FnMut(ValueId, &Tensor) -> Result<(), tch::TchError>,
) -> Result<(), tch::TchError> {
    let mut result = Ok(());
    for batch in batches {
        // Only what is seen on the way counts, not the logits.
        let _ = no_grad(|| {
            graph.run(batch, &mut |value, x| {
                if result.is_ok() && is_quantised(graph, value) {
                    result = see(value, &x);
                }
                x
            })
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_the_ends_are_reached() {
        for (low, high) in [(-1.0, 3.0), (0.0, 6.0), (2.0, 6.0), (-4.0, -1.0)] {
            let ByteScale { scale, zero_point } = Span { low, high }.byte_scale();
            let number = |byte: u8| f64::from(scale) * (f64::from(byte) - f64::from(zero_point));
            assert_eq!(number(zero_point), 0.0);
            let step = f64::from(scale);
            assert!(
                number(0) <= low.min(0.0) + step && number(255) >= high.max(0.0) - step,
                "{low} to {high}"
            );
        }
        assert!(Span { low: 0.0, high: 0.0 }.byte_scale().scale > 0.0, "never a division by zero");
    }

    #[test]
    fn every_channel_has_its_own_scale_and_its_largest_weight_is_127() {
        let weight = Tensor::from_slice(&[0.5_f32, -1.0, 0.01, 0.004, 0.0, 0.0]).reshape([3, 2, 1, 1]);
        let bias = Tensor::zeros([3], (Kind::Float, tch::Device::Cpu));
        let conv = FoldedConv { weight, bias, stride: 1, pads: [0; 4], groups: 1 };
        let ByteWeights { bytes, scales } = weights(&conv).unwrap();
        assert_eq!(bytes, [64, -127, 127, 51, 0, 0], "63.5 goes to the even 64");
        assert!((scales[0] - 1.0 / 127.0).abs() < 1e-9 && scales[2] == 1.0);
    }

    #[test]
    fn a_percentile_cuts_off_the_few() {
        let mut values = vec![0.0_f32; 100_000];
        for (i, value) in values.iter_mut().enumerate() {
            *value = (i % 1000) as f32 / 1000.0;
        }
        values[0] = 50.0;
        let mut histogram = Histogram::new(Span { low: 0.0, high: 50.0 });
        histogram.add(&Tensor::from_slice(&values)).unwrap();
        let span = histogram.middle(0.9999);
        assert!(span.low == 0.0 && (0.9..1.1).contains(&span.high), "{span:?}");
        assert_eq!(histogram.middle(1.0).high, 50.0);
    }
}
