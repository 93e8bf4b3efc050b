//! How a connection to the broker is set up: options, TLS, and one try for `portero check`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, EventLoop, LastWill, MqttOptions, NetworkOptions, QoS, TlsConfiguration, Transport,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::alert::SNAPSHOT_LIMIT_BYTES;
use super::error::NotifyError;
use super::{Settings, Timing, Tls};

/// Where Debian and its kin keep the authorities that the system trusts.
const SYSTEM_STORE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The client library's own limits are 10 KB; ours leave room for a snapshot with its topic.
const PACKET_LIMIT_BYTES: usize = SNAPSHOT_LIMIT_BYTES + 64 * 1024;

/// The client library's time limit for a flush. A large snapshot on a thin line may take long; silence of the
/// broker is watched for by the session, so this only has to be out of the way.
const FLUSH_LIMIT_S: u64 = 600;

/// A client for one network connection. It connects when its event loop is polled for the first time. It starts
/// with a clean session and no memory, so nothing of an earlier connection can be sent on it. `queue` messages
/// can be handed over before the event loop is polled.
pub(super) fn client(
    settings: &Settings,
    timing: &Timing,
    queue: u16,
) -> Result<(AsyncClient, EventLoop), NotifyError> {
    let mut options = options(settings, &settings.client_id)?;
    options.set_keep_alive(timing.keep_alive.max(Duration::from_secs(1)));
    options.set_inflight(queue);
    options.set_last_will(LastWill::new(settings.availability_topic(), "offline", QoS::AtLeastOnce, true));
    Ok(start(options, queue.into()))
}

fn start(options: MqttOptions, queue: usize) -> (AsyncClient, EventLoop) {
    let (client, mut events) = AsyncClient::new(options, queue);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(FLUSH_LIMIT_S);
    events.set_network_options(network);
    (client, events)
}

fn options(settings: &Settings, client_id: &str) -> Result<MqttOptions, NotifyError> {
    let mut options = MqttOptions::new(client_id, settings.bare_host(), settings.port);
    options.set_clean_session(true);
    options.set_max_packet_size(PACKET_LIMIT_BYTES, PACKET_LIMIT_BYTES);
    if let Some(login) = &settings.login {
        options.set_credentials(&login.user, login.password.expose());
    }
    if let Some(tls) = &settings.tls {
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls_config(tls)?))));
    }
    Ok(options)
}

/// The authorities are read anew for each connection: a renewed file needs no restart.
fn tls_config(tls: &Tls) -> Result<ClientConfig, NotifyError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots = match &tls.ca_file {
        Some(path) => read_authorities(path)
            .map_err(|source| NotifyError::CaUnreadable { path: path.clone(), source })?
            .ok_or_else(|| NotifyError::CaEmpty { path: path.clone() })?,
        None => {
            let path = Path::new(SYSTEM_STORE);
            let missing = |source| NotifyError::NoCertificateStore { path: path.into(), source };
            read_authorities(path)
                .map_err(missing)?
                .ok_or_else(|| NotifyError::CaEmpty { path: path.into() })?
        }
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| NotifyError::TlsFailed { broker: "any broker".into(), source: Box::new(source) })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// The certificates in a PEM file; `None` when there are none that can be used.
fn read_authorities(path: &Path) -> std::io::Result<Option<RootCertStore>> {
    let pem = std::fs::read(path)?;
    let mut roots = RootCertStore::empty();
    let found: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    roots.add_parsable_certificates(found);
    Ok((!roots.is_empty()).then_some(roots))
}

/// Connects once, waits for the broker's greeting and says goodbye. It uses a client id of its own, so that a
/// running daemon is not pushed off the broker. Blocks for at most `limit`.
///
/// # Errors
/// [`NotifyError`] says what is wrong and what to check.
pub fn probe(settings: &Settings, limit: Duration) -> Result<(), NotifyError> {
    let (client, mut events) = start(options(settings, &format!("{}-check", settings.client_id))?, 1);
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        match tokio::time::timeout(limit, events.poll()).await {
            Ok(Ok(_greeting)) => {
                if client.try_disconnect().is_ok() {
                    // The goodbye is a courtesy: the broker is known to be fine.
                    let _ = tokio::time::timeout(Duration::from_millis(200), events.poll()).await;
                }
                Ok(())
            }
            Ok(Err(error)) => Err(NotifyError::from_connection(settings, error, false)),
            Err(_) => Err(NotifyError::NoAnswer { broker: settings.broker(), within: limit }),
        }
    });
    // A resolver that hangs must not keep us.
    runtime.shutdown_background();
    result
}

/// The event loop that the client library runs on: this thread and no other, except for the system's resolver.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, NotifyError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NotifyError::Runtime)
}
