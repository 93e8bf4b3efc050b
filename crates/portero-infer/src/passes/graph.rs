//! What both passes ask of a graph as tract has typed it.

use std::sync::Arc;

use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PoolSpec};
use tract_onnx::tract_core::ops::math::{Div, Mul};
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Reducer};
use tract_onnx::tract_hir::internal::*;

use portero_kernels::{Plane, Window};

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

/// The convolution that a node is, if its form is one that the kernels know: of floats, planes first, its taps side by
/// side.
pub(super) fn convolution(node: &TypedNode) -> Option<&Conv> {
    let conv = node.op_as::<Conv>()?;
    let plain = conv.q_params.is_none()
        && conv.kernel_fmt == KernelFormat::OIHW
        && conv.pool_spec.data_format == DataFormat::NCHW
        && conv.pool_spec.dilations().iter().all(|d| *d == 1);
    plain.then_some(conv)
}

/// What a node takes the sum of over height and width, times a factor, and the factor.
pub(super) fn scaled_sum(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, f32)> {
    let (sum, factor) = [(0, 1), (1, 0)].into_iter().find_map(|(sum, count)| {
        let count = constant(model, *node.inputs.get(count)?).and_then(|count| slice::<f32>(&count))?;
        let [count] = count[..] else { return None };
        let factor = if is::<Mul>(node) {
            count
        } else if is::<Div>(node) && sum == 0 {
            1.0 / count
        } else {
            return None;
        };
        Some((&model.nodes[node.inputs[sum].node], factor))
    })?;
    let reduce = sum.op_as::<Reduce>()?;
    let whole = reduce.reducer == Reducer::Sum && reduce.axes[..] == [2, 3];
    whole.then_some((sum.inputs[0], factor))
}

/// Whether a sum over all pixels times this is their average, which the kernels divide by their number themselves.
pub(super) fn averages(factor: f32, plane: Plane) -> bool {
    (factor * plane.pixels() as f32 - 1.0).abs() <= 1e-4
}

/// Which of two is a picture and which holds one factor for each of its channels, given what says their extents.
pub(super) fn gated<T>([a, b]: [&T; 2], plane: impl Fn(&T) -> Plane) -> Option<[&T; 2]> {
    let one = |of: Plane| Plane { height: 1, width: 1, ..of };
    let (picture, factors) = if plane(b) == one(plane(a)) { (a, b) } else { (b, a) };
    (plane(factors) == one(plane(picture))).then_some([picture, factors])
}
