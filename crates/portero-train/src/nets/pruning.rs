//! A narrower network out of a wide one: of each group of channels those that weigh most are kept.
//!
//! Channels that must go together are one group: what a block adds up with the block before it (residual connections),
//! an expanded channel with its depthwise filter and its weighing, a hidden value with the layers around it. How much a
//! channel weighs is the product of the norms of the weights that make it and of those that read it (after Li et al.
//! 2017, "Pruning Filters for Efficient ConvNets"), batch norms taken into account. The result computes something else
//! than the wide network and wants training; it begins nearer to what is wanted than random numbers do.

use tch::{Kind, Tensor, no_grad};

use super::layers::{Conv, Dense, Norm};
use super::stages::{Inverted, Stage, StageKind};
use super::{HeadLayer, Net};

/// Fills `narrow` with the channels of `wide` that weigh most. Both are MobileNetV3, of one number of classes; `false`,
/// and `narrow` may be half filled, when one of them is not.
pub(crate) fn prune(wide: &Net, narrow: &Net) -> bool {
    no_grad(|| fill(wide, narrow)).is_some()
}

fn fill(wide: &Net, narrow: &Net) -> Option<()> {
    let head = wide.dense_layers();
    let (&[hidden, logits], &[narrow_hidden, narrow_logits]) = (&head[..], &narrow.dense_layers()[..]) else {
        return None;
    };
    let mut inputs = all(3);
    let mut outputs = all(3);
    for (i, (stage, target)) in wide.stages.iter().zip(&narrow.stages).enumerate() {
        if !adds(stage) {
            // This stage and those that add to what it gives make the same channels.
            let after = &wide.stages[i + 1..];
            let adding = after.iter().take_while(|stage| adds(stage)).count();
            let makers = wide.stages[i..=i + adding].iter().map(|stage| Some(rows(last_conv(stage)?)));
            let mut readers: Vec<Tensor> =
                after.iter().take(adding + 1).map(read_by).collect::<Option<_>>()?;
            if i + adding + 1 == wide.stages.len() {
                readers.push(columns(&hidden.weight));
            }
            let makers: Vec<Tensor> = makers.collect::<Option<_>>()?;
            let count = last_conv(target)?.weight.size()[0];
            outputs = heaviest(&(together(&makers) * together(&readers)), count);
        }
        match (&stage.kind, &target.kind) {
            (StageKind::Conv(from, _), StageKind::Conv(to, _)) => copy(from, to, &outputs, Some(&inputs)),
            (StageKind::Inverted(from), StageKind::Inverted(to)) => block(from, to, &inputs, &outputs)?,
            _ => return None,
        }
        inputs = outputs.shallow_clone();
    }
    let weight = squares(&hidden.weight, 0).sqrt() * columns(&logits.weight).sqrt();
    let kept = heaviest(&weight, narrow_hidden.weight.size()[0]);
    copy_dense(hidden, narrow_hidden, &kept, &inputs);
    copy_dense(logits, narrow_logits, &all(logits.weight.size()[0]), &kept);
    Some(())
}

/// Whether the stage adds its input to its output.
fn adds(stage: &Stage) -> bool {
    matches!(&stage.kind, StageKind::Inverted(block) if block.residual)
}

/// The convolution that makes a stage's output.
fn last_conv(stage: &Stage) -> Option<&Conv> {
    match &stage.kind {
        StageKind::Conv(conv, _) => Some(conv),
        StageKind::Inverted(block) => Some(&block.project),
        StageKind::MaxPool { .. } | StageKind::Bottleneck(_) => None,
    }
}

/// The squared weight with which a stage reads each of its input's channels.
fn read_by(stage: &Stage) -> Option<Tensor> {
    match &stage.kind {
        StageKind::Conv(conv, _) => Some(columns(&effective(conv))),
        StageKind::Inverted(block) => Some(match &block.expand {
            Some(expand) => columns(&effective(expand)),
            None => rows(&block.depthwise),
        }),
        StageKind::MaxPool { .. } | StageKind::Bottleneck(_) => None,
    }
}

fn block(from: &Inverted, to: &Inverted, inputs: &Tensor, outputs: &Tensor) -> Option<()> {
    let inner = match (&from.expand, &to.expand) {
        (Some(wide), Some(narrow)) => {
            let weight =
                rows(wide).sqrt() * rows(&from.depthwise).sqrt() * columns(&effective(&from.project)).sqrt();
            let kept = heaviest(&weight, narrow.weight.size()[0]);
            copy(wide, narrow, &kept, Some(inputs));
            kept
        }
        (None, None) => inputs.shallow_clone(),
        _ => return None,
    };
    copy(&from.depthwise, &to.depthwise, &inner, None);
    match (&from.squeeze, &to.squeeze) {
        (Some(wide), Some(narrow)) => {
            let weight = rows(&wide.reduce).sqrt() * columns(&wide.expand.weight).sqrt();
            let kept = heaviest(&weight, narrow.reduce.weight.size()[0]);
            copy(&wide.reduce, &narrow.reduce, &kept, Some(&inner));
            copy(&wide.expand, &narrow.expand, &inner, Some(&kept));
        }
        (None, None) => {}
        _ => return None,
    }
    copy(&from.project, &to.project, outputs, Some(&inner));
    Some(())
}

/// The weights with the factor of the norm that follows.
fn effective(conv: &Conv) -> Tensor {
    match &conv.norm {
        Some(norm) => &conv.weight * norm.affine().0.reshape([-1, 1, 1, 1]),
        None => conv.weight.shallow_clone(),
    }
}

/// The squared weights that make each output.
fn rows(conv: &Conv) -> Tensor {
    squares(&effective(conv), 0)
}

/// The squared weights that read each input.
fn columns(weight: &Tensor) -> Tensor {
    squares(weight, 1)
}

/// Sums of squares over all axes but one.
fn squares(weight: &Tensor, axis: i64) -> Tensor {
    weight.transpose(0, axis).flatten(1, -1).square().sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)
}

/// The norm over several layers of what is squared.
fn together(squares: &[Tensor]) -> Tensor {
    squares.iter().fold(Tensor::from(0.0_f32), |sum, more| sum + more).sqrt()
}

/// The places of the `count` largest, in ascending order.
fn heaviest(weight: &Tensor, count: i64) -> Tensor {
    let (_, places) = weight.topk(count, 0, true, false);
    places.sort(0, false).0
}

fn all(channels: i64) -> Tensor {
    Tensor::arange(channels, (Kind::Int64, tch::Device::Cpu))
}

/// Copies the filters `outputs`, of each the weights of `inputs`; a depthwise one has no inputs to choose.
fn copy(from: &Conv, to: &Conv, outputs: &Tensor, inputs: Option<&Tensor>) {
    let filters = from.weight.index_select(0, outputs);
    let weight = inputs.map_or(filters.shallow_clone(), |inputs| filters.index_select(1, inputs));
    to.weight.shallow_clone().copy_(&weight);
    let channels = |from: &Tensor, to: &Tensor| to.shallow_clone().copy_(&from.index_select(0, outputs));
    if let (Some(from), Some(to)) = (&from.bias, &to.bias) {
        channels(from, to);
    }
    let parts = |norm: &Norm| {
        [&norm.weight, &norm.bias, &norm.running_mean, &norm.running_var].map(Tensor::shallow_clone)
    };
    if let (Some(from), Some(to)) = (&from.norm, &to.norm) {
        for (from, to) in parts(from).iter().zip(&parts(to)) {
            channels(from, to);
        }
    }
}

fn copy_dense(from: &Dense, to: &Dense, outputs: &Tensor, inputs: &Tensor) {
    to.weight.shallow_clone().copy_(&from.weight.index_select(0, outputs).index_select(1, inputs));
    to.bias.shallow_clone().copy_(&from.bias.index_select(0, outputs));
}

impl Net {
    /// The dense layers of the head, in order.
    fn dense_layers(&self) -> Vec<&Dense> {
        self.head
            .iter()
            .filter_map(|layer| match layer {
                HeadLayer::Dense(dense) => Some(dense),
                HeadLayer::Activation(_) | HeadLayer::Dropout(_) => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, nn};

    use super::super::{Backbone, Eager, Padding};
    use super::*;

    fn net(backbone: Backbone, classes: i64) -> (nn::VarStore, Net) {
        let store = nn::VarStore::new(Device::Cpu);
        let net = Net::new(&store.root(), backbone, Padding::Tensorflow, classes);
        (store, net)
    }

    #[test]
    fn channels_that_do_nothing_are_the_ones_left_out() {
        tch::manual_seed(3);
        let (small, model) = net(Backbone::MobileNetV3Small75, 5);
        let (large, wide) = net(Backbone::MobileNetV3Small, 5);
        let (_result, narrow) = net(Backbone::MobileNetV3Small75, 5);
        let theirs = small.variables();
        no_grad(|| {
            // Biases of the norms that do something, else most values stay 0.
            for norm in model.norms() {
                let _ = norm.bias.shallow_clone().uniform_(-0.5, 0.5);
            }
            // The network that is to be found lies at the end of each axis of the wide one; all else is 0.
            for (name, mut tensor) in large.variables() {
                let part = theirs[&name]
                    .size()
                    .iter()
                    .zip(tensor.size())
                    .enumerate()
                    .fold(tensor.zero_(), |part, (axis, (few, many))| {
                        part.narrow(axis as i64, many - few, *few)
                    });
                part.shallow_clone().copy_(&theirs[&name]);
            }
        });
        assert!(prune(&wide, &narrow));
        let pictures = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu)) * 2.0 - 1.0;
        let logits = [&model, &narrow].map(|net| no_grad(|| net.forward(&pictures, Eager::EVAL)));
        assert!(logits[0].abs().max().double_value(&[]) > 1e-3, "logits that say something");
        assert!((&logits[0] - &logits[1]).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn another_network_is_not_pruned() {
        let (_store, resnet) = net(Backbone::Resnet50, 2);
        let (_other, narrow) = net(Backbone::MobileNetV3Small75, 2);
        assert!(!prune(&resnet, &narrow));
    }
}
