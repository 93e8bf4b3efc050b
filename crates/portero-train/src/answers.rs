//! What a model says of pictures when the daemon's own code runs it. Nothing here is torch.

use std::sync::Arc;

use portero_core::domain::NormRect;
use portero_infer::{InferError, Model};
use rayon::prelude::*;

use crate::data::Dataset;

/// The probabilities of the samples `indices`, one row each, in the order of the model's labels. Takes all cores.
///
/// # Errors
/// The daemon's, when the model cannot run.
pub(crate) fn probabilities(
    model: &Arc<Model>,
    set: &Dataset,
    indices: &[usize],
) -> Result<Vec<Vec<f32>>, InferError> {
    let share = indices.len().div_ceil(rayon::current_num_threads()).max(1);
    let shares = indices.par_chunks(share).map(|share| {
        let mut worker = model.worker()?;
        share.iter().map(|i| worker.probabilities(&set.samples[*i].picture, NormRect::FULL)).collect()
    });
    Ok(shares.collect::<Result<Vec<Vec<_>>, InferError>>()?.concat())
}

/// The index of the largest.
pub(crate) fn best(probabilities: &[f32]) -> usize {
    (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b])).unwrap_or(0)
}
