//! A kernel as an operator in a graph: what tract needs to run it, whatever numbers it computes with.
//!
//! An operator keeps its output's memory from one run to the next.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use portero_kernels::Plane;

/// What an operator does.
pub(super) trait Work: Clone + Eq + Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// The extent of one picture of the output.
    fn output(&self) -> Plane;

    /// Type and shape of the output.
    fn fact(&self) -> TypedFact;

    /// The output's shape for these inputs.
    fn shape(&self, inputs: &[TValue]) -> TractResult<TVec<usize>>;

    /// Does it for all pictures. `output` has the type and the shape.
    fn run(&self, inputs: &[TValue], output: &mut Tensor) -> TractResult<()>;
}

/// Work in a graph.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Operator<W>(pub(super) W);

/// What a node does, if it is an operator for such work.
pub(super) fn work<W: Work>(node: &TypedNode) -> Option<&W> {
    node.op_as::<Operator<W>>().map(|op| &op.0)
}

impl<W: Work> Operator<W> {
    /// Runs into `output` if that has the shape and nobody reads it, else into a new tensor.
    fn run(&self, inputs: &[TValue], output: &mut Arc<Tensor>) -> TractResult<()> {
        let shape = self.0.shape(inputs)?;
        if output.shape() != &*shape || Arc::get_mut(output).is_none() {
            *output = Arc::new(Tensor::zero_aligned_dt(self.0.fact().datum_type, &shape, 64)?);
        }
        self.0.run(inputs, Arc::get_mut(output).context("the output is read elsewhere")?)
    }
}

impl<W: Work> fmt::Debug for Operator<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plane { height, width, channels } = self.0.output();
        write!(f, "{} to {}x{height}x{width}x{channels}", self.0.name(), self.0.fact().shape[0])
    }
}

impl<W: Work> Op for Operator<W> {
    fn name(&self) -> StaticName {
        self.0.name().into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{self:?}")])
    }

    op_as_typed_op!();
}

impl<W: Work> EvalOp for Operator<W> {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut output = Arc::new(Tensor::default());
        self.run(&inputs, &mut output)?;
        Ok(tvec!(TValue::from_const(output)))
    }

    op_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Kept::<W> { output: Arc::new(Tensor::default()), work: PhantomData })))
    }
}

impl<W: Work> TypedOp for Operator<W> {
    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(self.0.fact()))
    }

    as_op!();
}

/// The output of the run before, whose memory the next one takes if nobody reads it any more.
#[derive(Clone)]
struct Kept<W> {
    output: Arc<Tensor>,
    work: PhantomData<W>,
}

impl<W> fmt::Debug for Kept<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.output)
    }
}

impl<W: Work> OpState for Kept<W> {
    fn eval(&mut self, _: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let op = op.downcast_ref::<Operator<W>>().context("the state of another operator")?;
        op.run(&inputs, &mut self.output)?;
        Ok(tvec!(TValue::from_const(Arc::clone(&self.output))))
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
