//! Fitting weights: the loop, the optimiser, the schedule, checkpoints, and the folder that makes a run repeatable.
//!
//! Everything that is drawn comes from the seed, so a run that was interrupted and resumed ends with the same
//! weights as one that was not. Val decides which weights are kept; test is never looked at here.

mod adam;
mod average;
mod cache;
mod checkpoint;
mod files;
mod fitter;
mod plan;
mod progress;
mod run;
mod scoring;

use std::path::PathBuf;

pub(crate) use adam::{Adam, Decay};
pub(crate) use cache::Features;
pub(crate) use checkpoint::{load_weights, save_weights};
pub(crate) use files::{write_json, write_whole};
pub(crate) use fitter::{Ended, Fitter};
pub(crate) use plan::{Keep, Plan, share};
pub(crate) use progress::Progress;
pub(crate) use run::{BEST, BatchNorm, HISTORY, Head, Regime, Run};
pub(crate) use scoring::{Scored, score};

/// Where an epoch's figures are kept, and what `history.json` holds.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Epoch {
    /// From 1.
    pub(crate) epoch: usize,
    /// The learning rate at its end.
    pub(crate) learning_rate: f64,
    /// Means over the epoch, with augmentation and dropout.
    pub(crate) train_loss: f64,
    pub(crate) train_accuracy: f64,
    /// Over the whole val part, without.
    pub(crate) val_loss: f64,
    pub(crate) val_accuracy: f64,
    pub(crate) val_balanced_accuracy: f64,
    /// Wall time of the training steps, and the share of it that went into making batches.
    pub(crate) seconds: f64,
    pub(crate) loading_seconds: f64,
}

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FitError {
    /// A picture could not be made into an input.
    #[error("a batch could not be made")]
    Batch(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The loss is no number any more: a smaller learning rate, or a look at the data, is needed.
    #[error(
        "the loss is {loss} at epoch {epoch}, step {step} (learning rate {learning_rate:.3e}); {kept}. A lower --lr usually \
         helps"
    )]
    NotFinite { loss: f64, epoch: usize, step: usize, learning_rate: f64, kept: String },
    /// A file of the run could not be written; what was there before is intact.
    #[error("cannot save {}; the file that was there before is intact", path.display())]
    Save {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file of the run could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is no checkpoint of this network.
    #[error("{} does not fit the network: {what}", path.display())]
    Weights { path: PathBuf, what: String },
    /// The run folder is taken.
    #[error("{} holds a run already; --resume continues it, another --out begins anew", path.display())]
    Taken { path: PathBuf },
    /// There is nothing to resume.
    #[error("{} holds no run to go on with", path.display())]
    NoRun { path: PathBuf },
    /// A run is resumed with other settings than it began with.
    #[error("the run in {} began with {key} = {began}, not {found}", path.display())]
    Differs { path: PathBuf, key: String, began: String, found: String },
}
