//! Quantisation-aware fine-tuning: the network learns to live with the bytes it will be written in.
//!
//! The graph is run with every number rounded to what the exported file can hold, weights per channel and values per
//! tensor; backward, rounding passes the gradient on where it did not clip (the straight-through estimator: Bengio et
//! al. 2013; Jacob et al. 2018). It is taught by the float network's logits beside the true classes (Hinton et al.
//! 2015), so it does not have to learn anew what that knows. The ranges of values are those that calibration chose,
//! so what is exported is what was trained.

use tch::{Kind, Reduction, Tensor, no_grad};

use super::ExportError;
use super::graph::{Graph, Node, Op};
use super::quantise::{self, ByteScales};
use crate::data::{Balance, Dataset, Part, Supply, mix};
use crate::fit::{Adam, Decay, Progress, Scored};

/// How long and how fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) epochs: u32,
    pub(super) batch: usize,
    /// Falls along a cosine from here to 0.
    pub(super) lr: f64,
    pub(super) balance: Balance,
    pub(super) seed: u64,
}

/// Draws of augmentation and order that no epoch of the training has had.
const FIRST_DRAW: u64 = 1 << 32;
/// Pictures in a batch while looking at val.
const BATCH: usize = 64;

/// The graph of the exported file while it is fitted.
struct Student<'a> {
    graph: Graph,
    scales: &'a ByteScales,
}

impl Student<'_> {
    /// Logits as the exported file gives them.
    fn forward(&self, pictures: &Tensor) -> Tensor {
        self.graph.run_with(pictures, &quantise::rounded_weights, &mut |value, x| match self.scales[value] {
            Some(s) => x.fake_quantize_per_tensor_affine(f64::from(s.scale), i64::from(s.zero_point), 0, 255),
            None => x,
        })
    }

    /// What it says of the val part.
    fn score(&self, supply: &dyn Supply, set: &Dataset) -> Result<Scored, ExportError> {
        let (mut logits, mut truth) = (Vec::new(), Vec::new());
        for chunk in set.part(Part::Val).chunks(BATCH) {
            let (pictures, _) = supply.plain(chunk).map_err(ExportError::Picture)?;
            logits.push(no_grad(|| self.forward(&pictures)));
            truth.extend(chunk.iter().map(|&i| set.samples[i].class));
        }
        Ok(Scored { logits: Tensor::cat(&logits, 0), truth })
    }

    /// Weights and biases by name.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let of = |node: &Node| match &node.op {
            Op::Conv(conv) => vec![
                (format!("{}.weight", node.name), conv.weight.shallow_clone()),
                (format!("{}.bias", node.name), conv.bias.shallow_clone()),
            ],
            _ => Vec::new(),
        };
        self.graph.nodes.iter().flat_map(of).collect()
    }

    fn copies(&self) -> Vec<Tensor> {
        self.tensors().iter().map(|(_, tensor)| tensor.detach().copy()).collect()
    }
}

/// Higher balanced accuracy on val; of two that are equal, the lower loss.
fn worth(scored: &Scored) -> (f64, f64) {
    (scored.accuracies().1, -scored.loss())
}

/// Fits `graph` to the train part with its numbers rounded to `scales`, and gives the state that was best on val; that
/// may be the one it began with.
///
/// # Errors
/// [`ExportError::NotFinite`] when the loss is no number; a picture's that cannot be made an input.
pub(super) fn fit(
    graph: &Graph,
    scales: &ByteScales,
    schedule: Schedule,
    set: &Dataset,
    supply: &dyn Supply,
) -> Result<Graph, ExportError> {
    let student =
        Student { graph: graph.mapped(&|tensor| tensor.detach().copy().set_requires_grad(true)), scales };
    let tensors = student.tensors().into_iter().map(|(name, tensor)| (name, tensor, 1.0)).collect();
    let mut adam = Adam::new(tensors, Decay::Adam, 0.0, None);
    let mut best = (worth(&student.score(supply, set)?), student.copies());
    let train = set.part(Part::Train);
    let per_epoch = train.len().div_ceil(schedule.batch);
    let steps = per_epoch * schedule.epochs as usize;
    let mut progress = Progress::new(steps, 0);
    progress.line(0, &format!("as bytes: balanced accuracy on val {:.2} %", 100.0 * best.0.0));
    let mut step = 0;
    for epoch in 0..u64::from(schedule.epochs) {
        let draw = FIRST_DRAW + epoch;
        for chunk in supply.order(&train, schedule.balance, draw).chunks(schedule.batch) {
            let (pictures, classes) = supply.training(chunk, draw).map_err(ExportError::Picture)?;
            tch::manual_seed(mix(&[schedule.seed, 5, step as u64]) as i64);
            let taught = no_grad(|| graph.run(&pictures, &mut |_, x| x));
            let logits = student.forward(&pictures);
            let loss = loss(&logits, &taught, &classes);
            let value = loss.double_value(&[]);
            if !value.is_finite() {
                return Err(ExportError::NotFinite { loss: value, step: step + 1 });
            }
            let share = step as f64 / steps as f64;
            adam.step(&loss, schedule.lr * 0.5 * (1.0 + (std::f64::consts::PI * share).cos()));
            step += 1;
            progress.step(step, &format!("quantisation-aware {step}/{steps}, loss {value:.3}"));
        }
        let found = worth(&student.score(supply, set)?);
        let better = found > best.0;
        if better {
            best = (found, student.copies());
        }
        let mark = if better { ", best so far" } else { "" };
        let line = format!(
            "quantisation-aware epoch {}: balanced accuracy on val {:.2} %, loss {:.4}{mark}",
            epoch + 1,
            100.0 * found.0,
            -found.1
        );
        progress.line(step, &line);
    }
    no_grad(|| {
        for ((_, mut tensor), kept) in student.tensors().into_iter().zip(best.1) {
            tensor.copy_(&kept);
            let _ = tensor.set_requires_grad(false);
        }
    });
    Ok(student.graph)
}

/// Cross-entropy to the true classes, and the divergence from what the float network says, in equal parts.
fn loss(logits: &Tensor, taught: &Tensor, classes: &Tensor) -> Tensor {
    let divergence = logits.log_softmax(-1, Kind::Float).kl_div(
        &taught.log_softmax(-1, Kind::Float),
        Reduction::Sum,
        true,
    ) / logits.size()[0] as f64;
    (logits.cross_entropy_for_logits(classes) + divergence) * 0.5
}
