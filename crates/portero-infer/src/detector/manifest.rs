//! The manifest of a detector: everything that is not in its ONNX file. Every key is listed in `docs/config.md`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::manifest::Check;
use crate::{Channels, ManifestError};
use portero_core::domain::{Label, ModelId};

/// A checked manifest. File names in it are resolved against the manifest's own folder.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectorManifest {
    /// The detector's name, recorded with every event.
    pub id: ModelId,
    /// The ONNX file.
    pub file: PathBuf,
    /// SHA-256 of the ONNX file, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Licence of the weights, SPDX.
    pub licence: String,
    /// Width of the input in pixels, a multiple of every stride.
    pub width: u32,
    /// Height of the input in pixels, a multiple of every stride.
    pub height: u32,
    /// Order of the colour planes, which hold 0..=255.
    pub channels: Channels,
    /// Sides of the grids' cells in pixels, in the order of the output's rows.
    pub strides: Vec<u32>,
    /// Class names in the order of the outputs, all different.
    pub labels: Vec<Label>,
    /// From this score on a box may begin a track; 0..=1.
    pub score: f32,
    /// From this score on a box may continue one; 0..=1, at most `score`.
    pub faint: f32,
    /// Of two boxes of one label that overlap by more (intersection over union) only the more certain is kept; 0..=1.
    pub overlap: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: u32,
    id: String,
    file: PathBuf,
    sha256: String,
    licence: String,
    input: RawInput,
    output: RawOutput,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    width: u32,
    height: u32,
    channels: Channels,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutput {
    family: Family,
    strides: Vec<u32>,
    labels: Vec<String>,
    #[serde(default = "score")]
    score: f32,
    #[serde(default = "faint")]
    faint: f32,
    #[serde(default = "overlap")]
    overlap: f32,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Family {
    Yolox,
}

fn score() -> f32 {
    0.4
}

fn faint() -> f32 {
    0.1
}

fn overlap() -> f32 {
    0.45
}

impl DetectorManifest {
    /// Reads and checks the manifest at `path`. The network is not opened.
    ///
    /// # Errors
    /// [`ManifestError`] names the file and the key, with what was found and what is allowed.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let check = Check::of(path);
        checked(&check, check.read()?)
    }

    /// Rows of the output: cells of all grids.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.strides.iter().map(|side| (self.width / side) as usize * (self.height / side) as usize).sum()
    }

    /// Numbers in a row: box, objectness, classes.
    #[must_use]
    pub fn columns(&self) -> usize {
        5 + self.labels.len()
    }
}

fn checked(check: &Check<'_>, raw: Raw) -> Result<DetectorManifest, ManifestError> {
    let Raw { input: RawInput { width, height, channels }, output, .. } = raw;
    let Family::Yolox = output.family;
    check.version(raw.version)?;
    let id = check.name("id", ModelId::new(&raw.id))?;
    check.sha256(&raw.sha256)?;
    if let Some(bad) = output.strides.iter().find(|side| !(1..=256).contains(*side)) {
        return check.refuse("output.strides", bad, "1 to 256");
    }
    if output.strides.is_empty() {
        return check.refuse("output.strides", "an empty list", "the side of each grid's cells");
    }
    for (key, side) in [("input.width", width), ("input.height", height)] {
        let whole = output.strides.iter().all(|stride| side.is_multiple_of(*stride));
        if !(32..=2048).contains(&side) || !whole {
            return check.refuse(key, side, "32 to 2048, a multiple of every stride");
        }
    }
    for (key, value) in
        [("output.score", output.score), ("output.faint", output.faint), ("output.overlap", output.overlap)]
    {
        if !(0.01..=1.0).contains(&value) {
            return check.refuse(key, value, "0.01 to 1.0");
        }
    }
    if output.faint > output.score {
        return check.refuse("output.faint", output.faint, "at most output.score");
    }
    if output.labels.is_empty() {
        return check.refuse("output.labels", "an empty list", "one label or more");
    }
    let labels = check.labels("output.labels", &output.labels)?;
    Ok(DetectorManifest {
        id,
        file: check.file(&raw.file),
        sha256: raw.sha256,
        licence: raw.licence,
        width,
        height,
        channels,
        strides: output.strides,
        labels,
        score: output.score,
        faint: output.faint,
        overlap: output.overlap,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const GOOD: &str = include_str!("../../../../models/yolox-nano.toml");

    fn load(text: &str) -> Result<DetectorManifest, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.toml");
        fs::write(&path, text).unwrap();
        DetectorManifest::load(&path).map_err(|e| match &e {
            ManifestError::Parse { source, .. } => format!("{e}: {source}"),
            _ => e.to_string(),
        })
    }

    #[test]
    fn the_manifest_for_yolox_nano_is_sound() {
        let manifest = load(GOOD).unwrap();
        assert_eq!((manifest.rows(), manifest.columns()), (3549, 85));
        assert_eq!(manifest.labels[0].as_str(), "person");
    }

    #[test]
    fn every_bad_value_is_named() {
        for (from, to, expected) in [
            ("version = 1", "version = 2", "version is 2; allowed: 1"),
            ("id = \"yolox-nano\"", "id = \"YOLOX\"", "id is \"YOLOX\""),
            ("sha256 = \"6", "sha256 = \"X", "64 lower-case hexadecimal digits"),
            (
                "width = 416",
                "width = 400",
                "input.width is 400; allowed: 32 to 2048, a multiple of every stride",
            ),
            ("strides = [8, 16, 32]", "strides = []", "output.strides is an empty list"),
            ("\"bicycle\"", "\"person\"", "output.labels is \"person\" twice"),
            ("score = 0.4", "score = 0.05", "output.faint is 0.1; allowed: at most output.score"),
            ("overlap = 0.45", "overlap = 0.0", "output.overlap is 0; allowed: 0.01 to 1.0"),
            ("family = \"yolox\"", "family = \"yolo\"", "unknown variant `yolo`"),
            ("channels", "chanels", "unknown field `chanels`"),
        ] {
            assert!(GOOD.contains(from), "{from:?} is not in the manifest");
            let error = load(&GOOD.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
