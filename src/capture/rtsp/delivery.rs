//! Packets in, pictures out: what runs for as long as an RTSP camera is open.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use retina::client::SessionGroup;
use retina::codec::{CodecItem, ParametersRef, VideoFrame};
use tokio::sync::mpsc::Sender;

use super::decoder::{self, Decoder};
use super::intake::Intake;
use super::line::{Line, Sent, media_us};
use super::session::{self, Coding, Playing, broken, first_line};
use super::{RtspCamera, RtspError};
use crate::capture::decode::Encoded;
use crate::capture::{CaptureError, Copied, Copying, Grab, MediaTime, Settings, Timing, When};
use crate::clock::Clock;
use crate::domain::{Codec, Stamp};

/// Packets in a row that make no sense; more is a lost connection.
const MOST_ERRORS: u32 = 200;
/// A stream without a key picture is decoded all the same after this long: some refresh their pictures bit by bit.
const KEYLESS: Duration = Duration::from_secs(5);

/// What the camera's thread is given.
pub(super) enum Item {
    Grab(Result<Grab, CaptureError>),
    Copied(Copied),
    /// Its pictures are coded each by itself: clips are made of them otherwise.
    NothingToCopy,
}

/// Talks to the camera.
pub(super) struct Delivery {
    camera: RtspCamera,
    settings: Settings,
    clock: Arc<dyn Clock>,
    copying: Arc<Copying>,
    sender: Sender<Item>,
    group: Arc<SessionGroup>,
    intake: Arc<Intake>,
}

/// A stream on its way through the decoder.
struct Stream {
    codec: Codec,
    line: Line,
    /// What the film begins with, once the camera has said enough.
    head: Arc<[u8]>,
    decoder: Option<Decoder>,
    opened: Stamp,
    coded: u64,
    errors: u32,
    complained: bool,
}

/// Why a delivery is over.
enum Over {
    /// Nobody listens any more.
    Deaf,
    Lost(CaptureError),
}

impl<E: Into<CaptureError>> From<E> for Over {
    fn from(error: E) -> Self {
        Over::Lost(error.into())
    }
}

impl Delivery {
    pub(super) fn new(
        camera: RtspCamera,
        settings: Settings,
        clock: Arc<dyn Clock>,
        copying: Arc<Copying>,
        sender: Sender<Item>,
        group: Arc<SessionGroup>,
    ) -> Self {
        Self { camera, settings, clock, copying, sender, group, intake: Arc::default() }
    }

    /// Goes on until the camera is lost or nobody listens.
    pub(super) async fn run(self) {
        tokio::select! {
            over = self.deliver() => if let Over::Lost(error) = over {
                // Nobody listens when the camera was closed meanwhile.
                let _ = self.sender.send(Item::Grab(Err(error))).await;
            },
            () = self.sender.closed() => {}
        }
    }

    async fn deliver(&self) -> Over {
        let over = self.play().await;
        // The library only knows that the connection has ended.
        match self.intake.refusal() {
            Some(why) => {
                RtspError::Broken { address: self.camera.address.clone(), why: why.to_owned() }.into()
            }
            None => over,
        }
    }

    async fn play(&self) -> Over {
        let playing = session::play(&self.camera, Arc::clone(&self.group), Arc::clone(&self.intake)).await;
        let playing = match playing {
            Ok(playing) => playing,
            Err(error) => return error.into(),
        };
        let ended = match playing.coding {
            Coding::Video(codec) => self.decode(playing, codec).await,
            Coding::Jpeg => self.pass_on(playing).await,
        };
        match ended {
            Ok(never) => match never {},
            Err(over) => over,
        }
    }

    /// Pictures that are coded each by itself.
    async fn pass_on(&self, mut playing: Playing) -> Result<Infallible, Over> {
        self.send(Item::NothingToCopy).await?;
        let (mut frames, mut errors) = (0, 0);
        loop {
            match playing.session.next().await {
                None => return Err(self.ended(frames).into()),
                Some(Err(error)) => self.endure(&error, &mut errors)?,
                Some(Ok(CodecItem::VideoFrame(frame))) => {
                    self.intake.gave_a_picture();
                    (frames, errors) = (frames + 1, 0);
                    let (arrived, time) = (Some(self.clock.now()), frame.timestamp());
                    let media = media_us(time.timestamp(), time.clock_rate().get());
                    let timing = Timing { arrived, media: Some(MediaTime::fine(media)) };
                    self.send(Item::Grab(Ok(Grab::Encoded(Encoded::jpeg(frame.into_data()), timing))))
                        .await?;
                }
                Some(Ok(_)) => {}
            }
        }
    }

    /// Pictures that build on each other.
    async fn decode(&self, mut playing: Playing, codec: Codec) -> Result<Infallible, Over> {
        let mut stream = Stream::new(codec, self.clock.now());
        loop {
            let may_read = stream.decoder.as_ref().is_none_or(Decoder::has_room);
            tokio::select! {
                item = playing.session.next(), if may_read => match item {
                    None => return Err(self.ended(stream.coded).into()),
                    Some(Err(error)) => self.endure(&error, &mut stream.errors)?,
                    Some(Ok(CodecItem::VideoFrame(frame))) => self.take(&mut stream, frame, &playing).await?,
                    Some(Ok(_)) => {}
                },
                decoded = next_of(&mut stream.decoder) => match decoded? {
                    Some((tick, picture)) => self.show(&mut stream, tick, picture).await?,
                    None => {
                        let error = stream.decoder.take().map(Decoder::post_mortem);
                        return Err(error.unwrap_or(CaptureError::NoFrame).into());
                    }
                },
            }
        }
    }

    /// One coded picture: to the decoder, and to the clips where they want it.
    async fn take(&self, stream: &mut Stream, frame: VideoFrame, playing: &Playing) -> Result<(), Over> {
        let now = self.clock.now();
        self.intake.gave_a_picture();
        stream.errors = 0;
        stream.coded += 1;
        let is_key = frame.is_random_access_point();
        if stream.decoder.is_none() {
            let Some(ParametersRef::Video(parameters)) =
                playing.session.streams()[playing.stream].parameters()
            else {
                return self.wait_for_key(stream).await;
            };
            if !is_key && now.since(stream.opened) < KEYLESS {
                return self.wait_for_key(stream).await;
            }
            let head = decoder::head(stream.codec, parameters.extra_data(), parameters.pixel_dimensions());
            stream.decoder = Some(Decoder::start(&self.camera, &self.settings, stream.codec, &head)?);
            stream.head = head.into();
        } else if frame.has_new_parameters() {
            return Err(RtspError::Changed { address: self.camera.address.clone() }.into());
        }
        let rate = frame.timestamp().clock_rate().get();
        let tick = stream.line.put(frame.timestamp().timestamp(), rate, now);
        let bytes: Arc<[u8]> = decoder::packet(tick, is_key, frame.data()).into();
        if let Some(decoder) = &mut stream.decoder {
            decoder.feed(Arc::clone(&bytes));
        }
        if self.copying.is_wanted() {
            let head = is_key.then(|| Arc::clone(&stream.head));
            let when = When::Arrived(now);
            self.send(Item::Copied(Copied { when, codec: stream.codec, is_key, bytes, head })).await?;
        }
        Ok(())
    }

    /// A picture came that builds on others which did not; said once.
    async fn wait_for_key(&self, stream: &mut Stream) -> Result<(), Over> {
        if std::mem::replace(&mut stream.complained, true) {
            return Ok(());
        }
        let (what, why) =
            ("its stream".to_owned(), "no key picture has come yet, which the others build on".to_owned());
        self.send(Item::Grab(Ok(Grab::Damaged(CaptureError::Damaged { what, why })))).await
    }

    /// A decoded picture, with the time that its camera gave it.
    async fn show(&self, stream: &mut Stream, tick: i64, picture: Encoded) -> Result<(), Over> {
        // The decoder made it up, or its time is forgotten: nothing is known of its age.
        let Some(Sent { arrived, media_us }) = stream.line.take(tick) else { return Ok(()) };
        let timing = Timing { arrived: Some(arrived), media: Some(MediaTime::fine(media_us)) };
        self.send(Item::Grab(Ok(Grab::Encoded(picture, timing)))).await
    }

    async fn send(&self, item: Item) -> Result<(), Over> {
        self.sender.send(item).await.map_err(|_| Over::Deaf)
    }

    fn ended(&self, frames: u64) -> RtspError {
        RtspError::Ended { address: self.camera.address.clone(), frames }
    }

    /// One packet that makes no sense is no loss, many are.
    fn endure(&self, error: &retina::Error, errors: &mut u32) -> Result<(), Over> {
        *errors += 1;
        if *errors > MOST_ERRORS {
            return Err(broken(&self.camera, error).into());
        }
        log::debug!(
            "camera {}: passed over: {}",
            self.settings.camera,
            first_line(&self.camera, &error.to_string())
        );
        Ok(())
    }
}

impl Stream {
    fn new(codec: Codec, now: Stamp) -> Self {
        Self {
            codec,
            line: Line::new(now),
            head: Arc::new([]),
            decoder: None,
            opened: now,
            coded: 0,
            errors: 0,
            complained: false,
        }
    }
}

/// The next picture of a decoder; never, while there is none.
async fn next_of(decoder: &mut Option<Decoder>) -> Result<Option<decoder::Decoded>, CaptureError> {
    match decoder {
        Some(decoder) => decoder.next().await,
        None => std::future::pending().await,
    }
}
