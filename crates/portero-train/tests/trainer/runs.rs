//! Runs: learning, repeating, interrupting, and what happens when the numbers or the disk give out.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Stripes, command, refused, scratch, stderr, stdout, train, wait_until};

fn history(run: &Path) -> Vec<serde_json::Value> {
    serde_json::from_slice(&fs::read(run.join("history.json")).unwrap()).unwrap()
}

#[test]
fn stripes_are_learned_and_reported() {
    let (set, runs) = (Stripes::new(60), tempfile::tempdir().unwrap());
    let run = runs.path().join("run");
    let more = [
        "--epochs",
        "25",
        "--lr",
        "3e-3",
        "--augment",
        "none",
        "--ema",
        "0.9",
        "--balance",
        "sampling",
        "--smoothing",
        "0.05",
    ];
    let output = train(&scratch(set.data(), run.to_str().unwrap(), &more));
    assert!(output.status.success(), "{}", stderr(&output));

    let figures: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("evaluation.json")).unwrap()).unwrap();
    assert_eq!((&figures["part"], &figures["pictures"]), (&"test".into(), &18.into()));
    assert!(figures["balanced_accuracy"]["value"].as_f64().unwrap() > 0.9, "{}", stdout(&output));
    assert!(figures["accuracy"]["low"].as_f64().unwrap() < 0.9, "18 pictures do not prove 90 %");
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("data:image/svg+xml;base64,"));
    for outside in ["src=\"http", "href=\"http", "<link", "<script", "url(http"] {
        assert!(!page.contains(outside), "the page reaches outside: {outside}");
    }
    let again = train(&["evaluate", run.to_str().unwrap()]);
    assert_eq!(stdout(&again), stdout(&output));
}

#[test]
fn errors_come_first_in_the_report_and_the_surest_before_the_others() {
    let (set, runs) = (Stripes::new(40), tempfile::tempdir().unwrap());
    // Lies in the data: the network cannot get these right.
    for number in 100..120 {
        let path = set.draw("lying", number);
        fs::rename(&path, set.path().join("standing").join(path.file_name().unwrap())).unwrap();
    }
    let run = runs.path().join("run");
    let output = train(&scratch(set.data(), run.to_str().unwrap(), &["--epochs", "8", "--lr", "3e-3"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let figures: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("evaluation.json")).unwrap()).unwrap();
    let predictions = figures["predictions"].as_array().unwrap();
    let wrong: Vec<bool> = predictions.iter().map(|p| p["truth"] != p["answer"]).collect();
    let errors = wrong.iter().filter(|w| **w).count();
    assert!(errors > 0 && wrong[..errors].iter().all(|w| *w), "{wrong:?}");
    let sure: Vec<f64> = predictions[..errors].iter().map(|p| p["probability"].as_f64().unwrap()).collect();
    assert!(sure.is_sorted_by(|a, b| a >= b), "{sure:?}");
}

#[test]
fn an_interrupted_run_that_is_resumed_ends_with_the_same_weights() {
    let (set, runs) = (Stripes::new(120), tempfile::tempdir().unwrap());
    let [whole, parts] = ["whole", "parts"].map(|name| runs.path().join(name));
    let more = [
        "--epochs",
        "30",
        "--augment",
        "surveillance",
        "--ema",
        "0.99",
        "--optimizer",
        "adamw",
        "--weight-decay",
        "0.01",
    ];
    let output = train(&scratch(set.data(), whole.to_str().unwrap(), &more));
    assert!(output.status.success(), "{}", stderr(&output));

    let arguments = scratch(set.data(), parts.to_str().unwrap(), &more);
    let mut child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("two epochs", Duration::from_secs(120), || {
        parts.join("history.json").exists() && history(&parts).len() >= 2
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(history(&parts).len() < 30, "it was interrupted too late to prove anything");

    let again = train(&arguments);
    assert!(stderr(&again).contains("holds a run already; --resume continues it"), "{}", stderr(&again));
    let other = refused(&[&arguments[..], &["--resume", "--seed", "7"]].concat());
    assert!(other.contains("began with reading.seed = 1, not 7"), "{other}");

    let resumed = train(&[&arguments[..], &["--resume"]].concat());
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let weights = |run: &Path| fs::read(run.join("best.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&parts), "the weights differ");
    let losses = |run| history(run).iter().map(|e| e["train_loss"].clone()).collect::<Vec<_>>();
    assert_eq!(losses(&whole), losses(&parts));
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_the_last_checkpoint_stays() {
    let (set, runs) = (Stripes::new(40), tempfile::tempdir().unwrap());
    let run = runs.path().join("run");
    let out = run.to_str().unwrap();
    let text = refused(&scratch(set.data(), out, &["--epochs", "2", "--lr", "1e38"]));
    assert!(text.contains("at epoch 1, step") && text.contains("no epoch was completed"), "{text}");

    // A run that was well until its second epoch: its learning rate is spoilt between the two.
    fs::remove_dir_all(&run).unwrap();
    let more = ["--epochs", "500", "--warmup", "0"];
    let mut child = command(&scratch(set.data(), out, &more)).stderr(Stdio::null()).spawn().unwrap();
    wait_until("an epoch", Duration::from_secs(120), || run.join("last.safetensors").exists());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let settings = fs::read_to_string(run.join("run.json")).unwrap();
    assert!(settings.contains("\"lr\": 0.001"), "{settings}");
    fs::write(run.join("run.json"), settings.replace("\"lr\": 0.001", "\"lr\": 1e38")).unwrap();
    let before = fs::read(run.join("last.safetensors")).unwrap();
    let text = refused(&scratch(set.data(), out, &[&more[..], &["--lr", "1e38", "--resume"]].concat()));
    assert!(text.contains("the loss is") && text.contains("holds the state after epoch"), "{text}");
    assert!(fs::read(run.join("last.safetensors")).unwrap() == before, "the good checkpoint was overwritten");
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_usable() {
    let (set, runs) = (Stripes::new(30), tempfile::tempdir().unwrap());
    let disk = runs.path().join("disk");
    fs::create_dir(&disk).unwrap();
    // LeNet-5 has 0.25 MB of weights and 0.75 MB in a checkpoint: the second checkpoint does not fit beside the first.
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1500k", "trainer-test"])
        .arg(&disk)
        .output()
        .unwrap();
    if !mount.status.success() {
        println!("skipped: no tmpfs can be mounted: {}", String::from_utf8_lossy(&mount.stderr).trim());
        return;
    }
    let (small, large) = (disk.join("run"), runs.path().join("run"));
    let more = ["--epochs", "4"];
    let output = train(&scratch(set.data(), small.to_str().unwrap(), &more));
    let copied = Command::new("cp").arg("-r").args([&small, &large]).status().unwrap();
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());

    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("cannot save") && text.contains("is intact") && text.contains("No space left"),
        "{text}"
    );
    assert!(copied.success());
    assert!(
        fs::read_dir(&large).unwrap().all(|f| f.unwrap().path().extension().is_none_or(|e| e != "partial"))
    );
    let resumed = train(&scratch(set.data(), large.to_str().unwrap(), &[&more[..], &["--resume"]].concat()));
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert_eq!(history(&large).len(), 4);
}

#[test]
fn evaluation_refuses_other_data_and_other_weights() {
    let (set, runs) = (Stripes::new(20), tempfile::tempdir().unwrap());
    let run = runs.path().join("run");
    let output = train(&scratch(set.data(), run.to_str().unwrap(), &["--epochs", "1"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = refused(&["evaluate", run.to_str().unwrap(), "--data", Stripes::new(21).data()]);
    assert!(text.contains("is not the data that the run was trained on"), "{text}");

    let settings = fs::read_to_string(run.join("run.json")).unwrap();
    fs::write(run.join("run.json"), settings.replace("\"small\": \"lenet-5\"", "\"small\": \"simple-cnn\""))
        .unwrap();
    let text = refused(&["evaluate", run.to_str().unwrap()]);
    assert!(text.contains("conv1.bias is [6] there, [32] here") && text.contains("and 5 more"), "{text}");
}
