//! Why an export came to nothing.

use std::path::PathBuf;

use portero_infer::InferError;
use tch::TchError;

use crate::data::DataError;
use crate::fit::FitError;
use crate::weights::WeightsError;

/// Why no model was written. Messages name the file or the option.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// The weights were refused.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The run cannot be read.
    #[error(transparent)]
    Run(#[from] FitError),
    /// The pictures are not those of the training: val may have been trained on.
    #[error("{} is not the data that the run was trained on; --data names where that lies now", path.display())]
    OtherData { path: PathBuf },
    /// The pictures were refused.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The daemon's code refuses the model.
    #[error("the daemon's own code refuses the exported model")]
    Infer(#[from] InferError),
    /// libtorch failed.
    #[error("libtorch failed")]
    Torch(#[from] TchError),
    /// The weights are a base or come from elsewhere.
    #[error("{} holds no photo network with labels: train one with transfer or finetune", path.display())]
    Untrained { path: PathBuf },
    /// The pictures are of other classes.
    #[error("{} was trained for {trained:?}, the pictures are of {found:?}", path.display())]
    Labels { path: PathBuf, trained: Vec<String>, found: Vec<String> },
    /// An option makes no sense.
    #[error("{option} is {found}; allowed: {allowed}")]
    Option { option: &'static str, found: String, allowed: String },
    /// No picture to compare or calibrate on.
    #[error("there is no picture in {part}")]
    NoPictures { part: &'static str },
    /// Quantising made it worse than it may.
    #[error(
        "quantising costs {points:.2} points of accuracy on val, {allowed:.1} are allowed, and chance does not explain it \
         (McNemar p = {p:.4}): calibrate on more pictures, try another form, or say --accept-loss"
    )]
    Loss { points: f64, allowed: f64, p: f64 },
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The notes for the card cannot be read.
    #[error("cannot read the notes {}", path.display())]
    Notes {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The loss of the quantisation-aware fine-tuning is no number any more.
    #[error(
        "the loss is {loss} at step {step} of the quantisation-aware fine-tuning; a lower --qat-lr usually helps"
    )]
    NotFinite { loss: f64, step: usize },
    /// A picture could not be made an input.
    #[error("cannot prepare the pictures")]
    Picture(#[source] portero_infer::Cause),
    /// A golden picture is none.
    #[error("--golden: {} cannot be read as a picture", path.display())]
    Golden {
        path: PathBuf,
        #[source]
        source: portero_infer::Cause,
    },
    /// The manifest cannot be put into TOML.
    #[error("cannot write the manifest as TOML")]
    Toml(#[source] toml::ser::Error),
}
