//! The operators that the pass puts into a graph: a kernel with what tract needs to run it.
//!
//! Pictures travel between them as floats of the shape `batch x height x width x stride`. An operator keeps its
//! output's memory from one run to the next.

use std::fmt;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use crate::infer::kernels::Plane;
use crate::infer::kernels::float::{
    Dense, Depthwise, Ramp, Simd, Source, add, average, from_planes, gate, len, stride, to_planes,
};

/// A kernel in a graph.
#[derive(Clone, PartialEq)]
pub(super) struct Pixelwise {
    pub(super) kernel: Kernel,
    /// Pictures at a time.
    pub(super) batch: TDim,
    pub(super) simd: Simd,
}

/// Which kernel. A [`Plane`] is the extent of the first input.
#[derive(Clone, PartialEq)]
pub(super) enum Kernel {
    Dense(Dense),
    Depthwise(Depthwise),
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
            Self::Dense(op) => op.window().output,
            Self::Depthwise(op) => op.window().output,
            Self::Average(plane) => Plane { height: 1, width: 1, ..*plane },
            Self::Add(_, plane) | Self::Gate(_, plane) | Self::Enter(plane) | Self::Leave(plane) => *plane,
        }
    }

    /// Whether it is a convolution.
    pub(super) fn convolves(&self) -> bool {
        matches!(self, Self::Dense(_) | Self::Depthwise(_))
    }

    /// The activation behind it, if it can have one.
    pub(super) fn ramp(&self) -> Option<Ramp> {
        match self {
            Self::Dense(op) => Some(op.ramp()),
            Self::Depthwise(op) => Some(op.ramp()),
            Self::Add(ramp, _) | Self::Gate(ramp, _) => Some(*ramp),
            Self::Average(_) | Self::Enter(_) | Self::Leave(_) => None,
        }
    }

    /// The same with another activation, where it can have one.
    pub(super) fn with_ramp(&self, ramp: Ramp) -> Self {
        match self {
            Self::Dense(op) => Self::Dense(op.clone().with_ramp(ramp)),
            Self::Depthwise(op) => Self::Depthwise(op.clone().with_ramp(ramp)),
            Self::Add(_, plane) => Self::Add(ramp, *plane),
            Self::Gate(_, plane) => Self::Gate(ramp, *plane),
            Self::Average(_) | Self::Enter(_) | Self::Leave(_) => self.clone(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "FloatDense",
            Self::Depthwise(_) => "FloatDepthwise",
            Self::Add(..) => "FloatAdd",
            Self::Gate(..) => "FloatGate",
            Self::Average(_) => "FloatAverage",
            Self::Enter(_) => "FloatEnter",
            Self::Leave(_) => "FloatLeave",
        }
    }

    /// Runs it on one picture.
    fn picture(&self, simd: Simd, inputs: &[&[f32]], output: &mut [f32]) {
        match self {
            Self::Dense(op) => op.run(simd, inputs[0], output),
            Self::Depthwise(op) => op.run(simd, inputs[0], output),
            Self::Add(ramp, _) => add(simd, *ramp, inputs[0], inputs[1], output),
            Self::Gate(ramp, _) => gate(simd, *ramp, inputs[0], inputs[1], output),
            Self::Average(_) => average(simd, inputs[0], output),
            Self::Enter(plane) => from_planes(plane, inputs[0], output),
            Self::Leave(plane) => to_planes(plane, inputs[0], output),
        }
    }
}

impl fmt::Debug for Pixelwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plane { height, width, channels } = self.kernel.output();
        write!(f, "{} to {}x{height}x{width}x{channels}", self.kernel.name(), self.batch)
    }
}

impl Pixelwise {
    fn fact(&self) -> TypedFact {
        let Plane { height, width, channels } = self.kernel.output();
        let rest = match self.kernel {
            Kernel::Leave(_) => [channels, height, width],
            _ => [height, width, stride(channels)],
        };
        let shape: TVec<TDim> = std::iter::once(self.batch.clone()).chain(rest.map(TDim::from)).collect();
        f32::fact(&*shape)
    }

    /// Floats of one picture of the first input.
    fn input_len(&self) -> usize {
        match &self.kernel {
            Kernel::Dense(op) if op.source() == Source::Planes => {
                op.window().input.pixels() * op.window().input.channels
            }
            Kernel::Dense(op) => len(&op.window().input),
            Kernel::Depthwise(op) => len(&op.window().input),
            Kernel::Enter(plane) => plane.pixels() * plane.channels,
            Kernel::Add(_, plane) | Kernel::Gate(_, plane) => len(plane),
            Kernel::Average(plane) | Kernel::Leave(plane) => len(plane),
        }
    }

    fn shape(&self, batch: usize) -> [usize; 4] {
        let Plane { height, width, channels } = self.kernel.output();
        match self.kernel {
            Kernel::Leave(_) => [batch, channels, height, width],
            _ => [batch, height, width, stride(channels)],
        }
    }

    /// Runs the kernel on each picture of the batch, into `output` if it has the shape, else into a new tensor.
    fn run(&self, inputs: &[TValue], output: &mut Arc<Tensor>) -> TractResult<()> {
        let views = inputs.iter().map(|i| i.try_as_plain_ram()).collect::<TractResult<TVec<_>>>()?;
        let slices = views.iter().map(|v| v.as_slice::<f32>()).collect::<TractResult<TVec<&[f32]>>>()?;
        let batch = slices[0].len() / self.input_len();
        let shape = self.shape(batch);
        if output.shape() != shape || Arc::get_mut(output).is_none() {
            *output = Arc::new(Tensor::zero_aligned_dt(f32::datum_type(), &shape, 64)?);
        }
        let target = Arc::get_mut(output).context("the output is read elsewhere")?;
        let mut target = target.try_as_plain_ram_mut()?;
        let target = target.as_slice_mut::<f32>()?;
        if self.kernel.convolves() {
            self.kernel.picture(self.simd, &slices, target);
            return Ok(());
        }
        for (n, target) in target.chunks_exact_mut(shape[1..].iter().product()).enumerate() {
            let pictures: TVec<&[f32]> =
                slices.iter().map(|all| &all[n * (all.len() / batch)..][..all.len() / batch]).collect();
            self.kernel.picture(self.simd, &pictures, target);
        }
        Ok(())
    }
}

impl Op for Pixelwise {
    fn name(&self) -> StaticName {
        self.kernel.name().into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{self:?}")])
    }

    op_as_typed_op!();
}

impl EvalOp for Pixelwise {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut output = Arc::new(Tensor::default());
        self.run(&inputs, &mut output)?;
        Ok(tvec!(TValue::from_const(output)))
    }

    op_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Kept { output: Arc::new(Tensor::default()) })))
    }
}

impl TypedOp for Pixelwise {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.fact()))
    }

    as_op!();
}

/// The output of the run before, whose memory the next one takes if nobody reads it any more.
#[derive(Debug, Clone)]
struct Kept {
    output: Arc<Tensor>,
}

impl OpState for Kept {
    fn eval(&mut self, _: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let op = op.downcast_ref::<Pixelwise>().context("the state of another operator")?;
        op.run(&inputs, &mut self.output)?;
        Ok(tvec!(TValue::from_const(Arc::clone(&self.output))))
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
