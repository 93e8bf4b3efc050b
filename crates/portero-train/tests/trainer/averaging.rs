//! Fine-tuned weights drawn back towards what they were fine-tuned from.

use std::fs;
use std::path::Path;

use crate::support::{Stripes, base, based, refused, stderr, stdout, tensors, train};

/// The 32-bit floats of a tensor's bytes.
fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn a_run_is_averaged_with_its_base_evaluated_and_exported() {
    let (set, runs) = (Stripes::new(24), tempfile::tempdir().unwrap());
    let Some(pretrained) = base(runs.path()) else { return };
    let [first, second, mean] = ["first", "second", "mean"].map(|name| runs.path().join(name));
    let output = train(&based("transfer", &set, &pretrained, &first, &["--epochs", "4", "--draws", "1"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let begun = first.join("model.safetensors");
    let more = ["--epochs", "1", "--unfreeze", "2", "--augment", "none"];
    let output = train(&based("finetune", &set, &begun, &second, &more));
    assert!(output.status.success(), "{}", stderr(&output));

    let average = |more: &[&str]| -> Vec<String> {
        let begin = ["average", second.to_str().unwrap(), "--out", mean.to_str().unwrap()];
        [&begin[..], more].concat().into_iter().map(str::to_owned).collect()
    };
    let line = average(&["--share", "0.25"]);
    let output = train(&line.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("accuracy"), "{}", stdout(&output));
    let read = |path: &Path| tensors(path);
    let [before, after] = [&begun, &second.join("model.safetensors")].map(|path| read(path));
    let drawn = read(&mean.join("model.safetensors"));
    let mut moved = 0;
    for (name, bytes) in &drawn {
        let [a, b] = [&before, &after].map(|tensors| floats(&tensors[name]));
        for ((a, b), got) in a.iter().zip(&b).zip(floats(bytes)) {
            let wanted = 0.75 * a + 0.25 * b;
            assert!((got - wanted).abs() <= 1e-6 * (1.0 + wanted.abs()), "{name}: {got}, not {wanted}");
            moved += usize::from(a != b);
        }
    }
    assert!(moved > 1000, "fine-tuning moved {moved} weights");

    let out = runs.path().join("models");
    let export = ["export", mean.to_str().unwrap(), "--out", out.to_str().unwrap(), "--id", "mean"];
    let output = train(&[&export[..], &["--accept-loss"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let manifest = fs::read_to_string(out.join("mean.toml")).unwrap();
    assert!(manifest.contains("the mean of the weights of") && manifest.contains("0.25"), "{manifest}");

    let line = average(&["--share", "1"]);
    let output = train(&line.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));
    let again = average(&[]);
    let text = refused(&again.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(text.contains("holds a run already"), "{text}");
}

#[test]
fn what_cannot_be_averaged_is_refused_with_the_reason() {
    let (set, runs) = (Stripes::new(14), tempfile::tempdir().unwrap());
    let Some(pretrained) = base(runs.path()) else { return };
    let [first, second, out] = ["first", "second", "out"].map(|name| runs.path().join(name));
    let output = train(&based("transfer", &set, &pretrained, &first, &["--epochs", "1", "--draws", "1"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let refusal = |run: &Path, more: &[&str]| {
        let begin = ["average", run.to_str().unwrap(), "--out", out.to_str().unwrap()];
        refused(&[&begin[..], more].concat())
    };
    assert!(refusal(&first, &[]).contains("no run of `finetune`"));
    let more = ["--epochs", "1", "--unfreeze", "1", "--augment", "none", "--head", "random"];
    let output = train(&based("finetune", &set, &pretrained, &second, &more));
    assert!(output.status.success(), "{}", stderr(&output));
    let text = refusal(&second, &[]);
    assert!(text.contains("are not recorded, those of"), "{text}");
    let other = first.join("model.safetensors");
    let text = refusal(&second, &["--base", other.to_str().unwrap()]);
    assert!(text.contains("is not what") && text.contains("SHA-256"), "{text}");
    assert!(!out.exists(), "nothing is begun that is refused");
}
