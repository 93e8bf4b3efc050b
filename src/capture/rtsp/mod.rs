//! RTSP cameras: the connection is ours, ffmpeg only decodes what comes through a pipe.
//!
//! So the time that the camera stamps each picture with is known to the microsecond, a login goes to nobody but the camera,
//! and the first picture is there with the first key picture. The same coded pictures serve the clips.
//!
//! Everything runs on the camera's own thread, on an event loop that turns only while somebody waits in
//! [`RtspSource::next`]: a reader that is slow holds the camera back by TCP.
//!
//! | file | what |
//! |---|---|
//! | `address` | urls |
//! | `session` | the conversation up to the first packet |
//! | `relay` | the way to the camera, TLS where it is asked for |
//! | `intake` | how much a camera may send before a picture comes of it |
//! | `line` | the camera's time, made steady for the decoder |
//! | `decoder` | ffmpeg, fed through a socket |
//! | `delivery` | packets in, pictures and coded pictures out |

mod address;
mod decoder;
mod delivery;
mod error;
mod intake;
mod line;
mod relay;
mod session;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use address::RtspAddress;
pub use error::RtspError;

use delivery::{Delivery, Item};
use retina::client::SessionGroup;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;

use super::waiting::over;
use super::{CaptureError, Copied, Copying, Decoder, FrameSource, Grab, Pictures, Settings};
use crate::clock::Clock;
use crate::domain::Login;
use crate::shutdown::Stop;

/// How long the camera may take to hear that nobody watches any more.
const FAREWELL: Duration = Duration::from_millis(300);

/// An RTSP camera.
#[derive(Debug, Clone, PartialEq)]
pub struct RtspCamera {
    /// Where the stream is.
    pub address: RtspAddress,
    /// Sent when it is asked for, by Basic or Digest authentication (MD5 or SHA-256).
    pub login: Option<Login>,
    /// PEM file with the camera's certificate, or the authority that signed it; the system's authorities otherwise.
    pub ca_file: Option<PathBuf>,
    /// How the pictures come.
    pub transport: Transport,
    /// What decodes. A codec that it names is passed over: the camera says which it is.
    pub decoder: Decoder,
    /// What of the stream is decoded.
    pub pictures: Pictures,
}

impl RtspCamera {
    /// A camera without a login, over TCP, all of it decoded in software.
    #[must_use]
    pub fn new(address: RtspAddress) -> Self {
        Self {
            address,
            login: None,
            ca_file: None,
            transport: Transport::Tcp,
            decoder: Decoder::Software,
            pictures: Pictures::All,
        }
    }
}

/// How RTP packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Within the connection that they were asked for on.
    Tcp,
    /// By themselves; what is lost or comes in another order is not looked for.
    Udp,
}

/// Pictures from an RTSP camera.
pub(super) struct RtspSource {
    /// Taken when it is dropped.
    running: Option<(Runtime, JoinHandle<()>, Arc<SessionGroup>)>,
    items: Receiver<Item>,
    copied: Vec<Copied>,
    /// Whether its stream can be copied, as far as is known.
    copies: bool,
}

impl RtspSource {
    /// Starts to connect; returns before anything has come.
    pub(super) fn open(
        camera: &RtspCamera,
        settings: &Settings,
        clock: Arc<dyn Clock>,
        copying: Arc<Copying>,
    ) -> Result<Self, CaptureError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| RtspError::Start { address: camera.address.clone(), source })?;
        let (sender, items) = channel(1);
        let group = Arc::new(SessionGroup::default());
        let delivery =
            Delivery::new(camera.clone(), settings.clone(), clock, copying, sender, Arc::clone(&group));
        let task = runtime.spawn(delivery.run());
        Ok(Self { running: Some((runtime, task, group)), items, copied: Vec::new(), copies: true })
    }
}

impl FrameSource for RtspSource {
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError> {
        let Some((runtime, ..)) = &self.running else { return Ok(Grab::End) };
        let items = &mut self.items;
        let first = runtime.block_on(async {
            tokio::select! {
                item = items.recv() => item,
                () = over(deadline, stop) => Some(Item::Grab(Ok(Grab::Nothing))),
            }
        });
        match first {
            Some(Item::Grab(grab)) => grab,
            Some(Item::NothingToCopy) => {
                self.copies = false;
                Ok(Grab::Nothing)
            }
            Some(Item::Copied(copied)) => {
                self.copied.push(copied);
                Ok(Grab::Nothing)
            }
            // The delivery ends with an error, which was the last thing it sent.
            None => Err(CaptureError::NoFrame),
        }
    }

    fn copied(&mut self) -> Vec<Copied> {
        std::mem::take(&mut self.copied)
    }

    fn copies(&self) -> bool {
        self.copies
    }
}

impl Drop for RtspSource {
    fn drop(&mut self) {
        let Some((runtime, task, group)) = self.running.take() else { return };
        self.items.close();
        while self.items.try_recv().is_ok() {}
        // The camera is told that we leave, if it listens. Otherwise it may keep our place, and have none for the next viewer.
        runtime.block_on(async {
            let farewell = async {
                let _ = task.await;
                let _ = group.await_teardown().await;
            };
            let _ = tokio::time::timeout(FAREWELL, farewell).await;
        });
        runtime.shutdown_background();
    }
}
