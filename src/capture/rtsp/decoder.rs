//! ffmpeg, fed with coded pictures through a socket; what it decodes comes back with the tick that was fed.

use std::collections::VecDeque;
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;

use super::RtspCamera;
use crate::capture::child::{FFMPEG_LIMITS, HARDWARE_LIMITS};
use crate::capture::decode::{Encoded, check_size};
use crate::capture::nut::{NotNut, Splitter};
use crate::capture::process::{Outlet, Process};
use crate::capture::{CaptureError, Decoder as Kind, PixelFormat, Settings, ffmpeg};
use crate::domain::Codec;
use crate::matroska;

/// A tick of the container in nanoseconds: as nearly 1/90000 s as its whole numbers allow.
const TICK_NS: u64 = 11_111;
/// So much may wait for ffmpeg, in bytes; then the camera has to wait.
const MOST_WAITING: usize = 4 << 20;
/// How long ffmpeg may take to say why it ended.
const FAREWELL: Duration = Duration::from_millis(500);

/// A running decoder.
pub(super) struct Decoder {
    process: Process,
    /// Tells when it has said something; `None` once it says no more.
    complaints: Option<Receiver>,
    input: UnixStream,
    output: UnixStream,
    waiting: VecDeque<Arc<[u8]>>,
    waiting_bytes: usize,
    /// How much of the first that waits was written.
    written: usize,
    splitter: Splitter,
    size: (u32, u32),
    pictures: u64,
}

/// A decoded picture and its tick.
pub(super) type Decoded = (i64, Encoded);

impl Decoder {
    /// Starts ffmpeg for a stream whose container begins with `head`.
    pub(super) fn start(
        camera: &RtspCamera,
        settings: &Settings,
        codec: Codec,
        head: &[u8],
    ) -> std::result::Result<Self, CaptureError> {
        let size = (settings.width, settings.height);
        check_size(size.0, size.1)?;
        let bytes = PixelFormat::Yuv420p.frame_bytes(size.0, size.1);
        let bytes = bytes.ok_or(CaptureError::Size { width: size.0, height: size.1 })?;
        let kind = match camera.decoder {
            Kind::V4l2M2m(_) => Kind::V4l2M2m(codec),
            Kind::Nvv4l2(_) => Kind::Nvv4l2(codec),
            kind => kind,
        };
        let args = ffmpeg::decode_pipe(kind, camera.pictures, settings);
        let limits = if kind == Kind::Software { FFMPEG_LIMITS } else { HARDWARE_LIMITS };
        let process = Process::start("ffmpeg", &args, None, Outlet::Fed, limits)?;
        let process = process.hiding(camera.address.masker(camera.login.as_ref()));
        let mut decoder = Self::of(process, size, bytes)?;
        decoder.feed(head.into());
        Ok(decoder)
    }

    /// A program that is fed, and writes pictures of this size, which take so many bytes.
    fn of(mut process: Process, size: (u32, u32), bytes: usize) -> std::result::Result<Self, CaptureError> {
        let failed = |source| CaptureError::Start { program: "ffmpeg".to_owned(), source };
        let ends = process.take_ends().ok_or_else(|| failed(ErrorKind::BrokenPipe.into()))?;
        let (input, output) = (UnixStream::from_std(ends.0), UnixStream::from_std(ends.1));
        let complaints = process.complaints().map_err(failed)?;
        let complaints = complaints.map(Receiver::from_owned_fd).transpose().map_err(failed)?;
        Ok(Self {
            process,
            complaints,
            input: input.map_err(failed)?,
            output: output.map_err(failed)?,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            written: 0,
            splitter: Splitter::new(bytes),
            size,
            pictures: 0,
        })
    }

    /// Takes in more of the container.
    pub(super) fn feed(&mut self, bytes: Arc<[u8]>) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(bytes);
    }

    /// Whether more may be fed.
    pub(super) fn has_room(&self) -> bool {
        self.waiting_bytes < MOST_WAITING
    }

    /// Waits until a picture is whole, writing what waits; `None` when ffmpeg has ended. May be given up at any time.
    pub(super) async fn next(&mut self) -> std::result::Result<Option<Decoded>, CaptureError> {
        loop {
            if let Some((at_ns, bytes)) = self.splitter.take().map_err(foreign)? {
                self.pictures += 1;
                let (width, height) = self.size;
                let picture = Encoded::raw(PixelFormat::Yuv420p, width, height, bytes);
                return Ok(Some((at_ns.div_euclid(TICK_NS.cast_signed()), picture)));
            }
            let step = tokio::select! {
                ready = self.output.readable() => ready.and_then(|()| self.read()),
                ready = self.input.writable(), if !self.waiting.is_empty() => ready.and_then(|()| self.write()),
                heard = listen(&mut self.complaints, &mut self.process) => heard.map(|()| true),
            };
            match step {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    return Ok(None);
                }
                Err(source) => return Err(CaptureError::Read { program: "ffmpeg".to_owned(), source }),
            }
        }
    }

    /// False at the end.
    fn read(&mut self) -> Result<bool> {
        match self.output.try_read_buf(self.splitter.room()) {
            Ok(n) => Ok(n > 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> Result<bool> {
        while let Some(first) = self.waiting.front() {
            match self.input.try_write(&first[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
            if self.written >= first.len() {
                self.waiting_bytes -= first.len();
                self.waiting.pop_front();
                self.written = 0;
            }
        }
        Ok(true)
    }

    /// Why it ended.
    pub(super) fn post_mortem(mut self) -> CaptureError {
        drop((self.input, self.output));
        let status = self.process.finish(FAREWELL);
        self.process.exited(status, self.pictures, "")
    }
}

/// Takes what a program says, as soon as it says something; never returns once it says no more.
async fn listen(complaints: &mut Option<Receiver>, process: &mut Process) -> Result<()> {
    let Some(pipe) = complaints else { return std::future::pending().await };
    pipe.readable().await?;
    let mut buffer = [0; 4096];
    match pipe.try_read(&mut buffer) {
        Ok(0) => *complaints = None,
        Ok(n) => process.said(&buffer[..n]),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn foreign(NotNut(why): NotNut) -> CaptureError {
    CaptureError::Damaged { what: "the output of ffmpeg".to_owned(), why }
}

/// The head of an endless film: what is coded how, what a decoder must know beforehand, how large it is.
pub(super) fn head(codec: Codec, private: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let name = match codec {
        Codec::H264 => "V_MPEG4/ISO/AVC",
        Codec::Hevc => "V_MPEGH/ISO/HEVC",
    };
    [
        matroska::head(),
        matroska::endless_segment(),
        matroska::info(TICK_NS, None),
        matroska::track(name, private, width, height),
    ]
    .concat()
}

/// One coded picture of the film.
pub(super) fn packet(tick: u64, is_key: bool, data: &[u8]) -> Vec<u8> {
    matroska::cluster(tick, &matroska::block(0, is_key, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::Masker;
    use crate::capture::process::Limits;

    /// A stand-in for ffmpeg: a script that writes what `before` says and then one picture of 64 by 48.
    fn stand_in(before: &str) -> Process {
        let film = "ffmpeg -loglevel error -f lavfi -i testsrc=size=64x48:rate=5:duration=1 -pix_fmt yuv420p \
            -c:v rawvideo -f nut pipe:1";
        let script = format!("{before}; exec {film}");
        Process::start("sh", &["-c".to_owned(), script], None, Outlet::Fed, Limits::default()).unwrap()
    }

    async fn first(decoder: &mut Decoder) -> Option<Decoded> {
        let picture = tokio::time::timeout(Duration::from_secs(20), decoder.next()).await;
        picture.expect("the decoder stands still").unwrap()
    }

    #[tokio::test]
    async fn a_decoder_that_complains_much_does_not_stand_still() {
        let process = stand_in("head -c 400000 /dev/zero | tr '\\0' x >&2");
        let mut decoder = Decoder::of(process, (64, 48), 64 * 48 * 3 / 2).unwrap();
        assert!(first(&mut decoder).await.is_some());
    }

    #[tokio::test]
    async fn what_a_decoder_says_at_its_end_holds_no_secret_and_moves_no_cursor() {
        let script = "printf 'one\\033[2J geheim\\rtwo\\n' >&2".to_owned();
        let process = Process::start("sh", &["-c".to_owned(), script], None, Outlet::Fed, Limits::default());
        let process = process.unwrap().hiding(Masker::of_texts(["geheim"].into_iter()));
        let mut decoder = Decoder::of(process, (64, 48), 64 * 48 * 3 / 2).unwrap();
        assert!(first(&mut decoder).await.is_none());
        let said = decoder.post_mortem().to_string();
        assert!(said.contains("one[2J ***; two") && !said.contains(char::is_control), "{said:?}");
    }
}
