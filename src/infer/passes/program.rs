//! A network that became kernels from end to end, as a list of them over a few buffers.
//!
//! tract is not asked when it runs, and nothing is allocated then. The first part of the list, where pictures are
//! large, goes through picture by picture, so that they stay in the cache; from the place on where they are small
//! and the weights are large, each kernel takes all pictures of a batch before the next.

use std::ops::Range;

use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearU8};
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::*;

use super::op::{Kernel, Quantised};
use super::operator::work;
use crate::infer::kernels::{Aligned, Isa, Plane, dequantise, quantise};

/// What input and output of a kernel may take together, in bytes, if it is to run over a whole batch: then eight
/// pictures stay in half a megabyte.
const SMALL: usize = 64 * 1024;

/// A network of kernels. Share it; each thread has its own [`Memory`].
pub(in crate::infer) struct Program {
    isa: Isa,
    /// Extent, scale and zero point of the floats that come in.
    enter: (Plane, f32, u8),
    /// And of those that go out.
    leave: (Plane, f32, u8),
    /// Bytes of the value between the two sections.
    between: usize,
    /// Runs for each picture by itself.
    head: Section,
    /// Runs for all pictures together.
    tail: Section,
}

/// A stretch of kernels. Its input is in the first buffer.
struct Section {
    steps: Vec<Step>,
    /// Bytes of each buffer, for one picture.
    buffers: Vec<usize>,
    /// Where the result is.
    result: usize,
}

struct Step {
    kernel: Kernel,
    /// Buffers. A kernel of one input names it twice.
    inputs: [usize; 2],
    output: usize,
}

/// A thread's buffers.
pub(in crate::infer) struct Memory {
    head: Vec<Aligned<u8>>,
    tail: Vec<Aligned<u8>>,
}

impl Program {
    /// The program of a network in which there is nothing but kernels, with bytes from the first to the last, and
    /// changes of shape behind them.
    pub(in crate::infer) fn of(model: &TypedModel) -> Option<Self> {
        let mut values: HashMap<OutletId, Option<usize>> = HashMap::new();
        let (mut enter, mut leave, mut isa, mut last) = (None, None, None, 0);
        let mut list: Vec<(Kernel, [usize; 2])> = Vec::new();
        for id in model.eval_order().ok()? {
            let node = &model.nodes[id];
            let outlet = OutletId::new(id, 0);
            if node.op_is::<TypedSource>() {
                values.insert(outlet, None);
            } else if let Some(op) = work::<Quantised>(node) {
                isa = Some(op.isa).filter(|_| op.batch == 1);
                let value =
                    |slot: usize| node.inputs.get(slot).and_then(|i| values.get(i).copied().flatten());
                match &op.kernel {
                    Kernel::Enter(plane, scale, zero) => {
                        if enter.replace((*plane, *scale, *zero)).is_some() {
                            return None;
                        }
                        values.insert(outlet, Some(0));
                    }
                    Kernel::Leave(plane, scale, zero) => {
                        last = value(0)?;
                        if leave.replace((*plane, *scale, *zero)).is_some() {
                            return None;
                        }
                        values.insert(outlet, None);
                    }
                    kernel => {
                        let first = value(0)?;
                        let second = if node.inputs.len() > 1 { value(1)? } else { first };
                        list.push((kernel.clone(), [first, second]));
                        values.insert(outlet, Some(list.len()));
                    }
                }
            } else {
                let left = values.get(node.inputs.first()?) == Some(&None);
                if !left || !hands_on(node, leave?) {
                    return None;
                }
                values.insert(outlet, None);
            }
        }
        // What leaves is the last value.
        (last == list.len()).then_some(())?;
        Some(Self::cut(isa?, enter?, leave?, &list))
    }

    /// Divides the list where only one value is still wanted, at the first such place behind which all is small.
    fn cut(
        isa: Isa,
        enter: (Plane, f32, u8),
        leave: (Plane, f32, u8),
        list: &[(Kernel, [usize; 2])],
    ) -> Self {
        let mut sizes = vec![enter.0.len()];
        sizes.extend(list.iter().map(|(kernel, _)| kernel.output().len()));
        let large =
            |(i, (_, inputs)): (usize, &(Kernel, [usize; 2]))| sizes[i + 1] + sizes[inputs[0]] > SMALL;
        let small = list.iter().enumerate().rposition(large).map_or(0, |last| last + 1);
        let alone = |at: usize| list[at..].iter().all(|(_, inputs)| inputs.iter().all(|i| *i >= at));
        let at = (small..=list.len()).find(|at| alone(*at)).unwrap_or(list.len());
        let section = |range: Range<usize>| Section::new(&list[range.clone()], range.start, &sizes);
        let (head, tail) = (section(0..at), section(at..list.len()));
        Self { isa, enter, leave, between: sizes[at], head, tail }
    }

    /// The names of the kernels, in the order in which they run.
    pub(in crate::infer) fn operators(&self) -> Vec<String> {
        let kernels =
            self.head.steps.iter().chain(&self.tail.steps).map(|step| step.kernel.name().to_owned());
        ["Int8Enter".to_owned()].into_iter().chain(kernels).chain(["Int8Leave".to_owned()]).collect()
    }

    /// Buffers for one picture; they grow with the first larger batch.
    pub(in crate::infer) fn memory(&self) -> Memory {
        Memory { head: self.head.memory(1), tail: self.tail.memory(1) }
    }

    /// The first part of the way of picture `number` of a batch: `floats` are its planes.
    pub(in crate::infer) fn begin(&self, memory: &mut Memory, number: usize, floats: &[f32]) {
        let (plane, scale, zero) = self.enter;
        // The first buffer may be larger: it is used again.
        let size = self.between;
        if memory.tail[0].len() < (number + 1) * self.tail.buffers[0] {
            let grown = self.tail.memory(number + 1);
            let before = std::mem::replace(&mut memory.tail, grown);
            memory.tail[0][..number * size].copy_from_slice(&before[0][..number * size]);
        }
        quantise(self.isa, &plane, scale, zero, floats, &mut memory.head[0]);
        self.head.run(self.isa, &mut memory.head, 1);
        memory.tail[0][number * size..][..size].copy_from_slice(&memory.head[self.head.result][..size]);
    }

    /// The rest of the way of the first pictures that were [begun](Self::begin), as many as `floats` has room for.
    pub(in crate::infer) fn finish(&self, memory: &mut Memory, floats: &mut [f32]) {
        let (plane, scale, zero) = self.leave;
        let each = plane.pixels() * plane.channels;
        self.tail.run(self.isa, &mut memory.tail, floats.len() / each);
        let bytes = memory.tail[self.tail.result].chunks_exact(plane.len());
        for (to, from) in floats.chunks_exact_mut(each).zip(bytes) {
            dequantise(&plane, scale, zero, from, to);
        }
    }
}

/// Whether a node hands on floats that have left bytes of this scale and zero point as they are: it changes their
/// shape only, or makes the same bytes of them once more, or floats of these.
fn hands_on(node: &TypedNode, (_, scale, zero): (Plane, f32, u8)) -> bool {
    if let Some(op) = node.op_as::<AxisOp>() {
        return !matches!(op, AxisOp::Move(..));
    }
    if let Some(op) = node.op_as::<DequantizeLinearF32>() {
        return op.scale == scale && op.zero_point == i32::from(zero);
    }
    let again = node.op_as::<ElementWiseOp>().and_then(|op| op.0.downcast_ref::<QuantizeLinearU8>());
    // It multiplies by the reciprocal.
    again.is_some_and(|op| op.zero_point == zero && (op.scale * scale - 1.0).abs() < 1e-5)
}

impl Section {
    /// The kernels of `list`, whose input is the value `first`. A buffer is used again when nobody reads its value
    /// any more.
    fn new(list: &[(Kernel, [usize; 2])], first: usize, sizes: &[usize]) -> Self {
        let mut buffers = vec![sizes[first]];
        // Which value is in which buffer.
        let mut holds = vec![Some(first)];
        let mut steps = Vec::new();
        for (i, (kernel, inputs)) in list.iter().enumerate() {
            for held in &mut holds {
                let wanted = |value: usize| list[i..].iter().any(|(_, inputs)| inputs.contains(&value));
                *held = held.filter(|value| wanted(*value));
            }
            let value = first + i + 1;
            let free = (0..buffers.len()).filter(|b| holds[*b].is_none()).max_by_key(|b| buffers[*b]);
            let output = free.unwrap_or_else(|| {
                buffers.push(0);
                holds.push(None);
                buffers.len() - 1
            });
            buffers[output] = buffers[output].max(sizes[value]);
            let place = |value: usize| holds.iter().position(|held| *held == Some(value)).unwrap_or(0);
            let inputs = inputs.map(place);
            holds[output] = Some(value);
            steps.push(Step { kernel: kernel.clone(), inputs, output });
        }
        let result = steps.last().map_or(0, |step| step.output);
        Self { steps, buffers, result }
    }

    fn memory(&self, pictures: usize) -> Vec<Aligned<u8>> {
        self.buffers.iter().map(|size| Aligned::new(&vec![0; size * pictures])).collect()
    }

    fn run(&self, isa: Isa, buffers: &mut [Aligned<u8>], pictures: usize) {
        for Step { kernel, inputs, output } in &self.steps {
            let mut target = std::mem::take(&mut buffers[*output]);
            let [first, second] = kernel.inputs().map(|plane| plane.len() * pictures);
            let inputs = [&buffers[inputs[0]][..first], &buffers[inputs[1]][..second]];
            kernel.run(isa, inputs, &mut target[..kernel.output().len() * pictures]);
            buffers[*output] = target;
        }
    }
}
