//! What goes wrong between this daemon and the broker, and what can be done about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError};

use super::Settings;

/// Why the broker cannot be reached or was lost. `broker` is its url without the login.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum NotifyError {
    /// Name resolution failed.
    #[error("cannot find the host of {broker}: check the name in `mqtt.url` and this machine's DNS")]
    UnknownHost { broker: String, source: io::Error },
    /// TCP was refused.
    #[error("nothing listens at {broker}: check that the broker runs there and that the port is right")]
    PortClosed { broker: String, source: io::Error },
    /// TCP failed otherwise.
    #[error("cannot reach {broker}: check the network and any firewall between")]
    Unreachable { broker: String, source: io::Error },
    /// Connected, or not even that, but no greeting in time.
    #[error("{broker} gave no answer within {} s: the host is down, filtered, or the broker is stuck", within.as_secs_f32())]
    NoAnswer { broker: String, within: Duration },
    /// Connected before, and now it owes an answer for too long.
    #[error("{broker} has stopped answering")]
    FellSilent { broker: String },
    /// User name or password are wrong, or missing.
    #[error("{broker} refused {}: check `mqtt.user` and the password file against the broker's", who(user.as_deref()))]
    LoginRefused { broker: String, user: Option<String> },
    /// The broker does not like the client id.
    #[error("{broker} refused the client id {client_id:?}: choose another `mqtt.client_id`")]
    ClientIdRefused { broker: String, client_id: String },
    /// The broker refused otherwise.
    #[error("{broker} refused the connection ({reason}): see the broker's log")]
    Refused { broker: String, reason: &'static str },
    /// The broker closed the connection before greeting.
    #[error("{broker} closed the connection without an answer: {}", hang_up_hint(*tls))]
    HungUp { broker: String, tls: bool },
    /// The connection was closed while it was in use.
    #[error(
        "{broker} closed the connection: it stopped, or another client with the id {client_id:?} took its place"
    )]
    Lost { broker: String, client_id: String },
    /// What answers there does not speak MQTT.
    #[error("what answers at {broker} does not speak MQTT 3.1.1: check the port")]
    NotMqtt { broker: String, source: Box<ConnectionError> },
    /// The certificate authority's file cannot be read.
    #[error("cannot read the certificate authority's file {}: check `mqtt.ca_file`", path.display())]
    CaUnreadable { path: PathBuf, source: io::Error },
    /// The certificate authority's file holds no certificate.
    #[error("{} holds no PEM certificate: `mqtt.ca_file` names the authority that signed the broker's", path.display())]
    CaEmpty { path: PathBuf },
    /// This machine has no certificate store.
    #[error(
        "this machine has no certificate store at {}: install `ca-certificates` or set `mqtt.ca_file`", path.display()
    )]
    NoCertificateStore { path: PathBuf, source: io::Error },
    /// The broker's certificate does not convince.
    #[error("{broker} could not prove who it is: {}", certificate_hint(source))]
    Untrusted { broker: String, source: rustls::Error },
    /// TLS failed otherwise.
    #[error("no TLS connection to {broker}: check that this port speaks TLS")]
    TlsFailed { broker: String, source: Box<dyn Error + Send + Sync> },
    /// Anything else on the connection.
    #[error("the connection to {broker} failed")]
    Failed { broker: String, source: Box<ConnectionError> },
    /// The publisher's event loop cannot be set up.
    #[error("cannot set up the publisher's event loop: this machine is out of file descriptors or memory")]
    Runtime(#[source] io::Error),
    /// Something that no broker would take.
    #[error("cannot publish on topic {topic:?}: check `mqtt.prefix` and `mqtt.discovery_prefix`")]
    BadTopic { topic: String },
    /// A door command was written and not confirmed.
    #[error(
        "{broker} did not confirm a door command; the connection is given up so that the command cannot be late"
    )]
    CommandUnconfirmed { broker: String },
}

fn who(user: Option<&str>) -> String {
    user.map_or("a client without user name".into(), |user| format!("the login of user {user:?}"))
}

fn hang_up_hint(tls: bool) -> &'static str {
    if tls {
        "check that this is the broker's TLS port and that it asks for no client certificate"
    } else {
        "check that this port speaks plain MQTT; a TLS port needs an `mqtts` url"
    }
}

fn certificate_hint(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer) => {
            "its certificate is signed by an authority unknown here; set `mqtt.ca_file` to that authority's file"
        }
        rustls::Error::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for another host name; use the name from the certificate in `mqtt.url`"
        }
        rustls::Error::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired, or this machine's clock is wrong"
        }
        rustls::Error::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet, or this machine's clock is wrong"
        }
        _ => "its certificate is not acceptable",
    }
}

impl NotifyError {
    /// Puts the client library's error into words. `greeted`: the broker had accepted the connection before.
    pub(super) fn from_connection(settings: &Settings, error: ConnectionError, greeted: bool) -> Self {
        let broker = settings.broker();
        match error {
            ConnectionError::ConnectionRefused(code) => refused(settings, broker, code),
            ConnectionError::Io(source) => io_failed(broker, source),
            ConnectionError::Tls(error) => tls_failed(settings, broker, error),
            ConnectionError::MqttState(StateError::AwaitPingResp) | ConnectionError::FlushTimeout => {
                Self::FellSilent { broker }
            }
            ConnectionError::MqttState(ref state) if is_hang_up(state) => {
                if greeted {
                    Self::Lost { broker, client_id: settings.client_id.clone() }
                } else {
                    Self::HungUp { broker, tls: settings.tls.is_some() }
                }
            }
            ConnectionError::NotConnAck(_) | ConnectionError::MqttState(StateError::Deserialization(_))
                if !greeted =>
            {
                Self::NotMqtt { broker, source: Box::new(error) }
            }
            other => Self::Failed { broker, source: Box::new(other) },
        }
    }
}

fn refused(settings: &Settings, broker: String, code: ConnectReturnCode) -> NotifyError {
    match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            NotifyError::LoginRefused {
                broker,
                user: settings.login.as_ref().map(|login| login.user.clone()),
            }
        }
        ConnectReturnCode::BadClientId => {
            NotifyError::ClientIdRefused { broker, client_id: settings.client_id.clone() }
        }
        ConnectReturnCode::RefusedProtocolVersion => {
            NotifyError::Refused { broker, reason: "it does not speak MQTT 3.1.1" }
        }
        ConnectReturnCode::ServiceUnavailable | ConnectReturnCode::Success => {
            NotifyError::Refused { broker, reason: "it is unavailable for now" }
        }
    }
}

/// The resolver's errors carry no number of the operating system; those of the network do.
fn io_failed(broker: String, source: io::Error) -> NotifyError {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => NotifyError::PortClosed { broker, source },
        _ if source.raw_os_error().is_none() => NotifyError::UnknownHost { broker, source },
        _ => NotifyError::Unreachable { broker, source },
    }
}

fn tls_failed(settings: &Settings, broker: String, error: TlsError) -> NotifyError {
    match error {
        TlsError::TLS(source) => NotifyError::Untrusted { broker, source },
        TlsError::Io(source) => {
            let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).cloned();
            match inner {
                Some(source @ rustls::Error::InvalidCertificate(_)) => {
                    NotifyError::Untrusted { broker, source }
                }
                Some(source) => NotifyError::TlsFailed { broker, source: Box::new(source) },
                None if is_end(&source) => NotifyError::HungUp { broker, tls: settings.tls.is_some() },
                None => NotifyError::TlsFailed { broker, source: Box::new(source) },
            }
        }
        other => NotifyError::TlsFailed { broker, source: Box::new(other) },
    }
}

fn is_hang_up(state: &StateError) -> bool {
    match state {
        StateError::ConnectionAborted => true,
        StateError::Io(source) => is_end(source),
        StateError::Deserialization(rumqttc::Error::Io(source)) => is_end(source),
        _ => false,
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe
    )
}
