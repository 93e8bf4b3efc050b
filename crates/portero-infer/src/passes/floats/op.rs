//! The kernels that the pass puts into a graph.
//!
//! Pictures travel between them as floats of the shape `batch x height x width x stride`.

use tract_onnx::tract_hir::internal::*;

use crate::passes::operator::Work;
use crate::passes::program;
use portero_kernels::Plane;
use portero_kernels::float::{
    Convolution, Ramp, Simd, add, average, from_planes, gate, len, stride, to_planes,
};

/// A kernel in a graph.
#[derive(Clone, PartialEq)]
pub(in crate::passes) struct Pixelwise {
    pub(super) kernel: Kernel,
    /// Pictures at a time.
    pub(super) batch: TDim,
    pub(super) simd: Simd,
}

/// Which kernel. A [`Plane`] is the extent of the first input.
#[derive(Clone, PartialEq)]
pub(super) enum Kernel {
    Convolution(Convolution),
    Add(Ramp, Plane),
    Gate(Ramp, Plane),
    Average(Plane),
    /// Planes to pixels.
    Enter(Plane),
    /// Pixels to planes.
    Leave(Plane),
}

// No weight is compared that is NaN: a plan with one would answer nothing but NaN.
impl Eq for Pixelwise {}

impl Kernel {
    /// The extent of the output.
    pub(super) fn output(&self) -> Plane {
        match self {
            Self::Convolution(op) => op.window().output,
            Self::Average(plane) => Plane { height: 1, width: 1, ..*plane },
            Self::Add(_, plane) | Self::Gate(_, plane) | Self::Enter(plane) | Self::Leave(plane) => *plane,
        }
    }

    /// The shape of one picture of the output.
    fn shape(&self) -> [usize; 3] {
        let Plane { height, width, channels } = self.output();
        match self {
            Self::Leave(_) => [channels, height, width],
            _ => [height, width, stride(channels)],
        }
    }

    /// Whether it is a convolution.
    pub(super) fn convolves(&self) -> bool {
        matches!(self, Self::Convolution(_))
    }

    /// The activation behind it, if it can have one.
    pub(super) fn ramp(&self) -> Option<Ramp> {
        match self {
            Self::Convolution(op) => Some(op.ramp()),
            Self::Add(ramp, _) | Self::Gate(ramp, _) => Some(*ramp),
            Self::Average(_) | Self::Enter(_) | Self::Leave(_) => None,
        }
    }

    /// The same with another activation, where it can have one.
    pub(super) fn with_ramp(&self, ramp: Ramp) -> Self {
        match self {
            Self::Convolution(op) => Self::Convolution(op.clone().with_ramp(ramp)),
            Self::Add(_, plane) => Self::Add(ramp, *plane),
            Self::Gate(_, plane) => Self::Gate(ramp, *plane),
            Self::Average(_) | Self::Enter(_) | Self::Leave(_) => self.clone(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Convolution(op) if op.is_depthwise() => "FloatDepthwise",
            Self::Convolution(_) => "FloatDense",
            Self::Add(..) => "FloatAdd",
            Self::Gate(..) => "FloatGate",
            Self::Average(_) => "FloatAverage",
            Self::Enter(_) => "FloatEnter",
            Self::Leave(_) => "FloatLeave",
        }
    }

    /// Runs it on one picture; a convolution, on as many as there are.
    fn picture(&self, simd: Simd, inputs: &[&[f32]], output: &mut [f32]) {
        match self {
            Self::Convolution(op) => op.run(inputs[0], output),
            Self::Add(ramp, _) => add(simd, *ramp, inputs[0], inputs[1], output),
            Self::Gate(ramp, _) => gate(simd, *ramp, inputs[0], inputs[1], output),
            Self::Average(_) => average(simd, inputs[0], output),
            Self::Enter(plane) => from_planes(plane, inputs[0], output),
            Self::Leave(plane) => to_planes(plane, inputs[0], output),
        }
    }

    /// Runs it on pictures that lie end to end.
    fn run(&self, simd: Simd, inputs: &[&[f32]], output: &mut [f32]) {
        let each = self.shape().iter().product();
        if self.convolves() || output.len() == each {
            return self.picture(simd, inputs, output);
        }
        let batch = output.len() / each;
        for (n, output) in output.chunks_exact_mut(each).enumerate() {
            let pictures: TVec<&[f32]> =
                inputs.iter().map(|all| &all[n * (all.len() / batch)..][..all.len() / batch]).collect();
            self.picture(simd, &pictures, output);
        }
    }
}

impl Pixelwise {
    /// Floats of one picture of the first input.
    fn input_len(&self) -> usize {
        match &self.kernel {
            Kernel::Convolution(op) => op.input_len(),
            Kernel::Enter(plane) => plane.pixels() * plane.channels,
            Kernel::Add(_, plane) | Kernel::Gate(_, plane) => len(plane),
            Kernel::Average(plane) | Kernel::Leave(plane) => len(plane),
        }
    }
}

impl Work for Pixelwise {
    fn name(&self) -> &'static str {
        self.kernel.name()
    }

    fn output(&self) -> Plane {
        self.kernel.output()
    }

    fn fact(&self) -> TypedFact {
        let one = self.kernel.shape().map(TDim::from);
        let shape: TVec<TDim> = std::iter::once(self.batch.clone()).chain(one).collect();
        f32::fact(&*shape)
    }

    fn shape(&self, inputs: &[TValue]) -> TractResult<TVec<usize>> {
        let batch = inputs[0].len() / self.input_len();
        Ok(std::iter::once(batch).chain(self.kernel.shape()).collect())
    }

    fn run(&self, inputs: &[TValue], output: &mut Tensor) -> TractResult<()> {
        let views = inputs.iter().map(|i| i.try_as_plain_ram()).collect::<TractResult<TVec<_>>>()?;
        let slices = views.iter().map(|v| v.as_slice::<f32>()).collect::<TractResult<TVec<&[f32]>>>()?;
        let mut target = output.try_as_plain_ram_mut()?;
        self.kernel.run(self.simd, &slices, target.as_slice_mut::<f32>()?);
        Ok(())
    }
}

impl program::Kernel for Pixelwise {
    type Number = f32;

    fn is_single(&self) -> bool {
        self.batch == TDim::from(1)
    }

    fn enters(&self) -> bool {
        match &self.kernel {
            Kernel::Convolution(op) => op.reads_planes(),
            kernel => matches!(kernel, Kernel::Enter(_)),
        }
    }

    fn leaves(&self) -> bool {
        matches!(self.kernel, Kernel::Leave(_))
    }

    fn input_lens(&self) -> [usize; 2] {
        let second = match &self.kernel {
            Kernel::Gate(_, plane) => stride(plane.channels),
            _ => self.input_len(),
        };
        [self.input_len(), second]
    }

    fn output_len(&self) -> usize {
        self.kernel.shape().iter().product()
    }

    fn enter(&self, planes: &[f32], output: &mut [f32]) {
        self.kernel.picture(self.simd, &[planes], output);
    }

    fn step(&self, inputs: [&[f32]; 2], output: &mut [f32]) {
        self.kernel.run(self.simd, &inputs, output);
    }

    fn leave(&self, input: &[f32], planes: &mut [f32]) {
        self.kernel.run(self.simd, &[input], planes);
    }
}
