//! What ffmpeg is asked to do.
//!
//! ffmpeg decodes, scales and thins in its own process: decoders of untrusted video stay out of our address
//! space. It writes planar YUV, half the bytes of RGB, each picture with its moment (see `nut`): none is made up to fill a gap.
//! Each kind of input may use its own protocols only, so a playlist inside a video file cannot reach the network.
//!
//! Whoever may read `/proc` sees a program's arguments. So no URL stands among them: ffmpeg reads it from its standard
//! input, as a list of one entry for its `concat` demuxer.
//!
//! Asked to, it also copies the video as it comes, not decoded, to its standard input, which then leads both ways. It is
//! MPEG-TS: that has no head which would be missing in a piece of it, and carries every codec that a clip may have.
//!
//! There is no time limit on sockets in these arguments: the option's name and meaning differ between ffmpeg 4
//! and 5, and `stall_after` covers a silent peer anyway.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::userinfo::{escaped, split_login};
use super::{CaptureError, Decoder, FfmpegInput, Pace, Pictures, Settings, shown_url};
use crate::domain::{Codec, Login, Secret, Stamp};

/// Schemes that are let in, with the protocols ffmpeg may use for each.
const SCHEMES: [(&str, &str); 10] = [
    ("file", "file"),
    ("http", "http,https,tcp,tls,httpproxy,crypto,data"),
    ("https", "https,tcp,tls,httpproxy,crypto,data"),
    ("rtmp", "rtmp,tcp"),
    ("rtmps", "rtmps,tls,tcp"),
    ("rtp", "rtp,srtp,udp,crypto"),
    ("rtsp", "rtsp,rtp,srtp,udp,tcp,tls,crypto"),
    ("rtsps", "rtsps,rtsp,rtp,srtp,udp,tcp,tls,crypto"),
    ("srt", "srt,udp"),
    ("udp", "udp"),
];

/// The part before `://`, when it looks like a scheme.
fn scheme(input: &str) -> Option<&str> {
    let (scheme, _) = input.split_once("://")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (!scheme.is_empty() && scheme.chars().all(fits)).then_some(scheme)
}

/// Whether the input is a stream, which has no end, and not a file.
pub(super) fn is_live(input: &str) -> bool {
    scheme(input).is_some_and(|scheme| !scheme.eq_ignore_ascii_case("file"))
}

/// The path of an input that is a file.
fn file_path(input: &str) -> &str {
    input.strip_prefix("file://").or_else(|| input.strip_prefix("file:")).unwrap_or(input)
}

/// The protocols ffmpeg may use for `input`.
pub(super) fn protocols(input: &str) -> Result<&'static str, CaptureError> {
    let Some(found) = scheme(input) else { return Ok("file") };
    let known = SCHEMES.iter().find(|(name, _)| found.eq_ignore_ascii_case(name));
    known.map(|(_, protocols)| *protocols).ok_or_else(|| {
        let allowed = SCHEMES.map(|(name, _)| format!("{name}://")).join(", ");
        CaptureError::Scheme { found: found.to_owned(), allowed }
    })
}

/// How ffmpeg is called.
pub(super) struct Call {
    /// The arguments after `ffmpeg`.
    pub(super) args: Vec<String>,
    /// What it is to find on its standard input.
    pub(super) input: Option<Secret>,
    /// It writes as fast as it is read, and we play its pictures at their moments; else pictures as they come.
    pub(super) paced: bool,
}

/// How ffmpeg is to be called. Checks that a file exists. `copy_from` asks for a copy, whose times begin there.
///
/// # Errors
/// [`CaptureError::Scheme`] or [`CaptureError::Missing`].
pub(super) fn call(
    source: &FfmpegInput,
    settings: &Settings,
    copy_from: Option<Stamp>,
) -> Result<Call, CaptureError> {
    let input = source.input.as_str();
    let protocols = protocols(input)?;
    let live = is_live(input);
    let is_rtsp = scheme(input).is_some_and(|s| s.to_ascii_lowercase().starts_with("rtsp"));
    let list = live.then(|| list(source, is_rtsp));
    let protocols = if list.is_some() { format!("pipe,{protocols}") } else { protocols.to_owned() };
    let mut args = vec!["-hide_banner", "-nostdin", "-loglevel", "error", "-protocol_whitelist", &protocols];
    args.extend(decoder_options(source.decoder));
    if source.pictures == Pictures::Referenced {
        args.extend(["-skip_frame", "noref"]);
    }
    // Not `-re`: ffmpeg then asks the clock a hundred times a second. Whoever reads sets the pace; a pipe holds next to nothing.
    let paced = !live && settings.pace == Pace::Realtime;
    if !live && settings.looped {
        args.extend(["-stream_loop", "-1"]);
    }
    // With the protocol's name in front, no path can be taken for an option or for another protocol.
    let target = format!("file:{}", file_path(input));
    if !live && !Path::new(file_path(input)).exists() {
        // It may be a url with a slip in it.
        return Err(CaptureError::Missing { path: shown_url(file_path(input)).into() });
    }
    if live {
        args.extend(["-f", "concat", "-safe", "0", "-i", "pipe:0"]);
    } else {
        args.extend(["-i", &target]);
    }
    if copy_from.is_some() {
        args.extend(["-map", "0:v:0"]);
    }
    let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    args.extend(pictures(settings));
    if let Some(from) = copy_from {
        args.extend(copy(from, is_rtsp));
    }
    Ok(Call { args, input: list, paced })
}

/// How ffmpeg is called to decode an endless film in Matroska that comes through its standard input, without a delay.
pub(super) fn decode_pipe(decoder: Decoder, wanted: Pictures, settings: &Settings) -> Vec<String> {
    let mut args = vec!["-hide_banner", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "pipe"];
    args.extend(decoder_options(decoder));
    if wanted == Pictures::Referenced {
        args.extend(["-skip_frame", "noref"]);
    }
    args.extend(["-copyts", "-probesize", "32", "-analyzeduration", "0", "-f", "matroska", "-i", "pipe:0"]);
    let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    args.extend(pictures(settings));
    args
}

/// The first output: pictures of the wanted size and rate, each with its moment, as soon as it is there. With more threads
/// the encoder of raw pictures would hold one back.
fn pictures(settings: &Settings) -> Vec<String> {
    let filter =
        format!("{},scale={}:{}:flags=bilinear", rate(settings.fps), settings.width, settings.height);
    let timing = if LACKS_FPS_MODE.load(Relaxed) { "-vsync" } else { "-fps_mode" };
    let mut args = vec!["-an", "-sn", "-dn", "-vf", &filter, "-pix_fmt", "yuv420p", "-threads", "1"];
    args.extend([timing, "passthrough", "-enc_time_base", "-1", "-c:v", "rawvideo"]);
    args.extend(["-flush_packets", "1", "-write_index", "0", "-f", "nut", "pipe:1"]);
    args.into_iter().map(str::to_owned).collect()
}

/// ffmpeg before 5.1 calls the option by another name.
static LACKS_FPS_MODE: AtomicBool = AtomicBool::new(false);

/// What ffmpeg says of a source that it cannot read, and what that means for somebody who set one up.
const WORDS: [(&str, &str); 9] = [
    ("401 Unauthorized", "it asks for a login, or refuses this one: see `user` and `password_file`"),
    ("403 Forbidden", "this user may not see it"),
    ("404 Not Found", "there is nothing at this path"),
    ("Connection refused", "nothing listens there: is it switched on, is the port right?"),
    ("No route to host", "there is no way to this address: is it switched on, is the address right?"),
    ("Connection timed out", "it did not answer: is it switched on, does a firewall stand between?"),
    ("Name or service not known", "there is no host of this name"),
    ("moov atom not found", "the file is not whole: it was not closed"),
    ("Invalid data found", "this is no video, or a damaged one"),
];

/// What ffmpeg said last in plain words, in parentheses and with a blank before them; empty when it needs none.
pub(super) fn explained(said: &str) -> String {
    let meant = WORDS.iter().find(|(word, _)| said.contains(word));
    meant.map_or_else(String::new, |(_, meaning)| format!(" ({meaning})"))
}

/// Takes note of what an ffmpeg that ended had said: the next is called accordingly.
pub(super) fn heed(said: &str) {
    if said.contains("fps_mode") {
        LACKS_FPS_MODE.store(true, Relaxed);
    }
}

/// The second output. Times of later openings lie behind those of earlier ones, so that a clip may have both.
fn copy(from: Stamp, is_rtsp: bool) -> Vec<String> {
    let offset = format!("{:.3}", Duration::from_micros(from.mono_us()).as_secs_f64());
    let mut args = vec!["-map", "0:v:0", "-c:v", "copy"];
    if is_rtsp {
        // Cameras may say only in the session's description what a decoder needs to know.
        args.extend(["-bsf:v", "dump_extra=freq=keyframe"]);
    }
    args.extend(["-output_ts_offset", &offset, "-muxdelay", "0", "-muxpreload", "0"]);
    args.extend(["-flush_packets", "1", "-f", "mpegts", "pipe:0"]);
    args.into_iter().map(str::to_owned).collect()
}

/// Whether ffmpeg ended over its second output, by what it said.
pub(super) fn failed_at_copy(said: &str) -> bool {
    const SIGNS: [&str; 5] =
        ["pts value must be set", "output file #1", "output stream #1", "[out#1", "dump_extra"];
    SIGNS.iter().any(|sign| said.contains(sign))
}

/// The options that choose a decoder. What it decodes comes back into plain memory, where the filters are.
fn decoder_options(decoder: Decoder) -> [&'static str; 2] {
    match decoder {
        // Threads that share a picture, not such that hold back several.
        Decoder::Software => ["-thread_type", "slice"],
        Decoder::Vaapi => ["-hwaccel", "vaapi"],
        Decoder::V4l2M2m(Codec::H264) => ["-c:v", "h264_v4l2m2m"],
        Decoder::V4l2M2m(Codec::Hevc) => ["-c:v", "hevc_v4l2m2m"],
        Decoder::Nvv4l2(Codec::H264) => ["-c:v", "h264_nvv4l2dec"],
        Decoder::Nvv4l2(Codec::Hevc) => ["-c:v", "hevc_nvv4l2dec"],
    }
}

/// A list of one entry (ffmpeg-formats, "concat": a quote within quotes is written `'\''`).
fn list(source: &FfmpegInput, is_rtsp: bool) -> Secret {
    let mut url = match &source.login {
        Some(login) => with_login(&source.input, login),
        None => source.input.clone(),
    };
    if is_rtsp {
        // The demuxer of lists passes no options on in ffmpeg 4; this one is understood in the URL, and taken out.
        url.push_str(if url.contains('?') { "&tcp" } else { "?tcp" });
    }
    // An entry ends with its line.
    let url = url.replace('\'', "'\\''").replace('\n', "%0A").replace('\r', "%0D");
    Secret::new(format!("ffconcat version 1.0\nfile '{url}'\n"))
}

/// The URL with this login in place of its own.
fn with_login(url: &str, login: &Login) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (_, place) = split_login(rest);
    let (user, password) = (escaped(&login.user), escaped(login.password.expose()));
    format!("{scheme}://{user}:{password}@{place}")
}

/// The filter that thins; it makes up none. The first picture of each slot of `1 / fps` seconds goes through, one that comes
/// nearly a slot after the last (a source of just this rate that trembles is not halved), and one at which the time goes back.
fn rate(fps: f32) -> String {
    let slot = |t: &str| format!("floor({t}*{fps}+0.01)");
    let (now, before) = (slot("t"), slot("prev_selected_t"));
    let is_apart = format!("gte((t-prev_selected_t)*{fps},0.9)");
    format!("select='isnan(prev_selected_t)+lt(t,prev_selected_t)+gt({now},{before})+{is_apart}'")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::capture::Source;
    use crate::domain::CameraId;

    fn settings(input: &str, pace: Pace, looped: bool) -> Settings {
        Settings {
            camera: CameraId::new("c").unwrap(),
            source: Source::Ffmpeg(FfmpegInput::new(input)),
            fps: 5.0,
            width: 64,
            height: 48,
            settle: Duration::ZERO,
            stall_after: Duration::from_secs(1),
            pace,
            looped,
        }
    }

    fn line(input: &str, pace: Pace, looped: bool) -> String {
        let call = call(&FfmpegInput::new(input), &settings(input, pace, looped), None).unwrap();
        call.args.join(" ")
    }

    #[test]
    fn what_ffmpeg_says_is_explained_once_and_what_is_plain_is_left() {
        let said = ": http://h/x: Server returned 401 Unauthorized (authorization failed)";
        assert_eq!(
            explained(said),
            " (it asks for a login, or refuses this one: see `user` and `password_file`)"
        );
        assert_eq!(explained(": Connection to tcp://h:1 failed: Connection refused").matches('(').count(), 1);
        assert_eq!(explained(": the wheel has come off"), "");
    }

    #[test]
    fn a_file_can_reach_nothing_but_files() {
        let line = line("Cargo.toml", Pace::Realtime, true);
        assert!(
            line.contains(
                "-protocol_whitelist file -thread_type slice -stream_loop -1 -i file:Cargo.toml -an"
            ),
            "{line}"
        );
        assert!(!line.contains("http"));
        assert!(line.contains("-f nut pipe:1"), "its moments are told: {line}");
    }

    #[test]
    fn a_stream_is_neither_paced_nor_looped() {
        let line = line("rtsp://h/live", Pace::Fast, true);
        assert!(line.contains("-safe 0 -i pipe:0 -an"), "{line}");
        assert!(!line.contains("-stream_loop"), "{line}");
        assert!(line.contains("floor(t*5+0.01)"), "{line}");
    }

    #[test]
    fn a_path_is_never_an_option_or_another_protocol() {
        for input in ["-i", "concat:/etc/passwd", "-version"] {
            let error =
                call(&FfmpegInput::new(input), &settings(input, Pace::Fast, false), None).err().unwrap();
            assert!(matches!(error, CaptureError::Missing { .. }), "{error}");
        }
    }

    #[test]
    fn unknown_schemes_are_named_with_the_known_ones() {
        let error = protocols("gopher://x").unwrap_err().to_string();
        assert!(error.contains("`gopher://`") && error.contains("rtsp://"), "{error}");
        assert!(protocols("RTSP://x").is_ok());
    }

    #[test]
    fn no_url_stands_in_an_argument() {
        let login = Login { user: "ad min".into(), password: Secret::new("p@ss:w/'rd?%".into()) };
        let escaped = "ad%20min:p%40ss%3Aw%2F%27rd%3F%25";
        for (url, login, entry) in [
            ("rtsp://h/live", Some(&login), format!("rtsp://{escaped}@h/live?tcp")),
            ("rtsps://old:one@h:322/a?b=c", Some(&login), format!("rtsps://{escaped}@h:322/a?b=c&tcp")),
            ("rtsp://h/live", None, "rtsp://h/live?tcp".to_owned()),
            ("udp://@:5000", None, "udp://@:5000".to_owned()),
            ("http://h/a\nfile 'b'", None, "http://h/a%0Afile '\\''b'\\''".to_owned()),
            ("rtsp://u:geheim@h", None, "rtsp://u:geheim@h?tcp".to_owned()),
            ("http://h/cgi?pwd=geheim&it='s'", None, "http://h/cgi?pwd=geheim&it='\\''s'\\''".to_owned()),
        ] {
            let input = FfmpegInput { login: login.cloned(), ..FfmpegInput::new(url) };
            let Call { args, input, .. } = call(&input, &settings(url, Pace::Realtime, false), None).unwrap();
            let line = args.join(" ");
            assert!(line.contains("-f concat -safe 0 -i pipe:0 ") && !line.contains("://"), "{line}");
            assert_eq!(input.unwrap().expose(), format!("ffconcat version 1.0\nfile '{entry}'\n"));
        }
    }

    #[test]
    fn a_copy_is_made_beside_the_pictures_and_only_when_it_is_asked_for() {
        let input = FfmpegInput::new("rtsp://h/x");
        let settings = settings("rtsp://h/x", Pace::Realtime, false);
        let line = |copy| call(&input, &settings, copy).unwrap().args.join(" ");
        assert!(!line(None).contains("copy"));
        let line = line(Some(Stamp::new(3_600_250_000, 0)));
        let (pictures, copy) = line.split_once("pipe:1 ").unwrap();
        assert!(pictures.contains("-map 0:v:0 -an"), "{pictures}");
        assert!(copy.starts_with("-map 0:v:0 -c:v copy") && copy.contains("_offset 3600.250 "), "{copy}");
    }

    #[test]
    fn a_decoder_is_chosen_before_the_input() {
        let input = FfmpegInput { decoder: Decoder::V4l2M2m(Codec::Hevc), ..FfmpegInput::new("rtsp://h/x") };
        let line = call(&input, &settings("rtsp://h/x", Pace::Realtime, false), None).unwrap().args.join(" ");
        assert!(line.contains("-c:v hevc_v4l2m2m -f concat -safe 0 -i pipe:0"), "{line}");
    }
}
