//! `portero bench --models`: models side by side.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use portero::capture::is_picture_name;
use portero::daemon::read_picture;
use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Stamp};
use portero::infer::{Accuracy, Classifier, DetectorManifest, Manifest, Model, Preprocessor, Worker};
use serde_json::json;

use super::{median, thread_cpu_ms};

/// Inferences of each model that are measured.
const RUNS: usize = 200;

/// A model and what it costs.
struct Candidate {
    manifest: Manifest,
    /// Median CPU of one inference without preprocessing, in milliseconds.
    inference: f64,
    /// CPU of loading, in milliseconds.
    load: f64,
    /// Size of the model file in bytes.
    bytes: u64,
    /// How it runs: in integers, in floats, or with tract.
    numbers: &'static str,
    /// Measured on the pictures that were given, else what its manifest says.
    accuracy: Option<Accuracy>,
}

/// A picture and the label that is right for it.
type Labelled = (Frame, String);

/// Measures the models whose manifests are named, or lie in folders that are, and prints them, quickest first.
pub(super) fn run(paths: &[PathBuf], pictures: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    let pictures = pictures.map(labelled).transpose()?;
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() { found.append(&mut manifests(path)?) } else { found.push(path.clone()) }
    }
    let mut candidates =
        found.iter().map(|m| measure(m, pictures.as_deref())).collect::<anyhow::Result<Vec<_>>>()?;
    candidates.sort_by(|a, b| a.inference.total_cmp(&b.inference));
    let out = &mut io::stdout().lock();
    for candidate in candidates.iter().filter(|_| json) {
        print_json(out, candidate)?;
    }
    if !json {
        print(out, pictures.as_deref().map(<[_]>::len), &candidates)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn manifests(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    // A detector may lie beside the classifiers; it answers another question.
    found.retain(|path| {
        path.extension().is_some_and(|e| e == "toml") && DetectorManifest::load(path).is_err()
    });
    found.sort();
    ensure!(!found.is_empty(), "{}: no manifest (*.toml) there", folder.display());
    Ok(found)
}

/// The pictures of a folder that has one folder for each label.
fn labelled(folder: &Path) -> anyhow::Result<Vec<Labelled>> {
    let entries = |folder: &Path| -> anyhow::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut found = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        found.sort();
        Ok(found)
    };
    let mut pictures = Vec::new();
    for class in entries(folder)?.iter().filter(|path| path.is_dir()) {
        let label = class.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for path in entries(class)?.iter().filter(|path| is_picture_name(path)) {
            pictures.push((read_picture(path).map_err(anyhow::Error::from_boxed)?, label.clone()));
        }
    }
    ensure!(!pictures.is_empty(), "{}: no folders with pictures there", folder.display());
    Ok(pictures)
}

/// How often the label that a model finds most probable is the right one, with a 95 % interval (Wilson 1927).
fn accuracy(worker: &mut Worker, manifest: &Manifest, pictures: &[Labelled]) -> anyhow::Result<Accuracy> {
    let mut right = 0.0;
    for (frame, label) in pictures {
        let known = manifest.labels.iter().any(|l| l.as_str() == label);
        ensure!(known, "{} has no label \"{label}\" as there are folders for", manifest.id.as_str());
        let (top, _) = worker.classify(frame, NormRect::FULL)?;
        right += f64::from(u8::from(top.first().is_some_and(|(l, _)| l.as_str() == label)));
    }
    let (n, z) = (pictures.len() as f64, 1.96);
    let value = right / n;
    let centre = (value + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let reach = z / (1.0 + z * z / n) * (value * (1.0 - value) / n + z * z / (4.0 * n * n)).sqrt();
    let interval = Some(((centre - reach).max(0.0), (centre + reach).min(1.0)));
    Ok(Accuracy { part: "measured", balanced: false, value, interval })
}

fn measure(path: &Path, pictures: Option<&[Labelled]>) -> anyhow::Result<Candidate> {
    let begun = thread_cpu_ms();
    let model = Arc::new(Model::load(path)?);
    let load = thread_cpu_ms() - begun;
    let manifest = model.manifest().clone();
    // Any picture will do: an inference takes as long whatever it shows.
    let frame = match manifest.golden.first() {
        Some(golden) => read_picture(&golden.image).map_err(anyhow::Error::from_boxed)?,
        None => grey(manifest.input.width, manifest.input.height)?,
    };
    let frames = vec![frame; RUNS / super::ROUNDS];
    let mut preprocessor = Preprocessor::new(manifest.input.clone());
    let mut planes = vec![0.0; preprocessor.len()];
    let before = median(&frames, |frame| {
        preprocessor.fill(frame, NormRect::FULL, &mut planes);
        Ok(())
    })?;
    let mut worker = model.worker()?;
    let both = median(&frames, |frame| Ok(worker.probabilities(frame, NormRect::FULL).map(drop)?))?;
    let operators = model.operators();
    let some = |name: &str| operators.iter().any(|o| o.starts_with(name));
    let numbers = match (some("Int8"), some("Float")) {
        (true, _) => "integers",
        (false, true) => "floats",
        (false, false) => "tract",
    };
    let bytes = fs::metadata(&manifest.file).map_or(0, |m| m.len());
    let accuracy = match pictures {
        Some(pictures) => Some(accuracy(&mut worker, &manifest, pictures)?),
        None => manifest.accuracy,
    };
    Ok(Candidate { manifest, inference: (both - before).max(0.0), load, bytes, numbers, accuracy })
}

fn grey(width: u32, height: u32) -> anyhow::Result<Frame> {
    let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
    let rgb = vec![128; width as usize * height as usize * 3];
    Ok(Frame::new(CameraId::new("bench")?, at, width, height, rgb)?)
}

fn print(out: &mut dyn Write, pictures: Option<usize>, candidates: &[Candidate]) -> io::Result<()> {
    let wide = candidates.iter().map(|c| c.manifest.id.as_str().len()).max().unwrap_or(0).max(5);
    writeln!(out, "One thread, CPU of one inference, median of {RUNS}:")?;
    writeln!(out, "{:wide$}  {:>9}  {:>7}  {:>5}  {:>8}  accuracy", "model", "input", "ms", "MB", "runs in")?;
    for Candidate { manifest, inference, bytes, numbers, accuracy, .. } in candidates {
        let input = format!("{}x{}", manifest.input.width, manifest.input.height);
        let accuracy = accuracy.map_or("not recorded in the manifest".to_owned(), |a| in_words(&a));
        let (id, megabytes) = (manifest.id.as_str(), *bytes as f64 / 1e6);
        writeln!(out, "{id:wide$}  {input:>9}  {inference:7.2}  {megabytes:5.1}  {numbers:>8}  {accuracy}")?;
    }
    match pictures {
        Some(count) => writeln!(out, "Accuracies were measured now, on {count} pictures."),
        None => writeln!(
            out,
            "Accuracies are what the manifests record; they compare where models were tested on the same data."
        ),
    }
}

fn in_words(accuracy: &Accuracy) -> String {
    let percent = |v: f64| format!("{:.1}", v * 100.0);
    let interval = accuracy
        .interval
        .map_or(String::new(), |(low, high)| format!(" ({} to {})", percent(low), percent(high)));
    let kind = if accuracy.balanced { ", balanced" } else { "" };
    let part = if accuracy.part == "?" { String::new() } else { format!(", {}", accuracy.part) };
    format!("{} %{interval}{kind}{part}", percent(accuracy.value))
}

fn print_json(out: &mut dyn Write, candidate: &Candidate) -> io::Result<()> {
    let Candidate { manifest, inference, load, bytes, numbers, accuracy } = candidate;
    let accuracy = accuracy.map(|a| {
        let interval = a.interval.map(|(low, high)| [low, high]);
        json!({ "part": a.part, "balanced": a.balanced, "value": a.value, "interval": interval })
    });
    let object = json!({
        "model": manifest.id.as_str(), "input": [manifest.input.width, manifest.input.height],
        "cpu_ms": inference, "load_cpu_ms": load, "bytes": bytes, "runs_in": numbers, "accuracy": accuracy,
    });
    writeln!(out, "{object}")
}
