//! What can go wrong between us and an RTSP camera, in words that say what to do.

use std::io;
use std::time::Duration;

use super::RtspAddress;
use crate::capture::tls::BadCertificates;

/// Why an RTSP camera gives no picture. Everything but the first two is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RtspError {
    /// A text that is no url of an RTSP camera.
    #[error("this is no url of an RTSP camera: {why}")]
    Url {
        /// What is wrong with it.
        why: String,
    },
    /// The file with the certificate to trust.
    #[error("the certificate file {} {why}", path.display())]
    Certificates {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The machinery of sockets and timers could not be started.
    #[error("the reader of {address} could not be started")]
    Start {
        /// The camera's url.
        address: RtspAddress,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No connection.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// The camera's url.
        address: RtspAddress,
        /// What the system said.
        why: String,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {address}; a camera's own certificate is trusted by `ca_file`")]
    Tls {
        /// The camera's url.
        address: RtspAddress,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// A time limit was passed.
    #[error("{address} did not answer {request} within {within:?}")]
    TooSlow {
        /// The camera's url.
        address: RtspAddress,
        /// What was asked.
        request: &'static str,
        /// The time allowed.
        within: Duration,
    },
    /// It wants to know who we are.
    #[error("{address} asks for a login (401): give `user` and `password_file`")]
    LoginWanted {
        /// The camera's url.
        address: RtspAddress,
    },
    /// It does not accept who we are.
    #[error("{address} refuses the user or the password (401)")]
    LoginRefused {
        /// The camera's url.
        address: RtspAddress,
    },
    /// An answer that is no success.
    #[error("{address} answers {request} with {status}: {meaning}")]
    Refused {
        /// The camera's url.
        address: RtspAddress,
        /// What was asked.
        request: &'static str,
        /// Its code.
        status: u16,
        /// What that means.
        meaning: &'static str,
    },
    /// It sends nothing that can be decoded here.
    #[error("{address} sends no H.264, H.265 or JPEG video, but {found}; `connect = \"ffmpeg\"` may read it")]
    NoVideo {
        /// The camera's url.
        address: RtspAddress,
        /// What it offers.
        found: String,
    },
    /// It does not keep to RTSP, or the connection broke.
    #[error("{address} broke off: {why}")]
    Broken {
        /// The camera's url.
        address: RtspAddress,
        /// What went wrong.
        why: String,
    },
    /// It ended its stream.
    #[error("{address} ended its stream after {frames} pictures")]
    Ended {
        /// The camera's url.
        address: RtspAddress,
        /// Coded pictures that came.
        frames: u64,
    },
    /// It sends pictures of another size or kind from now on.
    #[error("{address} has changed its pictures: they are read anew")]
    Changed {
        /// The camera's url.
        address: RtspAddress,
    },
}

impl RtspError {
    /// Whether the camera refused who we are.
    pub(in crate::capture) fn is_login(&self) -> bool {
        matches!(self, Self::LoginWanted { .. } | Self::LoginRefused { .. })
    }

    /// An answer with this status code to `request`; `has_login` says whether one was sent.
    pub(super) fn refused(
        address: &RtspAddress,
        request: &'static str,
        status: u16,
        has_login: bool,
    ) -> Self {
        let address = address.clone();
        match status {
            401 if has_login => Self::LoginRefused { address },
            401 => Self::LoginWanted { address },
            _ => Self::Refused { address, request, status, meaning: meaning(status) },
        }
    }
}

impl From<BadCertificates> for RtspError {
    fn from(BadCertificates { path, why }: BadCertificates) -> Self {
        Self::Certificates { path, why }
    }
}

/// What a status code means for somebody who set up a camera (RFC 2326, 11).
fn meaning(status: u16) -> &'static str {
    match status {
        300..=399 => {
            "it sends us elsewhere, which is not followed; if that is right, write the other address as the url"
        }
        400 => "it does not understand the request; is the path of the url right?",
        403 => "this user may not see the stream",
        404 => "it has no stream at this path",
        405 | 501 | 551 => "it cannot do what is asked",
        453 | 503 => "it has no room for one more viewer; close another one",
        454 => "it has ended the session",
        461 => "it offers no such transport: try `transport = \"udp\"`, or `\"tcp\"`",
        500..=599 => "something is wrong with the camera; does it play elsewhere?",
        _ => "that is not understood",
    }
}
