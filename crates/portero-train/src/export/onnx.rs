//! A graph as ONNX: float, with weights as bytes, or with everything as bytes.
//!
//! Operator set 14, the first with `HardSwish`; one picture a batch; explicit padding; no shapes of inner values,
//! which some runtimes take too literally. Bytes are written as quantise-dequantise pairs, which any runtime can
//! also compute in floats (onnx.ai/onnx/operators: `QuantizeLinear`, `DequantizeLinear`).

use std::collections::BTreeSet;

use tch::{TchError, Tensor};
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;

use super::graph::{FoldedConv, Graph, Node, Op, ValueId};
use super::quantise::{self, ByteScale, ByteScales};
use crate::nets::Activation;

/// Version of the ONNX operator set.
pub(crate) const OPSET: i64 = 14;

/// In which numbers the model is written.
pub(crate) enum Form<'a> {
    /// 32-bit floats.
    Float,
    /// Weights as bytes, one scale per output channel; all else as floats.
    ByteWeights,
    /// Weights and values as bytes.
    Bytes(&'a ByteScales),
}

/// The model of `graph` in `form`: input `input`, `[1, 3, height, width]`; output `logits`, `[1, classes]`.
///
/// # Errors
/// libtorch's, when a tensor cannot be copied out.
pub(crate) fn model(graph: &Graph, name: &str, form: &Form<'_>) -> Result<pb::ModelProto, TchError> {
    let mut writer =
        Writer { graph, form, proto: pb::GraphProto { name: name.into(), ..Default::default() } };
    writer.bytes_of_value(0);
    for (index, node) in graph.nodes.iter().enumerate() {
        writer.node(node)?;
        writer.bytes_of_value(index + 1);
    }
    let last = writer.read(graph.output());
    writer.push("Flatten", "flatten", vec![last], "logits", vec![int("axis", 1)]);
    let ([channels, height, width], [classes, ..]) = (graph.dims[0], graph.dims[graph.output()]);
    writer.proto.input = vec![value("input", &[1, channels, height, width])];
    writer.proto.output = vec![value("logits", &[1, classes])];
    Ok(pb::ModelProto {
        ir_version: 8,
        opset_import: vec![pb::OperatorSetIdProto { domain: String::new(), version: OPSET }],
        producer_name: "portero-train".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(writer.proto),
        ..Default::default()
    })
}

/// The operators that `model` uses, each once, in alphabetical order.
pub(crate) fn operators(model: &pb::ModelProto) -> Vec<&str> {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    nodes.map(|node| node.op_type.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
}

struct Writer<'a> {
    graph: &'a Graph,
    form: &'a Form<'a>,
    proto: pb::GraphProto,
}

impl Writer<'_> {
    fn push(
        &mut self,
        op: &str,
        name: &str,
        input: Vec<String>,
        output: &str,
        attribute: Vec<pb::AttributeProto>,
    ) {
        self.proto.node.push(pb::NodeProto {
            op_type: op.into(),
            name: name.into(),
            input,
            output: vec![output.into()],
            attribute,
            ..Default::default()
        });
    }

    /// What the value is called where it is made.
    fn made(&self, value: ValueId) -> String {
        value.checked_sub(1).map_or("input".into(), |node| self.graph.nodes[node].name.clone())
    }

    /// What the value is called where it is read.
    fn read(&self, value: ValueId) -> String {
        match self.byte_scale(value) {
            Some(_) => format!("{}/from_bytes", self.made(value)),
            None => self.made(value),
        }
    }

    fn byte_scale(&self, value: ValueId) -> Option<ByteScale> {
        match self.form {
            Form::Bytes(scales) => scales[value],
            Form::Float | Form::ByteWeights => None,
        }
    }

    /// The pair of operators by which a value goes through bytes, if it does.
    fn bytes_of_value(&mut self, value: ValueId) {
        let Some(ByteScale { scale, zero_point }) = self.byte_scale(value) else { return };
        let name = self.made(value);
        let [bytes, floats, step, zero] =
            ["bytes", "from_bytes", "scale", "zero_point"].map(|what| format!("{name}/{what}"));
        self.constant(&step, &[], DataType::Float, scale.to_le_bytes().to_vec());
        self.constant(&zero, &[], DataType::Uint8, vec![zero_point]);
        let parameters = |of: &str| vec![of.to_owned(), step.clone(), zero.clone()];
        self.push("QuantizeLinear", &bytes, parameters(&name), &bytes, vec![]);
        self.push("DequantizeLinear", &floats, parameters(&bytes), &floats, vec![]);
    }

    fn node(&mut self, node: &Node) -> Result<(), TchError> {
        let mut inputs: Vec<String> = node.inputs.iter().map(|value| self.read(*value)).collect();
        let (op, attributes) = match &node.op {
            Op::Conv(conv) => {
                inputs.extend(self.conv_constants(node, conv)?);
                ("Conv", conv_attributes(conv))
            }
            Op::Activation(Activation::Relu) => ("Relu", vec![]),
            Op::Activation(Activation::HardSwish) => ("HardSwish", vec![]),
            Op::Activation(Activation::HardSigmoid) => {
                ("HardSigmoid", vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)])
            }
            Op::MaxPool { kernel, stride, pad } => {
                let attributes = vec![
                    ints("kernel_shape", &[*kernel; 2]),
                    ints("strides", &[*stride; 2]),
                    ints("pads", &[*pad; 4]),
                ];
                ("MaxPool", attributes)
            }
            Op::Average => ("GlobalAveragePool", vec![]),
            Op::Add => ("Add", vec![]),
            Op::Scale => ("Mul", vec![]),
        };
        self.push(op, &node.name, inputs, &node.name, attributes);
        Ok(())
    }

    /// Writes weights and bias of a convolution; gives the names under which it reads them.
    fn conv_constants(&mut self, node: &Node, conv: &FoldedConv) -> Result<[String; 2], TchError> {
        let [weight, bias] = ["weight", "bias"].map(|what| format!("{}.{what}", node.name));
        let outputs = conv.weight.size()[0];
        let biases = Vec::<f32>::try_from(&conv.bias)?;
        if let Form::Float = self.form {
            self.constant(&weight, &conv.weight.size(), DataType::Float, float_bytes(&floats(&conv.weight)?));
            self.constant(&bias, &[outputs], DataType::Float, float_bytes(&biases));
            return Ok([weight, bias]);
        }
        let quantised = quantise::weights(conv)?;
        let bytes = quantised.bytes.iter().map(|v| v.cast_unsigned()).collect();
        self.per_channel(&weight, &conv.weight.size(), DataType::Int8, bytes, &quantised.scales);
        match self.byte_scale(node.inputs[0]) {
            None => self.constant(&bias, &[outputs], DataType::Float, float_bytes(&biases)),
            Some(input) => {
                // The scale of the products, so that the bias is added to their sum as it is.
                let scales: Vec<f32> = quantised.scales.iter().map(|scale| scale * input.scale).collect();
                let whole =
                    |(bias, scale): (&f32, &f32)| (f64::from(*bias) / f64::from(*scale)).round() as i32;
                let bytes = biases.iter().zip(&scales).flat_map(|pair| whole(pair).to_le_bytes()).collect();
                self.per_channel(&bias, &[outputs], DataType::Int32, bytes, &scales);
            }
        }
        Ok([weight, bias])
    }

    /// A constant that is dequantised along its first axis, with zero points of 0.
    fn per_channel(&mut self, name: &str, dims: &[i64], kind: DataType, bytes: Vec<u8>, scales: &[f32]) {
        let [whole, step, zero] = ["whole", "scale", "zero_point"].map(|what| format!("{name}/{what}"));
        let channels = scales.len();
        let width = if kind == DataType::Int32 { 4 } else { 1 };
        self.constant(&whole, dims, kind, bytes);
        self.constant(&step, &[channels as i64], DataType::Float, float_bytes(scales));
        self.constant(&zero, &[channels as i64], kind, vec![0; channels * width]);
        self.push("DequantizeLinear", name, vec![whole, step, zero], name, vec![int("axis", 0)]);
    }

    fn constant(&mut self, name: &str, dims: &[i64], kind: DataType, raw_data: Vec<u8>) {
        self.proto.initializer.push(pb::TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: kind as i32,
            raw_data,
            ..Default::default()
        });
    }
}

fn conv_attributes(conv: &FoldedConv) -> Vec<pb::AttributeProto> {
    let size = conv.weight.size();
    vec![
        ints("kernel_shape", &size[2..]),
        ints("strides", &[conv.stride; 2]),
        ints("pads", &conv.pads),
        ints("dilations", &[1, 1]),
        int("group", conv.groups),
    ]
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    Vec::<f32>::try_from(tensor.flatten(0, -1))
}

fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn attribute(name: &str, r#type: AttributeType) -> pb::AttributeProto {
    pb::AttributeProto { name: name.into(), r#type: r#type as i32, ..Default::default() }
}

fn int(name: &str, i: i64) -> pb::AttributeProto {
    pb::AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

fn ints(name: &str, ints: &[i64]) -> pb::AttributeProto {
    pb::AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::Ints) }
}

fn float(name: &str, f: f32) -> pb::AttributeProto {
    pb::AttributeProto { f, ..attribute(name, AttributeType::Float) }
}

/// An end of the graph: 32-bit floats of a fixed shape.
fn value(name: &str, dims: &[i64]) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim =
        dims.iter().map(|d| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() }).collect();
    let tensor = pb::type_proto::Tensor {
        elem_type: DataType::Float as i32,
        shape: Some(pb::TensorShapeProto { dim }),
    };
    let r#type =
        pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
    pb::ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}
