//! `portero bench`: models side by side, and the network alone.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::daemon::{portero, root, stderr, street};

/// A folder with the shipped model twice: as it is, and with an accuracy in its provenance.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let models = root().join("models");
    fs::copy(models.join("person-v3s.onnx"), folder.path().join("person-v3s.onnx")).unwrap();
    // It is no classifier, and is passed over.
    fs::copy(models.join("yolox-nano.toml"), folder.path().join("yolox-nano.toml")).unwrap();
    fs::create_dir(folder.path().join("golden")).unwrap();
    for entry in fs::read_dir(models.join("golden")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join("golden").join(entry.file_name())).unwrap();
    }
    let manifest = fs::read_to_string(models.join("person-v3s.toml")).unwrap();
    let (before, _) = manifest.split_once("[provenance]").unwrap();
    fs::write(folder.path().join("bare.toml"), before.replace("id = \"person-v3s\"", "id = \"bare\""))
        .unwrap();
    let tested = format!(
        "{}[provenance]\ntest_exported_balanced_accuracy = [0.9312, 0.91, 0.95]\n",
        before.replace("id = \"person-v3s\"", "id = \"tested\"")
    );
    fs::write(folder.path().join("tested.toml"), tested).unwrap();
    folder
}

#[test]
fn models_are_compared_by_accuracy_time_and_size() {
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    let output = portero(&["bench", "--models", path]);
    let shown = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line =
        |id: &str| shown.lines().find(|l| l.starts_with(id)).unwrap_or_else(|| panic!("{id}: {shown}"));
    assert!(line("tested").ends_with("93.1 % (91.0 to 95.0), balanced, test"), "{shown}");
    assert!(line("bare").ends_with("not recorded in the manifest"), "{shown}");
    assert!(line("bare").contains("224x224") && line("bare").contains(" 1.8 "), "{shown}");
}

#[test]
fn the_comparison_is_one_object_a_line() {
    let folder = folder();
    let output = portero(&["bench", "--json", "--models", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |id: &str| found.iter().find(|v| v["model"] == id).unwrap_or_else(|| panic!("{id}: {lines}"));
    assert_eq!(found.len(), 2, "{lines}");
    assert_eq!(of("bare")["accuracy"], Value::Null);
    assert_eq!(of("tested")["accuracy"]["interval"], serde_json::json!([0.91, 0.95]));
    assert!(
        of("tested")["cpu_ms"].as_f64().unwrap() > 0.0 && of("tested")["bytes"].as_u64().unwrap() > 1_000_000
    );
    assert!(found[0]["cpu_ms"].as_f64() <= found[1]["cpu_ms"].as_f64(), "quickest first: {lines}");
}

#[test]
fn a_folder_without_manifests_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = portero(&["bench", "--models", folder.path().to_str().unwrap()]);
    assert_ne!(output.status.code(), Some(0));
    let expected = format!("{}: no manifest (*.toml) there", folder.path().display());
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
}

#[test]
fn accuracy_is_measured_on_pictures_in_a_folder_for_each_label() {
    let models = folder();
    let pictures = tempfile::tempdir().unwrap();
    let golden = root().join("models/golden");
    // Two that are right, and one that is in the wrong folder.
    for (label, name, picture) in [
        ("person", "a.png", "street-person.png"),
        ("person", "b.png", "street-empty.png"),
        ("no_person", "c.png", "street-empty.png"),
    ] {
        fs::create_dir_all(pictures.path().join(label)).unwrap();
        fs::copy(golden.join(picture), pictures.path().join(label).join(name)).unwrap();
    }
    let (one, both) = (models.path().join("bare.toml"), models.path());
    let arguments = ["bench", "--json", "--pictures", pictures.path().to_str().unwrap(), "--models"];
    let named = [one.to_str().unwrap(), both.to_str().unwrap()];
    let output = portero(&[&arguments[..], &named].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = String::from_utf8(output.stdout).unwrap();
    let found: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(found.len(), 3, "one by its name and two of the folder: {lines}");
    for model in &found {
        let accuracy = &model["accuracy"];
        assert!((accuracy["value"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9, "{lines}");
        assert_eq!(accuracy["part"], "measured");
        let ends = [0, 1].map(|i| accuracy["interval"][i].as_f64().unwrap());
        assert!((0.15..0.25).contains(&ends[0]) && (0.9..0.95).contains(&ends[1]), "Wilson: {lines}");
    }
    fs::create_dir(pictures.path().join("cat")).unwrap();
    fs::copy(golden.join("street-empty.png"), pictures.path().join("cat/d.png")).unwrap();
    let output = portero(&[&arguments[..], &named[..1]].concat());
    assert!(stderr(&output).contains("has no label \"cat\""), "{}", stderr(&output));
}

#[test]
fn the_network_alone_is_measured_with_its_memory_and_all_cores() {
    let (model, clip) = (root().join("models/person-v3s.toml"), street());
    let output = portero(&[
        "bench",
        "--json",
        "--frames",
        "12",
        "--model",
        model.to_str().unwrap(),
        "--clip",
        clip.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let value = |key: &str| found["network"][key].as_f64().unwrap_or_else(|| panic!("{key}: {found}"));
    assert!(value("cpu_ms") > 0.0 && value("cpu_ms_of_eight") > 0.0 && value("load_cpu_ms") > 0.0, "{found}");
    assert!((0.2..10.0).contains(&value("memory_mb")), "{found}");
    let cores = std::thread::available_parallelism().unwrap().get() as u64;
    assert_eq!(found["network"]["workers"].as_u64(), Some(cores).filter(|cores| *cores > 1), "{found}");
}

#[test]
fn kernels_that_this_processor_has_not_are_refused_by_name() {
    let model = root().join("models/person-v3s.toml");
    let picture = root().join("models/golden/street-person.png");
    let classify = |kernels: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portero"));
        command.args(["classify", "--model", model.to_str().unwrap(), picture.to_str().unwrap()]);
        command.env("PORTERO_KERNELS", kernels).stdin(Stdio::null()).output().unwrap()
    };
    let answers = ["", "portable"].map(|kernels| {
        let output = classify(kernels);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        output.stdout
    });
    assert_eq!(answers[0], answers[1]);
    for wanted in ["avx-2", if cfg!(target_arch = "x86_64") { "dotprod" } else { "vnni" }] {
        let output = classify(wanted);
        assert_ne!(output.status.code(), Some(0));
        let expected = format!("PORTERO_KERNELS is \"{wanted}\"; on this processor it may be portable");
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    }
}
