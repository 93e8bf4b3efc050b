//! Cameras with a web server: an endless stream of JPEG pictures (Motion JPEG, `multipart/x-mixed-replace`), or one
//! picture an answer, asked for again and again.
//!
//! Which of the two it is, the answer's media type says. Either way pictures are found by their own markers (see
//! `mjpeg`), so what a stream claims about lengths and boundaries is not believed. Nothing here is decoded.
//!
//! The exchange runs on the camera's own thread, on an event loop that turns only while somebody waits in
//! [`HttpSource::next`]: a reader that is slow holds the camera back by TCP. The system's resolver is the one thing
//! that takes a thread of its own.
//!
//! HTTP is spoken here and not by a client library, because a stream without an end needs a limit for each piece and a
//! way out of every wait, where those limit the whole.
//!
//! | file | what |
//! |---|---|
//! | `address` | urls |
//! | `message` | heads and bodies of answers |
//! | `dating` | when a picture was taken, where the server says so |
//! | `exchange`, `login` | one request: connection, redirects, login |

mod address;
mod dating;
mod error;
mod exchange;
mod login;
mod message;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

pub use address::Address;
pub use error::HttpError;
use exchange::{Answer, Visitor};

use super::decode::{Encoded, MAX_STREAM_PICTURE_BYTES};
use super::mjpeg::{Found, Splitter};
use super::waiting::over;
use super::{CaptureError, FrameSource, Grab, MediaTime, Settings, Timing};
use crate::clock::Clock;
use crate::domain::Login;
use crate::shutdown::Stop;

/// A camera's web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCamera {
    /// Where the pictures are.
    pub address: Address,
    /// Sent when it is asked for, by Basic or Digest authentication.
    pub login: Option<Login>,
    /// PEM file with the camera's certificate, or the authority that signed it; the system's authorities otherwise.
    pub ca_file: Option<PathBuf>,
}

/// Pictures from a web server.
pub(super) struct HttpSource {
    /// Taken when it is dropped.
    runtime: Option<Runtime>,
    grabs: Receiver<Result<Grab, CaptureError>>,
}

impl HttpSource {
    /// Starts asking; returns before anything has come.
    pub(super) fn open(
        camera: &HttpCamera,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CaptureError> {
        let visitor = Visitor::new(camera)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| HttpError::Start { address: camera.address.clone(), source })?;
        let (sender, grabs) = channel(1);
        let period = settings.period();
        drop(runtime.spawn(async move {
            let mut delivery = Delivery { visitor, clock, pictures: 0, sender };
            let Err(error) = delivery.run(period).await else { return };
            // Nobody listens when the camera was closed meanwhile.
            let _ = delivery.sender.send(Err(error.into())).await;
        }));
        Ok(Self { runtime: Some(runtime), grabs })
    }
}

impl FrameSource for HttpSource {
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError> {
        let Some(runtime) = &self.runtime else { return Ok(Grab::End) };
        let grabs = &mut self.grabs;
        let first = runtime.block_on(async {
            tokio::select! {
                grab = grabs.recv() => grab,
                () = over(deadline, stop) => Some(Ok(Grab::Nothing)),
            }
        });
        // The delivery ends with an error, which was the last thing it sent.
        first.unwrap_or(Err(CaptureError::NoFrame))
    }
}

impl Drop for HttpSource {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A resolver that hangs must not keep us.
            runtime.shutdown_background();
        }
    }
}

/// Fetches pictures and hands them over one by one.
struct Delivery {
    visitor: Visitor,
    clock: Arc<dyn Clock>,
    /// Pictures found, whole or not.
    pictures: u64,
    sender: Sender<Result<Grab, CaptureError>>,
}

impl Delivery {
    /// Goes on until the camera is lost; `Ok` when nobody listens any more.
    async fn run(&mut self, period: Duration) -> Result<(), HttpError> {
        loop {
            let next = tokio::time::Instant::now() + period;
            let asked = self.clock.now();
            let answer = self.visitor.get().await?;
            let kind = answer.head.media_type();
            if kind.starts_with("text/") || kind.starts_with("video/") || kind == "application/json" {
                let address = self.visitor.address().clone();
                return Err(HttpError::NoPictures {
                    address,
                    found: self.visitor.masked(&format!("`{kind}`")),
                });
            }
            let before = self.pictures;
            let first = (!kind.starts_with("multipart/")).then(|| dating::of_answer(&answer.head, asked));
            if !self.read(answer, first).await? {
                return Ok(());
            }
            if kind.starts_with("multipart/") {
                let (address, frames) = (self.visitor.address().clone(), self.pictures);
                return Err(HttpError::Ended { address, frames });
            }
            if self.pictures == before {
                let address = self.visitor.address().clone();
                return Err(HttpError::NoPictures {
                    address,
                    found: "an answer without a JPEG in it".into(),
                });
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Reads an answer to its end, if it has one; false when nobody listens any more.
    /// `first` is the moment of its first picture, as far as that is known without looking further: an answer may be a stream
    /// although its type does not say so.
    async fn read(&mut self, mut answer: Answer, mut first: Option<MediaTime>) -> Result<bool, HttpError> {
        let mut splitter = Splitter::new(MAX_STREAM_PICTURE_BYTES);
        loop {
            let read = self.visitor.read(&mut answer, &mut |bytes| splitter.feed(bytes)).await;
            if !read
                .map_err(|source| self.visitor.broken(source, format!(" after {} pictures", self.pictures)))?
            {
                break;
            }
            loop {
                let grab = match splitter.next() {
                    Found::Picture(bytes) => {
                        self.pictures += 1;
                        let arrived = Some(self.clock.now());
                        let dated = first.take().or_else(|| dating::moment(splitter.before()));
                        Grab::Encoded(Encoded::jpeg(bytes), Timing { arrived, media: dated })
                    }
                    Found::Broken(why) => Grab::Damaged(CaptureError::broken_jpeg(why)),
                    Found::Nothing(bytes) => {
                        let found = format!("{bytes} bytes without a JPEG picture in them");
                        let address = self.visitor.address().clone();
                        return Err(HttpError::NoPictures { address, found });
                    }
                    Found::More => break,
                };
                if self.sender.send(Ok(grab)).await.is_err() {
                    return Ok(false);
                }
            }
        }
        self.visitor.done_with(answer);
        if splitter.is_inside() {
            self.pictures += 1;
            let cut_off = Grab::Damaged(CaptureError::broken_jpeg("it is cut off"));
            return Ok(self.sender.send(Ok(cut_off)).await.is_ok());
        }
        Ok(true)
    }
}
