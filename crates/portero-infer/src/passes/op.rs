//! The kernels that the pass puts into a graph.
//!
//! Pictures travel between them as bytes of the shape `batch x height x width x stride`.

use std::sync::Arc;

use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearU8};
use tract_onnx::tract_hir::internal::*;

use super::operator::Work;
use super::program;
use portero_kernels::{Average, Convolution, Gate, Isa, Plane, Residual, dequantise, quantise};

/// A kernel in a graph.
#[derive(Clone, PartialEq)]
pub(super) struct Quantised {
    pub(super) kernel: Kernel,
    /// Pictures at a time.
    pub(super) batch: usize,
    pub(super) isa: Isa,
}

/// Which kernel. A [`Plane`] is the extent of the first input, or of the floats at the two ends.
#[derive(Clone, PartialEq)]
pub(super) enum Kernel {
    Convolution(Arc<Convolution>),
    Residual(Residual, Plane),
    Gate(Gate, Plane),
    Average(Average, Plane),
    /// Floats to bytes, with scale and zero point.
    Enter(Plane, f32, u8),
    /// Bytes to floats, with scale and zero point.
    Leave(Plane, f32, u8),
}

// No scale is NaN: the kernels' constructors and the pass see to that.
impl Eq for Quantised {}

impl Kernel {
    /// The extent of the output.
    pub(super) fn output(&self) -> Plane {
        match self {
            Self::Convolution(op) => op.window().output,
            Self::Average(_, plane) => Plane { height: 1, width: 1, ..*plane },
            Self::Residual(_, plane) | Self::Gate(_, plane) => *plane,
            Self::Enter(plane, ..) | Self::Leave(plane, ..) => *plane,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Convolution(op) if op.is_depthwise() => "Int8Depthwise",
            Self::Convolution(_) => "Int8Dense",
            Self::Residual(..) => "Int8Residual",
            Self::Gate(..) => "Int8Gate",
            Self::Average(..) => "Int8Average",
            Self::Enter(..) => "Int8Enter",
            Self::Leave(..) => "Int8Leave",
        }
    }

    /// Runs a kernel from bytes to bytes on pictures that lie end to end. The two ends do nothing here.
    fn run(&self, isa: Isa, [first, second]: [&[u8]; 2], output: &mut [u8]) {
        match self {
            Self::Convolution(op) => op.run(first, output),
            Self::Residual(op, _) => op.run(isa, first, second, output),
            Self::Gate(op, plane) => {
                let factors = second.chunks_exact(plane.stride());
                let pictures = first.chunks_exact(plane.bytes()).zip(factors);
                for ((picture, factors), out) in pictures.zip(output.chunks_exact_mut(plane.bytes())) {
                    op.run(isa, picture, factors, out);
                }
            }
            Self::Average(op, plane) => {
                let pictures = first.chunks_exact(plane.bytes());
                for (picture, out) in pictures.zip(output.chunks_exact_mut(plane.stride())) {
                    op.run(isa, picture, out);
                }
            }
            Self::Enter(..) | Self::Leave(..) => {}
        }
    }
}

impl Work for Quantised {
    fn name(&self) -> &'static str {
        self.kernel.name()
    }

    fn output(&self) -> Plane {
        self.kernel.output()
    }

    fn fact(&self) -> TypedFact {
        let plane = self.kernel.output();
        match self.kernel {
            Kernel::Leave(..) => f32::fact([self.batch, plane.channels, plane.height, plane.width]),
            _ => u8::fact([self.batch, plane.height, plane.width, plane.stride()]),
        }
    }

    fn shape(&self, _: &[TValue]) -> TractResult<TVec<usize>> {
        Ok(self.fact().shape.as_concrete().context("a shape without symbols")?.into())
    }

    fn run(&self, inputs: &[TValue], output: &mut Tensor) -> TractResult<()> {
        use program::Kernel as _;
        let mut output = output.try_as_plain_ram_mut()?;
        let first = inputs[0].try_as_plain_ram()?;
        match &self.kernel {
            Kernel::Enter(plane, ..) => {
                let floats = first.as_slice::<f32>()?.chunks_exact(plane.pixels() * plane.channels);
                for (from, to) in floats.zip(output.as_slice_mut::<u8>()?.chunks_exact_mut(plane.bytes())) {
                    self.enter(from, to);
                }
            }
            Kernel::Leave(..) => self.leave(first.as_slice::<u8>()?, output.as_slice_mut::<f32>()?),
            kernel => {
                let second = inputs[inputs.len() - 1].try_as_plain_ram()?;
                let bytes = [first.as_slice::<u8>()?, second.as_slice::<u8>()?];
                kernel.run(self.isa, bytes, output.as_slice_mut::<u8>()?);
            }
        }
        Ok(())
    }
}

impl program::Kernel for Quantised {
    type Number = u8;

    fn is_single(&self) -> bool {
        self.batch == 1
    }

    fn enters(&self) -> bool {
        matches!(self.kernel, Kernel::Enter(..))
    }

    fn leaves(&self) -> bool {
        matches!(self.kernel, Kernel::Leave(..))
    }

    fn input_lens(&self) -> [usize; 2] {
        let planes = match &self.kernel {
            Kernel::Convolution(op) => [op.window().input; 2],
            Kernel::Gate(_, plane) => [*plane, Plane { height: 1, width: 1, ..*plane }],
            Kernel::Residual(_, plane) | Kernel::Average(_, plane) => [*plane; 2],
            Kernel::Enter(plane, ..) => return [plane.pixels() * plane.channels; 2],
            Kernel::Leave(plane, ..) => [*plane; 2],
        };
        planes.map(|plane| plane.bytes())
    }

    fn output_len(&self) -> usize {
        match &self.kernel {
            Kernel::Leave(plane, ..) => plane.pixels() * plane.channels,
            kernel => kernel.output().bytes(),
        }
    }

    fn enter(&self, planes: &[f32], output: &mut [u8]) {
        if let Kernel::Enter(plane, scale, zero) = &self.kernel {
            quantise(self.isa, plane, *scale, *zero, planes, output);
        }
    }

    fn step(&self, inputs: [&[u8]; 2], output: &mut [u8]) {
        self.kernel.run(self.isa, inputs, output);
    }

    fn leave(&self, input: &[u8], planes: &mut [f32]) {
        if let Kernel::Leave(plane, scale, zero) = &self.kernel {
            let pictures = input.chunks_exact(plane.bytes());
            for (from, to) in pictures.zip(planes.chunks_exact_mut(plane.pixels() * plane.channels)) {
                dequantise(plane, *scale, *zero, from, to);
            }
        }
    }

    /// One that makes the same bytes of them once more, or floats of these.
    fn hands_on(&self, node: &TypedNode) -> bool {
        let Kernel::Leave(_, scale, zero) = self.kernel else { return false };
        if let Some(op) = node.op_as::<DequantizeLinearF32>() {
            return op.scale == scale && op.zero_point == i32::from(zero);
        }
        let again = node.op_as::<ElementWiseOp>().and_then(|op| op.0.downcast_ref::<QuantizeLinearU8>());
        // It multiplies by the reciprocal.
        again.is_some_and(|op| op.zero_point == zero && (op.scale * scale - 1.0).abs() < 1e-5)
    }
}
