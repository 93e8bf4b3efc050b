//! From pixels to probabilities: manifest, preprocessing, the network in tract and in kernels of our own.
//!
//! A model is loaded once: its hash is compared, its graph optimised, its golden pictures verified. The plan
//! is shared; every worker has its own state and buffers. Daemon and trainer use this very code, so that a model
//! meets at the door what it met in training. This crate knows nothing of cameras, rules or threads, and only it
//! knows tract.

mod accuracy;
mod classifier;
mod detector;
mod instructions;
mod manifest;
mod model;
mod network;
mod passes;
mod preprocess;
mod worker;

use std::path::PathBuf;

pub use accuracy::Accuracy;
pub use classifier::{Answer, Classifier, Detector, Found};
pub use detector::{DetectorManifest, DetectorModel, DetectorSettings, Finder};
pub use manifest::{Channels, Golden, Input, Manifest, ManifestError, Resize};
pub use model::Model;
pub use preprocess::Preprocessor;
pub use worker::Worker;

/// Which model, and how many workers run it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The manifest (`models/*.toml`).
    pub manifest: PathBuf,
    /// Worker threads, 1..=64; `None` takes one per core, one core left free when there are more than two.
    pub workers: Option<usize>,
}

impl Settings {
    /// The number of workers to start on a machine with `cores` cores.
    #[must_use]
    pub fn worker_count(&self, cores: usize) -> usize {
        self.workers.unwrap_or(if cores > 2 { cores - 1 } else { cores }).clamp(1, 64)
    }
}

/// An error of a crate that has no type of its own for it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no prediction. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// The manifest was refused: mend it.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The model file could not be read: check the path in the manifest.
    #[error("cannot read the model {}", path.display())]
    Read {
        /// The model.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The model file is not the one the manifest describes: fetch it again, or make a new manifest.
    #[error("the model {} has SHA-256 {found}, its manifest says {expected}", path.display())]
    Hash {
        /// The model.
        path: PathBuf,
        /// What the manifest says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// tract cannot make a plan of it.
    #[error("the model {} is no usable ONNX file", path.display())]
    Load {
        /// The model.
        path: PathBuf,
        /// Why, in tract's words.
        #[source]
        source: Cause,
    },
    /// `PORTERO_KERNELS` names no kernels, or such as this processor cannot run: mend or unset it.
    #[error("PORTERO_KERNELS is \"{wanted}\"; on this processor it may be {allowed}, or not set")]
    Kernels {
        /// What it says.
        wanted: String,
        /// What it may say.
        allowed: String,
    },
    /// Inputs or outputs are not those of a classifier with this manifest.
    #[error("the model {}: {what} is {found}, the manifest needs {expected}", path.display())]
    Shape {
        /// The model.
        path: PathBuf,
        /// Which end.
        what: &'static str,
        /// What the file has.
        found: String,
        /// What the manifest needs.
        expected: String,
    },
    /// A golden picture could not be read.
    #[error("cannot read the golden picture {}", path.display())]
    GoldenPicture {
        /// The picture.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The model does not answer as its manifest promises on this machine.
    #[error(
        "the model gives {found:.4} for {label} on {}, its manifest says {expected:.4} within {tolerance}",
        picture.display()
    )]
    Golden {
        /// The picture.
        picture: PathBuf,
        /// The class that is furthest off.
        label: String,
        /// The manifest's probability.
        expected: f32,
        /// This machine's probability.
        found: f32,
        /// How far it may be off.
        tolerance: f32,
    },
    /// A single inference failed.
    #[error("inference failed")]
    Run(#[source] Cause),
}
