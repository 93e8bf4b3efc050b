//! What can go wrong between us and a camera's web server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::Address;
use crate::capture::tls::BadCertificates;

/// Why a camera's web server gives no picture. Everything but the first two is tried again.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A text that is no url of a camera.
    #[error("{url:?} is no url of a camera: {why}")]
    Url {
        /// The text, without a login.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file with the certificate to trust.
    #[error("the certificate file {} {why}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The machinery of sockets and timers could not be started.
    #[error("the reader of {address} could not be started")]
    Start {
        /// The camera's url.
        address: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No connection.
    #[error("{address} cannot be reached")]
    Unreachable {
        /// The camera's url.
        address: Address,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error("no secure connection to {address}; a camera's own certificate is trusted by `ca_file`")]
    Tls {
        /// The camera's url.
        address: Address,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// A time limit was passed.
    #[error("{address} gave no {what} within {within:?}")]
    TooSlow {
        /// The camera's url.
        address: Address,
        /// What was waited for.
        what: &'static str,
        /// The time allowed.
        within: Duration,
    },
    /// It does not keep to HTTP, or the connection broke.
    #[error("{address} broke off{after}")]
    Broken {
        /// The camera's url.
        address: Address,
        /// After how much, with its blank; may be empty.
        after: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The stream is over although it should have none.
    #[error("{address} ended its stream after {frames} pictures")]
    Ended {
        /// The camera's url.
        address: Address,
        /// Pictures that came.
        frames: u64,
    },
    /// An answer that is no success.
    #[error("{address} answers {status} {reason}")]
    Refused {
        /// The camera's url.
        address: Address,
        /// Its code.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// It wants to know who we are.
    #[error("{address} asks for a login: give `user` and `password_file`")]
    LoginWanted {
        /// The camera's url.
        address: Address,
    },
    /// It does not accept who we are.
    #[error("{address} refuses the user or the password")]
    LoginRefused {
        /// The camera's url.
        address: Address,
    },
    /// It asks for a login in a way that is not known.
    #[error("{address} asks for a login in an unknown way: {why}")]
    LoginUnknown {
        /// The camera's url.
        address: Address,
        /// What is unknown.
        why: String,
    },
    /// A redirect that is not followed.
    #[error("{address} redirects {why}")]
    Redirect {
        /// The url that redirects.
        address: Address,
        /// Where to, and why not.
        why: String,
    },
    /// It answers, but with something else.
    #[error("{address} gives {found}, not pictures")]
    NoPictures {
        /// The camera's url.
        address: Address,
        /// What came.
        found: String,
    },
}

impl From<BadCertificates> for HttpError {
    fn from(BadCertificates { path, why }: BadCertificates) -> Self {
        HttpError::Certificates { path, why }
    }
}
