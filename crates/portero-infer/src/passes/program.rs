//! A network that became kernels from end to end, as a list of them over a few buffers.
//!
//! tract is not asked when it runs, and nothing is allocated then. The first part of the list, where pictures are
//! large, goes through picture by picture, so that they stay in the cache; from the place on where they are small
//! and the weights are large, each kernel takes all pictures of a batch before the next.

use std::sync::Arc;

use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::source::TypedSource;
use tract_onnx::tract_hir::internal::*;

use super::operator::{Work, work};
use super::section::{Section, cut};
use portero_kernels::Aligned;

/// A network of kernels. Share it; each thread has its own [`Session`].
pub(crate) trait Program: Send + Sync {
    /// The names of the kernels, in the order in which they run.
    fn operators(&self) -> Vec<String>;

    /// A thread's share: buffers for one picture, which grow with the first larger batch.
    fn session(self: Arc<Self>) -> Box<dyn Session>;
}

/// A thread's share of a program.
pub(crate) trait Session: Send {
    /// The first part of the way of picture `number` of a batch, which come in order: `planes` are its floats.
    fn begin(&mut self, number: usize, planes: &[f32]);

    /// The rest of the way of the first pictures that were [begun](Self::begin), as many as `planes` has room for.
    fn finish(&mut self, planes: &mut [f32]);
}

/// What a program wants of its kernels. Pictures of a batch lie end to end; lengths are of one picture.
pub(super) trait Kernel: Work {
    /// What pictures consist of between kernels.
    type Number: Copy + Default + Send + Sync + 'static;

    /// Whether a graph of it runs one picture at a time: only then is a batch of a program what the graph means.
    fn is_single(&self) -> bool;

    /// Whether it can stand at the beginning, and reads planes of floats.
    fn enters(&self) -> bool;

    /// Whether it can stand at the end, and writes planes of floats.
    fn leaves(&self) -> bool;

    /// Numbers of the inputs; of the only one twice.
    fn input_lens(&self) -> [usize; 2];

    /// Numbers of the output, and for one that leaves, floats.
    fn output_len(&self) -> usize;

    /// Runs one that enters, on one picture.
    fn enter(&self, planes: &[f32], output: &mut [Self::Number]);

    /// Runs one that neither enters nor leaves.
    fn step(&self, inputs: [&[Self::Number]; 2], output: &mut [Self::Number]);

    /// Runs one that leaves.
    fn leave(&self, input: &[Self::Number], planes: &mut [f32]);

    /// Whether a node, other than by changing their shape, hands on the planes that this one left as they are.
    fn hands_on(&self, _: &TypedNode) -> bool {
        false
    }
}

/// Kernels in a row, between one that enters and one that leaves.
struct Kernels<K: Kernel> {
    enter: K,
    leave: K,
    /// Numbers of the value between the two sections.
    between: usize,
    /// Runs for each picture by itself.
    head: Section<K>,
    /// Runs for all pictures together.
    tail: Section<K>,
}

/// What a tensor of the graph is.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    /// The network's input.
    Planes,
    /// What the kernel of this number made.
    Made(usize),
    /// Planes again.
    Left,
}

/// The program of a network in which there is nothing but kernels of one kind, from the first to the last, and
/// changes of shape behind them.
pub(super) fn of<K: Kernel>(model: &TypedModel) -> Option<Arc<dyn Program>> {
    let mut values: HashMap<OutletId, Value> = HashMap::new();
    let (mut enter, mut leave): (Option<K>, Option<(K, usize)>) = (None, None);
    let mut list: Vec<(K, [usize; 2])> = Vec::new();
    for id in model.eval_order().ok()? {
        let node = &model.nodes[id];
        let value = |slot: usize| node.inputs.get(slot).and_then(|i| values.get(i).copied());
        let made = if node.op_is::<TypedSource>() {
            Value::Planes
        } else if let Some(op) = work::<K>(node).filter(|op| op.is_single()) {
            match (value(0)?, value(1)) {
                (Value::Planes, None) if op.enters() && enter.is_none() => {
                    enter = Some(op.clone());
                    Value::Made(0)
                }
                (Value::Made(first), None) if op.leaves() && leave.is_none() => {
                    leave = Some((op.clone(), first));
                    Value::Left
                }
                (Value::Made(first), second) if !op.enters() && !op.leaves() => {
                    let second = match second {
                        None => first,
                        Some(Value::Made(second)) => second,
                        Some(Value::Planes | Value::Left) => return None,
                    };
                    list.push((op.clone(), [first, second]));
                    Value::Made(list.len())
                }
                _ => return None,
            }
        } else {
            let left = value(0)? == Value::Left;
            (left && (changes_shape(node) || leave.as_ref()?.0.hands_on(node))).then_some(Value::Left)?
        };
        values.insert(OutletId::new(id, 0), made);
    }
    let (leave, last) = leave?;
    // What leaves is the last value.
    (last == list.len()).then_some(())?;
    let enter = enter?;
    let (between, head, tail) = cut(enter.output_len(), &list);
    Some(Arc::new(Kernels { enter, leave, between, head, tail }))
}

/// Whether a node gives its input another shape and leaves the numbers where they are.
fn changes_shape(node: &TypedNode) -> bool {
    node.op_as::<AxisOp>().is_some_and(|op| !matches!(op, AxisOp::Move(..)))
}

impl<K: Kernel> Program for Kernels<K> {
    fn operators(&self) -> Vec<String> {
        let kernels = self.head.kernels().chain(self.tail.kernels());
        let all = std::iter::once(&self.enter).chain(kernels).chain(std::iter::once(&self.leave));
        all.map(|kernel| kernel.name().to_owned()).collect()
    }

    fn session(self: Arc<Self>) -> Box<dyn Session> {
        let (head, tail) = (self.head.memory(1), self.tail.memory(1));
        Box::new(Running { program: self, head, tail })
    }
}

/// A program and a thread's buffers for it.
struct Running<K: Kernel> {
    program: Arc<Kernels<K>>,
    head: Vec<Aligned<K::Number>>,
    tail: Vec<Aligned<K::Number>>,
}

impl<K: Kernel> Session for Running<K> {
    fn begin(&mut self, number: usize, planes: &[f32]) {
        let Kernels { enter, between, head, tail, .. } = &*self.program;
        // The first buffer may be larger: it is used again.
        let size = *between;
        if self.tail[0].len() < (number + 1) * tail.first() {
            let grown = tail.memory(number + 1);
            let before = std::mem::replace(&mut self.tail, grown);
            self.tail[0][..number * size].copy_from_slice(&before[0][..number * size]);
        }
        enter.enter(planes, &mut self.head[0][..enter.output_len()]);
        head.run(&mut self.head, 1);
        self.tail[0][number * size..][..size].copy_from_slice(&self.head[head.result()][..size]);
    }

    fn finish(&mut self, planes: &mut [f32]) {
        let Kernels { leave, tail, .. } = &*self.program;
        let pictures = planes.len() / leave.output_len();
        tail.run(&mut self.tail, pictures);
        leave.leave(&self.tail[tail.result()][..pictures * leave.input_lens()[0]], planes);
    }
}
