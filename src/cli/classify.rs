//! `portero classify`: top-k with probabilities, for any manifest.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use portero::domain::{Label, NormRect, Score};
use portero::infer::{Classifier, Model};
use portero::{capture, daemon};
use serde_json::json;

use super::ModelFile;

/// Pictures and folders of pictures.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// JPEG, PNG, BMP or WebP files, or folders of them.
    #[arg(required = true, value_name = "IMAGE|FOLDER")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    manifest: ModelFile,
    /// How many labels to show.
    #[arg(short, long, default_value_t = 5, value_name = "N")]
    top: usize,
    /// Only this part of each picture: x0,y0,x1,y1 in fractions of its size.
    #[arg(long, value_name = "BOX", value_parser = parse_box)]
    r#box: Option<NormRect>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Classifies every picture; one that cannot be read is reported, counted and makes the exit code 1.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let model = Arc::new(Model::load(&arguments.manifest.model)?);
    let mut worker = model.worker()?;
    let mut out = io::stdout().lock();
    let (mut done, mut failed) = (0_u32, 0_u32);
    for path in pictures(&arguments.paths)? {
        match daemon::read_picture(&path).map_err(anyhow::Error::from_boxed) {
            Ok(frame) => {
                let rect = arguments.r#box.unwrap_or(NormRect::FULL);
                let answer = worker.classify(&frame, rect).with_context(|| path.display().to_string())?;
                show(&mut out, arguments, &path, &answer)?;
                done += 1;
            }
            Err(error) => {
                log::error!("{error:#}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        log::error!("{failed} of {} pictures could not be read", done + failed);
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the model said: labels with probabilities, and whether the best was too weak.
type Answer = (Vec<(Label, Score)>, bool);

fn show(out: &mut dyn Write, arguments: &Arguments, path: &Path, answer: &Answer) -> io::Result<()> {
    let (top, rejected) = answer;
    let top = &top[..top.len().min(arguments.top.max(1))];
    if arguments.json {
        let top: Vec<_> = top.iter().map(|(l, p)| json!({"label": l.as_str(), "p": p.get()})).collect();
        return writeln!(
            out,
            "{}",
            json!({"path": path.to_string_lossy(), "top": top, "rejected": rejected})
        );
    }
    let labels: Vec<_> = top.iter().map(|(label, p)| format!("{label} {:.1} %", p.get() * 100.0)).collect();
    let verdict = if *rejected { "unknown: " } else { "" };
    writeln!(out, "{}: {verdict}{}", path.display(), labels.join(", "))
}

/// The pictures named, folders replaced by the pictures in them, by name.
fn pictures(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut pictures = Vec::new();
    for path in paths {
        if !path.is_dir() {
            pictures.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
        let mut inside: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
        inside.retain(|p| p.is_file() && capture::is_picture_name(p));
        inside.sort();
        if inside.is_empty() {
            log::warn!("{}: no JPEG, PNG, BMP or WebP pictures in this folder", path.display());
        }
        pictures.append(&mut inside);
    }
    Ok(pictures)
}

fn parse_box(text: &str) -> Result<NormRect, String> {
    let numbers: Result<Vec<f32>, _> = text.split(',').map(|n| n.trim().parse::<f32>()).collect();
    match numbers.as_deref() {
        Ok(&[x0, y0, x1, y1]) => NormRect::new(x0, y0, x1, y1).map_err(|e| e.to_string()),
        _ => Err("four numbers from 0.0 to 1.0 are wanted: x0,y0,x1,y1".to_owned()),
    }
}
