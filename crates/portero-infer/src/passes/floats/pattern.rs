//! What the pass recognises.

use tract_onnx::tract_core::ops::cnn::Conv;
use tract_onnx::tract_core::ops::math::{Add, Mul};
use tract_onnx::tract_hir::internal::*;

use super::curve::Curve;
use super::op::{Kernel, Pixelwise};
use super::{Pixels, Walk};
use crate::passes::graph::{averages, constant, convolution, gated, is, scaled_sum, slice, window};
use crate::passes::operator::work;
use portero_kernels::Window;
use portero_kernels::float::{Convolution, Ramp, Source};

/// A kernel that makes a tensor, and what it reads.
pub(super) struct Made {
    pub(super) kernel: Kernel,
    pub(super) inputs: TVec<OutletId>,
    pub(super) batch: TDim,
}

impl Walk<'_> {
    /// The kernel for a node, if there is one.
    pub(super) fn recognise(&mut self, node: &TypedNode) -> TractResult<Option<Made>> {
        if node.op_is::<Conv>() {
            return self.convolution(node);
        }
        Ok(self.activation(node).or_else(|| self.average(node)).or_else(|| self.two(node)))
    }

    fn convolution(&mut self, node: &TypedNode) -> TractResult<Option<Made>> {
        let Some((batch, window, conv)) = self.window(node) else { return Ok(None) };
        let floats = |slot: usize| constant(self.old, node.inputs[slot]).and_then(|c| slice::<f32>(&c));
        let (Some(weights), Some(mut bias)) = (floats(1), floats(2)) else { return Ok(None) };
        if bias.len() == 1 {
            // One bias may serve all channels.
            bias.resize(window.output.channels, bias[0]);
        }
        let (depthwise, channels) = (conv.group == window.input.channels, window.input.channels);
        let made = if depthwise && channels > 1 {
            Convolution::depthwise(self.simd, window, &weights, &bias).map(|op| (op, Source::Pixels))
        } else if conv.group == 1 {
            // Planes are read as they are where nothing has made pixels of them yet.
            let known = self.known(node.inputs[0]).is_some();
            let source = if known { Source::Pixels } else { Source::Planes };
            Convolution::dense(self.simd, window, source, &weights, &bias).map(|op| (op, source))
        } else {
            None
        };
        let Some((op, source)) = made else { return Ok(None) };
        let input = match source {
            Source::Planes => self.planes(node.inputs[0])?,
            Source::Pixels => match self.pixels(node.inputs[0])? {
                Some(pixels) => pixels.outlet,
                None => return Ok(None),
            },
        };
        Ok(Some(Made { kernel: Kernel::Convolution(op), inputs: tvec!(input), batch }))
    }

    /// Where the window of a convolution of floats lies, if its form is one that the kernels know.
    fn window<'n>(&self, node: &'n TypedNode) -> Option<(TDim, Window, &'n Conv)> {
        let conv = convolution(node)?;
        let (batch, input) = self.extent(node.inputs[0])?;
        let (_, output) = self.extent(OutletId::new(node.id, 0))?;
        Some((batch, window(&conv.pool_spec, input, output)?, conv))
    }

    /// The sum over height and width, divided by their product.
    fn average(&self, node: &TypedNode) -> Option<Made> {
        let (summed, factor) = scaled_sum(self.old, node)?;
        let input = self.known(summed)?;
        let kept = self.extent(OutletId::new(node.id, 0)).is_some();
        if !kept || !averages(factor, input.plane) {
            return None;
        }
        let kernel = Kernel::Average(input.plane);
        Some(Made { kernel, inputs: tvec!(input.outlet), batch: input.batch.clone() })
    }

    /// The sum of two pictures of one size, or a picture times one factor per channel, either way round.
    fn two(&self, node: &TypedNode) -> Option<Made> {
        let [a, b] = node.inputs[..] else { return None };
        let (a, b) = (self.known(a)?, self.known(b)?);
        if a.batch != b.batch {
            return None;
        }
        let made = |kernel: Kernel, a: &Pixels, b: &Pixels| Made {
            kernel,
            inputs: tvec!(a.outlet, b.outlet),
            batch: a.batch.clone(),
        };
        if is::<Add>(node) {
            return (a.plane == b.plane).then(|| made(Kernel::Add(Ramp::NONE, a.plane), a, b));
        }
        let [picture, factors] = gated([a, b], |pixels| pixels.plane).filter(|_| is::<Mul>(node))?;
        Some(made(Kernel::Gate(Ramp::NONE, picture.plane), picture, factors))
    }

    /// An activation behind a kernel whose output nobody else reads: the kernel once more, with the activation.
    fn activation(&self, node: &TypedNode) -> Option<Made> {
        let outlet = OutletId::new(node.id, 0);
        let curve = Curve::of(self.old, outlet);
        let base =
            self.known(curve.base).filter(|_| curve.base != outlet && curve.alone(self.old, outlet))?;
        let made = &self.new.nodes[base.outlet.node];
        let kernel = &work::<Pixelwise>(made)?.kernel;
        let bare = kernel.ramp() == Some(Ramp::NONE);
        bare.then(|| Made {
            kernel: kernel.with_ramp(curve.ramp),
            inputs: made.inputs.iter().copied().collect(),
            batch: base.batch.clone(),
        })
    }
}
