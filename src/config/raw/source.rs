//! `source` of a camera: a text that is understood, or a table that says it outright.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::login::{certificates, login};
use crate::capture::{
    Address, CommandOutput, Decoder, FfmpegInput, HttpCamera, Pictures, PixelFormat, RtspAddress, RtspCamera,
    Source, Transport, presets, shown_url,
};
use crate::config::file::Place;
use crate::config::keys;
use crate::config::problem::Problem;
use crate::config::reader::{Table, Value};
use crate::domain::{Codec, Login};

const FORMATS: [(&str, CommandOutput); 4] = [
    ("mjpeg", CommandOutput::Mjpeg),
    ("rgb24", CommandOutput::Raw(PixelFormat::Rgb24)),
    ("yuv420p", CommandOutput::Raw(PixelFormat::Yuv420p)),
    ("yuyv", CommandOutput::Raw(PixelFormat::Yuyv)),
];
const KINDS: [&str; 7] = ["v4l2", "rtsp", "ffmpeg", "http", "folder", "command", "preset"];
const TRANSPORTS: [(&str, Transport); 2] = [("tcp", Transport::Tcp), ("udp", Transport::Udp)];
/// Who connects to an RTSP camera: we do, or ffmpeg.
const CONNECTORS: [(&str, bool); 2] = [("portero", true), ("ffmpeg", false)];
const CODECS: [(&str, Codec); 2] = [("h264", Codec::H264), ("hevc", Codec::Hevc)];
const DECODERS: [(&str, Decoder); 4] = [
    ("software", Decoder::Software),
    ("vaapi", Decoder::Vaapi),
    ("v4l2m2m", Decoder::V4l2M2m(Codec::H264)),
    ("nvv4l2dec", Decoder::Nvv4l2(Codec::H264)),
];
const PICTURES: [(&str, Pictures); 2] = [("all", Pictures::All), ("referenced", Pictures::Referenced)];
/// Keys that only some kinds have: the kinds, and why the others have not.
const COMPANIONS: [(&str, &[&str], &str); 10] = [
    ("format", &["command"], "only a `command` has it"),
    ("watch", &["folder"], "only a `folder` has it"),
    ("transport", &["rtsp", "ffmpeg"], "only an RTSP camera has it"),
    ("connect", &["rtsp", "ffmpeg"], "only an RTSP camera has it"),
    ("decoder", &["rtsp", "ffmpeg"], "only `rtsp` and `ffmpeg` have it"),
    ("codec", &["ffmpeg"], "only `ffmpeg` has it"),
    ("decode", &["rtsp", "ffmpeg"], "only `rtsp` and `ffmpeg` have it"),
    ("ca_file", &["rtsp", "http", "ffmpeg"], "only `rtsp` and `http` have it"),
    ("user", &["rtsp", "http", "ffmpeg"], "only `rtsp`, `http` and `ffmpeg` have it"),
    ("password_file", &["rtsp", "http", "ffmpeg"], "only `rtsp`, `http` and `ffmpeg` have it"),
];
/// Ends of urls that are played rather than looked at: playlists and videos.
const PLAYED: [&str; 8] = [".m3u8", ".mpd", ".mp4", ".mkv", ".ts", ".flv", ".webm", ".avi"];

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
        return Some(folder(value, text, false, context));
    }
    let lower = text.to_ascii_lowercase();
    let path = lower.split(['?', '#']).next().unwrap_or_default();
    let is_web = path.starts_with("http://") || path.starts_with("https://");
    if is_web && !PLAYED.iter().any(|end| path.ends_with(end)) {
        return http(value, text, None, None);
    }
    if is_rtsp(text) {
        return rtsp(value, text, None).map(Source::Rtsp);
    }
    ffmpeg(value, text, context).map(Source::Ffmpeg)
}

fn is_rtsp(text: &str) -> bool {
    let lower = text.trim_start().to_ascii_lowercase();
    lower.starts_with("rtsp://") || lower.starts_with("rtsps://")
}

/// An RTSP url. A login beside it wins over one within.
fn rtsp(value: &Value<'_>, text: &str, login: Option<Login>) -> Option<RtspCamera> {
    match RtspAddress::parse(text) {
        Ok((address, within)) => Some(RtspCamera { login: login.or(within), ..RtspCamera::new(address) }),
        Err(error) => value.reject(value.error(error.to_string())),
    }
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
    for (key, homes, why) in COMPANIONS {
        if !homes.contains(&kind) {
            table.pointless(key, why);
        }
    }
    let value = table.get(kind)?;
    match kind {
        "v4l2" => Some(Source::V4l2 { device: PathBuf::from(value.text()?) }),
        "rtsp" | "ffmpeg" => played(table, &value, context),
        "http" => {
            let (login, ca_file) = (login(table, context.place), table.get("ca_file"));
            let ca_file = ca_file.and_then(|value| certificates(&value, context.place));
            http(&value, value.text()?, login, ca_file)
        }
        "folder" => {
            let watch = table.setting("watch", false, Value::yes_no).value;
            Some(folder(&value, value.text()?, watch, context))
        }
        "preset" => preset(&value, context),
        _ => command(table, &value, context),
    }
}

fn http(value: &Value<'_>, text: &str, login: Option<Login>, ca_file: Option<PathBuf>) -> Option<Source> {
    match Address::parse(text) {
        Ok(address) => Some(Source::Http(HttpCamera { address, login, ca_file })),
        Err(error) => value.reject(value.error(error.to_string())),
    }
}

/// `rtsp` or `ffmpeg` with what goes along with it.
fn played(table: &Table<'_>, value: &Value<'_>, context: &Context<'_>) -> Option<Source> {
    let text = value.text()?;
    if table.get("rtsp").is_some() && !is_rtsp(text) {
        return value.wrong("a url that begins with rtsp:// or rtsps://");
    }
    let codec = table.setting("codec", Codec::H264, |value| value.word(&CODECS));
    let decoder = table.get("decoder").map_or(Some(Decoder::Software), |value| {
        Some(match value.word(&DECODERS)? {
            Decoder::V4l2M2m(_) => Decoder::V4l2M2m(codec.value),
            Decoder::Nvv4l2(_) => Decoder::Nvv4l2(codec.value),
            any => any,
        })
    });
    if matches!(decoder, Some(Decoder::Software | Decoder::Vaapi)) {
        table.pointless("codec", "this decoder finds it out by itself");
    }
    if decoder.is_some_and(|decoder| decoder != Decoder::Software) {
        table.pointless("decode", "this decoder decodes everything");
    }
    let pictures = table.setting("decode", Pictures::All, |value| value.word(&PICTURES)).value;
    let login = login(table, context.place);
    let transport = table.setting("transport", Transport::Tcp, |value| value.word(&TRANSPORTS)).value;
    let is_ours = table.setting("connect", true, |value| value.word(&CONNECTORS)).value;
    if is_rtsp(text) && is_ours {
        let ca_file = table.get("ca_file").and_then(|value| certificates(&value, context.place));
        let camera = rtsp(value, text, login)?;
        if transport == Transport::Udp && text.to_ascii_lowercase().starts_with("rtsps:") {
            let problem =
                value.error("an `rtsps` camera cannot send by UDP: its pictures would come in the clear");
            return value.reject(problem.help("take `transport = \"udp\"` away"));
        }
        return Some(Source::Rtsp(RtspCamera { ca_file, transport, decoder: decoder?, pictures, ..camera }));
    }
    for (key, why) in [
        ("transport", "we do not connect to this source ourselves"),
        ("ca_file", "ffmpeg checks no certificate"),
    ] {
        table.pointless(key, why);
    }
    if !is_rtsp(text) {
        table.pointless("connect", "only an RTSP camera has it");
    } else if login.is_some() || RtspAddress::parse(text).is_ok_and(|(_, within)| within.is_some()) {
        let problem = value
            .error("ffmpeg is given no login for RTSP: it would pass it on to wherever the camera sends it");
        return value
            .reject(problem.help(
                "take `connect = \"ffmpeg\"` away, or let the camera show the stream without a login",
            ));
    }
    let input = ffmpeg(value, text, context)?;
    if !input.input.contains("://") {
        for key in ["user", "password_file"] {
            table.pointless(key, "a file asks for no login");
        }
    }
    Some(Source::Ffmpeg(FfmpegInput { login, decoder: decoder?, pictures, ..input }))
}

/// A url goes to ffmpeg as it is; a file is looked for beside the configuration.
fn ffmpeg(value: &Value<'_>, text: &str, context: &Context<'_>) -> Option<FfmpegInput> {
    let file = text.strip_prefix("file://").unwrap_or(text);
    if file.contains("://") {
        let input = FfmpegInput::new(text);
        return match Source::Ffmpeg(input.clone()).check() {
            Ok(()) => Some(input),
            Err(error) => value.reject(value.error(error.to_string())),
        };
    }
    let path = context.place.path(file);
    if !path.is_file() {
        missing(value, &path, "file");
    }
    Some(FfmpegInput::new(path.to_string_lossy()))
}

fn folder(value: &Value<'_>, text: &str, watch: bool, context: &Context<'_>) -> Source {
    let path = context.place.path(text);
    if !path.is_dir() {
        missing(value, &path, "folder");
    }
    Source::Folder { path, watch }
}

/// Only a warning: like an unplugged camera, it may come later.
fn missing(value: &Value<'_>, path: &Path, what: &str) {
    value.report.add(
        Problem::warning(
            value.span.clone(),
            format!("there is no {what} {}", shown_url(&path.to_string_lossy())),
        )
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
