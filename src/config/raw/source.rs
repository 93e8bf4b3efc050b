//! `source` of a camera: a text that is understood, or a table that says it outright.

use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::capture::{CommandOutput, PixelFormat, Source, presets};
use crate::config::file::Place;
use crate::config::keys;
use crate::config::problem::Problem;
use crate::config::reader::{Table, Value};

const FORMATS: [(&str, CommandOutput); 4] = [
    ("mjpeg", CommandOutput::Mjpeg),
    ("rgb24", CommandOutput::Raw(PixelFormat::Rgb24)),
    ("yuv420p", CommandOutput::Raw(PixelFormat::Yuv420p)),
    ("yuyv", CommandOutput::Raw(PixelFormat::Yuyv)),
];
const KINDS: [&str; 5] = ["v4l2", "ffmpeg", "folder", "command", "preset"];

#[derive(Clone, Copy)]
enum Preset {
    RpicamVid,
    Jetson,
}

/// What a source depends on.
struct Context<'c> {
    place: &'c Place,
    size: [u32; 2],
    fps: f32,
}

pub(super) fn read(camera: &Table<'_>, place: &Place, size: [u32; 2], fps: f32) -> Option<Source> {
    let value = camera.required("source", "\"/dev/video0\"")?;
    let context = Context { place, size, fps };
    if value.is_table() {
        return explicit(&value.table(&keys::SOURCE)?, &context);
    }
    match value.as_text() {
        Some(text) if !text.is_empty() => shorthand(&value, text, &context),
        _ => value
            .wrong("a device, url, file or folder in quotes, or a table such as { v4l2 = \"/dev/video0\" }"),
    }
}

/// What people write without thinking: a device, a url, a folder, a file.
fn shorthand(value: &Value<'_>, text: &str, context: &Context<'_>) -> Option<Source> {
    if text.starts_with("/dev/") {
        return Some(Source::V4l2 { device: PathBuf::from(text) });
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Source::V4l2 { device: PathBuf::from(format!("/dev/video{text}")) });
    }
    if !text.contains("://") && (text.ends_with('/') || context.place.path(text).is_dir()) {
        return Some(folder(value, text, context));
    }
    ffmpeg(value, text, context)
}

fn explicit(table: &Table<'_>, context: &Context<'_>) -> Option<Source> {
    let kinds: Vec<&'static str> = KINDS.into_iter().filter(|kind| table.get(kind).is_some()).collect();
    let &[kind] = kinds.as_slice() else {
        let problem =
            Problem::error(table.span.clone(), "a source has exactly one kind").label(if kinds.is_empty() {
                "found none".to_owned()
            } else {
                format!("found {}", kinds.join(" and "))
            });
        table.report.add(problem.help(format!("allowed: one of {}", KINDS.join(", "))));
        return None;
    };
    if kind != "command" {
        table.pointless("format", "only a `command` has it");
    }
    let value = table.get(kind)?;
    match kind {
        "v4l2" => Some(Source::V4l2 { device: PathBuf::from(value.text()?) }),
        "ffmpeg" => ffmpeg(&value, value.text()?, context),
        "folder" => Some(folder(&value, value.text()?, context)),
        "preset" => preset(&value, context),
        _ => command(table, &value, context),
    }
}

/// A url goes to ffmpeg as it is; a file is looked for beside the configuration.
fn ffmpeg(value: &Value<'_>, text: &str, context: &Context<'_>) -> Option<Source> {
    let file = text.strip_prefix("file://").unwrap_or(text);
    if file.contains("://") {
        let source = Source::Ffmpeg { input: text.to_owned() };
        return match source.check() {
            Ok(()) => Some(source),
            Err(error) => value.reject(value.error(error.to_string())),
        };
    }
    let path = context.place.path(file);
    if !path.is_file() {
        missing(value, &path, "file");
    }
    Some(Source::Ffmpeg { input: path.to_string_lossy().into_owned() })
}

fn folder(value: &Value<'_>, text: &str, context: &Context<'_>) -> Source {
    let path = context.place.path(text);
    if !path.is_dir() {
        missing(value, &path, "folder");
    }
    Source::Folder { path }
}

/// Only a warning: like an unplugged camera, it may come later.
fn missing(value: &Value<'_>, path: &Path, what: &str) {
    value.report.add(
        Problem::warning(value.span.clone(), format!("there is no {what} {}", path.display()))
            .help("relative paths start at the folder of the configuration file"),
    );
}

fn command(table: &Table<'_>, value: &Value<'_>, context: &Context<'_>) -> Option<Source> {
    let argv = value.texts();
    let format = table.required("format", "\"mjpeg\"").and_then(|format| {
        let output = format.word(&FORMATS)?;
        let odd = context.size.iter().any(|side| side % 2 != 0);
        if odd && matches!(output, CommandOutput::Raw(PixelFormat::Yuv420p | PixelFormat::Yuyv)) {
            let [width, height] = context.size;
            let problem = format.error("this format needs an even width and height");
            return format.reject(problem.label(format!("`size` is [{width}, {height}]")));
        }
        Some(output)
    });
    let argv = argv?.into_iter().map(Spanned::into_inner).collect();
    Some(Source::Command { argv, output: format? })
}

fn preset(value: &Value<'_>, context: &Context<'_>) -> Option<Source> {
    let [width, height] = context.size;
    Some(match value.word(&[("rpicam-vid", Preset::RpicamVid), ("jetson", Preset::Jetson)])? {
        Preset::RpicamVid => Source::Command {
            argv: presets::rpicam_vid(width, height, context.fps),
            output: CommandOutput::Mjpeg,
        },
        Preset::Jetson => Source::Command {
            argv: presets::jetson(width, height, context.fps),
            output: CommandOutput::Raw(PixelFormat::Yuv420p),
        },
    })
}
