//! Which samples make a new one, and with which weight.
//!
//! The triangle filter of Pillow's `BILINEAR`: as wide as two samples of the coarser of both grids. Weights are rounded to 16 bits
//! as Pillow-SIMD and `fast_image_resize` round them, so that the picture is theirs bit for bit.

/// Bits of a weight beside its sign.
const WEIGHT_BITS: u32 = 15;

/// The part of a row or column of samples that is resized, and to how many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    /// Samples there are; the filter does not reach beyond them.
    pub(super) samples: usize,
    /// Where the part begins, in samples.
    pub(super) from: f64,
    /// How long it is, in samples.
    pub(super) length: f64,
    /// Samples wanted, at least one.
    pub(super) wanted: usize,
}

/// The weights for a [`Span`].
#[derive(Debug)]
pub(super) struct Filter {
    span: Span,
    /// Bits that a sum is shifted by.
    shift: u32,
    /// The weights of one new sample after another.
    weights: Vec<i16>,
    /// For each: the first sample it takes, and where its weights begin and end.
    taps: Vec<(usize, [usize; 2])>,
    /// The same before they were rounded; kept for its memory.
    exact: Vec<f64>,
}

impl Filter {
    /// For nothing yet.
    pub(super) fn new() -> Self {
        let span = Span { samples: 0, from: 0.0, length: 0.0, wanted: 0 };
        Self { span, shift: 1, weights: Vec::new(), taps: Vec::new(), exact: Vec::new() }
    }

    /// Makes it the one for `span`, which it may already be.
    pub(super) fn fit(&mut self, span: Span) {
        if self.span == span {
            return;
        }
        self.span = span;
        self.exact.clear();
        self.taps.clear();
        (0..span.wanted).for_each(|number| self.weigh(number));
        let most = self.exact.iter().copied().fold(0.0, f64::max);
        // As many bits as the largest weight leaves, and no more than a sum of bytes leaves.
        let fits =
            |bits: u32| (most * f64::from(1u32 << (bits + 1))).round() < f64::from(1u32 << WEIGHT_BITS);
        self.shift = (0..22).find(|&bits| !fits(bits)).unwrap_or(21);
        let scale = f64::from(1u32 << self.shift);
        self.weights.clear();
        self.weights.extend(self.exact.iter().map(|weight| (weight * scale).round() as i16));
    }

    /// The weights of one new sample.
    fn weigh(&mut self, number: usize) {
        let Span { samples, from, length, wanted } = self.span;
        let step = length / wanted as f64;
        let reach = step.max(1.0);
        let center = from + (number as f64 + 0.5) * step;
        let first = (center - reach).floor().max(0.0) as usize;
        let last = (center + reach).ceil().min(samples as f64) as usize;
        let triangle = |sample: usize| {
            let far = ((sample as f64 - (center - 0.5)) * (1.0 / reach)).abs();
            if far < 1.0 { 1.0 - far } else { 0.0 }
        };
        let mut range = first..last;
        while range.start + 1 < range.end && triangle(range.start) == 0.0 {
            range.start += 1;
        }
        while range.start + 1 < range.end && triangle(range.end - 1) == 0.0 {
            range.end -= 1;
        }
        let begin = self.exact.len();
        self.exact.extend(range.clone().map(triangle));
        let sum: f64 = self.exact[begin..].iter().sum();
        self.exact[begin..].iter_mut().for_each(|weight| *weight /= sum);
        self.taps.push((range.start, [begin, self.exact.len()]));
    }

    /// For each new sample the first that it takes, and the weights from there on.
    pub(super) fn taps(&self) -> impl Iterator<Item = (usize, &[i16])> {
        self.taps.iter().map(|&(first, [begin, end])| (first, &self.weights[begin..end]))
    }

    /// Bits that a sum is shifted by: the weights of a new sample add up to 2 to the power of it, but for rounding.
    pub(super) fn shift(&self) -> u32 {
        self.shift
    }
}
