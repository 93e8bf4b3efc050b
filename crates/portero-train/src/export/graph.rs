//! A network as a list of operators, batch norms folded away.
//!
//! [`Graph::trace`] walks a network; the result can be run in tch, to calibrate it, and written as
//! ONNX. Dense layers become convolutions that cover their whole input, so that they are quantised
//! like all others. Only evaluation is traced: dropout is gone.

use tch::{Tensor, no_grad};

use crate::nets::{Activation, Conv, Dense, Net, Walker, activate};

/// A value: the input is 0, the output of node `i` is `i + 1`.
pub(crate) type ValueId = usize;

/// A traced network with the value of its logits, `[1, classes, 1, 1]`.
pub(crate) struct Graph {
    /// In an order in which they can be run.
    pub(crate) nodes: Vec<Node>,
    /// Channels, height and width of each value.
    pub(crate) dims: Vec<[i64; 3]>,
}

/// One operator with its inputs.
pub(crate) struct Node {
    /// Unique, after the layer's name in the weights where there is one.
    pub(crate) name: String,
    /// What it computes.
    pub(crate) op: Op,
    /// Which values it takes.
    pub(crate) inputs: Vec<ValueId>,
}

/// What a node computes.
pub(crate) enum Op {
    /// A convolution with its bias.
    Conv(Box<FoldedConv>),
    /// A function of single values.
    Activation(Activation),
    /// The largest of each window.
    MaxPool { kernel: i64, stride: i64, pad: i64 },
    /// The mean of each plane.
    Average,
    /// The sum of two maps.
    Add,
    /// Each plane of the first times its value in the second.
    Scale,
}

impl Op {
    /// The same operator with what `of` makes of its tensors.
    fn mapped(&self, of: &dyn Fn(&Tensor) -> Tensor) -> Self {
        match *self {
            Self::Conv(ref conv) => {
                let (weight, bias) = (of(&conv.weight), of(&conv.bias));
                Self::Conv(Box::new(FoldedConv { weight, bias, ..**conv }))
            }
            Self::Activation(activation) => Self::Activation(activation),
            Self::MaxPool { kernel, stride, pad } => Self::MaxPool { kernel, stride, pad },
            Self::Average => Self::Average,
            Self::Add => Self::Add,
            Self::Scale => Self::Scale,
        }
    }
}

/// A convolution with the norm that followed it folded in.
pub(crate) struct FoldedConv {
    /// `[outputs, inputs / groups, height, width]`.
    pub(crate) weight: Tensor,
    /// One per output.
    pub(crate) bias: Tensor,
    /// Stride along both axes.
    pub(crate) stride: i64,
    /// `[top, left, bottom, right]`.
    pub(crate) pads: [i64; 4],
    /// Groups.
    pub(crate) groups: i64,
}

impl FoldedConv {
    /// The convolution of `x` by `weight`, which stands in for its own.
    fn run(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        let [top, left, bottom, right] = self.pads;
        x.constant_pad_nd([left, right, top, bottom]).conv2d(
            weight,
            Some(&self.bias),
            [self.stride; 2],
            [0, 0],
            [1, 1],
            self.groups,
        )
    }
}

impl Graph {
    /// Traces `net` for pictures of `height` x `width`.
    pub(crate) fn trace(net: &Net, height: i64, width: i64) -> Self {
        let mut tracer = Tracer { graph: Self { nodes: Vec::new(), dims: vec![[3, height, width]] } };
        no_grad(|| net.walk(&mut tracer, 0));
        tracer.graph
    }

    /// The same graph with what `of` makes of its tensors.
    pub(crate) fn mapped(&self, of: &dyn Fn(&Tensor) -> Tensor) -> Self {
        let node = |node: &Node| Node {
            name: node.name.clone(),
            op: node.op.mapped(of),
            inputs: node.inputs.clone(),
        };
        Self { nodes: self.nodes.iter().map(node).collect(), dims: self.dims.clone() }
    }

    /// The value of the logits.
    pub(crate) fn output(&self) -> ValueId {
        self.nodes.len()
    }

    /// Logits `[n, classes]` for `input`, `[n, 3, height, width]`. `visit` sees every value, the input first, and
    /// gives what is to stand in its place.
    pub(crate) fn run(&self, input: &Tensor, visit: &mut dyn FnMut(ValueId, Tensor) -> Tensor) -> Tensor {
        self.run_with(input, &|conv| conv.weight.shallow_clone(), visit)
    }

    /// As [`Graph::run`], with what `weight` gives in the place of a convolution's weights.
    pub(crate) fn run_with(
        &self,
        input: &Tensor,
        weight: &dyn Fn(&FoldedConv) -> Tensor,
        visit: &mut dyn FnMut(ValueId, Tensor) -> Tensor,
    ) -> Tensor {
        let mut values = vec![visit(0, input.shallow_clone())];
        for (index, node) in self.nodes.iter().enumerate() {
            let x = &values[node.inputs[0]];
            let y = match &node.op {
                Op::Conv(conv) => conv.run(x, &weight(conv)),
                Op::Activation(activation) => activate(x, *activation),
                Op::MaxPool { kernel, stride, pad } => {
                    x.max_pool2d([*kernel; 2], [*stride; 2], [*pad; 2], [1, 1], false)
                }
                Op::Average => x.mean_dim([2_i64, 3].as_slice(), true, x.kind()),
                Op::Add => x + &values[node.inputs[1]],
                Op::Scale => x * &values[node.inputs[1]],
            };
            values.push(visit(index + 1, y));
        }
        values.swap_remove(self.output()).flatten(1, -1)
    }

    /// Whether `value` is only ever seen by a ReLU, which then may be computed together with what made it.
    pub(crate) fn only_feeds_relu(&self, value: ValueId) -> bool {
        let mut readers = self.nodes.iter().filter(|node| node.inputs.contains(&value)).peekable();
        readers.peek().is_some() && readers.all(|node| matches!(node.op, Op::Activation(Activation::Relu)))
    }
}

/// Writes down what a walk does.
struct Tracer {
    graph: Graph,
}

impl Tracer {
    fn push(&mut self, name: String, op: Op, inputs: &[ValueId], dims: [i64; 3]) -> ValueId {
        self.graph.nodes.push(Node { name, op, inputs: inputs.to_vec() });
        self.graph.dims.push(dims);
        self.graph.output()
    }

    /// A name for an operator without tensors: after the value it works on.
    fn derived(&self, input: ValueId, what: &str) -> String {
        match input.checked_sub(1) {
            Some(node) => format!("{}/{what}", self.graph.nodes[node].name),
            None => what.to_owned(),
        }
    }
}

/// Size along an axis after a window of `kernel` with this stride and padding.
fn shrunk(size: i64, kernel: i64, stride: i64, pads: i64) -> i64 {
    (size + pads - kernel) / stride + 1
}

impl Walker for Tracer {
    type Value = ValueId;

    fn conv(&mut self, x: &ValueId, layer: &Conv) -> ValueId {
        let [_, height, width] = self.graph.dims[*x];
        let pads = layer.pads(height, width);
        let size = layer.weight.size();
        let (weight, bias) = match (&layer.norm, &layer.bias) {
            (Some(norm), _) => {
                let (factor, offset) = norm.affine();
                (&layer.weight * factor.reshape([-1, 1, 1, 1]), offset)
            }
            (None, Some(bias)) => (layer.weight.copy(), bias.copy()),
            (None, None) => {
                (layer.weight.copy(), Tensor::zeros([size[0]], (layer.weight.kind(), layer.weight.device())))
            }
        };
        let dims = [
            size[0],
            shrunk(height, size[2], layer.stride, pads[0] + pads[2]),
            shrunk(width, size[3], layer.stride, pads[1] + pads[3]),
        ];
        let conv = FoldedConv { weight, bias, stride: layer.stride, pads, groups: layer.groups };
        self.push(layer.name.clone(), Op::Conv(Box::new(conv)), &[*x], dims)
    }

    fn dense(&mut self, x: &ValueId, layer: &Dense) -> ValueId {
        let [channels, height, width] = self.graph.dims[*x];
        let outputs = layer.weight.size()[0];
        let conv = FoldedConv {
            weight: layer.weight.reshape([outputs, channels, height, width]).copy(),
            bias: layer.bias.copy(),
            stride: 1,
            pads: [0; 4],
            groups: 1,
        };
        self.push(layer.name.clone(), Op::Conv(Box::new(conv)), &[*x], [outputs, 1, 1])
    }

    fn activation(&mut self, x: &ValueId, activation: Activation) -> ValueId {
        let what = match activation {
            Activation::Relu => "relu",
            Activation::HardSwish => "hardswish",
            Activation::HardSigmoid => "hardsigmoid",
        };
        self.push(self.derived(*x, what), Op::Activation(activation), &[*x], self.graph.dims[*x])
    }

    fn max_pool(&mut self, x: &ValueId, kernel: i64, stride: i64, pad: i64) -> ValueId {
        let [channels, height, width] = self.graph.dims[*x];
        let dims =
            [channels, shrunk(height, kernel, stride, 2 * pad), shrunk(width, kernel, stride, 2 * pad)];
        self.push(self.derived(*x, "maxpool"), Op::MaxPool { kernel, stride, pad }, &[*x], dims)
    }

    fn average(&mut self, x: &ValueId) -> ValueId {
        let [channels, ..] = self.graph.dims[*x];
        self.push(self.derived(*x, "average"), Op::Average, &[*x], [channels, 1, 1])
    }

    fn add(&mut self, a: &ValueId, b: &ValueId) -> ValueId {
        self.push(self.derived((*a).max(*b), "add"), Op::Add, &[*a, *b], self.graph.dims[*a])
    }

    fn scale(&mut self, a: &ValueId, b: &ValueId) -> ValueId {
        self.push(self.derived(*a, "mul"), Op::Scale, &[*a, *b], self.graph.dims[*a])
    }

    fn dropout(&mut self, x: ValueId, _probability: f64) -> ValueId {
        x
    }
}
