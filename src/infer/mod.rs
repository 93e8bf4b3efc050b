//! From a look to predictions: manifest, preprocessing, the model in tract, the worker pool.

use std::path::PathBuf;

/// Which model, and how many workers run it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The manifest (`models/*.toml`).
    pub manifest: PathBuf,
    /// Worker threads, 1..=64; `None` takes one per core, one core left free when there are more than two.
    pub workers: Option<usize>,
}
