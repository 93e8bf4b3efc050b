//! The layers and what can be done with them.
//!
//! A layer holds handles of tensors that live in a `VarStore`. A [`Walker`] says what a layer does to a value:
//! [`Eager`] computes at once. Padding is decided here, for torchvision's networks and for TensorFlow's.

use serde::{Deserialize, Serialize};
use tch::nn::init::{DEFAULT_KAIMING_UNIFORM, FanInOut, NonLinearity, NormalOrUniform};
use tch::{Tensor, nn};

/// How a convolution or a pooling with a stride pads its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Padding {
    /// The same on both sides, `(kernel - 1) / 2`: PyTorch and torchvision.
    Torch,
    /// What the output size needs, the odd pixel on the far side: TensorFlow's `SAME`. Weights that were
    /// trained with one lose tens of points with the other.
    Tensorflow,
}

impl Padding {
    /// Pixels before and after, along an axis of `size` pixels.
    pub(crate) fn around(self, size: i64, kernel: i64, stride: i64) -> (i64, i64) {
        match self {
            Self::Torch => ((kernel - 1) / 2, (kernel - 1) / 2),
            Self::Tensorflow => {
                let outputs = (size + stride - 1) / stride;
                let total = ((outputs - 1) * stride + kernel - size).max(0);
                (total / 2, total - total / 2)
            }
        }
    }
}

/// A function of single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x * clamp(x / 6 + 1/2, 0, 1)`.
    HardSwish,
    /// `clamp(x / 6 + 1/2, 0, 1)`.
    HardSigmoid,
}

/// Batch normalisation after a convolution.
pub(crate) struct Norm {
    /// Scale, one per channel.
    pub(crate) weight: Tensor,
    /// Offset, one per channel.
    pub(crate) bias: Tensor,
    /// Mean that evaluation subtracts.
    pub(crate) running_mean: Tensor,
    /// Variance that evaluation divides by.
    pub(crate) running_var: Tensor,
    /// Added to the variance.
    pub(crate) eps: f64,
    /// Share of a batch's statistics in the running ones.
    momentum: f64,
}

impl Norm {
    /// For `channels` channels; the tensors are called `weight`, `bias`, `running_mean`, `running_var`.
    pub(crate) fn new(path: &nn::Path<'_>, channels: i64, eps: f64, momentum: f64) -> Self {
        Self {
            weight: path.ones("weight", &[channels]),
            bias: path.zeros("bias", &[channels]),
            running_mean: path.zeros_no_train("running_mean", &[channels]),
            running_var: path.ones_no_train("running_var", &[channels]),
            eps,
            momentum,
        }
    }

    /// Factor and offset per channel that do what the norm does in evaluation.
    pub(crate) fn affine(&self) -> (Tensor, Tensor) {
        let factor = &self.weight / (&self.running_var + self.eps).sqrt();
        let offset = &self.bias - &self.running_mean * &factor;
        (factor, offset)
    }

    fn apply(&self, x: &Tensor, mode: NormMode) -> Tensor {
        x.batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.running_mean),
            Some(&self.running_var),
            mode == NormMode::Batch,
            self.momentum,
            self.eps,
            false,
        )
    }
}

/// A convolution with its bias or its norm.
pub(crate) struct Conv {
    /// Name of the convolution, for example `features.0.0`.
    pub(crate) name: String,
    /// `[outputs, inputs / groups, kernel, kernel]`.
    pub(crate) weight: Tensor,
    /// One per output, where no norm follows.
    pub(crate) bias: Option<Tensor>,
    /// The norm that follows.
    pub(crate) norm: Option<Norm>,
    /// Stride along both axes.
    pub(crate) stride: i64,
    /// Groups; as many as inputs for a depthwise convolution.
    pub(crate) groups: i64,
    /// How the input is padded.
    pub(crate) padding: Padding,
}

/// The sizes of a convolution.
#[derive(Clone, Copy)]
pub(crate) struct ConvShape {
    pub(crate) inputs: i64,
    pub(crate) outputs: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
    pub(crate) groups: i64,
}

/// Normal with the deviation that keeps the gradient's variance (He et al. 2015), as torchvision starts.
const KAIMING_FAN_OUT: nn::Init = nn::Init::Kaiming {
    dist: NormalOrUniform::Normal,
    fan: FanInOut::FanOut,
    non_linearity: NonLinearity::ReLU,
};

impl Conv {
    /// A convolution at `path` with the norm that follows it.
    pub(crate) fn normed(path: &nn::Path<'_>, shape: ConvShape, padding: Padding, norm: Norm) -> Self {
        Self { norm: Some(norm), ..Self::plain(path, shape, padding) }
    }

    /// A convolution at `path` with a bias.
    pub(crate) fn biased(path: &nn::Path<'_>, shape: ConvShape, padding: Padding) -> Self {
        let bias = path.zeros("bias", &[shape.outputs]);
        Self { bias: Some(bias), ..Self::plain(path, shape, padding) }
    }

    fn plain(path: &nn::Path<'_>, shape: ConvShape, padding: Padding) -> Self {
        let ConvShape { inputs, outputs, kernel, stride, groups } = shape;
        let weight = path.var("weight", &[outputs, inputs / groups, kernel, kernel], KAIMING_FAN_OUT);
        let name = path.components().collect::<Vec<_>>().join(".");
        Self { name, weight, bias: None, norm: None, stride, groups, padding }
    }

    /// Pixels of padding for an input of `height` x `width`: `[top, left, bottom, right]`, the order of ONNX.
    pub(crate) fn pads(&self, height: i64, width: i64) -> [i64; 4] {
        let kernel = self.weight.size();
        let (top, bottom) = self.padding.around(height, kernel[2], self.stride);
        let (left, right) = self.padding.around(width, kernel[3], self.stride);
        [top, left, bottom, right]
    }

    /// The convolution of `x` by `weight`, padded, without norm.
    pub(crate) fn convolve(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let size = x.size();
        let [top, left, bottom, right] = self.pads(size[2], size[3]);
        let (stride, dilation) = ([self.stride; 2], [1, 1]);
        if (top, left) == (bottom, right) {
            return x.conv2d(weight, bias, stride, [top, left], dilation, self.groups);
        }
        x.constant_pad_nd([left, right, top, bottom]).conv2d(
            weight,
            bias,
            stride,
            [0, 0],
            dilation,
            self.groups,
        )
    }
}

/// A dense layer.
pub(crate) struct Dense {
    /// Its name, for example `classifier.3`.
    pub(crate) name: String,
    /// `[outputs, inputs]`.
    pub(crate) weight: Tensor,
    /// `[outputs]`.
    pub(crate) bias: Tensor,
}

impl Dense {
    /// A dense layer at `path`, started as PyTorch starts one.
    pub(crate) fn new(path: &nn::Path<'_>, inputs: i64, outputs: i64) -> Self {
        let bound = 1.0 / (inputs as f64).sqrt();
        Self {
            name: path.components().collect::<Vec<_>>().join("."),
            weight: path.var("weight", &[outputs, inputs], DEFAULT_KAIMING_UNIFORM),
            bias: path.var("bias", &[outputs], nn::Init::Uniform { lo: -bound, up: bound }),
        }
    }
}

/// What is done to a value on its way through a network.
pub(crate) trait Walker {
    /// A feature map.
    type Value;
    /// A convolution with its bias or norm.
    fn conv(&mut self, x: &Self::Value, layer: &Conv) -> Self::Value;
    /// A dense layer on everything that `x` holds.
    fn dense(&mut self, x: &Self::Value, layer: &Dense) -> Self::Value;
    /// A function of single values.
    fn activation(&mut self, x: &Self::Value, activation: Activation) -> Self::Value;
    /// The largest of each window of `kernel` x `kernel`, padded as PyTorch pads.
    fn max_pool(&mut self, x: &Self::Value, kernel: i64, stride: i64, pad: i64) -> Self::Value;
    /// The mean of each plane, 1 x 1.
    fn average(&mut self, x: &Self::Value) -> Self::Value;
    /// The sum of two maps of one shape.
    fn add(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value;
    /// Each plane of `a` times its value in `b`, which is 1 x 1.
    fn scale(&mut self, a: &Self::Value, b: &Self::Value) -> Self::Value;
    /// Dropout where there is training, the value itself otherwise.
    fn dropout(&mut self, x: Self::Value, probability: f64) -> Self::Value;
}

/// Which statistics a norm uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormMode {
    /// The stored ones, unchanged. The only safe mode for folded norms.
    Frozen,
    /// Those of the batch, which also move the stored ones.
    Batch,
}

/// Computes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Eager {
    dropout: bool,
    norms: NormMode,
}

impl Eager {
    /// Evaluation: no dropout, stored statistics.
    pub(crate) const EVAL: Self = Self { dropout: false, norms: NormMode::Frozen };

    /// Training: dropout is active; `norms` says what batch norms do.
    pub(crate) const fn training(norms: NormMode) -> Self {
        Self { dropout: true, norms }
    }
}

/// `activation` of every value of `x`.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Tensor {
    match activation {
        Activation::Relu => x.relu(),
        Activation::HardSwish => x.hardswish(),
        Activation::HardSigmoid => x.hardsigmoid(),
    }
}

impl Walker for Eager {
    type Value = Tensor;

    fn conv(&mut self, x: &Tensor, layer: &Conv) -> Tensor {
        let y = layer.convolve(x, &layer.weight, layer.bias.as_ref());
        match &layer.norm {
            Some(norm) => norm.apply(&y, self.norms),
            None => y,
        }
    }

    fn dense(&mut self, x: &Tensor, layer: &Dense) -> Tensor {
        x.flatten(1, -1).linear(&layer.weight, Some(&layer.bias))
    }

    fn activation(&mut self, x: &Tensor, activation: Activation) -> Tensor {
        activate(x, activation)
    }

    fn max_pool(&mut self, x: &Tensor, kernel: i64, stride: i64, pad: i64) -> Tensor {
        x.max_pool2d([kernel; 2], [stride; 2], [pad; 2], [1, 1], false)
    }

    fn average(&mut self, x: &Tensor) -> Tensor {
        x.mean_dim([2_i64, 3].as_slice(), true, x.kind())
    }

    fn add(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        a + b
    }

    fn scale(&mut self, a: &Tensor, b: &Tensor) -> Tensor {
        a * b
    }

    fn dropout(&mut self, x: Tensor, probability: f64) -> Tensor {
        if self.dropout { x.dropout(probability, true) } else { x }
    }
}

#[cfg(test)]
mod tests {
    use super::Padding;

    #[test]
    fn tensorflow_puts_the_odd_pixel_last() {
        let around = |size, kernel, stride| Padding::Tensorflow.around(size, kernel, stride);
        assert_eq!([around(224, 3, 2), around(28, 5, 2), around(7, 5, 1)], [(0, 1), (1, 2), (2, 2)]);
        assert_eq!(around(225, 3, 2), (1, 1), "an odd size is padded on both sides");
        assert_eq!(around(56, 1, 2), (0, 0), "never negative");
        assert_eq!(Padding::Torch.around(224, 5, 2), (2, 2));
    }
}
