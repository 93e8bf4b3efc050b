//! A convolution with packed weights, over any number of pictures: what both kinds of it share.

use super::aligned::Aligned;
use super::{Isa, Lanes, Requant, Table, Window, dense, depthwise};

/// A convolution for the instructions it was packed for.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    isa: Isa,
    layer: Layer,
    weights: Weights,
}

/// All but the weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    pub(super) window: Window,
    /// The input's zero point.
    pub(super) zero: u8,
    pub(super) requant: Requant,
    /// Biases and scales in the order of the packed weights.
    pub(super) lanes: Lanes,
    /// Whether two products of a weight and a signed byte fit into 16 bits: twice -128 times -128 does not.
    #[cfg(target_arch = "aarch64")]
    pub(super) pairs: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Weights {
    Dense(Aligned<i8>),
    Depthwise(depthwise::Packed),
}

impl Convolution {
    /// Every output from all inputs, through any window; 1x1 is the one that counts. `weights` are
    /// `[output][input channel][row][column]`; `zero` is the input's zero point. `None` when the lengths do not fit,
    /// the window is none that a kernel can run over, or the sums could overflow 32 bits.
    #[must_use]
    pub fn dense(isa: Isa, window: Window, zero: u8, weights: &[i8], requant: Requant) -> Option<Self> {
        let layer = Layer::new(isa, window, zero, weights, requant, window.input.channels)?;
        let weights = Weights::Dense(Aligned::new(&dense::pack(isa.level(), &window, weights)));
        Some(Self { isa, layer, weights })
    }

    /// Each channel through a window of its own. `weights` are `[channel][row][column]`; `zero` is the input's zero
    /// point. `None` when the lengths do not fit or there are fewer than five channels.
    #[must_use]
    pub fn depthwise(isa: Isa, window: Window, zero: u8, weights: &[i8], requant: Requant) -> Option<Self> {
        if window.input.channels <= 4 || window.output.channels != window.input.channels {
            return None;
        }
        let layer = Layer::new(isa, window, zero, weights, requant, 1)?;
        let weights = Weights::Depthwise(depthwise::Packed::new(isa.level(), &window, weights));
        Some(Self { isa, layer, weights })
    }

    /// The same with an activation behind it.
    #[must_use]
    pub fn with_table(mut self, table: Table) -> Self {
        self.layer.requant = self.layer.requant.with_table(table);
        self
    }

    /// Where the window lies.
    #[must_use]
    pub fn window(&self) -> &Window {
        &self.layer.window
    }

    /// Whether each channel has a window of its own.
    #[must_use]
    pub fn is_depthwise(&self) -> bool {
        matches!(self.weights, Weights::Depthwise(_))
    }

    /// Runs it on pictures that lie end to end.
    ///
    /// # Panics
    /// If the lengths are not so many times those of the window's planes.
    pub fn run(&self, input: &[u8], output: &mut [u8]) {
        let Window { input: from, output: to, .. } = self.layer.window;
        let pictures = input.len() / from.bytes();
        assert_eq!((input.len(), output.len()), (pictures * from.bytes(), pictures * to.bytes()));
        let level = self.isa.level();
        match &self.weights {
            // Then pictures lying end to end are one, and a weight that is loaded meets the pixels of several.
            Weights::Dense(packed) if self.layer.window.is_point() => {
                dense::run(level, &self.layer, packed, input, output);
            }
            Weights::Dense(packed) => {
                for (input, output) in
                    input.chunks_exact(from.bytes()).zip(output.chunks_exact_mut(to.bytes()))
                {
                    let run = |input: &[u8]| dense::run(level, &self.layer, packed, input, output);
                    self.layer.window.with_border(input, self.layer.zero, run);
                }
            }
            Weights::Depthwise(packed) => {
                for (input, output) in
                    input.chunks_exact(from.bytes()).zip(output.chunks_exact_mut(to.bytes()))
                {
                    depthwise::run(level, &self.layer, packed, input, output);
                }
            }
        }
    }
}

impl Layer {
    /// `inputs` is how many input channels each output is made of.
    fn new(
        isa: Isa,
        window: Window,
        zero: u8,
        weights: &[i8],
        mut requant: Requant,
        inputs: usize,
    ) -> Option<Self> {
        let outputs = window.output.channels;
        let depth = window.taps() * inputs;
        if !window.is_sound() || weights.len() != depth * outputs || requant.channels() != outputs {
            return None;
        }
        let sum = |o: usize| -> i32 { weights[o * depth..][..depth].iter().map(|w| i32::from(*w)).sum() };
        requant.shift(|o| sum(o).saturating_mul(i32::from(zero)));
        if !requant.holds(depth) {
            return None;
        }
        let origin = isa.level().origin();
        Some(Self {
            window,
            zero,
            lanes: requant.lanes(isa.level(), |o| sum(o).wrapping_mul(origin)),
            requant,
            #[cfg(target_arch = "aarch64")]
            pairs: !weights.contains(&i8::MIN),
        })
    }
}
