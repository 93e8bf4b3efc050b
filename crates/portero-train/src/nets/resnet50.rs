//! ResNet-50 (He et al. 2015, "Deep Residual Learning", table 1), with the stride on the 3x3 convolution.

use tch::nn;

use super::layers::{Activation, Conv, ConvShape, Dense, Norm, Padding};
use super::stages::{Bottleneck, Stage, StageKind};
use super::{HeadLayer, Net};

/// Blocks and inner channels of the four layers.
const LAYERS: [(usize, i64); 4] = [(3, 64), (4, 128), (6, 256), (3, 512)];

/// A block gives this many times its inner channels.
const EXPANSION: i64 = 4;

pub(super) fn resnet50(root: &nn::Path<'_>, padding: Padding, classes: i64) -> Net {
    let stem = ConvShape { inputs: 3, outputs: 64, kernel: 7, stride: 2, groups: 1 };
    let stem = normed(&(root / "conv1"), &(root / "bn1"), stem, padding);
    let mut stages = vec![
        Stage {
            prefixes: vec!["conv1.".into(), "bn1.".into()],
            kind: StageKind::Conv(stem, Activation::Relu),
        },
        Stage { prefixes: vec![], kind: StageKind::MaxPool { kernel: 3, stride: 2, pad: 1 } },
    ];
    let mut inputs = 64;
    for ((blocks, inner), layer) in LAYERS.into_iter().zip(1..) {
        for index in 0..blocks {
            // The first layer follows the pooling and keeps the size; the others halve it.
            let stride = if index == 0 && layer > 1 { 2 } else { 1 };
            let path = root / format!("layer{layer}") / index;
            let kind = StageKind::Bottleneck(block(&path, inputs, inner, stride, padding));
            stages.push(Stage { prefixes: vec![format!("layer{layer}.{index}.")], kind });
            inputs = inner * EXPANSION;
        }
    }
    let head = vec![HeadLayer::Dense(Dense::new(&(root / "fc"), inputs, classes))];
    Net { stages, head }
}

fn normed(conv: &nn::Path<'_>, norm: &nn::Path<'_>, shape: ConvShape, padding: Padding) -> Conv {
    Conv::normed(conv, shape, padding, Norm::new(norm, shape.outputs, 1e-5, 0.1))
}

fn block(path: &nn::Path<'_>, inputs: i64, inner: i64, stride: i64, padding: Padding) -> Bottleneck {
    let outputs = inner * EXPANSION;
    let conv = |number: i64, inputs, outputs, kernel, stride| {
        let shape = ConvShape { inputs, outputs, kernel, stride, groups: 1 };
        normed(&(path / format!("conv{number}")), &(path / format!("bn{number}")), shape, padding)
    };
    let convs =
        [conv(1, inputs, inner, 1, 1), conv(2, inner, inner, 3, stride), conv(3, inner, outputs, 1, 1)];
    let shortcut = (stride != 1 || inputs != outputs).then(|| {
        let path = path / "downsample";
        let shape = ConvShape { inputs, outputs, kernel: 1, stride, groups: 1 };
        normed(&(&path / 0), &(&path / 1), shape, padding)
    });
    Bottleneck { convs, shortcut }
}
