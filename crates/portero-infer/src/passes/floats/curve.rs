//! Activations as networks spell them out: chains of operators on single elements that come to one [`Ramp`].

use std::collections::BTreeSet;

use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Div, Max, Min, Mul, Sub};
use tract_onnx::tract_core::ops::nn::HardSwish;
use tract_onnx::tract_hir::internal::*;

use crate::passes::graph::{constant, is, slice};
use portero_kernels::float::Ramp;

/// No chain of an activation is longer.
const LONGEST: usize = 8;

/// A chain: what it makes of the tensor at `base`.
#[derive(Debug, Clone)]
pub(super) struct Curve {
    pub(super) base: OutletId,
    pub(super) ramp: Ramp,
    /// The nodes of the chain.
    pub(super) nodes: BTreeSet<usize>,
}

impl Curve {
    /// How the tensor at `outlet` is made of another; at the least, of itself.
    pub(super) fn of(model: &TypedModel, outlet: OutletId) -> Self {
        Self::within(model, outlet, LONGEST)
    }

    /// As [`Curve::of`], of at most `left` operators one behind another.
    fn within(model: &TypedModel, outlet: OutletId, left: usize) -> Self {
        let nothing = || Self { base: outlet, ramp: Ramp::NONE, nodes: BTreeSet::new() };
        left.checked_sub(1).and_then(|left| Self::chain(model, outlet, left)).unwrap_or_else(nothing)
    }

    fn chain(model: &TypedModel, outlet: OutletId, left: usize) -> Option<Self> {
        let node = &model.nodes[outlet.node];
        let mut curve = if let Some(op) = node.op_as::<ElementWiseOp>() {
            op.0.downcast_ref::<HardSwish>()?;
            let inner = Self::within(model, node.inputs[0], left);
            // Of a value that was changed already there is no ramp.
            (inner.ramp == Ramp::NONE).then_some(Self { ramp: Ramp::HARD_SWISH, ..inner })?
        } else if node.op_is::<TypedBinOp>() {
            Self::of_two(model, node, left)?
        } else {
            return None;
        };
        curve.nodes.insert(node.id);
        Some(curve)
    }

    fn of_two(model: &TypedModel, node: &TypedNode, left: usize) -> Option<Self> {
        let [a, b] = node.inputs[..] else { return None };
        let scalar = |outlet| constant(model, outlet).and_then(|c| slice::<f32>(&c)).filter(|c| c.len() == 1);
        match (scalar(a), scalar(b)) {
            (None, Some(c)) => Self::within(model, a, left).with(node, c[0], false),
            (Some(c), None) => Self::within(model, b, left).with(node, c[0], true),
            (None, None) if is::<Mul>(node) => {
                Self::gate(Self::within(model, a, left), Self::within(model, b, left))
            }
            _ => None,
        }
    }

    /// This, and then `node` with a constant, which may stand first.
    fn with(self, node: &TypedNode, constant: f32, first: bool) -> Option<Self> {
        let ramp = self.ramp;
        let ramp = if is::<Mul>(node) {
            ramp.times(constant)
        } else if is::<Add>(node) {
            ramp.plus(constant)
        } else if is::<Max>(node) {
            ramp.at_least(constant)
        } else if is::<Min>(node) {
            ramp.at_most(constant)
        } else if is::<Div>(node) && !first {
            ramp.times(1.0 / constant)
        } else if is::<Sub>(node) && !first {
            ramp.plus(-constant)
        } else {
            None
        };
        Some(Self { ramp: ramp?, ..self })
    }

    /// A value times what a chain makes of the same value.
    fn gate(a: Self, b: Self) -> Option<Self> {
        let (value, chain) = if a.ramp == Ramp::NONE { (a, b) } else { (b, a) };
        let same = value.base == chain.base && value.ramp == Ramp::NONE && chain.ramp != Ramp::NONE;
        let ramp = chain.ramp.gating().filter(|_| same)?;
        Some(Self { ramp, nodes: &value.nodes | &chain.nodes, base: chain.base })
    }

    /// Whether nobody else reads what lies between the base and the end of the chain at `outlet`.
    pub(super) fn alone(&self, model: &TypedModel, outlet: OutletId) -> bool {
        let between = self.nodes.iter().map(|n| OutletId::new(*n, 0)).filter(|o| *o != outlet);
        std::iter::once(self.base).chain(between).all(|o| {
            let readers = model.outlet_successors(o);
            !model.outputs.contains(&o) && readers.iter().all(|reader| self.nodes.contains(&reader.node))
        })
    }
}
