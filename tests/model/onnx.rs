//! Small networks written here, to probe what tract makes of a format.

use std::fs;
use std::sync::Arc;

use portero::domain::NormRect;
use portero::infer::Model;
use sha2::{Digest, Sha256};
use tract_onnx::pb;

use super::quantised::count;
use super::{frame, shipped};
use crate::support::daemon::root;

pub(super) fn tensor(name: &str, dims: &[i64], floats: &[f32]) -> pb::TensorProto {
    pb::TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: pb::tensor_proto::DataType::Float as i32,
        float_data: floats.to_vec(),
        ..Default::default()
    }
}

pub(super) fn bytes_tensor(name: &str, dims: &[i64], values: &[i8]) -> pb::TensorProto {
    pb::TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: pb::tensor_proto::DataType::Int8 as i32,
        raw_data: values.iter().map(|v| *v as u8).collect(),
        ..Default::default()
    }
}

pub(super) fn node(
    op: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<pb::AttributeProto>,
) -> pb::NodeProto {
    pb::NodeProto {
        op_type: op.into(),
        name: output.into(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    }
}

pub(super) fn value(name: &str, dims: &[i64]) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dim =
        dims.iter().map(|d| Dimension { value: Some(Value::DimValue(*d)), ..Default::default() }).collect();
    let tensor = pb::type_proto::Tensor {
        elem_type: pb::tensor_proto::DataType::Float as i32,
        shape: Some(pb::TensorShapeProto { dim }),
    };
    let r#type =
        pb::TypeProto { value: Some(pb::type_proto::Value::TensorType(tensor)), ..Default::default() };
    pb::ValueInfoProto { name: name.into(), r#type: Some(r#type), ..Default::default() }
}

/// An attribute of whole numbers: a single one as INT, several as INTS.
pub(super) fn integers(name: &str, values: &[i64]) -> pb::AttributeProto {
    use pb::attribute_proto::AttributeType;
    let single = values.len() == 1;
    let kind = if single { AttributeType::Int } else { AttributeType::Ints };
    pb::AttributeProto {
        name: name.into(),
        r#type: kind as i32,
        i: if single { values[0] } else { 0 },
        ints: if single { vec![] } else { values.to_vec() },
        ..Default::default()
    }
}

/// Two output channels from the same weight, with scales that differ by ten: a runtime that reads only the
/// first scale gives two equal logits.
fn per_channel_probe() -> pb::ModelProto {
    let graph = pb::GraphProto {
        name: "probe".into(),
        node: vec![
            node("DequantizeLinear", &["w", "scale", "zero"], "weights", vec![integers("axis", &[0])]),
            node("Conv", &["input", "weights"], "mixed", vec![]),
            node("GlobalAveragePool", &["mixed"], "logits", vec![]),
        ],
        initializer: vec![
            bytes_tensor("w", &[2, 3, 1, 1], &[3, 0, 0, 3, 0, 0]),
            tensor("scale", &[2], &[0.1, 1.0]),
            bytes_tensor("zero", &[2], &[0, 0]),
        ],
        input: vec![value("input", &[1, 3, 8, 8])],
        output: vec![value("logits", &[1, 2, 1, 1])],
        ..Default::default()
    };
    let opset = pb::OperatorSetIdProto { domain: String::new(), version: 13 };
    pb::ModelProto { ir_version: 8, opset_import: vec![opset], graph: Some(graph), ..Default::default() }
}

#[test]
fn every_channel_has_its_own_scale() {
    use prost::Message;
    let folder = tempfile::tempdir().unwrap();
    let bytes = per_channel_probe().encode_to_vec();
    fs::write(folder.path().join("probe.onnx"), &bytes).unwrap();
    let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
    let manifest = folder.path().join("probe.toml");
    fs::write(
        &manifest,
        format!(
            "version = 1\nid = \"probe\"\nfile = \"probe.onnx\"\nsha256 = \"{hash}\"\nlicence = \"MIT\"\n\
             [input]\nwidth = 8\nheight = 8\nchannels = \"rgb\"\nresize = \"stretch\"\nmean = [0, 0, 0]\nstd = [255, 255, 255]\n\
             [output]\nlabels = [\"a\", \"b\"]\nactivation = \"softmax\"\nreject_below = 0.0\n"
        ),
    )
    .unwrap();
    let white = folder.path().join("white.png");
    image::RgbImage::from_pixel(8, 8, image::Rgb([255, 255, 255])).save(&white).unwrap();
    let model = Arc::new(Model::load(&manifest).unwrap());
    let p = model.worker().unwrap().probabilities(&frame(&white), NormRect::FULL).unwrap();
    // Logits 0.3 and 3.0: their softmax, by hand.
    let expected = 1.0 / (1.0 + (0.3_f32 - 3.0).exp());
    assert!((p[1] - expected).abs() < 1e-5, "{p:?}, expected {expected}");
}

#[test]
fn the_shipped_model_is_bytes_from_end_to_end_and_runs_in_integers() {
    use prost::Message;
    let bytes = fs::read(root().join("models/person-v3s.onnx")).unwrap();
    let graph = pb::ModelProto::decode(&bytes[..]).unwrap().graph.unwrap();
    let nodes = |op: &str| graph.node.iter().filter(|n| n.op_type == op).count();
    let (convolutions, quantised, back) = (nodes("Conv"), nodes("QuantizeLinear"), nodes("DequantizeLinear"));
    assert!(
        convolutions >= 50 && quantised >= convolutions,
        "{convolutions} Conv, {quantised} QuantizeLinear"
    );
    assert!(back >= quantised + convolutions, "{back} DequantizeLinear: values and weights");
    let operators = Model::load(&shipped()).unwrap().operators();
    for (name, times) in
        [("Int8Dense", 42), ("Int8Depthwise", 11), ("Int8Average", 10), ("Int8Gate", 9), ("Int8Residual", 6)]
    {
        assert_eq!(count(&operators, name), times, "{name} in {operators:?}");
    }
    let others: Vec<_> = operators.iter().filter(|o| !o.starts_with("Int8") && *o != "Source").collect();
    assert_eq!(others, ["FloatDense", "FloatLeave", "IntoShape"], "only the logits themselves are floats");
}
