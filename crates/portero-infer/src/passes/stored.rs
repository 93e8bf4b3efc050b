//! Weights as the file stores them.
//!
//! tract folds a DequantizeLinear of a constant to floats before there is a typed graph. The pass wants the bytes
//! back: they are remembered by the name that the folded constant will have, and are believed only if they give
//! exactly its floats. What can be folded in the file as it was read is folded here: tract takes ten times as long for
//! it, and does it twice.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;
use tract_onnx::{data_resolver, pb, tensor::load_tensor};

use super::graph::slice;

/// The quantised constants of a model, by the name of their floats in the typed graph.
pub(crate) struct Stored(HashMap<String, Bytes>);

struct Bytes {
    values: Arc<Tensor>,
    scale: Arc<Tensor>,
}

/// Signed bytes with one scale per output channel.
pub(super) struct Weights {
    pub(super) values: Vec<i8>,
    pub(super) scale: Vec<f32>,
}

impl Stored {
    /// Takes every DequantizeLinear of an initialiser out of a model and puts its floats there instead. Only those are
    /// folded that have signed bytes, zero points of 0, and one scale for all or one for each index of the first axis.
    pub(crate) fn fold(model: &mut pb::ModelProto) -> Self {
        let mut stored = HashMap::new();
        let Some(pb::GraphProto { node, initializer, .. }) = &mut model.graph else { return Self(stored) };
        let mut folded = Vec::new();
        let constants = initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        node.retain(|node| {
            let Some((bytes, floats)) = fold(node, &constants) else { return true };
            stored.insert(format!("{}.0", floats.name), bytes);
            folded.push(floats);
            false
        });
        initializer.append(&mut folded);
        Self(stored)
    }

    /// Adds what tract will fold, from a model as it was parsed.
    pub(crate) fn and_of(mut self, model: &InferenceModel) -> Self {
        let value = |outlet: &OutletId| model.outlet_fact(*outlet).ok()?.value.concretize();
        let found = model.nodes().iter().filter_map(|node| {
            let [values, scale, ..] = &node.inputs[..] else { return None };
            let (values, scale) = (value(values)?, value(scale)?);
            let fits = values.datum_type() == i8::datum_type() && scale.datum_type() == f32::datum_type();
            fits.then(|| (format!("{}.0", node.name), Bytes { values, scale }))
        });
        self.0.extend(found);
        self
    }

    /// The bytes behind `floats`, the constant of the node `name`: `outputs x …`, symmetric, one scale for all
    /// or one per output.
    pub(super) fn weights(&self, name: &str, floats: &Tensor) -> Option<Weights> {
        let bytes = self.0.get(name)?;
        let outputs = *floats.shape().first().filter(|n| **n > 0)?;
        let (values, scale) = (slice::<i8>(&bytes.values)?, slice::<f32>(&bytes.scale)?);
        let floats = slice::<f32>(floats)?;
        let scale = match scale.len() {
            1 => vec![scale[0]; outputs],
            n if n == outputs => scale,
            _ => return None,
        };
        let each = floats.len() / outputs;
        let same = values.len() == floats.len()
            && values
                .iter()
                .zip(&floats)
                .enumerate()
                .all(|(i, (v, f))| f32::from(*v) * scale[i / each] == *f);
        same.then_some(Weights { values, scale })
    }
}

/// The bytes and the floats of a node that [`Stored::fold`] takes out.
fn fold(
    node: &pb::NodeProto,
    constants: &HashMap<&str, &pb::TensorProto>,
) -> Option<(Bytes, pb::TensorProto)> {
    let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.i);
    if node.op_type != "DequantizeLinear" || attribute("block_size").is_some_and(|size| size != 0) {
        return None;
    }
    let constant = |slot: usize| {
        let proto = constants.get(node.input.get(slot)?.as_str())?;
        load_tensor(&*data_resolver::default(), proto, None).ok()
    };
    let (values, scale) = (constant(0)?, constant(1)?);
    let (weights, steps) = (slice::<i8>(&values)?, slice::<f32>(&scale)?);
    let has_zeros = node.input.get(2).is_some_and(|name| !name.is_empty());
    if has_zeros && slice::<i8>(&constant(2)?)?.iter().any(|zero| *zero != 0) {
        return None;
    }
    // ONNX counts axes from 1 where nothing is said.
    let by_output = attribute("axis").unwrap_or(1) == 0 && values.shape().first() == Some(&steps.len());
    if weights.is_empty() || scale.rank() > 1 || !(steps.len() == 1 || by_output) {
        return None;
    }
    let mut raw = Vec::with_capacity(weights.len() * size_of::<f32>());
    for (weights, step) in weights.chunks_exact(weights.len() / steps.len()).zip(steps) {
        for weight in weights {
            raw.extend_from_slice(&(f32::from(*weight) * step).to_le_bytes());
        }
    }
    let floats = pb::TensorProto {
        name: node.output.first()?.clone(),
        dims: values.shape().iter().map(|d| *d as i64).collect(),
        data_type: pb::tensor_proto::DataType::Float as i32,
        raw_data: raw,
        ..Default::default()
    };
    Some((Bytes { values: Arc::new(values), scale: Arc::new(scale) }, floats))
}
