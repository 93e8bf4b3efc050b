//! Running `portero-train` as its user does, on small sets of pictures that are drawn for the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};

/// The root of the whole repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The command, not yet run.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portero-train"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `portero-train` with these arguments, run to its end.
pub(crate) fn train(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as text.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it prints to standard error when it must fail with exit code 1.
pub(crate) fn refused(arguments: &[&str]) -> String {
    let output = train(arguments);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

/// Waits for a condition.
pub(crate) fn wait_until(what: &str, deadline: Duration, condition: impl Fn() -> bool) {
    let end = Instant::now() + deadline;
    while !condition() {
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The base, made of the shared weights; `None`, with a printed reason, where they are not there.
pub(crate) fn base(folder: &Path) -> Option<PathBuf> {
    let weights = root().join("../shared/models/mobilenet_v3_small.imagenet.safetensors");
    if !weights.exists() {
        println!("skipped: {} is not there", weights.display());
        return None;
    }
    let out = folder.join("base.safetensors");
    let (from, to) = (weights.to_str().unwrap(), out.to_str().unwrap());
    let output = train(&["base", "--from", from, "--padding", "tensorflow", "--out", to]);
    assert!(output.status.success(), "{}", stderr(&output));
    Some(out)
}

/// A folder with two classes of striped pictures, `lying` and `standing`.
pub(crate) struct Stripes(tempfile::TempDir);

impl Stripes {
    /// `count` pictures of each class, no two alike.
    pub(crate) fn new(count: u64) -> Self {
        let set = Self(tempfile::tempdir().unwrap());
        for number in 0..count {
            set.draw("lying", number);
            set.draw("standing", number);
        }
        set
    }

    /// Draws one picture of a class.
    pub(crate) fn draw(&self, class: &str, number: u64) -> PathBuf {
        let mut rng = fastrand::Rng::with_seed(number * 2 + u64::from(class == "lying"));
        let (period, phase, tint) = (rng.u32(4..9), rng.u32(0..9), rng.u8(0..80));
        let picture = RgbImage::from_fn(28, 28, |x, y| {
            let along = if class == "lying" { y } else { x };
            let light = if (along + phase) % period < period / 2 { 170 } else { 40 };
            Rgb([light + rng.u8(0..40), light + rng.u8(0..40), tint])
        });
        let path = self.path().join(class).join(format!("{class}-{number}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        picture.save(&path).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn data(&self) -> &str {
        self.path().to_str().unwrap()
    }
}

/// The arguments of a short training of LeNet-5, and more of them.
pub(crate) fn scratch<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments =
        vec!["scratch", data, "--out", out, "--arch", "lenet-5", "--threads", "1", "--batch", "16"];
    arguments.extend(more);
    arguments
}

/// The arguments of a short training that begins with `base`, and more of them.
pub(crate) fn based<'a>(
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

/// The tensors of a safetensors file: a length, a JSON header with offsets, the bytes.
pub(crate) fn tensors(path: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
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
