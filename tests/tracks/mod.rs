//! Boxes, tracks and the rules about them, on a real street.

mod daemon;
mod identity;
mod street;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::daemon::{root, shared};

/// A manifest of YOLOX-Nano in `folder` that names the network beside the repository, where it is there.
pub(crate) fn yolox(folder: &TempDir) -> Option<PathBuf> {
    let network = shared("models/yolox_nano.onnx")?;
    let shipped = fs::read_to_string(root().join("models/yolox-nano.toml")).unwrap();
    let named = format!("file = {:?}", fs::canonicalize(network).unwrap());
    let path = folder.path().join("yolox-nano.toml");
    fs::write(&path, shipped.replace("file = \"yolox_nano.onnx\"", &named)).unwrap();
    Some(path)
}
