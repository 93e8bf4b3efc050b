//! Checkpoints: weights, moments, average and position of a run, in one `.safetensors` file that is written whole.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Tensor, nn, no_grad};

use super::adam::Adam;
use super::average::Average;
use super::{Epoch, FitError, write_whole};

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    /// Epochs completed, and steps within the one that is under way.
    pub(super) epoch: usize,
    pub(super) step: usize,
    /// Steps of the optimiser.
    pub(super) steps: i32,
    pub(super) history: Vec<Epoch>,
    /// Index into the history of the epoch whose weights are kept.
    pub(super) best: Option<usize>,
    /// Sums over the epoch under way: loss, right answers, pictures, seconds, of them seconds for batches.
    pub(super) loss: f64,
    pub(super) right: f64,
    pub(super) seen: f64,
    pub(super) seconds: f64,
    pub(super) loading_seconds: f64,
}

/// Saves tensors by name.
fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), FitError> {
    write_whole(path, |partial| Tensor::write_safetensors(tensors, partial).map_err(io::Error::other))
}

/// Saves the weights alone, with torchvision's names where the network has them.
pub(crate) fn save_weights(path: &Path, vars: &nn::VarStore) -> Result<(), FitError> {
    let tensors: Vec<_> =
        vars.variables().into_iter().map(|(name, t)| (name, t.detach().contiguous())).collect();
    write_tensors(path, &tensors)
}

/// Saves everything that is needed to go on.
pub(super) fn save(
    path: &Path,
    vars: &nn::VarStore,
    adam: &Adam,
    average: Option<&Average>,
    state: &State,
) -> Result<(), FitError> {
    let failed = |source: serde_json::Error| FitError::Save { path: path.to_owned(), source: source.into() };
    let state = serde_json::to_vec(state).map_err(failed)?;
    let mut tensors = vec![("state".to_owned(), Tensor::from_slice(&state))];
    let named = |prefix: &str, (name, tensor): (String, Tensor)| {
        (format!("{prefix}.{name}"), tensor.detach().contiguous())
    };
    tensors.extend(vars.variables().into_iter().map(|entry| named("model", entry)));
    tensors.extend(adam.moments().into_iter().map(|entry| named("adam", entry)));
    if let Some(average) = average {
        tensors.extend(
            average.tensors.iter().map(|(name, t)| named("average", (name.clone(), t.shallow_clone()))),
        );
    }
    write_tensors(path, &tensors)
}

fn read(path: &Path) -> Result<HashMap<String, Tensor>, FitError> {
    let failed = |source: tch::TchError| FitError::Read { path: path.to_owned(), source: source.into() };
    Ok(Tensor::read_safetensors(path).map_err(failed)?.into_iter().collect())
}

/// Copies the tensors `prefix.name` of the file into those of `into`.
fn restore(
    path: &Path,
    file: &HashMap<String, Tensor>,
    prefix: &str,
    into: impl IntoIterator<Item = (String, Tensor)>,
) -> Result<(), FitError> {
    let mut wrong = Vec::new();
    for (name, mut tensor) in into {
        match file.get(&format!("{prefix}{name}")) {
            Some(saved) if saved.size() == tensor.size() => no_grad(|| tensor.copy_(saved)),
            Some(saved) => {
                wrong.push(format!("{name} is {:?} there, {:?} here", saved.size(), tensor.size()));
            }
            None => wrong.push(format!("{name} is missing")),
        }
    }
    wrong.sort();
    if wrong.is_empty() {
        return Ok(());
    }
    let more = if wrong.len() > 3 { format!(", and {} more", wrong.len() - 3) } else { String::new() };
    let what = format!("{}{more}", wrong[..wrong.len().min(3)].join("; "));
    Err(FitError::Weights { path: path.to_owned(), what })
}

/// Brings a run back to where it was saved.
pub(super) fn load(
    path: &Path,
    vars: &nn::VarStore,
    adam: &mut Adam,
    average: Option<&mut Average>,
) -> Result<State, FitError> {
    let file = read(path)?;
    restore(path, &file, "model.", vars.variables())?;
    restore(path, &file, "adam.", adam.moments())?;
    if let Some(average) = average {
        restore(
            path,
            &file,
            "average.",
            average.tensors.iter().map(|(n, t)| (n.clone(), t.shallow_clone())),
        )?;
    }
    let bytes = file.get("state").and_then(|state| Vec::<u8>::try_from(state).ok()).unwrap_or_default();
    let state: State = serde_json::from_slice(&bytes)
        .map_err(|source| FitError::Read { path: path.to_owned(), source: source.into() })?;
    adam.steps = state.steps;
    Ok(state)
}

/// Loads weights that [`save_weights`] wrote.
pub(crate) fn load_weights(path: &Path, vars: &nn::VarStore) -> Result<(), FitError> {
    restore(path, &read(path)?, "", vars.variables())
}
