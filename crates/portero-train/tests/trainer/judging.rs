//! What is said of trained networks: what they reject, and which of two is better.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::support::{Stripes, base, refused, root, scratch, stderr, stdout, train};

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Stripes, and a class `blank` of pictures without any.
fn with_blanks(count: u64, blanks: u64) -> Stripes {
    let set = Stripes::new(count);
    fs::create_dir(set.path().join("blank")).unwrap();
    for number in 0..blanks {
        let mut rng = fastrand::Rng::with_seed(1000 + number);
        let light = rng.u8(30..160);
        let picture = RgbImage::from_fn(28, 28, |_, _| Rgb([0; 3].map(|_| light + rng.u8(0..60))));
        picture.save(set.path().join(format!("blank/blank-{number}.png"))).unwrap();
    }
    set
}

#[test]
fn a_held_out_class_is_never_trained_on_and_chooses_the_threshold() {
    let (set, runs) = (with_blanks(60, 40), tempfile::tempdir().unwrap());
    let run = runs.path().join("run");
    let more = ["--epochs", "12", "--lr", "3e-3", "--augment", "none", "--hold-out", "blank"];
    let output = train(&scratch(set.data(), run.to_str().unwrap(), &more));
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("5.0 % of the pictures of held-out classes pass"),
        "{}",
        stdout(&output)
    );

    let table = fs::read_to_string(run.join("split.csv")).unwrap();
    let blanks: Vec<&str> = table.lines().filter(|line| line.contains("\"blank\"")).collect();
    let of = |part: &str| blanks.iter().filter(|line| line.ends_with(part)).count();
    assert_eq!((of("train"), of("val"), of("test")), (0, 20, 20));
    assert_eq!(json(&run.join("run.json"))["classes"], serde_json::json!(["lying", "standing"]));

    // What val allows on its own 20 blanks is a promise only for them; the ends of the scale hold everywhere.
    let unknown = |far: &str| {
        let output = train(&["evaluate", run.to_str().unwrap(), "--far", far]);
        assert!(output.status.success(), "{}", stderr(&output));
        let rejection = json(&run.join("evaluation.json"))["rejection"].clone();
        assert_eq!((&rejection["held_out"][0], &rejection["unknown"]), (&"blank".into(), &20.into()));
        let value = |path: &str| rejection.pointer(path).and_then(Value::as_f64).unwrap();
        (value("/threshold/value"), value("/unknown_accepted/value"), value("/known_accepted/value"))
    };
    let [strict, usual, open] = ["0", "0.05", "1"].map(unknown);
    assert!(strict.0 >= usual.0 && usual.0 > open.0, "{strict:?} {usual:?} {open:?}");
    assert!(strict.1 <= usual.1 && strict.2 <= usual.2, "{strict:?} {usual:?}");
    assert_eq!((open.0, open.1, open.2), (0.0, 1.0, 1.0));
    assert!(usual.1 <= 0.3 && usual.2 > 0.5, "stripes are told from blanks: {usual:?}");
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("unknown that pass") && page.contains("Of held-out classes"));
}

#[test]
fn classes_that_cannot_be_held_out_are_named() {
    let (set, runs) = (with_blanks(12, 1), tempfile::tempdir().unwrap());
    let run = runs.path().join("run");
    let refusal =
        |classes: &str| refused(&scratch(set.data(), run.to_str().unwrap(), &["--hold-out", classes]));
    let text = refusal("wasps");
    assert!(text.contains("wasps is none of the classes blank, lying, standing"), "{text}");
    let text = refusal("blank,lying");
    assert!(text.contains("would leave fewer than two classes"), "{text}");
    let text = refusal("blank");
    assert!(text.contains("\"blank\" has 1 pictures") && text.contains("would get none"), "{text}");
    let folder = run.to_str().unwrap();
    let output = train(&scratch(set.data(), folder, &["--hold-out", "blank", "--far", "1.5"]));
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
}

#[test]
fn two_runs_are_compared_on_what_neither_was_fitted_to() {
    let (set, runs) = (Stripes::new(60), tempfile::tempdir().unwrap());
    let folder = |name: &str| runs.path().join(name).to_str().unwrap().to_owned();
    let fit = |name: &str, more: &[&str]| {
        let output = train(&scratch(set.data(), &folder(name), more));
        assert!(output.status.success(), "{}", stderr(&output));
        folder(name)
    };
    let hardly = fit("hardly", &["--epochs", "1", "--lr", "1e-6"]);
    let well = fit("well", &["--epochs", "25", "--lr", "3e-3", "--augment", "none"]);
    let page = runs.path().join("page.html");
    let arguments = ["compare", &hardly, &well, "--data", set.data()];
    let output = train(&[&arguments[..], &["--json", "--html", page.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["paired"]["pictures"], 18, "the test part alone");
    let accuracy = |side: usize| found["accuracies"][side]["value"].as_f64().unwrap();
    assert!(accuracy(0) < 0.75 && accuracy(1) > 0.85, "{found}");
    assert!(found["paired"]["p"].as_f64().unwrap() < 0.1);
    let differing = found["differing"].as_array().unwrap();
    assert_eq!(differing.len() as u64, found["paired"]["changed"].as_u64().unwrap());
    assert!(differing[0]["name"].as_str().unwrap().ends_with(".png"));
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("Where they differ") && html.contains("data:image/svg+xml;base64,"));
    let text = stdout(&train(&arguments));
    assert!(text.contains("McNemar's exact test, p = ") && text.contains("only the second"), "{text}");

    let other = fit("other", &["--epochs", "1", "--seed", "2"]);
    let output = train(&["compare", &well, &other, "--data", set.data(), "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let common = found["paired"]["pictures"].as_u64().unwrap();
    assert!((1..18).contains(&common), "{common} pictures are in both test parts");

    let elsewhere = Stripes::new(5);
    let output = train(&["compare", &well, &other, "--data", elsewhere.data()]);
    assert!(stdout(&output).contains("all pictures; whether"), "{}", stdout(&output));
    fs::rename(elsewhere.path().join("lying"), elsewhere.path().join("fallen")).unwrap();
    let text = refused(&["compare", &well, &other, "--data", elsewhere.data()]);
    assert!(text.contains("does not know the class \"fallen\"; it knows lying, standing"), "{text}");
    let text = refused(&["compare", &well, "/nowhere/x.onnx", "--data", set.data()]);
    assert!(text.contains("neither the folder of a run nor an exported model"), "{text}");
}

#[test]
fn threshold_and_temperature_go_into_the_manifest_and_the_export_compares_to_its_run() {
    let (set, runs) = (with_blanks(16, 16), tempfile::tempdir().unwrap());
    let Some(base) = base(runs.path()) else { return };
    let path = |name: &str| runs.path().join(name).to_str().unwrap().to_owned();
    let run = path("run");
    let base = base.to_str().unwrap();
    let output = train(&[
        "transfer",
        set.data(),
        "--base",
        base,
        "--out",
        &run,
        "--epochs",
        "20",
        "--draws",
        "1",
        "--batch",
        "16",
        "--hold-out",
        "blank",
        "--far",
        "0.1",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = train(&["export", &run, "--out", &path("models"), "--id", "stripes"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let figures = json(&Path::new(&run).join("evaluation.json"));
    let manifest = runs.path().join("models/stripes.toml");
    let model = portero_infer::Model::load(&manifest).unwrap();
    let number = |path: &str| figures.pointer(path).and_then(Value::as_f64).unwrap() as f32;
    assert_eq!(model.manifest().reject_below.get(), number("/rejection/threshold/value"));
    assert!((model.manifest().temperature - number("/temperature")).abs() < 1e-5);
    assert_eq!(model.manifest().labels.len(), 2, "the held-out class is no label");
    let text = fs::read_to_string(&manifest).unwrap();
    for key in ["held_out = [\"blank\"]", "test_unknown_accepted = [", "test_known_accepted = ["] {
        assert!(text.contains(key), "{key} is missing in\n{text}");
    }
    let card = fs::read_to_string(runs.path().join("models/stripes.md")).unwrap();
    assert!(card.contains("blank (held out)") && card.contains("pictures of classes it never met"), "{card}");

    let onnx = path("models/stripes.onnx");
    let output = train(&["compare", &run, &onnx, "--data", set.data(), "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["paired"]["pictures"], figures["pictures"], "only what neither was fitted to");
    assert!(found["paired"]["changed"].as_u64().unwrap() <= 1, "{found}");
}

#[test]
fn weights_of_another_network_are_no_base_and_the_first_tensors_are_named() {
    let weights = root().join("../shared/models/mobilenet_v3_small.imagenet.safetensors");
    if !weights.exists() {
        println!("skipped: {} is not there", weights.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("base.safetensors");
    let (from, out_text) = (weights.to_str().unwrap(), out.to_str().unwrap());
    let text = refused(&["base", "--from", from, "--arch", "resnet50", "--out", out_text]);
    assert!(text.contains("does not hold the weights of resnet50: bn1.bias is missing"), "{text}");
    assert!(text.contains("more; it looks like mobilenet-v3-small"), "{text}");
    assert!(!out.exists(), "nothing is written");
}
