//! Pictures to a clip: H.264 in MP4 by ffmpeg, which every browser plays.
//!
//! ffmpeg gets the pictures with their times and encodes on one core. Where it has no encoder for H.264, a clip is VP8 in
//! WebM; where it has none at all, or where there is no ffmpeg, the pictures themselves are the clip, in Matroska: players
//! show that, browsers do not. What was copied of a camera's own stream is only put into MP4.

use std::process::{Command, Stdio};

use jiff::Timestamp;

use super::ring::Kept;
use super::{EvidenceError, child, matroska};
use crate::domain::{Codec, Stamp, StreamPart};
use crate::shutdown::Stop;

/// How a clip is made and which form it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// H.264 in MP4, by this encoder of ffmpeg's.
    H264(&'static str),
    /// VP8 in WebM.
    Vp8,
    /// The pictures as they are, Motion JPEG in Matroska.
    Mjpeg,
}

impl Form {
    /// The best that ffmpeg here can make. Runs `ffmpeg -encoders`.
    ///
    /// # Errors
    /// [`EvidenceError::NoFfmpeg`]; then there is only [`Form::Mjpeg`].
    pub fn find() -> Result<Self, EvidenceError> {
        let asked = Command::new("ffmpeg").args(["-hide_banner", "-encoders"]).stdin(Stdio::null()).output();
        let listed = String::from_utf8_lossy(&asked.map_err(EvidenceError::NoFfmpeg)?.stdout).into_owned();
        let has = |name: &&str| listed.lines().any(|line| line.split_whitespace().nth(1) == Some(name));
        Ok(match ["libx264", "libopenh264"].into_iter().find(has) {
            Some(encoder) => Form::H264(encoder),
            None if has(&"libvpx") => Form::Vp8,
            None => Form::Mjpeg,
        })
    }

    /// The end of the name of such a file.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Form::H264(_) => "mp4",
            Form::Vp8 => "webm",
            Form::Mjpeg => "mkv",
        }
    }

    /// In words, for `portero doctor`.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Form::H264(encoder) => format!("H.264 in MP4 by {encoder}"),
            Form::Vp8 => "VP8 in WebM: ffmpeg has no encoder for H.264".to_owned(),
            Form::Mjpeg => "Motion JPEG in Matroska, which browsers do not play".to_owned(),
        }
    }

    fn options(self) -> Vec<&'static str> {
        match self {
            Form::H264("libx264") => {
                vec![
                    "-c:v",
                    "libx264",
                    "-preset",
                    "veryfast",
                    "-crf",
                    "26",
                    "-movflags",
                    "+faststart",
                    "-f",
                    "mp4",
                ]
            }
            Form::H264(encoder) => {
                vec!["-c:v", encoder, "-b:v", "1M", "-movflags", "+faststart", "-f", "mp4"]
            }
            Form::Vp8 => {
                let quick = ["-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M", "-f", "webm"];
                [vec!["-c:v", "libvpx"], quick.to_vec()].concat()
            }
            Form::Mjpeg => Vec::new(),
        }
    }
}

/// The bytes of a clip of these frames, oldest first, at least one, all of them JPEG. Blocks for as long as the encoder
/// takes, or until `stop` is requested.
///
/// # Errors
/// [`EvidenceError`] except for those of files.
pub fn encode(frames: &[Kept], form: Form, stop: &Stop) -> Result<Vec<u8>, EvidenceError> {
    let (width, height) = frames.first().and_then(|kept| jpeg_size(&kept.jpeg)).unwrap_or((0, 0));
    let film = matroska::file(frames, width, height);
    if form == Form::Mjpeg {
        return Ok(film);
    }
    // The option has a new name since ffmpeg 5.1; sooner or later the old one is gone.
    match run(&film, frames, "-fps_mode", form, stop) {
        Err(EvidenceError::Ffmpeg(why)) if why.contains("fps_mode") => {
            run(&film, frames, "-vsync", form, stop)
        }
        other => other,
    }
}

/// Lets ffmpeg make `film` a clip; `timing` names its option to keep the moment of each picture.
fn run(
    film: &[u8],
    frames: &[Kept],
    timing: &str,
    form: Form,
    stop: &Stop,
) -> Result<Vec<u8>, EvidenceError> {
    let taken = taken_at(frames.first().map(|kept| kept.stamp));
    // The halved chroma wants even sides.
    let mut options = vec!["-threads", "1", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p"];
    options.extend([timing, "vfr", "-enc_time_base", "1:1000", "-metadata", &taken]);
    options.extend(form.options());
    child::convert([film], "matroska", &options, stop)
}

/// The clip of these parts of a camera's own stream, oldest first, the first a key picture: MP4 again, not encoded anew. Each
/// picture keeps its own moment. Blocks for as long as ffmpeg takes, or until `stop` is requested.
///
/// # Errors
/// [`EvidenceError`] except for those of files.
pub fn copy(parts: &[StreamPart], stop: &Stop) -> Result<Vec<u8>, EvidenceError> {
    let taken = taken_at(parts.first().map(|part| part.stamp));
    let mut options = vec!["-map", "0:v:0", "-c:v", "copy", "-metadata", &taken];
    if parts.first().is_some_and(|part| part.codec == Codec::Hevc) {
        // The name that Apple's players want.
        options.extend(["-tag:v", "hvc1"]);
    }
    options.extend(["-movflags", "+faststart", "-f", "mp4"]);
    let head = parts.first().and_then(|part| part.head.as_deref());
    let form = if head.is_some() { "matroska" } else { "mpegts" };
    child::convert(head.into_iter().chain(parts.iter().map(|part| &part.bytes[..])), form, &options, stop)
}

/// When the first picture was taken, as ffmpeg reads it.
fn taken_at(first: Option<Stamp>) -> String {
    let wall_us = first.map_or(0, Stamp::wall_us);
    format!("creation_time={}", Timestamp::from_microsecond(wall_us).unwrap_or_default())
}

/// Width and height of a JPEG: its frame header (ITU-T T.81, B.2.2) is found by walking over the segments before it.
fn jpeg_size(jpeg: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let [0xFF, marker, high, low] = *jpeg.get(at..at + 4)? else { return None };
        if matches!(marker, 0xC0..=0xC2) {
            let [height_high, height_low, width_high, width_low] = *jpeg.get(at + 5..at + 9)? else {
                return None;
            };
            let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
            return Some((side(width_high, width_low), side(height_high, height_low)));
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::domain::{CameraId, Frame, FrameRef, FrameSeq};
    use crate::shutdown::stop_pair;

    fn kept(at_ms: u64, width: u32, height: u32) -> Kept {
        let stamp = Stamp::new(at_ms * 1000, 1_790_000_000_000_000).plus(Duration::ZERO);
        let at = FrameRef::new(FrameSeq(0), stamp);
        let rgb: Vec<u8> = (0..width * height * 3).map(|i| (i + at_ms as u32) as u8).collect();
        let frame = Frame::new(CameraId::new("c").unwrap(), at, width, height, rgb).unwrap();
        Kept { stamp, jpeg: Arc::from(portero_vision::jpeg::encode(&frame, 80).unwrap()) }
    }

    /// Codec, size, times of the pictures in seconds, as ffprobe sees them.
    fn probe(clip: &[u8]) -> (String, Vec<f64>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), clip).unwrap();
        let probe = |what: &str| {
            let mut command = Command::new("ffprobe");
            command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", what, "-of", "csv=p=0"]);
            let output = command
                .arg(file.path())
                .output()
                .expect("ffmpeg is needed by the tests: apt-get install ffmpeg");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let times = probe("packet=pts_time")
            .lines()
            .filter_map(|line| line.trim_end_matches(',').parse().ok())
            .collect();
        (probe("stream=codec_name,width,height").trim().to_owned(), times)
    }

    #[test]
    fn pictures_keep_their_times_in_every_form() {
        // Uneven times, a gap, and an odd size.
        let times = [0u64, 200, 400, 650, 800, 4800, 5000, 12_345];
        let frames: Vec<Kept> = times.iter().map(|at| kept(7_000 + at, 63, 47)).collect();
        let (_handle, stop) = stop_pair();
        let best = Form::find().unwrap();
        assert!(matches!(best, Form::H264(_)), "{best:?}");
        for (form, wanted) in [(best, "h264,64,48"), (Form::Vp8, "vp8,64,48"), (Form::Mjpeg, "mjpeg,63,47")] {
            let (stream, mut found) = probe(&encode(&frames, form, &stop).unwrap());
            found.sort_by(f64::total_cmp);
            assert_eq!(stream, wanted);
            assert_eq!(found.len(), times.len(), "{form:?}: {found:?}");
            for (found, at) in found.iter().zip(times) {
                let off = (found - found.min(0.0) - at as f64 / 1e3).abs();
                assert!(off < 0.03, "{form:?}: {found} s in place of {at} ms");
            }
        }
    }

    #[test]
    fn one_picture_is_a_clip_too() {
        let (_handle, stop) = stop_pair();
        let clip = encode(&[kept(0, 64, 48)], Form::find().unwrap(), &stop).unwrap();
        assert_eq!(probe(&clip).1.len(), 1);
    }

    #[test]
    fn what_is_no_picture_is_an_error_in_words_and_a_stop_does_not_wait() {
        let (handle, stop) = stop_pair();
        let broken = Kept { stamp: Stamp::new(0, 0), jpeg: Arc::from(vec![0; 100]) };
        let error = encode(&[broken], Form::find().unwrap(), &stop).unwrap_err();
        assert!(matches!(&error, EvidenceError::Ffmpeg(why) if why.len() > 5), "{error}");
        drop(handle);
        let many: Vec<Kept> = (0..200).map(|i| kept(i * 100, 640, 480)).collect();
        let error = encode(&many, Form::find().unwrap(), &stop).unwrap_err();
        assert!(matches!(error, EvidenceError::Stopped), "{error}");
    }
}
