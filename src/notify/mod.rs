//! MQTT: alerts out, Home Assistant discovery, door commands on a live connection.
//!
//! One thread runs a [`Publisher`]: it takes alerts from an [`Outbox`], hands them to the broker and reports them
//! delivered when the broker has acknowledged them, and not before. Beside that it keeps the retained states
//! ([`States`]) current and carries door commands ([`LiveLink`]).
//!
//! What this room must not do: block anybody else on the broker; report delivery without an acknowledgement;
//! keep a door command for later; import another room. The rest of the world speaks of MQTT only through here.
//!
//! | file | holds |
//! |---|---|
//! | `publisher` | the thread: connect, back off, connect again |
//! | `session` | the life of one network connection: turns, door commands, what is handed over |
//! | `flight` | what was handed over and waits for its acknowledgement |
//! | `outbox` | where alerts wait, as a trait |
//! | `alert`, `homeassistant` | what stands on the wire |
//! | `states` | the latest state of every camera |
//! | `link` | door commands |
//! | `connection` | options, TLS, one try for `portero check` |
//! | `error` | what goes wrong and what to do about it |

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::CameraId;

mod alert;
mod connection;
mod counters;
mod error;
mod flight;
mod homeassistant;
mod link;
mod outbox;
mod publisher;
mod session;
mod states;

pub use alert::{SCHEMA, SNAPSHOT_LIMIT_BYTES};
pub use connection::probe;
pub use counters::{Counters, Counts};
pub use error::NotifyError;
pub use link::{LinkDown, LiveLink};
pub use outbox::{Outbox, OutboxError};
pub use publisher::{Handles, Publisher, Wake};
pub use states::States;

pub use crate::domain::{Login, Secret};

/// The broker and how this daemon shows itself there.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Broker host name or address.
    pub host: String,
    /// Broker port.
    pub port: u16,
    /// TLS when the url is `mqtts`.
    pub tls: Option<Tls>,
    /// User name and password.
    pub login: Option<Login>,
    /// First level(s) of every topic, without a trailing slash, e.g. `portero`.
    pub prefix: String,
    /// Home Assistant's discovery prefix; `None` switches discovery off.
    pub discovery_prefix: Option<String>,
    /// MQTT client id, unique at the broker.
    pub client_id: String,
    /// The site's name, shown as the device's name.
    pub site: String,
    /// The cameras that are watched for tampering: they have a topic for it.
    pub tamper: Vec<CameraId>,
}

impl Settings {
    /// The broker as people write it, e.g. `mqtts://broker.lan:8883`; without the login.
    #[must_use]
    pub fn broker(&self) -> String {
        let scheme = if self.tls.is_some() { "mqtts" } else { "mqtt" };
        let bare = self.bare_host();
        if bare.contains(':') {
            format!("{scheme}://[{bare}]:{}", self.port)
        } else {
            format!("{scheme}://{bare}:{}", self.port)
        }
    }

    /// The host without the brackets that an IPv6 address wears in a url.
    fn bare_host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// A topic of this daemon: the prefix and what follows it.
    fn topic(&self, rest: &str) -> String {
        format!("{}/{rest}", self.prefix)
    }

    /// Where the daemon says that it is there.
    fn availability_topic(&self) -> String {
        self.topic("available")
    }

    /// Where Home Assistant says that it has (re)started.
    fn birth_topic(&self) -> Option<String> {
        self.discovery_prefix.as_ref().map(|prefix| format!("{prefix}/status"))
    }
}

/// How patient the publisher is. The defaults suit a broker in the house; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// A ping is sent when this has passed, whole seconds, at least one.
    pub keep_alive: Duration,
    /// A broker that owes an answer for longer is given up, and a new connection is made. Bulky messages are
    /// given more.
    pub answer: Duration,
    /// For name resolution, TCP, TLS and the broker's greeting together.
    pub connect: Duration,
    /// The first pause after a lost or refused connection.
    pub retry_first: Duration,
    /// The longest pause.
    pub retry_max: Duration,
    /// On a clean stop: how long acknowledgements are still waited for.
    pub farewell: Duration,
    /// A door command must have reached the broker within this, or it is refused.
    pub command: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            keep_alive: Duration::from_secs(10),
            answer: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            retry_first: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            farewell: Duration::from_millis(700),
            command: Duration::from_secs(1),
        }
    }
}

/// How the broker proves itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// PEM file of the authority to trust; `None` trusts the system's.
    pub ca_file: Option<PathBuf>,
}
