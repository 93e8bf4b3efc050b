//! Passes over a network as tract has typed it, before tract optimises it.
//!
//! [`quantised`] walks through the graph in the order of evaluation and builds it anew. Of each tensor it knows the
//! outlet of its floats, of its bytes, or of both. At a QuantizeLinear it looks at what the floats were made
//! by: if that is an operator for which there is a kernel, and its inputs are known as bytes, the kernel takes
//! the place of all of it. What is not recognised is copied and stays tract's; bytes enter and leave such
//! stretches by operators of their own. Nodes that nobody reads any more, tract drops.

mod floats;
mod graph;
mod op;
mod operator;
mod pattern;
mod program;
mod section;
mod stored;

use std::collections::HashMap;
use std::sync::Arc;

use log::debug;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearU8};
use tract_onnx::tract_hir::internal::*;

pub(super) use floats::floats;
use op::{Kernel, Quantised};
use operator::{Operator, work};
use pattern::Made;
pub(super) use program::{Program, Session};
pub(super) use stored::Stored;

use portero_kernels::{Isa, Plane};

/// Replaces what is quantised by kernels for `isa`. A model without quantised activations comes back as it was.
///
/// # Errors
/// When tract refuses the graph that results.
pub(super) fn quantised(model: TypedModel, stored: &Stored, isa: Isa) -> TractResult<TypedModel> {
    if !model.nodes.iter().any(|node| rounds(node).is_some()) {
        return Ok(model);
    }
    let mut pass = Pass { old: &model, stored, isa, new: TypedModel::default(), tensors: HashMap::new() };
    for node in model.eval_order()? {
        pass.node(&model.nodes[node])?;
    }
    let outputs = model.outputs.iter().map(|o| pass.floats(*o)).collect::<TractResult<Vec<_>>>()?;
    let mut new = pass.new;
    new.select_output_outlets(&outputs)?;
    new.compact()?;
    let kernels = new.nodes.iter().filter(|n| work::<Quantised>(n).is_some()).count();
    debug!("{kernels} of {} nodes are kernels for bytes ({})", new.nodes.len(), isa.name());
    Ok(new)
}

/// The program of a network that consists of kernels alone, all for bytes or all for floats.
pub(super) fn program(model: &TypedModel) -> Option<Arc<dyn Program>> {
    program::of::<Quantised>(model).or_else(|| program::of::<floats::Pixelwise>(model))
}

/// A tensor of the old graph in the new one.
#[derive(Debug, Clone, Default)]
struct Known {
    /// As tract has it.
    floats: Option<OutletId>,
    /// As bytes.
    bytes: Option<Bytes>,
}

/// A quantised tensor in the new graph.
#[derive(Debug, Clone, PartialEq)]
struct Bytes {
    outlet: OutletId,
    batch: usize,
    plane: Plane,
    scale: f32,
    zero: u8,
}

/// The walk through the graph.
struct Pass<'a> {
    old: &'a TypedModel,
    stored: &'a Stored,
    isa: Isa,
    new: TypedModel,
    tensors: HashMap<OutletId, Known>,
}

impl Pass<'_> {
    fn node(&mut self, node: &TypedNode) -> TractResult<()> {
        let outlet = OutletId::new(node.id, 0);
        let bytes = if let Some((scale, zero)) = self.read_as_bytes(node) {
            self.quantise(node, scale, zero)?
        } else if node.op_is::<DequantizeLinearF32>() {
            self.bytes(node.inputs[0]).cloned()
        } else {
            None
        };
        if bytes.is_none() {
            return self.copy(node);
        }
        self.tensors.insert(outlet, Known { floats: None, bytes });
        Ok(())
    }

    /// Scale and zero point of a node that quantises, if its readers all turn its bytes to floats again.
    fn read_as_bytes(&self, node: &TypedNode) -> Option<(f32, u8)> {
        let zero = rounds(node)?;
        if self.old.outputs.contains(&OutletId::new(node.id, 0)) {
            return None;
        }
        let mut scale = None;
        for reader in self.old.outlet_successors(OutletId::new(node.id, 0)) {
            // The exact scale stands there only; here it is the reciprocal.
            let back = self.old.nodes[reader.node].op_as::<DequantizeLinearF32>()?;
            if back.zero_point != i32::from(zero) || scale.is_some_and(|s| s != back.scale) {
                return None;
            }
            scale = Some(back.scale);
        }
        scale.filter(|s| s.is_finite() && *s > 0.0).map(|scale| (scale, zero))
    }

    /// The bytes of a node that quantises: from a kernel if what it quantises is known to one, else from floats.
    fn quantise(&mut self, node: &TypedNode, scale: f32, zero: u8) -> TractResult<Option<Bytes>> {
        let source = node.inputs[0];
        if let Some(Made { kernel, inputs, batch }) = self.recognise(source, scale, zero) {
            return self.wire(node, kernel, batch, &inputs, scale, zero).map(Some);
        }
        let Some((batch, plane)) = self.extent(source) else { return Ok(None) };
        let floats = self.floats(source)?;
        self.wire(node, Kernel::Enter(plane, scale, zero), batch, &[floats], scale, zero).map(Some)
    }

    fn wire(
        &mut self,
        node: &TypedNode,
        kernel: Kernel,
        batch: usize,
        inputs: &[OutletId],
        scale: f32,
        zero: u8,
    ) -> TractResult<Bytes> {
        let plane = kernel.output();
        let op = Operator(Quantised { kernel, batch, isa: self.isa });
        let outlet = self.new.wire_node(&node.name, op, inputs)?[0];
        Ok(Bytes { outlet, batch, plane, scale, zero })
    }

    /// Batch and extent of a tensor of floats with four known dimensions: batch, channel, height, width.
    fn extent(&self, outlet: OutletId) -> Option<(usize, Plane)> {
        let fact = self.old.outlet_fact(outlet).ok()?;
        let [batch, channels, height, width] = *fact.shape.as_concrete()? else { return None };
        let some = batch > 0 && channels > 0 && height > 0 && width > 0;
        let floats = fact.datum_type == f32::datum_type();
        (some && floats).then_some((batch, Plane { height, width, channels }))
    }

    fn bytes(&self, outlet: OutletId) -> Option<&Bytes> {
        self.tensors.get(&outlet)?.bytes.as_ref()
    }

    /// The floats of a tensor, which leave the bytes here if there are only these.
    fn floats(&mut self, outlet: OutletId) -> TractResult<OutletId> {
        let known = self.tensors.get(&outlet).cloned().unwrap_or_default();
        if let Some(floats) = known.floats {
            return Ok(floats);
        }
        let bytes = known.bytes.context("a tensor is read before it is made")?;
        let kernel = Kernel::Leave(bytes.plane, bytes.scale, bytes.zero);
        let op = Operator(Quantised { kernel, batch: bytes.batch, isa: self.isa });
        let name = format!("{}.floats", self.old.nodes[outlet.node].name);
        let floats = self.new.wire_node(name, op, &[bytes.outlet])?[0];
        self.tensors.insert(outlet, Known { floats: Some(floats), bytes: Some(bytes) });
        Ok(floats)
    }

    /// Takes a node over as it is.
    fn copy(&mut self, node: &TypedNode) -> TractResult<()> {
        let inputs = node.inputs.iter().map(|i| self.floats(*i)).collect::<TractResult<Vec<_>>>()?;
        let outlets = if self.old.inputs.contains(&OutletId::new(node.id, 0)) {
            tvec!(self.new.add_source(&node.name, node.outputs[0].fact.clone())?)
        } else {
            self.new.wire_node(&node.name, node.op.clone(), &inputs)?
        };
        for (slot, outlet) in outlets.into_iter().enumerate() {
            let known = Known { floats: Some(outlet), bytes: None };
            self.tensors.insert(OutletId::new(node.id, slot), known);
        }
        Ok(())
    }
}

/// The zero point of a node that quantises to bytes.
fn rounds(node: &TypedNode) -> Option<u8> {
    let op = node.op_as::<ElementWiseOp>()?.0.downcast_ref::<QuantizeLinearU8>()?;
    Some(op.zero_point)
}
