//! MQTT: alerts out, Home Assistant discovery, door commands on a live connection.

use std::fmt;
use std::path::PathBuf;

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
}

/// How the broker proves itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// PEM file of the authority to trust; `None` trusts the system's.
    pub ca_file: Option<PathBuf>,
}

/// How the daemon proves itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// A text that never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
