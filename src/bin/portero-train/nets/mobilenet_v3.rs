//! MobileNetV3-Small 1.0 for 224 x 224 (Howard et al. 2019, "Searching for MobileNetV3", table 2).

use tch::nn;

use super::layers::{Activation, Conv, ConvShape, Dense, Norm, Padding};
use super::stages::{Inverted, SqueezeExcite, Stage, StageKind};
use super::{HeadLayer, Net};

/// One row of the paper's table.
struct Row {
    kernel: i64,
    expanded: i64,
    outputs: i64,
    /// Channels between the two layers of squeeze-and-excite.
    squeezed: Option<i64>,
    activation: Activation,
    stride: i64,
}

const fn row(
    kernel: i64,
    expanded: i64,
    outputs: i64,
    squeezed: Option<i64>,
    activation: Activation,
    stride: i64,
) -> Row {
    Row { kernel, expanded, outputs, squeezed, activation, stride }
}

use Activation::{HardSwish, Relu};

/// The blocks. The squeezed sizes are a quarter of the expanded ones, rounded to a multiple of eight.
const ROWS: [Row; 11] = [
    row(3, 16, 16, Some(8), Relu, 2),
    row(3, 72, 24, None, Relu, 2),
    row(3, 88, 24, None, Relu, 1),
    row(5, 96, 40, Some(24), HardSwish, 2),
    row(5, 240, 40, Some(64), HardSwish, 1),
    row(5, 240, 40, Some(64), HardSwish, 1),
    row(5, 120, 48, Some(32), HardSwish, 1),
    row(5, 144, 48, Some(40), HardSwish, 1),
    row(5, 288, 96, Some(72), HardSwish, 2),
    row(5, 576, 96, Some(144), HardSwish, 1),
    row(5, 576, 96, Some(144), HardSwish, 1),
];

// Channels of the first convolution, of the last one, and of the hidden dense layer.
const FIRST: i64 = 16;
const LAST: i64 = 576;
const HIDDEN: i64 = 1024;

pub(super) fn small(root: &nn::Path<'_>, padding: Padding, classes: i64) -> Net {
    let features = root / "features";
    let mut stages = Vec::new();
    let mut push = |index: usize, kind| {
        stages.push(Stage { prefixes: vec![format!("features.{index}.")], kind });
    };
    let first = ConvShape { inputs: 3, outputs: FIRST, kernel: 3, stride: 2, groups: 1 };
    push(0, StageKind::Conv(normed(&(&features / 0), first, padding), HardSwish));
    let mut inputs = FIRST;
    for (row, index) in ROWS.iter().zip(1..) {
        push(index, StageKind::Inverted(block(&(&features / index / "block"), inputs, row, padding)));
        inputs = row.outputs;
    }
    let last = ConvShape { inputs, outputs: LAST, kernel: 1, stride: 1, groups: 1 };
    let index = ROWS.len() + 1;
    push(index, StageKind::Conv(normed(&(&features / index), last, padding), HardSwish));
    let classifier = root / "classifier";
    let head = vec![
        HeadLayer::Dense(Dense::new(&(&classifier / 0), LAST, HIDDEN)),
        HeadLayer::Activation(HardSwish),
        HeadLayer::Dropout(0.2),
        HeadLayer::Dense(Dense::new(&(&classifier / 3), HIDDEN, classes)),
    ];
    Net { stages, head }
}

/// A convolution called `0` and its norm called `1`.
fn normed(path: &nn::Path<'_>, shape: ConvShape, padding: Padding) -> Conv {
    let norm = Norm::new(&(path / 1), shape.outputs, 0.001, 0.01);
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
    let squeeze = squeezed.map(|squeezed| {
        let place = place();
        SqueezeExcite {
            reduce: Conv::biased(&(&place / "fc1"), pointwise(expanded, squeezed), padding),
            expand: Conv::biased(&(&place / "fc2"), pointwise(squeezed, expanded), padding),
        }
    });
    let project = normed(&place(), pointwise(expanded, outputs), padding);
    Inverted { expand, depthwise, squeeze, project, activation, residual: stride == 1 && inputs == outputs }
}
