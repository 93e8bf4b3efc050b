//! What the pass recognises.

use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat};
use tract_onnx::tract_core::ops::math::{Add, Div, Mul};
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Reducer};
use tract_onnx::tract_hir::internal::*;

use super::curve::Curve;
use super::op::{Kernel, Pixelwise};
use super::{Pixels, Walk};
use crate::infer::kernels::float::{Dense, Depthwise, Ramp, Source};
use crate::infer::kernels::{Plane, Window};
use crate::infer::passes::graph::{constant, is, slice, window};

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
            Depthwise::new(window, &weights, &bias).map(|op| (Kernel::Depthwise(op), Source::Pixels))
        } else if conv.group == 1 {
            // Planes are read as they are where nothing has made pixels of them yet.
            let known = self.known(node.inputs[0]).is_some();
            let source = if known { Source::Pixels } else { Source::Planes };
            Dense::new(window, source, &weights, &bias).map(|op| (Kernel::Dense(op), source))
        } else {
            None
        };
        let Some((kernel, source)) = made else { return Ok(None) };
        let input = match source {
            Source::Planes => self.planes(node.inputs[0])?,
            Source::Pixels => match self.pixels(node.inputs[0])? {
                Some(pixels) => pixels.outlet,
                None => return Ok(None),
            },
        };
        Ok(Some(Made { kernel, inputs: tvec!(input), batch }))
    }

    /// Where the window of a convolution of floats lies, if its form is one that the kernels know.
    fn window<'n>(&self, node: &'n TypedNode) -> Option<(TDim, Window, &'n Conv)> {
        let conv = node.op_as::<Conv>()?;
        let spec = &conv.pool_spec;
        let plain = conv.q_params.is_none()
            && conv.kernel_fmt == KernelFormat::OIHW
            && spec.data_format == DataFormat::NCHW
            && spec.dilations().iter().all(|d| *d == 1);
        let (batch, input) = self.extent(node.inputs[0]).filter(|_| plain)?;
        let (_, output) = self.extent(OutletId::new(node.id, 0))?;
        Some((batch, window(spec, input, output)?, conv))
    }

    /// The sum over height and width, divided by their product.
    fn average(&self, node: &TypedNode) -> Option<Made> {
        let (sum, factor) = [(0, 1), (1, 0)].into_iter().find_map(|(sum, count)| {
            let count =
                constant(self.old, *node.inputs.get(count)?).and_then(|count| slice::<f32>(&count))?;
            let [count] = count[..] else { return None };
            let factor = if is::<Mul>(node) {
                count
            } else if is::<Div>(node) && sum == 0 {
                1.0 / count
            } else {
                return None;
            };
            Some((&self.old.nodes[node.inputs[sum].node], factor))
        })?;
        let reduce = sum.op_as::<Reduce>()?;
        let input = self.known(sum.inputs[0])?;
        let whole = reduce.reducer == Reducer::Sum && reduce.axes[..] == [2, 3];
        let kept = self.extent(OutletId::new(node.id, 0)).is_some();
        // The kernel divides by the number of pixels itself.
        let pixels = input.plane.pixels() as f32;
        if !(whole && kept) || (factor * pixels - 1.0).abs() > 1e-4 {
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
        let one = |of: Plane| Plane { height: 1, width: 1, ..of };
        let (picture, factors) = if b.plane == one(a.plane) { (a, b) } else { (b, a) };
        let fits = is::<Mul>(node) && factors.plane == one(picture.plane);
        fits.then(|| made(Kernel::Gate(Ramp::NONE, picture.plane), picture, factors))
    }

    /// An activation behind a kernel whose output nobody else reads: the kernel once more, with the activation.
    fn activation(&self, node: &TypedNode) -> Option<Made> {
        let outlet = OutletId::new(node.id, 0);
        let curve = Curve::of(self.old, outlet);
        let base =
            self.known(curve.base).filter(|_| curve.base != outlet && curve.alone(self.old, outlet))?;
        let made = &self.new.nodes[base.outlet.node];
        let kernel = &made.op_as::<Pixelwise>()?.kernel;
        let bare = kernel.ramp() == Some(Ramp::NONE);
        bare.then(|| Made {
            kernel: kernel.with_ramp(curve.ramp),
            inputs: made.inputs.iter().copied().collect(),
            batch: base.batch.clone(),
        })
    }
}
