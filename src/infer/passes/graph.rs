//! What both passes ask of a graph as tract has typed it.

use std::sync::Arc;

use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::cnn::PoolSpec;
use tract_onnx::tract_hir::internal::*;

use crate::infer::kernels::{Plane, Window};

/// The value of a tensor that does not depend on the model's input.
pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> Option<Arc<Tensor>> {
    if let Some(value) = &model.outlet_fact(outlet).ok()?.konst {
        return Some(Arc::clone(value));
    }
    let node = &model.nodes[outlet.node];
    // Small things only, such as a bias that is cast: a sound graph of weights is folded already.
    if node.inputs.len() != 1 {
        return None;
    }
    let input = TValue::from_const(constant(model, node.inputs[0])?);
    let value = node.op.eval_out_of_plan(tvec!(input)).ok()??.into_iter().nth(outlet.slot)?;
    Some(value.into_arc_tensor())
}

/// A tensor's elements.
pub(super) fn slice<T: Datum + Copy>(tensor: &Tensor) -> Option<Vec<T>> {
    Some(tensor.try_as_plain_ram().ok()?.as_slice::<T>().ok()?.to_vec())
}

/// Whether the node is this operator of two tensors.
pub(super) fn is<T: BinMiniOp>(node: &TypedNode) -> bool {
    node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<T>())
}

/// Where the window of a convolution over height and width lies.
pub(super) fn window(spec: &PoolSpec, input: Plane, output: Plane) -> Option<Window> {
    let [rows, columns] = spec.kernel_shape[..] else { return None };
    let strides = spec.strides();
    let [down, across] = strides[..] else { return None };
    let padding = spec.padding.compute(&[input.height, input.width], &spec.kernel_shape, &[1, 1], &strides);
    Some(Window {
        input,
        output,
        size: (rows, columns),
        step: (down, across),
        before: (padding[0].pad_before, padding[1].pad_before),
    })
}
