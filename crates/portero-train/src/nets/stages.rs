//! Stages: the groups of layers that a network is a list of, and that are frozen or trained together.

use super::layers::{Activation, Conv, Walker};

/// A group of layers.
pub(crate) struct Stage {
    /// Prefixes of the names of its tensors, each with its dot.
    pub(crate) prefixes: Vec<String>,
    /// What it computes.
    pub(crate) kind: StageKind,
}

/// What a stage computes.
pub(crate) enum StageKind {
    /// A convolution and an activation.
    Conv(Conv, Activation),
    /// The largest of each window.
    MaxPool { kernel: i64, stride: i64, pad: i64 },
    /// MobileNetV3's block.
    Inverted(Inverted),
    /// ResNet's block of three.
    Bottleneck(Bottleneck),
}

/// Expand, filter each channel, weigh the channels, project (Howard et al. 2019, fig. 4).
pub(crate) struct Inverted {
    pub(crate) expand: Option<Conv>,
    pub(crate) depthwise: Conv,
    pub(crate) squeeze: Option<SqueezeExcite>,
    pub(crate) project: Conv,
    pub(crate) activation: Activation,
    /// Whether the input is added to the output.
    pub(crate) residual: bool,
}

/// Weighs the channels by what their means say (Hu et al. 2018).
pub(crate) struct SqueezeExcite {
    pub(crate) reduce: Conv,
    pub(crate) expand: Conv,
}

/// 1x1, 3x3, 1x1 beside a shortcut (He et al. 2015, fig. 5).
pub(crate) struct Bottleneck {
    pub(crate) convs: [Conv; 3],
    /// The convolution on the shortcut where the shape changes.
    pub(crate) shortcut: Option<Conv>,
}

impl Stage {
    /// What the stage makes of `x`.
    pub(crate) fn walk<W: Walker>(&self, walker: &mut W, x: &W::Value) -> W::Value {
        match &self.kind {
            StageKind::Conv(conv, activation) => conv_act(walker, x, conv, *activation),
            StageKind::MaxPool { kernel, stride, pad } => walker.max_pool(x, *kernel, *stride, *pad),
            StageKind::Inverted(block) => block.walk(walker, x),
            StageKind::Bottleneck(block) => block.walk(walker, x),
        }
    }

    /// Its convolutions, in order.
    pub(crate) fn convs(&self) -> Vec<&Conv> {
        match &self.kind {
            StageKind::Conv(conv, _) => vec![conv],
            StageKind::MaxPool { .. } => vec![],
            StageKind::Inverted(b) => {
                let squeeze = b.squeeze.iter().flat_map(|s| [&s.reduce, &s.expand]);
                b.expand.iter().chain([&b.depthwise]).chain(squeeze).chain([&b.project]).collect()
            }
            StageKind::Bottleneck(b) => b.convs.iter().chain(&b.shortcut).collect(),
        }
    }
}

fn conv_act<W: Walker>(walker: &mut W, x: &W::Value, conv: &Conv, activation: Activation) -> W::Value {
    let y = walker.conv(x, conv);
    walker.activation(&y, activation)
}

impl Inverted {
    fn walk<W: Walker>(&self, walker: &mut W, x: &W::Value) -> W::Value {
        let expanded = self.expand.as_ref().map(|conv| conv_act(walker, x, conv, self.activation));
        let filtered = conv_act(walker, expanded.as_ref().unwrap_or(x), &self.depthwise, self.activation);
        let weighed = match &self.squeeze {
            Some(squeeze) => squeeze.walk(walker, &filtered),
            None => filtered,
        };
        let projected = walker.conv(&weighed, &self.project);
        if self.residual { walker.add(x, &projected) } else { projected }
    }
}

impl SqueezeExcite {
    fn walk<W: Walker>(&self, walker: &mut W, x: &W::Value) -> W::Value {
        let mean = walker.average(x);
        let reduced = conv_act(walker, &mean, &self.reduce, Activation::Relu);
        let weights = conv_act(walker, &reduced, &self.expand, Activation::HardSigmoid);
        walker.scale(x, &weights)
    }
}

impl Bottleneck {
    fn walk<W: Walker>(&self, walker: &mut W, x: &W::Value) -> W::Value {
        let [reduce, filter, expand] = &self.convs;
        let reduced = conv_act(walker, x, reduce, Activation::Relu);
        let filtered = conv_act(walker, &reduced, filter, Activation::Relu);
        let expanded = walker.conv(&filtered, expand);
        let shortcut = self.shortcut.as_ref().map(|conv| walker.conv(x, conv));
        let sum = walker.add(&expanded, shortcut.as_ref().unwrap_or(x));
        walker.activation(&sum, Activation::Relu)
    }
}
