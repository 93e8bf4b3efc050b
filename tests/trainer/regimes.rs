//! Transfer and fine-tuning of the pretrained base that lies beside the repository.

use std::fs;
use std::path::Path;

use crate::support::{Stripes, base, refused, stderr, stdout, train};

fn arguments<'a>(
    regime: &'a str,
    set: &'a Stripes,
    base: &'a Path,
    out: &'a Path,
    more: &[&'a str],
) -> Vec<&'a str> {
    let (base, out) = (base.to_str().unwrap(), out.to_str().unwrap());
    let mut arguments =
        vec![regime, set.data(), "--base", base, "--out", out, "--batch", "16", "--threads", "1"];
    arguments.extend(more);
    arguments
}

fn seconds_per_epoch(run: &Path) -> f64 {
    let history: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("history.json")).unwrap()).unwrap();
    let epochs = history.as_array().unwrap();
    epochs.iter().map(|e| e["seconds"].as_f64().unwrap()).sum::<f64>() / epochs.len() as f64
}

#[test]
fn a_frozen_base_and_a_new_classifier_tell_stripes_apart() {
    let (set, runs) = (Stripes::new(24), tempfile::tempdir().unwrap());
    let Some(base) = base(runs.path()) else { return };
    let run = runs.path().join("transfer");
    let output = train(&arguments("transfer", &set, &base, &run, &["--epochs", "10", "--draws", "2"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let figures: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("evaluation.json")).unwrap()).unwrap();
    assert!(figures["accuracy"]["value"].as_f64().unwrap() > 0.8, "{}", stdout(&output));
    assert!(run.join("model.safetensors").exists());
    println!("an epoch on cached features took {:.3} s", seconds_per_epoch(&run));
}

#[test]
fn fine_tuning_moves_the_last_stages_and_nothing_before_them() {
    let (set, runs) = (Stripes::new(14), tempfile::tempdir().unwrap());
    let Some(base) = base(runs.path()) else { return };
    let run = runs.path().join("finetune");
    let more = ["--epochs", "1", "--unfreeze", "2", "--augment", "none"];
    let output = train(&arguments("finetune", &set, &base, &run, &more));
    assert!(output.status.success(), "{}", stderr(&output));
    let [before, after] = [&base, &run.join("model.safetensors")].map(|path| tensors(path));
    let moved: Vec<&String> =
        before.iter().filter(|(name, bytes)| after[*name] != **bytes).map(|(name, _)| name).collect();
    assert!(moved.iter().any(|name| name.starts_with("features.12.")), "{moved:?}");
    assert!(moved.iter().any(|name| name.starts_with("features.11.")), "{moved:?}");
    let allowed = ["features.11.", "features.12.", "classifier."];
    assert!(moved.iter().all(|name| allowed.iter().any(|prefix| name.starts_with(prefix))), "{moved:?}");
    assert!(
        !moved.iter().any(|name| name.ends_with("running_mean") || name.ends_with("running_var")),
        "{moved:?}"
    );
}

#[test]
fn a_base_with_other_labels_is_not_taken_over_in_silence() {
    let (set, runs) = (Stripes::new(14), tempfile::tempdir().unwrap());
    let Some(base) = base(runs.path()) else { return };
    let first = runs.path().join("first");
    let output = train(&arguments("transfer", &set, &base, &first, &["--epochs", "1", "--draws", "1"]));
    assert!(output.status.success(), "{}", stderr(&output));
    fs::rename(set.path().join("lying"), set.path().join("fallen")).unwrap();
    let trained = first.join("model.safetensors");
    let second = runs.path().join("second");
    let more = ["--epochs", "1", "--draws", "1"];
    let text = refused(&arguments("transfer", &set, &trained, &second, &more));
    assert!(
        text.contains("its labels are lying, standing, and those of the data fallen, standing"),
        "{text}"
    );
    let output =
        train(&arguments("transfer", &set, &trained, &second, &[&more[..], &["--new-head"]].concat()));
    assert!(output.status.success(), "{}", stderr(&output));
}

/// The tensors of a safetensors file: a length, a JSON header with offsets, the bytes.
fn tensors(path: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let entries = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    entries
        .map(|(name, entry)| {
            let at = |i: usize| 8 + length + entry["data_offsets"][i].as_u64().unwrap() as usize;
            (name.clone(), bytes[at(0)..at(1)].to_vec())
        })
        .collect()
}
