//! The shipped model as it is shipped, and what happens to files that are not what their manifest says.

mod floats;
mod onnx;
mod quantised;
mod street;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Stamp};
use portero::infer::{InferError, Model};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::daemon::{portero, root, stderr};

pub(crate) fn shipped() -> PathBuf {
    root().join("models/person-v3s.toml")
}

pub(crate) fn frame(path: &Path) -> Frame {
    let rgb = image::open(path).unwrap().to_rgb8();
    let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
    Frame::new(CameraId::new("test").unwrap(), at, rgb.width(), rgb.height(), rgb.into_raw()).unwrap()
}

/// A copy of the shipped model in a folder of its own, to be spoilt.
struct Copy {
    folder: TempDir,
}

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["person-v3s.toml", "person-v3s.onnx"] {
            fs::copy(root().join("models").join(name), folder.path().join(name)).unwrap();
        }
        fs::create_dir(folder.path().join("golden")).unwrap();
        for entry in fs::read_dir(root().join("models/golden")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), folder.path().join("golden").join(entry.file_name())).unwrap();
        }
        Self { folder }
    }

    fn manifest(&self) -> PathBuf {
        self.folder.path().join("person-v3s.toml")
    }

    fn edit(&self, change: impl FnOnce(&str) -> String) {
        let text = fs::read_to_string(self.manifest()).unwrap();
        let changed = change(&text);
        assert_ne!(text, changed, "the edit did nothing");
        fs::write(self.manifest(), changed).unwrap();
    }

    /// Replaces the model and states its hash, so that only its content is wrong.
    fn replace_model(&self, bytes: &[u8]) {
        fs::write(self.folder.path().join("person-v3s.onnx"), bytes).unwrap();
        let old = Model::load(&self.manifest()).err().expect("the hash is wrong now");
        let InferError::Hash { expected, found, .. } = old else { panic!("{old}") };
        self.edit(|text| text.replace(&expected, &found));
    }

    fn load(&self) -> InferError {
        match Model::load(&self.manifest()) {
            Err(error) => error,
            Ok(_) => panic!("a spoilt model was taken"),
        }
    }
}

#[test]
fn the_golden_pictures_are_what_the_manifest_says() {
    let model = Arc::new(Model::load(&shipped()).unwrap());
    model.verify(&|path| Ok(frame(path))).unwrap();
    assert!(fs::metadata(&model.manifest().file).unwrap().len() <= 3_000_000, "at most 3 MB");
}

#[test]
fn workers_of_one_model_agree_bit_for_bit_and_repeat_themselves() {
    let model = Arc::new(Model::load(&shipped()).unwrap());
    let picture = frame(&model.manifest().golden[0].image);
    let (mut a, mut b) = (model.worker().unwrap(), model.worker().unwrap());
    let first = a.probabilities(&picture, NormRect::FULL).unwrap();
    let part = NormRect::new(0.2, 0.2, 0.7, 0.9).unwrap();
    let _ = a.probabilities(&picture, part).unwrap();
    assert_eq!(first, a.probabilities(&picture, NormRect::FULL).unwrap());
    assert_eq!(first, b.probabilities(&picture, NormRect::FULL).unwrap());
}

#[test]
fn a_changed_model_file_is_refused() {
    let copy = Copy::new();
    let path = copy.folder.path().join("person-v3s.onnx");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(copy.load(), InferError::Hash { .. }));
    let output = portero(&["classify", "--model", copy.manifest().to_str().unwrap(), "x.png"]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("person-v3s.onnx has SHA-256"), "{}", stderr(&output));
}

#[test]
fn a_truncated_model_is_no_panic() {
    for keep in [0, 1, 1000, 100_000] {
        let copy = Copy::new();
        let bytes = fs::read(copy.folder.path().join("person-v3s.onnx")).unwrap();
        copy.replace_model(&bytes[..keep]);
        let error = copy.load();
        assert!(matches!(error, InferError::Load { .. } | InferError::Shape { .. }), "{keep} bytes: {error}");
    }
}

#[test]
fn an_input_of_another_size_is_named() {
    let copy = Copy::new();
    copy.edit(|text| text.replace("width = 224", "width = 160"));
    let error = copy.load().to_string();
    assert!(error.contains("the input is 1x3x224x224") && error.contains("1x3x224x160"), "{error}");
}

#[test]
fn labels_that_do_not_fit_the_outputs_are_named() {
    let copy = Copy::new();
    copy.edit(|text| {
        let text = text
            .split("[[golden]]")
            .next()
            .unwrap()
            .replace("\"no_person\", \"person\"]", "\"no_person\", \"person\", \"cat\"]");
        text + "\n"
    });
    let error = copy.load().to_string();
    assert!(error.contains("the output is") && error.contains("one logit per label"), "{error}");
}

#[test]
fn golden_pictures_that_answer_otherwise_are_named() {
    let copy = Copy::new();
    fs::copy(
        copy.folder.path().join("golden/street-empty.png"),
        copy.folder.path().join("golden/street-person.png"),
    )
    .unwrap();
    let model = Arc::new(Model::load(&copy.manifest()).unwrap());
    let error = model.verify(&|path| Ok(frame(path))).unwrap_err();
    assert!(matches!(&error, InferError::Golden { .. }), "{error}");
    assert!(error.to_string().contains("street-person.png"), "{error}");
}

#[test]
fn classify_prints_one_object_a_line() {
    let (model, golden) = (shipped(), root().join("models/golden"));
    let arguments = ["classify", "--json", "--model", model.to_str().unwrap(), golden.to_str().unwrap()];
    let output = portero(&arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3, "{text}");
    for line in &lines {
        let top = line["top"].as_array().unwrap();
        let sum: f64 = top.iter().map(|t| t["p"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{line}");
        assert!(top[0]["p"].as_f64() >= top[1]["p"].as_f64(), "most probable first: {line}");
        assert!(line["path"].is_string() && line["rejected"].is_boolean(), "{line}");
    }
    let person = lines.iter().find(|l| l["path"].as_str().unwrap().ends_with("street-person.png")).unwrap();
    assert_eq!(person["top"][0]["label"], "person");
}

#[test]
fn broken_pictures_are_named_and_the_others_classified() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(root().join("models/golden/street-person.png")).unwrap();
    fs::write(folder.path().join("a.png"), &good).unwrap();
    fs::write(folder.path().join("b.jpg"), b"").unwrap();
    fs::write(folder.path().join("c.png"), &good[..good.len() / 2]).unwrap();
    let model = shipped();
    let arguments = ["classify", "--model", model.to_str().unwrap(), folder.path().to_str().unwrap()];
    let output = portero(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("b.jpg") && said.contains("c.png") && said.contains("2 of 3"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("a.png: person"), "{said}");
}
