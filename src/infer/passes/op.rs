//! The kernels that the pass puts into a graph.
//!
//! Pictures travel between them as bytes of the shape `batch x height x width x stride`.

use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::operator::Work;
use crate::infer::kernels::{Average, Convolution, Gate, Isa, Plane, Residual, dequantise, quantise};

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

    /// The extents of the inputs; the only one twice.
    pub(super) fn inputs(&self) -> [Plane; 2] {
        match self {
            Self::Convolution(op) => [op.window().input; 2],
            Self::Gate(_, plane) => [*plane, Plane { height: 1, width: 1, ..*plane }],
            Self::Residual(_, plane) | Self::Average(_, plane) => [*plane; 2],
            Self::Enter(plane, ..) | Self::Leave(plane, ..) => [*plane; 2],
        }
    }

    pub(super) fn name(&self) -> &'static str {
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
    pub(super) fn run(&self, isa: Isa, [first, second]: [&[u8]; 2], output: &mut [u8]) {
        match self {
            Self::Convolution(op) => op.run(first, output),
            Self::Residual(op, _) => op.run(isa, first, second, output),
            Self::Gate(op, plane) => {
                let factors = second.chunks_exact(plane.stride());
                let pictures = first.chunks_exact(plane.len()).zip(factors);
                for ((picture, factors), out) in pictures.zip(output.chunks_exact_mut(plane.len())) {
                    op.run(isa, picture, factors, out);
                }
            }
            Self::Average(op, plane) => {
                let pictures = first.chunks_exact(plane.len());
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
        let mut output = output.try_as_plain_ram_mut()?;
        match &self.kernel {
            Kernel::Enter(plane, scale, zero) => {
                let floats = inputs[0].try_as_plain_ram()?;
                let floats = floats.as_slice::<f32>()?.chunks_exact(plane.pixels() * plane.channels);
                for (from, to) in floats.zip(output.as_slice_mut::<u8>()?.chunks_exact_mut(plane.len())) {
                    quantise(self.isa, plane, *scale, *zero, from, to);
                }
            }
            Kernel::Leave(plane, scale, zero) => {
                let bytes = inputs[0].try_as_plain_ram()?;
                let bytes = bytes.as_slice::<u8>()?.chunks_exact(plane.len());
                let floats = output.as_slice_mut::<f32>()?;
                for (from, to) in bytes.zip(floats.chunks_exact_mut(plane.pixels() * plane.channels)) {
                    dequantise(plane, *scale, *zero, from, to);
                }
            }
            kernel => {
                let bytes = |i: usize| inputs[i.min(inputs.len() - 1)].try_as_plain_ram()?.as_slice::<u8>();
                kernel.run(self.isa, [bytes(0)?, bytes(1)?], output.as_slice_mut::<u8>()?);
            }
        }
        Ok(())
    }
}
