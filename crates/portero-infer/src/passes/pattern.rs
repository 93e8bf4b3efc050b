//! What the pass recognises: how the floats that are quantised were made.

use std::sync::Arc;

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Max, Mul};
use tract_onnx::tract_hir::internal::*;

use super::graph::{self, is, slice};
use super::op::{Kernel, Quantised};
use super::operator::work;
use super::{Bytes, Pass};
use portero_kernels::{Average, Convolution, Gate, Requant, Residual, Table, byte};

/// A kernel that makes a tensor, and what it reads.
pub(super) struct Made {
    pub(super) kernel: Kernel,
    pub(super) inputs: TVec<OutletId>,
    pub(super) batch: usize,
}

impl Pass<'_> {
    /// The kernel for the floats at `source` if they are quantised with `scale` and `zero`.
    pub(super) fn recognise(&self, source: OutletId, scale: f32, zero: u8) -> Option<Made> {
        let node = &self.old.nodes[source.node];
        self.convolution(node, scale, zero)
            .or_else(|| self.average(node, scale, zero))
            .or_else(|| self.residual(node, scale, zero))
            .or_else(|| self.gate(node, scale, zero))
            .or_else(|| self.rectified(node, scale, zero))
            .or_else(|| self.activation(source, scale, zero))
    }

    /// A convolution and its ReLU, when the bytes begin at zero: what a ReLU cuts off, they cannot hold anyway.
    fn rectified(&self, node: &TypedNode, scale: f32, zero: u8) -> Option<Made> {
        if zero != 0 || !is::<Max>(node) {
            return None;
        }
        let [a, b] = node.inputs[..] else { return None };
        let floor = |outlet| self.constant(outlet).and_then(|floor| slice::<f32>(&floor));
        let (varying, floor) = floor(b).map(|b| (a, b)).or_else(|| floor(a).map(|a| (b, a)))?;
        let conv = &self.old.nodes[varying.node];
        if floor.iter().all(|f| *f == 0.0) { self.convolution(conv, scale, zero) } else { None }
    }

    fn convolution(&self, node: &TypedNode, scale: f32, zero: u8) -> Option<Made> {
        let conv = graph::convolution(node)?;
        let input = self.bytes(node.inputs[0])?;
        let floats = self.constant(node.inputs[1])?;
        let weights = self.stored.weights(&self.old.nodes[node.inputs[1].node].name, &floats)?;
        let (_, output) = self.extent(OutletId::new(node.id, 0))?;
        let window = graph::window(&conv.pool_spec, input.plane, output)?;
        let bias = self.constant(node.inputs[2]).and_then(|bias| slice::<f32>(&bias))?;
        let requant = requant(input.scale, &weights.scale, &bias, scale, zero)?;
        let pack = if conv.group == 1 {
            Convolution::dense
        } else if conv.group == input.plane.channels {
            Convolution::depthwise
        } else {
            return None;
        };
        let kernel =
            Kernel::Convolution(Arc::new(pack(self.isa, window, input.zero, &weights.values, requant)?));
        Some(Made { kernel, inputs: tvec!(input.outlet), batch: input.batch })
    }

    /// The sum over height and width, divided by their product.
    fn average(&self, node: &TypedNode, scale: f32, zero: u8) -> Option<Made> {
        let (summed, factor) = graph::scaled_sum(self.old, node)?;
        let input = self.bytes(summed)?;
        let kept = self.extent(OutletId::new(node.id, 0)).is_some();
        if !kept || !graph::averages(factor, input.plane) {
            return None;
        }
        let op = Average { scale: input.scale / scale, zeros: [input.zero, zero] };
        Some(Made {
            kernel: Kernel::Average(op, input.plane),
            inputs: tvec!(input.outlet),
            batch: input.batch,
        })
    }

    fn two(&self, node: &TypedNode) -> Option<[&Bytes; 2]> {
        let [a, b] = node.inputs[..] else { return None };
        let (a, b) = (self.bytes(a)?, self.bytes(b)?);
        (a.batch == b.batch).then_some([a, b])
    }

    fn residual(&self, node: &TypedNode, scale: f32, zero: u8) -> Option<Made> {
        let [a, b] = self.two(node).filter(|[a, b]| is::<Add>(node) && a.plane == b.plane)?;
        let op = Residual { sides: [a, b].map(|side| (side.scale / scale, side.zero)), zero };
        let kernel = Kernel::Residual(op, a.plane);
        Some(Made { kernel, inputs: tvec!(a.outlet, b.outlet), batch: a.batch })
    }

    /// A picture times one factor per channel, either way round.
    fn gate(&self, node: &TypedNode, scale: f32, zero: u8) -> Option<Made> {
        let two = self.two(node).filter(|_| is::<Mul>(node))?;
        let [picture, factors] = graph::gated(two, |bytes| bytes.plane)?;
        let op =
            Gate { scale: picture.scale * factors.scale / scale, zeros: [picture.zero, factors.zero, zero] };
        let kernel = Kernel::Gate(op, picture.plane);
        Some(Made { kernel, inputs: tvec!(picture.outlet, factors.outlet), batch: picture.batch })
    }

    /// A chain of operators that change each element by itself, behind a convolution that nobody else reads: the
    /// convolution once more, with a table.
    fn activation(&self, source: OutletId, scale: f32, zero: u8) -> Option<Made> {
        let mut chain = Vec::new();
        let mut at = source;
        while self.bytes(at).is_none() {
            let node = &self.old.nodes[at.node];
            let known = node.op_is::<ElementWiseOp>() || node.op_is::<TypedBinOp>();
            let mut varying = (0..node.inputs.len()).filter(|i| self.constant(node.inputs[*i]).is_none());
            let slot = varying.next().filter(|_| known && varying.next().is_none())?;
            chain.push((node, slot));
            at = node.inputs[slot];
        }
        let input = self.bytes(at)?;
        let once = |outlet: OutletId| self.old.outlet_successors(outlet).len() == 1;
        let quantised = self.old.nodes[at.node].inputs[0];
        let made = &self.new.nodes[input.outlet.node];
        let op = work::<Quantised>(made).filter(|_| once(at) && once(quantised) && !chain.is_empty())?;
        let table = || self.table(input, &chain, scale, zero);
        let Kernel::Convolution(op_before) = &op.kernel else { return None };
        let kernel = Kernel::Convolution(Arc::new(Convolution::clone(op_before).with_table(table()?)));
        Some(Made { kernel, inputs: made.inputs.iter().copied().collect(), batch: op.batch })
    }

    /// What the chain, last operator first, makes of each of the 256 bytes.
    fn table(&self, input: &Bytes, chain: &[(&TypedNode, usize)], scale: f32, zero: u8) -> Option<Table> {
        let floats: Vec<f32> =
            (0..=255u8).map(|b| (f32::from(b) - f32::from(input.zero)) * input.scale).collect();
        let mut value = tensor1(&floats).into_shape(&[1, 1, 1, 256]).ok()?.into_tvalue();
        for (node, slot) in chain.iter().rev() {
            let operand = |i: usize| {
                if i == *slot {
                    return Some(value.clone());
                }
                self.constant(node.inputs[i]).filter(|c| c.len() == 1).map(TValue::from_const)
            };
            let inputs = (0..node.inputs.len()).map(operand).collect::<Option<TVec<_>>>()?;
            value = node.op.eval_out_of_plan(inputs).ok()??.into_iter().next()?;
        }
        let bytes: Vec<u8> = slice::<f32>(&value)?.into_iter().map(|v| byte(v / scale, zero)).collect();
        bytes.try_into().ok().map(Table::new)
    }

    /// The value of a tensor that does not depend on the model's input.
    fn constant(&self, outlet: OutletId) -> Option<Arc<Tensor>> {
        graph::constant(self.old, outlet)
    }
}

/// Scales and biases of a convolution: a sum's unit is the input's scale times the weight's. One bias may serve
/// all channels.
fn requant(input: f32, weights: &[f32], bias: &[f32], scale: f32, zero: u8) -> Option<Requant> {
    if bias.len() != 1 && bias.len() != weights.len() {
        return None;
    }
    let biases: Vec<i32> = weights
        .iter()
        .zip(bias.iter().cycle())
        .map(|(w, b)| (f64::from(*b) / (f64::from(input) * f64::from(*w))).round() as i32)
        .collect();
    let scales: Vec<f32> = weights.iter().map(|w| input * w / scale).collect();
    Requant::new(&biases, &scales, zero)
}
