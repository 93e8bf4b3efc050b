//! The conversation with a camera, from the connection to the first packet.

use std::sync::Arc;
use std::time::Duration;

use retina::client::{
    Credentials, Demuxed, Described, InitialTimestampPolicy, PlayOptions, Session, SessionGroup,
    SessionOptions, SetupOptions, Transport as By,
};
use retina::codec::h26x::Framing;
use retina::codec::{FrameFormat, ParameterSetInsertion};
use tokio::time::timeout;
use url::Url;

use super::intake::Intake;
use super::{RtspCamera, RtspError, Transport, relay};
use crate::domain::Codec;

/// How long each answer may take.
const ANSWERING: Duration = Duration::from_secs(6);

/// What a camera's video is coded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Decoded by ffmpeg.
    Video(Codec),
    /// A picture by itself, each time.
    Jpeg,
}

/// A stream that plays.
pub(super) struct Playing {
    pub(super) session: Demuxed,
    /// Which of the camera's streams it is.
    pub(super) stream: usize,
    pub(super) coding: Coding,
}

/// Connects and asks for the video.
pub(super) async fn play(
    camera: &RtspCamera,
    group: Arc<SessionGroup>,
    intake: Arc<Intake>,
) -> Result<Playing, RtspError> {
    let url = reachable(camera, intake).await?;
    let login = camera.login.as_ref();
    let credentials = login.map(|login| Credentials {
        username: login.user.clone(),
        password: login.password.expose().to_owned(),
    });
    let options = SessionOptions::default()
        .creds(credentials)
        .session_group(group)
        .user_agent(concat!("portero/", env!("CARGO_PKG_VERSION")).to_owned());
    let mut session = answered(camera, "DESCRIBE", Session::describe(url, options)).await?;
    let (stream, coding) = video(camera, &session)?;
    // Four bytes of length, as the decoder's container has it; what a decoder needs to know stands before each key picture too.
    let mut format = FrameFormat::default();
    (format.h26x_framing, format.parameter_set_insertion) =
        (Framing::FourByteLength, ParameterSetInsertion::EachKeyFrame);
    let by = match camera.transport {
        Transport::Tcp => By::Tcp(Default::default()),
        Transport::Udp => By::Udp(Default::default()),
    };
    let setup = SetupOptions::default().transport(by).frame_format(format);
    answered(camera, "SETUP", session.setup(stream, setup)).await?;
    let options = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
    let session = answered(camera, "PLAY", session.play(options)).await?;
    let session = session.demuxed().map_err(|error| broken(camera, &error))?;
    Ok(Playing { session, stream, coding })
}

/// The url to ask: that of the relay to the camera. By UDP pictures come to the address that the camera was asked from, which is
/// not the relay's: then it is the camera's own.
async fn reachable(camera: &RtspCamera, intake: Arc<Intake>) -> Result<Url, RtspError> {
    if camera.transport == Transport::Udp {
        if camera.address.is_tls() {
            return Err(RtspError::Url {
                why: "over UDP the pictures of an rtsps camera would come in the clear".into(),
            });
        }
        return Ok(camera.address.url().clone());
    }
    let port = relay::open(camera, intake).await?;
    camera.address.by_way_of(port).ok_or_else(|| RtspError::Url { why: "it cannot be relayed".to_owned() })
}

async fn answered<T>(
    camera: &RtspCamera,
    request: &'static str,
    asked: impl Future<Output = Result<T, retina::Error>>,
) -> Result<T, RtspError> {
    let address = &camera.address;
    let Ok(answer) = timeout(ANSWERING, asked).await else {
        return Err(RtspError::TooSlow { address: address.clone(), request, within: ANSWERING });
    };
    answer.map_err(|error| match error.status_code() {
        Some(status) if !(200..300).contains(&status) => {
            RtspError::refused(address, request, status, camera.login.is_some())
        }
        _ if error.to_string().starts_with("Unable to connect") => {
            RtspError::Unreachable { address: address.clone(), why: innermost(camera, &error) }
        }
        _ => broken(camera, &error),
    })
}

/// What a broken conversation is called: the first line of what the library says, which holds no url.
pub(super) fn broken(camera: &RtspCamera, error: &retina::Error) -> RtspError {
    RtspError::Broken { address: camera.address.clone(), why: first_line(camera, &error.to_string()) }
}

/// The first line without the camera's secrets, printable and of bounded length: a camera may have written what stands in
/// it.
pub(super) fn first_line(camera: &RtspCamera, text: &str) -> String {
    let line = camera.address.masker(camera.login.as_ref()).mask(text.lines().next().unwrap_or_default());
    line.chars().filter(|c| !c.is_control()).take(160).collect()
}

fn innermost(camera: &RtspCamera, error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    first_line(camera, &inner.to_string())
}

/// The first stream that can be decoded.
fn video(camera: &RtspCamera, session: &Session<Described>) -> Result<(usize, Coding), RtspError> {
    let coding = |name: &str| match name {
        "h264" => Some(Coding::Video(Codec::H264)),
        "h265" => Some(Coding::Video(Codec::Hevc)),
        "jpeg" => Some(Coding::Jpeg),
        _ => None,
    };
    let streams = session.streams().iter().enumerate();
    let mut videos = streams.filter(|(_, stream)| stream.media() == "video");
    let found = videos.find_map(|(at, stream)| Some((at, coding(stream.encoding_name())?)));
    found.ok_or_else(|| {
        let names: Vec<String> = session
            .streams()
            .iter()
            .map(|stream| first_line(camera, &format!("{} {}", stream.media(), stream.encoding_name())))
            .collect();
        let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        RtspError::NoVideo { address: camera.address.clone(), found }
    })
}
