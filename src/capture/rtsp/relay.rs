//! The way to a camera over TCP: a connection on this machine, carried on to the camera, over TLS where it is asked for.
//!
//! The RTSP library speaks to a port of the loopback only, so that what the camera sends is counted before the library holds it.
//! That port takes one connection, and only from this very process: whoever else comes is turned away. It is held for as long as
//! the source is open, so that nobody else can take it over and be told the login.

use std::fs;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::intake::{Counter, Intake};
use super::{RtspAddress, RtspCamera, RtspError};
use crate::capture::tls;

/// How long a connection may take, TLS and all.
const CONNECTING: Duration = Duration::from_secs(5);
/// Strangers that are turned away before we give up.
const STRANGERS: usize = 16;
/// Read from the camera at a time.
const READ_BYTES: usize = 16 << 10;

/// Connects to the camera, and waits for one connection of this process. Returns the port where it waits.
pub(super) async fn open(camera: &RtspCamera, intake: Arc<Intake>) -> Result<u16, RtspError> {
    let address = &camera.address;
    let request = if address.is_tls() { "the TLS handshake" } else { "the connection" };
    let late = || RtspError::TooSlow { address: address.clone(), request, within: CONNECTING };
    let failed = |source| RtspError::Start { address: address.clone(), source };
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let named = address.clone();
    if address.is_tls() {
        let there = timeout(CONNECTING, connect_tls(camera)).await.unwrap_or_else(|_| Err(late()))?;
        drop(tokio::spawn(hold(listener, there, intake, named)));
    } else {
        let there = timeout(CONNECTING, connect(camera)).await.unwrap_or_else(|_| Err(late()))?;
        drop(tokio::spawn(hold(listener, there, intake, named)));
    }
    Ok(port)
}

async fn connect(camera: &RtspCamera) -> Result<TcpStream, RtspError> {
    let address: &RtspAddress = &camera.address;
    let stream = TcpStream::connect((address.host(), address.port())).await;
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    stream.map_err(|error| RtspError::Unreachable { address: address.clone(), why: error.to_string() })
}

async fn connect_tls(camera: &RtspCamera) -> Result<TlsStream<TcpStream>, RtspError> {
    let address: &RtspAddress = &camera.address;
    let connector = tls::connector(camera.ca_file.as_deref())?;
    let failed = |source| RtspError::Tls { address: address.clone(), source };
    let name =
        ServerName::try_from(address.host().to_owned()).map_err(|error| failed(Error::other(error)))?;
    connector.connect(name, connect(camera).await?).await.map_err(failed)
}

/// Carries one connection, and turns everybody away after that. Ends with the runtime only: the library may want to say goodbye
/// to the camera on a new connection, login and all.
async fn hold<S>(listener: TcpListener, there: S, intake: Arc<Intake>, address: RtspAddress)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let carried = async {
        let here = ours(&listener).await?;
        tokio::select! {
            end = carry(here, there, &intake) => end,
            never = turn_away(&listener) => never,
        }
    };
    if let Err(error) = carried.await {
        log::debug!("the connection to {address} ended: {error}");
    }
    let _ = turn_away(&listener).await;
}

/// Never returns.
async fn turn_away(listener: &TcpListener) -> Result<(), Error> {
    while listener.accept().await.is_ok() {}
    std::future::pending().await
}

/// The first connection of this process.
async fn ours(listener: &TcpListener) -> Result<TcpStream, Error> {
    for _ in 0..STRANGERS {
        let (here, peer) = listener.accept().await?;
        if is_ours(peer, here.local_addr()?) {
            here.set_nodelay(true)?;
            return Ok(here);
        }
    }
    Err(Error::new(ErrorKind::PermissionDenied, "others connected where only we may"))
}

async fn carry<S>(here: TcpStream, there: S, intake: &Intake) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_us, mut to_us) = here.into_split();
    let (mut from_camera, mut to_camera) = tokio::io::split(there);
    let out = async {
        tokio::io::copy(&mut from_us, &mut to_camera).await?;
        to_camera.shutdown().await
    };
    let back = async {
        let mut counter = Counter::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let count = from_camera.read(&mut buffer).await?;
            if count == 0 {
                return to_us.shutdown().await;
            }
            let bytes = &buffer[..count];
            counter.admit(bytes, intake).map_err(Error::other)?;
            to_us.write_all(bytes).await?;
        }
    };
    tokio::try_join!(out, back).map(drop)
}

/// Whether the other end of a connection, which came from `peer` to `here`, is a socket of this process: the kernel's
/// table of connections names its inode, and one of our descriptors must be that.
fn is_ours(peer: SocketAddr, here: SocketAddr) -> bool {
    let Ok(table) = fs::read_to_string("/proc/self/net/tcp") else { return false };
    let Some(inode) = inode_of(&table, peer, here) else { return false };
    let wanted = format!("socket:[{inode}]");
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return false };
    descriptors.flatten().any(|descriptor| {
        fs::read_link(descriptor.path())
            .is_ok_and(|target| target.as_os_str().as_bytes() == wanted.as_bytes())
    })
}

/// The inode of the connection from `local` to `remote` in the kernel's table (proc_pid_net(5)).
fn inode_of(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let hexadecimal = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => Some(format!("{:08X}:{:04X}", u32::from_le_bytes(v4.ip().octets()), v4.port())),
        SocketAddr::V6(_) => None,
    };
    let (local, remote) = (hexadecimal(local)?, hexadecimal(remote)?);
    let line = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = line.into_iter().find(|words| words.get(1..3) == Some(&[local.as_str(), remote.as_str()]))?;
    found.get(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_is_nobody_elses_after_the_camera_has_hung_up() {
        let camera = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("rtsp://127.0.0.1:{}/cam", camera.local_addr().unwrap().port());
        let (address, _) = RtspAddress::parse(&url).unwrap();
        let port = open(&RtspCamera::new(address), Arc::default()).await.unwrap();
        let mut here = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        here.write_all(b"hello").await.unwrap();
        let (mut there, _) = camera.accept().await.unwrap();
        let mut heard = [0; 5];
        there.read_exact(&mut heard).await.unwrap();
        drop(there);
        // The farewell of the library, which holds the login: it reaches nobody, and nobody can bind the port.
        assert_eq!(here.read(&mut heard).await.unwrap_or(0), 0);
        drop(here);
        for _ in 0..3 {
            assert!(TcpListener::bind(("127.0.0.1", port)).await.is_err(), "the port is free");
            let mut again = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            assert_eq!(again.read(&mut heard).await.unwrap_or(0), 0, "it was let in");
        }
    }

    #[test]
    fn only_a_socket_of_this_process_is_ours() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let mine = std::net::TcpStream::connect(here).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        assert!(is_ours(peer, here));
        drop(mine);
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; sleep 60", here.port());
        let mut stranger = std::process::Command::new("bash").args(["-c", &script]).spawn().unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        assert!(!is_ours(peer, here), "a stranger got in");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
