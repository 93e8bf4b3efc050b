//! What ffmpeg is asked to do.
//!
//! ffmpeg decodes, scales and thins in its own process: decoders of untrusted video stay out of our address
//! space. It writes planar YUV, half the bytes of RGB. Each kind of input may use its own protocols only, so a
//! playlist inside a video file cannot reach the network.
//!
//! There is no time limit on sockets in these arguments: the option's name and meaning differ between ffmpeg 4
//! and 5, and `stall_after` covers a silent peer anyway. Whoever may read `/proc` sees the URL, credentials
//! included, while the child runs.

use std::path::Path;

use super::{CaptureError, Pace, Settings};

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

/// The arguments after `ffmpeg`. Checks that a file exists.
///
/// # Errors
/// [`CaptureError::Scheme`] or [`CaptureError::Missing`].
pub(super) fn arguments(input: &str, settings: &Settings) -> Result<Vec<String>, CaptureError> {
    let protocols = protocols(input)?;
    let live = is_live(input);
    let mut args = vec!["-hide_banner", "-nostdin", "-loglevel", "error", "-protocol_whitelist", protocols];
    if scheme(input).is_some_and(|s| s.to_ascii_lowercase().starts_with("rtsp")) {
        args.extend(["-rtsp_transport", "tcp"]);
    }
    if !live && settings.pace == Pace::Realtime {
        args.push("-re");
    }
    if !live && settings.looped {
        args.extend(["-stream_loop", "-1"]);
    }
    // With the protocol's name in front, no path can be taken for an option or for another protocol.
    let target = if live { input.to_owned() } else { format!("file:{}", file_path(input)) };
    if !live && !Path::new(file_path(input)).exists() {
        return Err(CaptureError::Missing { path: file_path(input).into() });
    }
    let filter = format!("{},scale={}:{}:flags=bilinear", rate(settings), settings.width, settings.height);
    args.extend(["-i", &target, "-an", "-sn", "-dn", "-vf", &filter]);
    args.extend(["-pix_fmt", "yuv420p", "-f", "rawvideo", "pipe:1"]);
    Ok(args.into_iter().map(str::to_owned).collect())
}

/// The filter that sets the rate. Played fast, frame `n` must lie at `n / fps`, so slow videos are filled up with
/// repeated frames; in real time a source slower than `fps` keeps its own rate.
fn rate(settings: &Settings) -> String {
    let fps = settings.fps;
    match settings.effective_pace() {
        Pace::Fast => format!("fps={fps}"),
        Pace::Realtime => format!("fps=fps='if(gt(source_fps,0),min(source_fps,{fps}),{fps})'"),
    }
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
            source: Source::Ffmpeg { input: input.into() },
            fps: 5.0,
            width: 64,
            height: 48,
            stall_after: Duration::from_secs(1),
            pace,
            looped,
        }
    }

    fn line(input: &str, pace: Pace, looped: bool) -> String {
        arguments(input, &settings(input, pace, looped)).unwrap().join(" ")
    }

    #[test]
    fn a_file_can_reach_nothing_but_files() {
        let line = line("Cargo.toml", Pace::Realtime, true);
        assert!(
            line.contains("-protocol_whitelist file -re -stream_loop -1 -i file:Cargo.toml -an"),
            "{line}"
        );
        assert!(!line.contains("http"));
    }

    #[test]
    fn a_stream_is_neither_paced_nor_looped() {
        let line = line("rtsp://u:p@h/live", Pace::Fast, true);
        assert!(line.contains("-rtsp_transport tcp -i rtsp://u:p@h/live"), "{line}");
        assert!(!line.contains("-re ") && !line.contains("-stream_loop"), "{line}");
        assert!(line.contains("min(source_fps,5)"), "{line}");
    }

    #[test]
    fn a_path_is_never_an_option_or_another_protocol() {
        for input in ["-i", "concat:/etc/passwd", "-version"] {
            let error = arguments(input, &settings(input, Pace::Fast, false)).unwrap_err();
            assert!(matches!(error, CaptureError::Missing { .. }), "{error}");
        }
    }

    #[test]
    fn unknown_schemes_are_named_with_the_known_ones() {
        let error = protocols("gopher://x").unwrap_err().to_string();
        assert!(error.contains("`gopher://`") && error.contains("rtsp://"), "{error}");
        assert!(protocols("RTSP://x").is_ok());
    }
}
