//! From photos to a model file: a real fine-tuning, exported, and opened by others.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use portero_core::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Stamp};
use portero_infer::{Model, Preprocessor};

use crate::support::{base, refused, root, stderr, stdout, train};

/// A Python that has onnx and onnxruntime; `None`, with a printed reason, where there is none.
fn python() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let named = std::env::var_os("PORTERO_ONNX_PYTHON").map(PathBuf::from);
    let candidates = named.into_iter().chain([target.join("venv-onnx/bin/python"), "python3".into()]);
    let has = |python: &PathBuf| {
        let import = Command::new(python).args(["-c", "import onnx, onnxruntime"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(has);
    if found.is_none() {
        println!(
            "skipped: no Python with onnx and onnxruntime; `scripts/test --trainer` makes one, PORTERO_ONNX_PYTHON names one"
        );
    }
    found
}

/// Ants and bees, some of each.
struct Insects {
    folder: tempfile::TempDir,
}

/// Pictures of a class in a part: enough to learn from, few enough for the daemon's code unoptimised.
const EACH: usize = 40;

impl Insects {
    /// With a short run of `regime`; `None` where pictures or base are not beside the repository.
    fn trained(regime: &str, more: &[&str]) -> Option<Self> {
        let photos = root().join("../shared/datasets/hymenoptera_224");
        if !photos.exists() {
            println!("skipped: {} is not there", photos.display());
            return None;
        }
        let insects = Self { folder: tempfile::tempdir().unwrap() };
        for class in ["train/ants", "train/bees", "val/ants", "val/bees"] {
            let (from, to) = (photos.join(class), insects.data().join(class));
            fs::create_dir_all(&to).unwrap();
            let mut names: Vec<_> = fs::read_dir(&from).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            for name in names.iter().take(EACH) {
                symlink(fs::canonicalize(from.join(name)).unwrap(), to.join(name)).unwrap();
            }
        }
        let base = base(insects.folder.path())?;
        let (data, run) = (insects.data(), insects.run());
        let [data, base, out] = [&data, &base, &run].map(|path| path.to_str().unwrap());
        let fixed = [regime, data, "--base", base, "--out", out, "--batch", "16"];
        let output = train(&[&fixed[..], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        Some(insects)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("insects")
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    /// Runs `export`.
    fn try_export(&self, id: &str, more: &[&str]) -> Output {
        let (run, models) = (self.run(), self.models());
        let fixed = ["export", run.to_str().unwrap(), "--out", models.to_str().unwrap(), "--id", id];
        train(&[&fixed[..], more].concat())
    }

    /// What `export` prints.
    fn export(&self, id: &str, more: &[&str]) -> String {
        let output = self.try_export(id, more);
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    }

    /// The message of an `export` that must be refused.
    fn refused(&self, more: &[&str]) -> String {
        let output = self.try_export("refused", more);
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        stderr(&output)
    }
}

fn frame(path: &Path) -> Frame {
    let picture = image::open(path).unwrap().into_rgb8();
    let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
    let (width, height) = picture.dimensions();
    Frame::new(CameraId::new("test").unwrap(), at, width, height, picture.into_raw()).unwrap()
}

/// Probabilities by onnxruntime and by the daemon's code, of one picture.
fn both(python: &Path, model: &Arc<Model>, picture: &Path, folder: &Path) -> [Vec<f32>; 2] {
    let manifest = model.manifest();
    let frame = frame(picture);
    let mut preprocessor = Preprocessor::new(manifest.input.clone());
    let mut planes = vec![0.0; preprocessor.len()];
    preprocessor.fill(&frame, NormRect::FULL, &mut planes);
    let file = folder.join("planes.f32");
    fs::write(&file, planes.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trainer/onnx_logits.py");
    let output = Command::new(python).arg(script).arg(&manifest.file).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let logits: Vec<f32> = stdout(&output).split_whitespace().map(|n| n.parse().unwrap()).collect();
    let exps: Vec<f32> = logits.iter().map(|l| (l / manifest.temperature).exp()).collect();
    let sum: f32 = exps.iter().sum();
    let theirs = exps.iter().map(|e| e / sum).collect();
    [theirs, model.worker().unwrap().probabilities(&frame, NormRect::FULL).unwrap()]
}

/// What `portero classify` finds in a picture.
fn classify(manifest: &Path, picture: &Path) -> String {
    let daemon = Path::new(env!("CARGO_BIN_EXE_portero-train")).with_file_name("portero");
    assert!(daemon.exists(), "{} is missing: cargo build", daemon.display());
    let output = Command::new(daemon)
        .args(["classify", "--json", "--model"])
        .args([manifest, picture])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    said["top"][0]["label"].as_str().unwrap().to_owned()
}

#[test]
fn a_fine_tuned_network_is_exported_in_every_form_and_others_open_it() {
    let more = ["--val-is-test", "--unfreeze", "2", "--epochs", "3", "--augment", "light"];
    let Some(insects) = Insects::trained("finetune", &more) else { return };
    let notes = insects.folder.path().join("notes.md");
    fs::write(&notes, "For telling ants from bees. Wasps look like bees to it.").unwrap();
    let notes = notes.to_str().unwrap();
    let forms = [
        ("float", vec!["--form", "float"], 1e-3),
        ("weights", vec!["--form", "byte-weights"], 1e-3),
        ("percentile", vec!["--form", "bytes"], 0.05),
        ("extremes", vec!["--form", "bytes", "--percentile", "100", "--notes", notes], 0.05),
    ];
    let python = python();
    for (id, arguments, tolerance) in forms {
        println!("{id}: {}", insects.export(id, &arguments));
        let file = |ending: &str| insects.models().join(format!("{id}.{ending}"));
        let manifest = fs::read_to_string(file("toml")).unwrap();
        let keys = [
            "labels = [\"ants\", \"bees\"]",
            "temperature",
            "reject_below",
            "[[golden]]",
            "data_sha256",
            "seed = 1",
            "command = ",
            "export_command",
            "val_float_right",
            "val_mcnemar_p",
            "test_pictures = 80",
            "test_float_accuracy = [",
            "test_exported_accuracy = [",
        ];
        for key in keys {
            assert!(manifest.contains(key), "{key} is missing in\n{manifest}");
        }
        let card = fs::read_to_string(file("md")).unwrap();
        for part in ["# ", "on 80 pictures of test", "McNemar", "| ants |", "fine-tuned from", "finetune "] {
            assert!(card.contains(part), "{part} is missing in\n{card}");
        }
        assert_eq!(card.contains("Wasps look like bees"), id == "extremes");
        assert_eq!(card.contains("Not written yet"), id != "extremes");

        let model = Arc::new(Model::load(&file("toml")).unwrap());
        let integer = model.operators().iter().filter(|op| op.starts_with("Int8")).count();
        assert_eq!(integer > 50, arguments.contains(&"bytes"), "{:?}", model.operators());
        for label in ["ants", "bees"] {
            let picture = insects.models().join(format!("golden/{id}-{label}.jpg"));
            assert_eq!(classify(&file("toml"), &picture), label);
            let Some(python) = &python else { continue };
            let [theirs, ours] = both(python, &model, &picture, insects.folder.path());
            let apart = theirs.iter().zip(&ours).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < tolerance, "{id}, {label}: onnxruntime {theirs:?}, the daemon {ours:?}");
        }
    }
}

/// The points that the exported file lost on test, which neither weights nor epoch were chosen on.
fn points_lost(report: &str) -> f64 {
    let line = report.lines().find(|line| line.contains("pictures of test")).unwrap();
    line.split(" points lost").next().unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn quantisation_aware_fine_tuning_brings_back_what_tight_ranges_cost() {
    let more = ["--val-is-test", "--epochs", "20", "--draws", "1", "--augment", "none"];
    let Some(insects) = Insects::trained("transfer", &more) else { return };
    let tight = ["--form", "bytes", "--percentile", "90", "--calibrate-on", "40", "--accept-loss"];
    let plain = points_lost(&insects.export("plain", &tight));
    let aware = points_lost(&insects.export("aware", &[&tight[..], &["--qat", "6"]].concat()));
    println!("{plain} points are lost without, {aware} with");
    // With three seeds it was 34 to 36 and 18 to 20.
    assert!(plain > 20.0 && aware < plain - 5.0, "{plain} points lost without, {aware} with");

    let manifest = insects.models().join("aware.toml");
    let model = Model::load(&manifest).unwrap();
    let integer = model.operators().iter().filter(|op| op.starts_with("Int8")).count();
    assert!(integer > 50, "the same form as without: {:?}", model.operators());
    let text = fs::read_to_string(&manifest).unwrap();
    assert!(text.contains("6 epochs of quantisation-aware fine-tuning"), "{text}");

    let text = insects.refused(&[&tight[..], &["--qat", "1", "--qat-lr", "1e38"]].concat());
    assert!(text.contains("the loss is") && text.contains("of the quantisation-aware fine-tuning"), "{text}");
    let text = insects.refused(&["--qat", "1"]);
    assert!(text.contains("--qat is 1; allowed: 0, or more with --form bytes"), "{text}");
}

#[test]
fn what_cannot_be_exported_is_named() {
    let nothing = tempfile::tempdir().unwrap();
    let folder = nothing.path().to_str().unwrap();
    let out = nothing.path().join("models");
    let text = refused(&["export", folder, "--out", out.to_str().unwrap(), "--id", "x"]);
    assert!(text.contains("run.json"), "{text}");
    assert!(!out.exists(), "nothing is made");
}
