//! A convolution of floats with packed weights, over any number of pictures: what both kinds of it share.

use std::sync::Arc;

use super::ramp::Ramp;
use super::{Simd, dense, depthwise, len};
use crate::Window;

/// How the input lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Height, width, channel, each pixel padded to [`stride`](super::stride).
    Pixels,
    /// Channel, height, width, without padding.
    Planes,
}

/// A convolution with packed weights. Clones share them.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    layer: Layer,
    weights: Weights,
}

/// All but the weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    /// What the weights are packed for.
    pub(super) simd: Simd,
    pub(super) window: Window,
    pub(super) source: Source,
    pub(super) ramp: Ramp,
}

#[derive(Debug, Clone, PartialEq)]
enum Weights {
    Dense(Arc<dense::Packed>),
    Depthwise(Arc<depthwise::Packed>),
}

impl Convolution {
    /// Every output from all inputs, through any window; 1x1 is the one that counts. `weights` are
    /// `[output][input channel][row][column]`, `bias` one for each output. `None` when the lengths do not fit.
    #[must_use]
    pub fn dense(simd: Simd, window: Window, source: Source, weights: &[f32], bias: &[f32]) -> Option<Self> {
        let packed = dense::Packed::new(simd, &window, source, weights, bias)?;
        let layer = Layer { simd, window, source, ramp: Ramp::NONE };
        Some(Self { layer, weights: Weights::Dense(Arc::new(packed)) })
    }

    /// Each channel, of pixels, through a window of its own. `weights` are `[channel][row][column]`, `bias` one for
    /// each channel. `None` when the lengths do not fit, or a window sees nothing.
    #[must_use]
    pub fn depthwise(simd: Simd, window: Window, weights: &[f32], bias: &[f32]) -> Option<Self> {
        let packed = depthwise::Packed::new(simd, &window, weights, bias)?;
        let layer = Layer { simd, window, source: Source::Pixels, ramp: Ramp::NONE };
        Some(Self { layer, weights: Weights::Depthwise(Arc::new(packed)) })
    }

    /// The same with an activation behind it.
    #[must_use]
    pub fn with_ramp(mut self, ramp: Ramp) -> Self {
        self.layer.ramp = ramp;
        self
    }

    /// The activation behind it.
    #[must_use]
    pub fn ramp(&self) -> Ramp {
        self.layer.ramp
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

    /// Whether it takes its input as planes.
    #[must_use]
    pub fn reads_planes(&self) -> bool {
        self.layer.source == Source::Planes
    }

    /// Floats of one picture of the input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        let plane = &self.layer.window.input;
        match self.layer.source {
            Source::Pixels => len(plane),
            Source::Planes => plane.pixels() * plane.channels,
        }
    }

    /// Runs it on one picture, or on several that lie end to end.
    ///
    /// # Panics
    /// If input and output do not hold the same number of whole pictures.
    pub fn run(&self, input: &[f32], output: &mut [f32]) {
        let (input_len, output_len) = (self.input_len(), len(&self.layer.window.output));
        let pictures = input.len() / input_len;
        assert_eq!((input.len(), output.len()), (pictures * input_len, pictures * output_len));
        match &self.weights {
            // Neighbouring windows lie end to end, also from one picture to the next.
            Weights::Dense(packed) if self.layer.window.is_point() && self.layer.source == Source::Pixels => {
                packed.run_points(&self.layer, input, output);
            }
            weights => {
                let outputs = output.chunks_exact_mut(output_len);
                for (input, output) in input.chunks_exact(input_len).zip(outputs) {
                    match weights {
                        Weights::Dense(packed) => packed.run(&self.layer, input, output),
                        Weights::Depthwise(packed) => packed.run(&self.layer, input, output),
                    }
                }
            }
        }
    }
}
