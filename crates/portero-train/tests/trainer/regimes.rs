//! Transfer and fine-tuning of the pretrained base that lies beside the repository.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    Stripes, base, based as arguments, command, refused, stderr, stdout, tensors, train, wait_until,
};

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
    assert!(moved.iter().any(|name| name.starts_with("classifier.0.")), "{moved:?}");
    let allowed = ["features.11.", "features.12.", "classifier."];
    assert!(moved.iter().all(|name| allowed.iter().any(|prefix| name.starts_with(prefix))), "{moved:?}");
    assert!(
        !moved.iter().any(|name| name.ends_with("running_mean") || name.ends_with("running_var")),
        "{moved:?}"
    );
}

#[test]
fn fine_tuning_begins_with_a_last_layer_that_fits_the_frozen_features() {
    let (set, runs) = (Stripes::new(24), tempfile::tempdir().unwrap());
    let Some(base) = base(runs.path()) else { return };
    let accuracy = |name: &str, more: &[&str]| {
        let run = runs.path().join(name);
        // Nothing is moved by so small a rate: what is evaluated is what fine-tuning begins with.
        let still = ["--epochs", "1", "--unfreeze", "1", "--augment", "none", "--lr", "1e-9"];
        let output = train(&arguments("finetune", &set, &base, &run, &[&still[..], more].concat()));
        assert!(output.status.success(), "{}", stderr(&output));
        let figures: serde_json::Value =
            serde_json::from_slice(&fs::read(run.join("evaluation.json")).unwrap()).unwrap();
        (figures["accuracy"]["value"].as_f64().unwrap(), stderr(&output))
    };
    let (fitted, text) = accuracy("fitted", &[]);
    assert!(fitted > 0.8 && text.contains("the last layer is fitted: val accuracy"), "{fitted}: {text}");
    let (random, text) = accuracy("random", &["--head", "random"]);
    assert!(random < fitted && !text.contains("the last layer is fitted"), "{random}: {text}");
}

#[test]
fn a_fine_tune_goes_on_from_wherever_it_was_interrupted_with_the_same_weights() {
    let (set, runs) = (Stripes::new(24), tempfile::tempdir().unwrap());
    let Some(base) = base(runs.path()) else { return };
    let [whole, parts] = ["whole", "parts"].map(|name| runs.path().join(name));
    let more = [
        "--epochs",
        "4",
        "--unfreeze",
        "1",
        "--augment",
        "light",
        "--ema",
        "0.9",
        "--keep",
        "last",
        "--refit",
    ];
    let output = train(&arguments("finetune", &set, &base, &whole, &more));
    assert!(output.status.success(), "{}", stderr(&output));

    // In the fit of the last layer, in the first epochs, in the fit to train and val.
    for (round, reached) in
        ["head/last.safetensors", "last.safetensors", "refit/last.safetensors"].iter().enumerate()
    {
        let mut arguments = arguments("finetune", &set, &base, &parts, &more);
        arguments.extend((round > 0).then_some("--resume"));
        let mut child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until(reached, Duration::from_secs(240), || parts.join(reached).exists());
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{reached}");
    }
    let output = train(&arguments("finetune", &set, &base, &parts, &[&more[..], &["--resume"]].concat()));
    assert!(output.status.success(), "{}", stderr(&output));
    for name in ["best.safetensors", "refit/best.safetensors"] {
        assert!(tensors(&whole.join(name)) == tensors(&parts.join(name)), "{name} differs");
    }
}

#[test]
fn what_val_has_chosen_is_fitted_once_more_with_val() {
    let (set, runs) = (Stripes::new(24), tempfile::tempdir().unwrap());
    let Some(base) = base(runs.path()) else { return };
    let fit = |name: &str, more: &[&str]| {
        let run = runs.path().join(name);
        let short = ["--epochs", "6", "--draws", "1"];
        let output = train(&arguments("transfer", &set, &base, &run, &[&short[..], more].concat()));
        assert!(output.status.success(), "{}", stderr(&output));
        let figures: serde_json::Value =
            serde_json::from_slice(&fs::read(run.join("evaluation.json")).unwrap()).unwrap();
        (run, figures)
    };
    let ((once, first), (twice, second)) = (fit("once", &[]), fit("twice", &["--refit"]));
    let head = |path: &Path| tensors(path)["classifier.3.weight"].clone();
    let kept = head(&twice.join("refit/best.safetensors"));
    assert!(kept != head(&twice.join("best.safetensors")), "val was not fitted to");
    assert!(kept == head(&twice.join("model.safetensors")), "the export takes other weights");
    let epochs: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(once.join("history.json")).unwrap()).unwrap();
    assert!(
        !epochs.is_empty() && !twice.join("refit/history.json").exists(),
        "val says nothing of what it was fitted to"
    );
    let [a, b] = [&first, &second].map(|figures| figures["temperature"].as_f64().unwrap());
    assert!((a - b).abs() < 0.01, "val chooses while it is untouched: {a}, {b}");
    assert_ne!(first["loss"], second["loss"], "test is asked of the weights that are kept");

    let more = ["--refit", "--split", "80,20,0"];
    let text = refused(&arguments("transfer", &set, &base, &runs.path().join("none"), &more));
    assert!(text.contains("--refit needs a test part"), "{text}");
}

#[test]
fn norms_with_new_statistics_are_fitted_and_evaluated_with_them() {
    let (set, runs) = (Stripes::new(24), tempfile::tempdir().unwrap());
    let Some(base) = base(runs.path()) else { return };
    let run = runs.path().join("finetune");
    let more = ["--epochs", "4", "--unfreeze", "2", "--augment", "none", "--batch-norm", "reestimate"];
    let output = train(&arguments("finetune", &set, &base, &run, &more));
    assert!(output.status.success(), "{}", stderr(&output));
    let [before, after] = [&base, &run.join("model.safetensors")].map(|path| tensors(path));
    let moved = |name: &str| before[name] != after[name];
    assert!(moved("features.12.1.running_mean") && moved("features.11.block.0.1.running_var"));
    assert!(!moved("features.10.block.0.1.running_mean"), "what is frozen keeps its statistics");
    let figures: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("evaluation.json")).unwrap()).unwrap();
    assert!(figures["accuracy"]["value"].as_f64().unwrap() > 0.7, "{}", stdout(&output));
}

#[test]
fn a_resnet_is_pretrained_and_its_features_serve_another_classifier() {
    let (set, runs) = (Stripes::new(14), tempfile::tempdir().unwrap());
    let (first, second) = (runs.path().join("first"), runs.path().join("second"));
    let more = ["--arch", "resnet50", "--side", "32", "--epochs", "2", "--batch", "16", "--augment", "none"];
    let begin = ["scratch", set.data(), "--out", first.to_str().unwrap()];
    let output = train(&[&begin[..], &more].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let base = first.join("model.safetensors");
    let transfer = |more: &[&str]| train(&arguments("transfer", &set, &base, &second, more));
    let output = transfer(&["--epochs", "3", "--draws", "1", "--new-head"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let [before, after] = [&base, &second.join("model.safetensors")].map(|path| tensors(path));
    let moved = before.iter().filter(|(name, bytes)| after[*name] != **bytes).map(|(name, _)| name.as_str());
    assert_eq!(moved.collect::<Vec<_>>(), ["fc.bias", "fc.weight"], "only the last layer is another");
}

#[test]
fn weights_that_torchvision_wrote_become_a_base_for_transfer() {
    let (set, runs) = (Stripes::new(7), tempfile::tempdir().unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trainer/torchvision_logits.py");
    let python =
        Command::new("/usr/bin/python3").arg(script).arg("resnet50").arg(runs.path()).output().unwrap();
    assert!(
        python.status.success(),
        "torchvision is needed by the trainer's tests: apt-get install python3-torch python3-torchvision\n{}",
        stderr(&python)
    );
    let [weights, base, run] =
        ["weights.safetensors", "base.safetensors", "run"].map(|name| runs.path().join(name));
    let [from, to] = [&weights, &base].map(|path| path.to_str().unwrap());
    let output = train(&["base", "--from", from, "--out", to]);
    assert!(stdout(&output).contains("resnet50, 267 tensors"), "{}{}", stdout(&output), stderr(&output));
    let output = train(&arguments("transfer", &set, &base, &run, &["--epochs", "1", "--draws", "1"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let [before, after] = [&weights, &run.join("model.safetensors")].map(|path| tensors(path));
    assert!(before["layer4.2.conv3.weight"] == after["layer4.2.conv3.weight"], "the base is torchvision's");
}

#[test]
fn a_smaller_input_and_fewer_channels_are_trained_exported_and_run() {
    let (set, runs) = (Stripes::new(14), tempfile::tempdir().unwrap());
    let Some(wide) = base(runs.path()) else { return };
    let base = runs.path().join("narrow.safetensors");
    let [from, to] = [&wide, &base].map(|path| path.to_str().unwrap());
    let output = train(&["base", "--from", from, "--padding", "tensorflow", "--width", "0.75", "--out", to]);
    assert!(output.status.success(), "{}", stderr(&output));
    let run = runs.path().join("small");
    let more = ["--epochs", "1", "--draws", "1", "--size", "96"];
    let output = train(&arguments("transfer", &set, &base, &run, &more));
    assert!(output.status.success(), "{}", stderr(&output));
    let out = runs.path().join("models");
    // The golden pictures of the export are answered by the daemon's own code.
    let (run, out) = (run.to_str().unwrap(), out.to_str().unwrap());
    let output = train(&["export", run, "--out", out, "--id", "small", "--form", "bytes", "--accept-loss"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let manifest = fs::read_to_string(Path::new(out).join("small.toml")).unwrap();
    assert!(manifest.contains("width = 96") && manifest.contains("height = 96"), "{manifest}");
    assert!(manifest.contains("mobilenet-v3-small-0.75") && manifest.contains("pruned = "), "{manifest}");
    let file = fs::metadata(Path::new(out).join("small.onnx")).unwrap().len();
    assert!(file < 1_200_000, "{file} bytes: three quarters of the channels are about 0.56 of the weights");
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
