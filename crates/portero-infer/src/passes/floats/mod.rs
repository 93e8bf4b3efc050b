//! The pass for networks of floats: convolutions, and what stands between them, become kernels of ours.
//!
//! [`floats`] walks through the graph in the order of evaluation and builds it anew. Of each tensor it knows the outlet
//! of its planes, as tract has them (batch, channel, height, width), or of its pixels, as our kernels have them
//! (batch, height, width, channel), or both. What is not recognised is copied and stays tract's; where a tensor is
//! wanted in the other order, an operator that turns it around is put in. Nodes that nobody reads any more are dropped.

mod curve;
mod op;
mod pattern;

use std::collections::HashMap;

use log::debug;
use tract_onnx::tract_hir::internal::*;

use op::Kernel;
pub(super) use op::Pixelwise;
use pattern::Made;

use super::operator::{Operator, work};
use portero_kernels::Plane;
use portero_kernels::float::Simd;

/// Replaces what is recognised by kernels for `simd`. A model without a convolution of floats that there is a kernel
/// for comes back as it was.
///
/// # Errors
/// When tract refuses the graph that results.
pub(crate) fn floats(model: TypedModel, simd: Simd) -> TractResult<TypedModel> {
    let mut walk = Walk { old: &model, simd, new: TypedModel::default(), tensors: HashMap::new() };
    for node in model.eval_order()? {
        walk.node(&model.nodes[node])?;
    }
    let outputs = model.outputs.iter().map(|o| walk.planes(*o)).collect::<TractResult<Vec<_>>>()?;
    let mut new = walk.new;
    new.select_output_outlets(&outputs)?;
    new.compact()?;
    let convolutions =
        new.nodes.iter().filter_map(|n| work::<Pixelwise>(n)).filter(|op| op.kernel.convolves()).count();
    if convolutions == 0 {
        return Ok(model);
    }
    debug!("{convolutions} convolutions of {} nodes are kernels for floats", new.nodes.len());
    Ok(new)
}

/// A tensor of the old graph in the new one.
#[derive(Debug, Clone, Default)]
struct Known {
    /// As tract has it.
    planes: Option<OutletId>,
    /// As our kernels have it.
    pixels: Option<Pixels>,
}

/// A tensor of pixels in the new graph.
#[derive(Debug, Clone, PartialEq)]
struct Pixels {
    outlet: OutletId,
    batch: TDim,
    plane: Plane,
}

/// The walk through the graph.
struct Walk<'a> {
    old: &'a TypedModel,
    simd: Simd,
    new: TypedModel,
    tensors: HashMap<OutletId, Known>,
}

impl Walk<'_> {
    fn node(&mut self, node: &TypedNode) -> TractResult<()> {
        let Some(Made { kernel, inputs, batch }) = self.recognise(node)? else {
            return self.copy(node);
        };
        let pixels = Some(self.wire(&node.name, kernel, batch, &inputs)?);
        self.tensors.insert(OutletId::new(node.id, 0), Known { planes: None, pixels });
        Ok(())
    }

    fn wire(&mut self, name: &str, kernel: Kernel, batch: TDim, inputs: &[OutletId]) -> TractResult<Pixels> {
        let plane = kernel.output();
        let op = Operator(Pixelwise { kernel, batch: batch.clone(), simd: self.simd });
        let outlet = self.new.wire_node(name, op, inputs)?[0];
        Ok(Pixels { outlet, batch, plane })
    }

    /// Batch and extent of a tensor of floats with four dimensions; the last three are known.
    fn extent(&self, outlet: OutletId) -> Option<(TDim, Plane)> {
        let fact = self.old.outlet_fact(outlet).ok()?;
        let [batch, rest @ ..] = &fact.shape[..] else { return None };
        let rest = rest.iter().map(|d| d.to_usize().ok()).collect::<Option<Vec<_>>>()?;
        let [channels, height, width] = rest[..] else { return None };
        let some = channels > 0 && height > 0 && width > 0;
        let floats = fact.datum_type == f32::datum_type();
        (some && floats).then(|| (batch.clone(), Plane { height, width, channels }))
    }

    /// What is known as pixels already.
    fn known(&self, outlet: OutletId) -> Option<&Pixels> {
        self.tensors.get(&outlet)?.pixels.as_ref()
    }

    /// The pixels of a tensor, which enter here if there are only planes.
    fn pixels(&mut self, outlet: OutletId) -> TractResult<Option<Pixels>> {
        if let Some(pixels) = self.known(outlet) {
            return Ok(Some(pixels.clone()));
        }
        let Some((batch, plane)) = self.extent(outlet) else { return Ok(None) };
        let planes = self.planes(outlet)?;
        let name = format!("{}.pixels", self.old.nodes[outlet.node].name);
        let pixels = self.wire(&name, Kernel::Enter(plane), batch, &[planes])?;
        self.tensors.insert(outlet, Known { planes: Some(planes), pixels: Some(pixels.clone()) });
        Ok(Some(pixels))
    }

    /// The planes of a tensor, which leave the pixels here if there are only these.
    fn planes(&mut self, outlet: OutletId) -> TractResult<OutletId> {
        let known = self.tensors.get(&outlet).cloned().unwrap_or_default();
        if let Some(planes) = known.planes {
            return Ok(planes);
        }
        let pixels = known.pixels.context("a tensor is read before it is made")?;
        let kernel = Kernel::Leave(pixels.plane);
        let op = Operator(Pixelwise { kernel, batch: pixels.batch.clone(), simd: self.simd });
        let name = format!("{}.planes", self.old.nodes[outlet.node].name);
        let planes = self.new.wire_node(name, op, &[pixels.outlet])?[0];
        self.tensors.insert(outlet, Known { planes: Some(planes), pixels: Some(pixels) });
        Ok(planes)
    }

    /// Takes a node over as it is.
    fn copy(&mut self, node: &TypedNode) -> TractResult<()> {
        let inputs = node.inputs.iter().map(|i| self.planes(*i)).collect::<TractResult<Vec<_>>>()?;
        let outlets = if self.old.inputs.contains(&OutletId::new(node.id, 0)) {
            tvec!(self.new.add_source(&node.name, node.outputs[0].fact.clone())?)
        } else {
            self.new.wire_node(&node.name, node.op.clone(), &inputs)?
        };
        for (slot, outlet) in outlets.into_iter().enumerate() {
            let known = Known { planes: Some(outlet), pixels: None };
            self.tensors.insert(OutletId::new(node.id, slot), known);
        }
        Ok(())
    }
}
