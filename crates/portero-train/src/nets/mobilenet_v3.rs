//! MobileNetV3-Small (Howard et al. 2019, "Searching for MobileNetV3", table 2), as wide as in the paper or narrower.

use tch::nn;

use super::layers::{Activation, Conv, ConvShape, Dense, Norm, Padding};
use super::stages::{Inverted, SqueezeExcite, Stage, StageKind};
use super::{HeadLayer, Net};

/// One row of the paper's table.
struct Row {
    kernel: i64,
    expanded: i64,
    outputs: i64,
    /// Whether the channels are weighed by squeeze-and-excite.
    squeezed: bool,
    activation: Activation,
    stride: i64,
}

const fn row(
    kernel: i64,
    expanded: i64,
    outputs: i64,
    squeezed: bool,
    activation: Activation,
    stride: i64,
) -> Row {
    Row { kernel, expanded, outputs, squeezed, activation, stride }
}

use Activation::{HardSwish, Relu};

/// Of a batch's statistics in the running ones. torchvision has 0.01, for which the hundred steps that a small set gives are too
/// few: evaluation would not see what training saw.
const MOMENTUM: f64 = 0.1;

/// The blocks.
const ROWS: [Row; 11] = [
    row(3, 16, 16, true, Relu, 2),
    row(3, 72, 24, false, Relu, 2),
    row(3, 88, 24, false, Relu, 1),
    row(5, 96, 40, true, HardSwish, 2),
    row(5, 240, 40, true, HardSwish, 1),
    row(5, 240, 40, true, HardSwish, 1),
    row(5, 120, 48, true, HardSwish, 1),
    row(5, 144, 48, true, HardSwish, 1),
    row(5, 288, 96, true, HardSwish, 2),
    row(5, 576, 96, true, HardSwish, 1),
    row(5, 576, 96, true, HardSwish, 1),
];

// Channels of the first convolution, of the last one as a multiple of what it takes, and of the hidden dense layer.
const FIRST: i64 = 16;
const LAST: i64 = 6;
const HIDDEN: i64 = 1024;

/// The multiple of eight next to `channels`, but not less than nine tenths of them: what TensorFlow and torchvision
/// make of a number of channels.
fn divisible(channels: f64) -> i64 {
    let rounded = (((channels + 4.0) / 8.0).floor() * 8.0).max(8.0);
    (if rounded < 0.9 * channels { rounded + 8.0 } else { rounded }) as i64
}

/// `width` is the share of the paper's channels, 1.0 or less; in torchvision `width_mult`.
pub(super) fn small(root: &nn::Path<'_>, width: f64, padding: Padding, classes: i64) -> Net {
    let scaled = |channels: i64| divisible(channels as f64 * width);
    let features = root / "features";
    let mut stages = Vec::new();
    let mut push = |index: usize, kind| {
        stages.push(Stage { prefixes: vec![format!("features.{index}.")], kind });
    };
    let first = ConvShape { inputs: 3, outputs: scaled(FIRST), kernel: 3, stride: 2, groups: 1 };
    push(0, StageKind::Conv(normed(&(&features / 0), first, padding), HardSwish));
    let mut inputs = first.outputs;
    for (row, index) in ROWS.iter().zip(1..) {
        let row = &Row { expanded: scaled(row.expanded), outputs: scaled(row.outputs), ..*row };
        push(index, StageKind::Inverted(block(&(&features / index / "block"), inputs, row, padding)));
        inputs = row.outputs;
    }
    let last = ConvShape { inputs, outputs: LAST * inputs, kernel: 1, stride: 1, groups: 1 };
    let index = ROWS.len() + 1;
    push(index, StageKind::Conv(normed(&(&features / index), last, padding), HardSwish));
    let (classifier, hidden) = (root / "classifier", scaled(HIDDEN));
    let head = vec![
        HeadLayer::Dense(Dense::new(&(&classifier / 0), last.outputs, hidden)),
        HeadLayer::Activation(HardSwish),
        HeadLayer::Dropout(0.2),
        HeadLayer::Dense(Dense::new(&(&classifier / 3), hidden, classes)),
    ];
    Net { stages, head }
}

/// A convolution called `0` and its norm called `1`.
fn normed(path: &nn::Path<'_>, shape: ConvShape, padding: Padding) -> Conv {
    let norm = Norm::new(&(path / 1), shape.outputs, 0.001, MOMENTUM);
    Conv::normed(&(path / 0), shape, padding, norm)
}

fn block(path: &nn::Path<'_>, inputs: i64, row: &Row, padding: Padding) -> Inverted {
    let &Row { kernel, expanded, outputs, squeezed, activation, stride } = row;
    let mut next = 0..;
    let mut place = || path / next.next().unwrap_or_default();
    let pointwise = |inputs, outputs| ConvShape { inputs, outputs, kernel: 1, stride: 1, groups: 1 };
    let expand = (expanded != inputs).then(|| normed(&place(), pointwise(inputs, expanded), padding));
    let filter = ConvShape { inputs: expanded, outputs: expanded, kernel, stride, groups: expanded };
    let depthwise = normed(&place(), filter, padding);
    let squeeze = squeezed.then(|| {
        let (place, squeezed) = (place(), divisible((expanded / 4) as f64));
        SqueezeExcite {
            reduce: Conv::biased(&(&place / "fc1"), pointwise(expanded, squeezed), padding),
            expand: Conv::biased(&(&place / "fc2"), pointwise(squeezed, expanded), padding),
        }
    });
    let project = normed(&place(), pointwise(expanded, outputs), padding);
    Inverted { expand, depthwise, squeeze, project, activation, residual: stride == 1 && inputs == outputs }
}

#[cfg(test)]
mod tests {
    use super::divisible;

    #[test]
    fn channels_are_rounded_as_tensorflow_rounds_them() {
        let rounded = [12.0, 18.0, 54.0, 66.0, 180.0, 36.0, 3.0, 768.0].map(divisible);
        assert_eq!(rounded, [16, 24, 56, 64, 184, 40, 8, 768], "never less than nine tenths, never 0");
    }
}
