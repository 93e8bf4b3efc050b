//! The file of a network, of a classifier or a detector: read with its hash compared, its ends checked. What a network is
//! asked and what it answers is not this page's.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use tract_onnx::prelude::TractError;

use super::InferError;
use portero_core::words::hex;

/// The bytes of the file that a manifest names.
///
/// # Errors
/// [`InferError::Read`], or [`InferError::Hash`] when it is another file than the manifest's `sha256` says.
pub(super) fn read(path: &Path, sha256: &str) -> Result<Vec<u8>, InferError> {
    let bytes = fs::read(path).map_err(|source| InferError::Read { path: path.to_owned(), source })?;
    let found = hex(&Sha256::digest(&bytes));
    if found != sha256 {
        return Err(InferError::Hash { path: path.to_owned(), expected: sha256.to_owned(), found });
    }
    Ok(bytes)
}

/// One picture goes in and one tensor comes out.
///
/// # Errors
/// [`InferError::Shape`].
pub(super) fn check_ends(path: &Path, inputs: usize, outputs: usize) -> Result<(), InferError> {
    if (inputs, outputs) == (1, 1) {
        return Ok(());
    }
    Err(wrong_shape(path, "the graph", format!("{inputs} inputs and {outputs} outputs"), "1 and 1"))
}

/// That something of the network has another shape than the manifest says.
pub(super) fn wrong_shape(path: &Path, what: &'static str, found: String, expected: &str) -> InferError {
    InferError::Shape { path: path.to_owned(), what, found, expected: expected.to_owned() }
}

/// A shape in words.
pub(super) fn dims(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

/// That tract could not run it.
pub(super) fn run_error(source: TractError) -> InferError {
    InferError::Run(source.into())
}
