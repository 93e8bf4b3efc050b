//! TLS for RTSP: a connection on this machine in the clear, carried on to the camera over TLS.
//!
//! The RTSP library speaks to a port of the loopback only. That port takes one connection, and only from this very process:
//! whoever else comes there first is turned away.

use std::fs;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{RtspAddress, RtspCamera, RtspError};
use crate::capture::tls;

/// How long a connection may take, TLS and all.
const CONNECTING: Duration = Duration::from_secs(5);
/// Strangers that are turned away before we give up.
const STRANGERS: usize = 16;

/// Connects to the camera, and waits for one connection of this process. Returns the port where it waits.
pub(super) async fn open(camera: &RtspCamera) -> Result<u16, RtspError> {
    let address = &camera.address;
    let there = timeout(CONNECTING, connect(camera));
    let there = there.await.unwrap_or_else(|_| {
        Err(RtspError::TooSlow { address: address.clone(), request: "the TLS handshake", within: CONNECTING })
    })?;
    let failed = |source| RtspError::Start { address: address.clone(), source };
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let named = address.clone();
    drop(tokio::spawn(async move {
        if let Err(error) = carry(listener, there).await {
            log::debug!("the connection to {named} ended: {error}");
        }
    }));
    Ok(port)
}

async fn connect(camera: &RtspCamera) -> Result<TlsStream<TcpStream>, RtspError> {
    let address: &RtspAddress = &camera.address;
    let connector = tls::connector(camera.ca_file.as_deref())?;
    let stream = TcpStream::connect((address.host(), address.port())).await;
    let stream = stream
        .map_err(|error| RtspError::Unreachable { address: address.clone(), why: error.to_string() })?;
    let failed = |source| RtspError::Tls { address: address.clone(), source };
    let name =
        ServerName::try_from(address.host().to_owned()).map_err(|error| failed(Error::other(error)))?;
    connector.connect(name, stream).await.map_err(failed)
}

async fn carry(listener: TcpListener, mut there: TlsStream<TcpStream>) -> Result<(), Error> {
    for _ in 0..STRANGERS {
        let (mut here, peer) = listener.accept().await?;
        if is_ours(peer, here.local_addr()?) {
            drop(listener);
            tokio::io::copy_bidirectional(&mut here, &mut there).await?;
            return Ok(());
        }
    }
    Err(Error::new(ErrorKind::PermissionDenied, "others connected where only we may"))
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
