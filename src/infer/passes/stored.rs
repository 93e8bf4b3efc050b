//! Weights as the file stores them.
//!
//! tract folds a DequantizeLinear of a constant to floats before there is a typed graph. The pass wants the bytes
//! back: they are remembered by the name that the folded constant will have, and are believed only if they give
//! exactly its floats.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use super::graph::slice;

/// The quantised constants of a model, by the name of their floats in the typed graph.
pub(in crate::infer) struct Stored(HashMap<String, Bytes>);

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
    /// Collects them from a model as it was parsed.
    pub(in crate::infer) fn of(model: &InferenceModel) -> Self {
        let value = |outlet: &OutletId| model.outlet_fact(*outlet).ok()?.value.concretize();
        let found = model.nodes().iter().filter_map(|node| {
            let [values, scale, ..] = &node.inputs[..] else { return None };
            let (values, scale) = (value(values)?, value(scale)?);
            let fits = values.datum_type() == i8::datum_type() && scale.datum_type() == f32::datum_type();
            fits.then(|| (format!("{}.0", node.name), Bytes { values, scale }))
        });
        Self(found.collect())
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
