//! `source` of a camera: a text that is understood, or a table that says it outright.

use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::capture::{CommandOutput, PixelFormat, Source};
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

/// A source, and whether it is live: it has no end, and no pace of its own.
pub(super) struct RawSource {
    pub(super) source: Source,
    pub(super) live: bool,
}

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

pub(super) fn read(camera: &Table<'_>, place: &Place, size: [u32; 2], fps: f32) -> Option<RawSource> {
    let value = camera.required("source", "\"/dev/video0\"")?;
    let context = Context { place, size, fps };
    if value.is_table() {
        return explicit(&value.table(&keys::SOURCE)?, &context);
    }
    match value.as_text() {
        Some(text) if !text.is_empty() => Some(shorthand(&value, text, &context)),
        _ => value
            .wrong("a device, url, file or folder in quotes, or a table such as { v4l2 = \"/dev/video0\" }"),
    }
}

/// What people write without thinking: a device, a url, a folder, a file.
fn shorthand(value: &Value<'_>, text: &str, context: &Context<'_>) -> RawSource {
    if text.starts_with("/dev/") {
        return v4l2(PathBuf::from(text));
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return v4l2(PathBuf::from(format!("/dev/video{text}")));
    }
    if !text.contains("://") && (text.ends_with('/') || context.place.path(text).is_dir()) {
        return folder(value, text, context);
    }
    ffmpeg(value, text, context)
}

fn explicit(table: &Table<'_>, context: &Context<'_>) -> Option<RawSource> {
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
        "v4l2" => Some(v4l2(PathBuf::from(value.text()?))),
        "ffmpeg" => Some(ffmpeg(&value, value.text()?, context)),
        "folder" => Some(folder(&value, value.text()?, context)),
        "preset" => preset(&value, context),
        _ => command(table, &value, context),
    }
}

fn v4l2(device: PathBuf) -> RawSource {
    RawSource { source: Source::V4l2 { device }, live: true }
}

/// A url goes to ffmpeg as it is, all but `file://` being live; a file is looked for beside the configuration.
fn ffmpeg(value: &Value<'_>, text: &str, context: &Context<'_>) -> RawSource {
    if text.contains("://") {
        return RawSource { source: Source::Ffmpeg { input: text.to_owned() }, live: is_live(text) };
    }
    let path = context.place.path(text);
    if !path.is_file() {
        missing(value, &path, "file");
    }
    RawSource { source: Source::Ffmpeg { input: path.to_string_lossy().into_owned() }, live: false }
}

/// Streaming protocols are live; a film fetched by http has an end.
fn is_live(url: &str) -> bool {
    let scheme = url.split("://").next().unwrap_or_default();
    ["rtsp", "rtsps", "rtmp", "rtp", "udp", "srt", "tcp"].contains(&scheme)
}

fn folder(value: &Value<'_>, text: &str, context: &Context<'_>) -> RawSource {
    let path = context.place.path(text);
    if !path.is_dir() {
        missing(value, &path, "folder");
    }
    RawSource { source: Source::Folder { path }, live: false }
}

/// Only a warning: like an unplugged camera, it may come later.
fn missing(value: &Value<'_>, path: &Path, what: &str) {
    value.report.add(
        Problem::warning(value.span.clone(), format!("there is no {what} {}", path.display()))
            .help("relative paths start at the folder of the configuration file"),
    );
}

fn command(table: &Table<'_>, value: &Value<'_>, context: &Context<'_>) -> Option<RawSource> {
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
    Some(RawSource { source: Source::Command { argv, output: format? }, live: true })
}

fn preset(value: &Value<'_>, context: &Context<'_>) -> Option<RawSource> {
    let [width, height] = context.size;
    let argv = match value.word(&[("rpicam-vid", Preset::RpicamVid), ("jetson", Preset::Jetson)])? {
        Preset::RpicamVid => presets::rpicam_vid(width, height, context.fps),
        Preset::Jetson => presets::jetson(width, height, context.fps),
    };
    Some(RawSource { source: Source::Command { argv, output: CommandOutput::Mjpeg }, live: true })
}

// Until capture's own are there.
mod presets {
    pub(super) fn rpicam_vid(width: u32, height: u32, fps: f32) -> Vec<String> {
        vec!["rpicam-vid".to_owned(), format!("{width}x{height}@{fps}")]
    }
    pub(super) fn jetson(width: u32, height: u32, fps: f32) -> Vec<String> {
        vec!["gst-launch-1.0".to_owned(), format!("{width}x{height}@{fps}")]
    }
}
