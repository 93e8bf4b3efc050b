//! The manifest of a model: everything that is not in the ONNX file.
//!
//! A manifest is a TOML file beside the model: how a picture becomes the input tensor, what the outputs mean,
//! how sure is sure enough, and pictures with known answers. The daemon trusts no model without one. Every
//! key is listed in `docs/config.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::accuracy::{Accuracy, Provenance};
use portero_core::domain::{BadName, Label, ModelId, Score};

/// A checked manifest. File names in it are resolved against the manifest's own folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The model's name, recorded with every event.
    pub id: ModelId,
    /// The ONNX file.
    pub file: PathBuf,
    /// SHA-256 of the ONNX file, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Licence of the weights, SPDX.
    pub licence: String,
    /// How a picture becomes the input.
    pub input: Input,
    /// Class names in the order of the outputs, at least two, all different.
    pub labels: Vec<Label>,
    /// Those of them that mean "nothing here".
    pub background: BTreeSet<Label>,
    /// Logits are divided by it before softmax; above 0.
    pub temperature: f32,
    /// A best probability below this is *unknown*.
    pub reject_below: Score,
    /// Pictures with known answers.
    pub golden: Vec<Golden>,
    /// What the provenance says of the accuracy.
    pub accuracy: Option<Accuracy>,
}

/// How a picture becomes the input tensor, `1 x 3 x height x width`, 32-bit float.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Width in pixels, 8 to 2048.
    pub width: u32,
    /// Height in pixels, 8 to 2048.
    pub height: u32,
    /// Order of the colour planes.
    pub channels: Channels,
    /// How another aspect ratio is made to fit.
    pub resize: Resize,
    /// Per plane, in the order of `channels`: `(value - mean) / std`, value in 0..=255.
    pub mean: [f32; 3],
    /// See `mean`; above 0.
    pub std: [f32; 3],
}

/// Order of the colour planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first, as OpenCV has it.
    Bgr,
}

/// How another aspect ratio is made to fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Stretched to the input's size.
    Stretch,
    /// Scaled to fit and centred; the rest is filled with the mean, which is 0 after normalisation.
    Letterbox,
    /// The centre, in the input's shape and seven eighths of the largest that fits: what networks for photos are
    /// usually judged by (256 pixels of which 224 are seen). What lies outside is not seen.
    Crop,
}

/// A picture with its known answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Golden {
    /// The picture.
    pub image: PathBuf,
    /// Its probabilities in the order of the labels, after temperature and softmax.
    pub probabilities: Vec<f32>,
    /// How far each may be off.
    pub tolerance: f32,
}

/// Why a manifest was refused. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read the model manifest {}", path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or a key is unknown, missing or of the wrong type. The source says line and column.
    #[error("the model manifest {} does not parse", path.display())]
    Parse {
        /// The manifest.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A key has a value that makes no sense.
    #[error("the model manifest {}: {key} is {found}; allowed: {allowed}", path.display())]
    Value {
        /// The manifest.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    version: u32,
    id: String,
    file: PathBuf,
    sha256: String,
    licence: String,
    input: RawInput,
    output: RawOutput,
    #[serde(default)]
    golden: Vec<RawGolden>,
    #[serde(default)]
    provenance: Provenance,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    width: u32,
    height: u32,
    channels: Channels,
    resize: Resize,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutput {
    labels: Vec<String>,
    #[serde(default)]
    background: Vec<String>,
    activation: Activation,
    #[serde(default = "one")]
    temperature: f32,
    reject_below: f32,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Activation {
    Softmax,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGolden {
    image: PathBuf,
    probabilities: Vec<f32>,
    #[serde(default = "hundredth")]
    tolerance: f32,
}

fn one() -> f32 {
    1.0
}

fn hundredth() -> f32 {
    0.01
}

impl Manifest {
    /// Reads and checks the manifest at `path`. The model and the golden pictures are not opened.
    ///
    /// # Errors
    /// [`ManifestError`] names the file and the key, with what was found and what is allowed.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let check = Check::of(path);
        check.manifest(check.read()?)
    }
}

/// Turns the raw form of a manifest into the checked one.
pub(super) struct Check<'a> {
    path: &'a Path,
    folder: &'a Path,
}

impl<'a> Check<'a> {
    /// Of the manifest at `path`.
    pub(super) fn of(path: &'a Path) -> Self {
        Self { path, folder: path.parent().unwrap_or(Path::new("")) }
    }

    /// The raw form.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ManifestError> {
        let path = || self.path.to_owned();
        let text =
            fs::read_to_string(self.path).map_err(|source| ManifestError::Read { path: path(), source })?;
        toml::from_str(&text)
            .map_err(|source| ManifestError::Parse { path: path(), source: Box::new(source) })
    }

    /// A file that the manifest names.
    pub(super) fn file(&self, name: &Path) -> PathBuf {
        self.folder.join(name)
    }

    /// That a value makes no sense.
    pub(super) fn refuse<T>(
        &self,
        key: &'static str,
        found: impl std::fmt::Display,
        allowed: impl Into<String>,
    ) -> Result<T, ManifestError> {
        let (path, allowed) = (self.path.to_owned(), allowed.into());
        Err(ManifestError::Value { path, key, found: found.to_string(), allowed })
    }

    /// A name that is well formed.
    pub(super) fn name<T>(&self, key: &'static str, name: Result<T, BadName>) -> Result<T, ManifestError> {
        name.or_else(|bad| self.refuse(key, format!("{:?}", bad.found), bad.allowed))
    }

    /// The version of the format.
    pub(super) fn version(&self, version: u32) -> Result<(), ManifestError> {
        if version == 1 { Ok(()) } else { self.refuse("version", version, "1") }
    }

    /// The form of a hash.
    pub(super) fn sha256(&self, sha256: &str) -> Result<(), ManifestError> {
        let hex = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex {
            Ok(())
        } else {
            self.refuse("sha256", format!("{sha256:?}"), "64 lower-case hexadecimal digits")
        }
    }

    fn manifest(&self, raw: RawManifest) -> Result<Manifest, ManifestError> {
        self.version(raw.version)?;
        self.sha256(&raw.sha256)?;
        let Activation::Softmax = raw.output.activation;
        let labels = self.labels("output.labels", &raw.output.labels)?;
        if labels.len() < 2 {
            return self.refuse("output.labels", format!("{} labels", labels.len()), "at least 2");
        }
        let background = self.background(&raw.output.background, &labels)?;
        if !(raw.output.temperature.is_finite() && raw.output.temperature > 0.0) {
            return self.refuse("output.temperature", raw.output.temperature, "a number above 0");
        }
        let Some(reject_below) = Score::new(raw.output.reject_below) else {
            return self.refuse("output.reject_below", raw.output.reject_below, "0.0 to 1.0");
        };
        let golden =
            raw.golden.into_iter().map(|g| self.golden(g, labels.len())).collect::<Result<_, _>>()?;
        Ok(Manifest {
            id: self.name("id", ModelId::new(&raw.id))?,
            file: self.file(&raw.file),
            sha256: raw.sha256,
            licence: raw.licence,
            input: self.input(&raw.input)?,
            labels,
            background,
            temperature: raw.output.temperature,
            reject_below,
            golden,
            accuracy: raw.provenance.accuracy(),
        })
    }

    /// Labels, all well formed and different.
    pub(super) fn labels(&self, key: &'static str, raw: &[String]) -> Result<Vec<Label>, ManifestError> {
        let mut seen = BTreeSet::new();
        for text in raw {
            if !seen.insert(text) {
                return self.refuse(key, format!("{text:?} twice"), "each label once");
            }
        }
        raw.iter().map(|text| self.name(key, Label::new(text))).collect()
    }

    fn background(&self, raw: &[String], labels: &[Label]) -> Result<BTreeSet<Label>, ManifestError> {
        let key = "output.background";
        let background = self.labels(key, raw)?;
        match background.iter().find(|label| !labels.contains(label)) {
            Some(stranger) => self.refuse(key, format!("{stranger:?}"), format!("some of {labels:?}")),
            None => Ok(background.into_iter().collect()),
        }
    }

    fn input(&self, raw: &RawInput) -> Result<Input, ManifestError> {
        for (key, side) in [("input.width", raw.width), ("input.height", raw.height)] {
            if !(8..=2048).contains(&side) {
                return self.refuse(key, side, "8 to 2048");
            }
        }
        if let Some(bad) = raw.mean.iter().find(|m| !m.is_finite()) {
            return self.refuse("input.mean", bad, "finite numbers");
        }
        if let Some(bad) = raw.std.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return self.refuse("input.std", bad, "numbers above 0");
        }
        let RawInput { width, height, channels, resize, mean, std } = *raw;
        Ok(Input { width, height, channels, resize, mean, std })
    }

    fn golden(&self, raw: RawGolden, classes: usize) -> Result<Golden, ManifestError> {
        if raw.probabilities.len() != classes {
            let found = format!("{} numbers", raw.probabilities.len());
            return self.refuse("golden.probabilities", found, format!("one per label, {classes}"));
        }
        if let Some(bad) = raw.probabilities.iter().find(|p| Score::new(**p).is_none()) {
            return self.refuse("golden.probabilities", bad, "0.0 to 1.0");
        }
        if !(0.0..=0.5).contains(&raw.tolerance) {
            return self.refuse("golden.tolerance", raw.tolerance, "0.0 to 0.5");
        }
        let image = self.file(&raw.image);
        Ok(Golden { image, probabilities: raw.probabilities, tolerance: raw.tolerance })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../../models/person-v3s.toml");

    fn load(text: &str) -> Result<Manifest, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.toml");
        fs::write(&path, text).unwrap();
        Manifest::load(&path).map_err(|e| match &e {
            ManifestError::Parse { source, .. } => format!("{e}: {source}"),
            _ => e.to_string(),
        })
    }

    #[test]
    fn the_shipped_manifest_is_sound() {
        let manifest = load(GOOD).unwrap();
        assert_eq!(manifest.labels.iter().map(Label::as_str).collect::<Vec<_>>(), ["no_person", "person"]);
        assert!(manifest.background.contains(&manifest.labels[0]), "`no_person` must be background");
        assert!(!manifest.golden.is_empty(), "a shipped model must be verifiable");
    }

    #[test]
    fn every_bad_value_is_named() {
        let swap = |from: &str, to: &str| {
            assert!(GOOD.contains(from), "{from:?} is not in the shipped manifest");
            load(&GOOD.replacen(from, to, 1)).unwrap_err()
        };
        for (from, to, expected) in [
            ("version = 1", "version = 2", "version is 2; allowed: 1"),
            ("id = \"person-v3s\"", "id = \"Person\"", "id is \"Person\""),
            ("\"no_person\", \"person\"]", "\"person\", \"person\"]", "\"person\" twice"),
            ("\"no_person\", \"person\"]", "\"unknown\", \"person\"]", "reserved `unknown`"),
            ("background = [\"no_person\"]", "background = [\"cat\"]", "output.background is \"cat\""),
            ("width = 224", "width = 0", "input.width is 0; allowed: 8 to 2048"),
            ("std = [127.5", "std = [0.0", "input.std is 0"),
            ("channels = \"rgb\"", "channels = \"grb\"", "channels"),
            ("licence", "license", "license"),
        ] {
            let error = swap(from, to);
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn a_missing_manifest_names_its_path() {
        let error = Manifest::load(Path::new("/nowhere/m.toml")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/m.toml"), "{error}");
    }
}
