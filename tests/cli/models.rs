//! `portero bench --models`: the models of a folder side by side.

use std::fs;

use serde_json::Value;

use crate::support::daemon::{portero, root, stderr};

/// A folder with the shipped model twice: as it is, and with an accuracy in its provenance.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let models = root().join("models");
    fs::copy(models.join("person-v3s.onnx"), folder.path().join("person-v3s.onnx")).unwrap();
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
