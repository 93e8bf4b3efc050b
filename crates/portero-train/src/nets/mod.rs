//! The networks: what they are made of, in which order, and under which names.
//!
//! A photo network is a list of stages, an average and a head. It is written once and *walked*: by [`Eager`] to
//! compute and to train, by the exporter to write a graph. So what is exported is what was trained. Tensor
//! names and layout are torchvision's. Nothing here reads files, knows pictures or chooses what is trained.

mod layers;
mod mobilenet_v3;
#[cfg(test)]
mod parity;
mod pruning;
mod resnet50;
pub(crate) mod small;
mod stages;
mod statistics;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

pub(crate) use layers::{Activation, Conv, Dense, Eager, Norm, NormMode, Padding, Walker, activate};
pub(crate) use pruning::prune;
use stages::Stage;
pub(crate) use statistics::Statistics;

/// The photo networks: those that a base of pretrained weights is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Backbone {
    /// MobileNetV3-Small 1.0 (Howard et al. 2019).
    #[serde(rename = "mobilenet-v3-small")]
    #[value(name = "mobilenet-v3-small")]
    MobileNetV3Small,
    /// MobileNetV3-Small with three quarters of the channels.
    #[serde(rename = "mobilenet-v3-small-0.75")]
    #[value(name = "mobilenet-v3-small-0.75")]
    MobileNetV3Small75,
    /// ResNet-50 (He et al. 2015), with the stride on the 3x3 convolution as torchvision has it.
    #[serde(rename = "resnet50")]
    #[value(name = "resnet50")]
    Resnet50,
}

impl Backbone {
    /// The name on the command line and in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MobileNetV3Small => "mobilenet-v3-small",
            Self::MobileNetV3Small75 => "mobilenet-v3-small-0.75",
            Self::Resnet50 => "resnet50",
        }
    }
}

/// A layer of the head, after the features.
enum HeadLayer {
    /// A dense layer.
    Dense(Dense),
    /// An activation.
    Activation(Activation),
    /// Dropout with this probability, in training only.
    Dropout(f64),
}

/// A photo network whose tensors live in the `VarStore` it was built in.
pub(crate) struct Net {
    stages: Vec<Stage>,
    head: Vec<HeadLayer>,
}

impl Net {
    /// Builds `backbone` with random weights below `root`, for 3-channel pictures and `classes` classes.
    pub(crate) fn new(root: &nn::Path<'_>, backbone: Backbone, padding: Padding, classes: i64) -> Self {
        match backbone {
            Backbone::MobileNetV3Small => mobilenet_v3::small(root, 1.0, padding, classes),
            Backbone::MobileNetV3Small75 => mobilenet_v3::small(root, 0.75, padding, classes),
            Backbone::Resnet50 => resnet50::resnet50(root, padding, classes),
        }
    }

    /// How many stages lie before the average and the head.
    pub(crate) fn stage_count(&self) -> usize {
        self.stages.len()
    }

    /// The name prefixes of the tensors of stage `index`, for example `features.3.`; a pooling has none.
    pub(crate) fn stage_prefixes(&self, index: usize) -> &[String] {
        &self.stages[index].prefixes
    }

    /// Walks a range of the stages: `0..stage_count()` gives the feature map.
    pub(crate) fn walk_stages<W: Walker>(
        &self,
        walker: &mut W,
        input: W::Value,
        range: Range<usize>,
    ) -> W::Value {
        self.stages[range].iter().fold(input, |x, stage| stage.walk(walker, &x))
    }

    /// From the averaged features, one value per channel, to the logits.
    pub(crate) fn walk_head<W: Walker>(&self, walker: &mut W, features: W::Value) -> W::Value {
        let hidden = self.walk_hidden(walker, features);
        self.walk_last(walker, hidden)
    }

    /// From the averaged features to what the last layer takes: through the hidden dense layer, where there is one.
    pub(crate) fn walk_hidden<W: Walker>(&self, walker: &mut W, features: W::Value) -> W::Value {
        walk_layers(&self.head[..self.last_layer()], walker, features)
    }

    /// From what the last layer takes to the logits, its dropout included.
    pub(crate) fn walk_last<W: Walker>(&self, walker: &mut W, hidden: W::Value) -> W::Value {
        walk_layers(&self.head[self.last_layer()..], walker, hidden)
    }

    /// Where in the head the last layer begins, with the dropout before it.
    fn last_layer(&self) -> usize {
        let is_dense = |layer: &HeadLayer| matches!(layer, HeadLayer::Dense(_));
        let dense = self.head.iter().rposition(is_dense).unwrap_or(0);
        let dropped = dense > 0 && matches!(self.head[dense - 1], HeadLayer::Dropout(_));
        dense - usize::from(dropped)
    }

    /// From pictures to logits.
    pub(crate) fn walk<W: Walker>(&self, walker: &mut W, input: W::Value) -> W::Value {
        let map = self.walk_stages(walker, input, 0..self.stage_count());
        let features = walker.average(&map);
        self.walk_head(walker, features)
    }

    /// Logits `[n, classes]` for pictures `[n, 3, height, width]`.
    pub(crate) fn forward(&self, pictures: &Tensor, mut mode: Eager) -> Tensor {
        self.walk(&mut mode, pictures.shallow_clone())
    }

    /// The dense layer that makes the logits: the one that a new set of classes replaces.
    pub(crate) fn last_dense(&self) -> Option<&Dense> {
        self.head.iter().rev().find_map(|layer| match layer {
            HeadLayer::Dense(dense) => Some(dense),
            _ => None,
        })
    }

    /// Whether tensor `name` belongs to that layer.
    pub(crate) fn is_last(&self, name: &str) -> bool {
        let layer = name.rsplit_once('.').map_or(name, |(layer, _)| layer);
        self.last_dense().is_some_and(|dense| dense.name == layer)
    }

    /// The batch norms, from the input to the features.
    pub(crate) fn norms(&self) -> Vec<&Norm> {
        self.stages.iter().flat_map(Stage::convs).filter_map(|conv| conv.norm.as_ref()).collect()
    }

    /// The convolutions of a range of the stages.
    fn convs(&self, stages: Range<usize>) -> impl Iterator<Item = &Conv> {
        self.stages[stages].iter().flat_map(Stage::convs)
    }
}

fn walk_layers<W: Walker>(layers: &[HeadLayer], walker: &mut W, input: W::Value) -> W::Value {
    layers.iter().fold(input, |x, layer| match layer {
        HeadLayer::Dense(dense) => walker.dense(&x, dense),
        HeadLayer::Activation(activation) => walker.activation(&x, *activation),
        HeadLayer::Dropout(p) => walker.dropout(x, *p),
    })
}
