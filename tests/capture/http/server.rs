//! A camera's web server of our own: each connection is played by what the test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::super::wait_until;

/// A connection, plain or not.
pub(super) trait Line: Read + Write {}
impl<T: Read + Write> Line for T {}

/// What a server does with one request: its text, how many came before, and where the answer goes. False closes
/// the connection.
pub(super) type Answer = dyn Fn(&str, usize, &mut dyn Line) -> std::io::Result<bool> + Send + Sync;

/// Listens on a port of its own until it is dropped.
pub(super) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    tls: bool,
}

impl Server {
    pub(super) fn start(
        answer: impl Fn(&str, usize, &mut dyn Line) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(None, Arc::new(answer))
    }

    pub(super) fn start_tls(
        certificate: &std::path::Path,
        key: &std::path::Path,
        answer: impl Fn(&str, usize, &mut dyn Line) -> std::io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let certificate = CertificateDer::from_pem_file(certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Self::start_with(Some(Arc::new(config)), Arc::new(answer))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>, answer: Arc<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (requests, over): (Arc<Mutex<Vec<String>>>, Arc<AtomicBool>) = (Arc::default(), Arc::default());
        let connections: Arc<AtomicUsize> = Arc::default();
        let counted = connections.clone();
        let (noted, ended, is_tls) = (requests.clone(), over.clone(), tls.is_some());
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let (tls, noted, answer) = (tls.clone(), noted.clone(), answer.clone());
                let talk = move || {
                    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
                    match tls {
                        None => serve(stream, &noted, &*answer),
                        Some(config) => {
                            let session = ServerConnection::new(config).unwrap();
                            serve(StreamOwned::new(session, stream), &noted, &*answer);
                        }
                    }
                };
                std::thread::Builder::new().spawn(talk).unwrap();
            }
        };
        let thread = Some(std::thread::Builder::new().spawn(accept).unwrap());
        Self { port, requests, connections, over, thread, tls: is_tls }
    }

    pub(super) fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Every request so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub(super) fn wait_for_requests(&self, n: usize) {
        wait_until(&format!("{n} requests"), || self.requests().len() >= n);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Reads requests without a body and answers them, until one side has had enough.
fn serve(mut line: impl Read + Write, noted: &Mutex<Vec<String>>, answer: &Answer) {
    loop {
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            match line.read(&mut byte) {
                Ok(1) => request.push(byte[0]),
                _ => return,
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let before = {
            let mut noted = noted.lock().unwrap();
            noted.push(request.clone());
            noted.len() - 1
        };
        let goes_on = answer(&request, before, &mut line).unwrap_or(false);
        if line.flush().is_err() || !goes_on {
            return;
        }
    }
}

/// The value of a header.
pub(super) fn header<'r>(request: &'r str, name: &str) -> Option<&'r str> {
    let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
    Some(line[name.len() + 1..].trim())
}

/// A picture of 64x48 in this grey.
pub(in crate::capture) fn jpeg(grey: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.encode(&[grey; 64 * 48 * 3], 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

/// An answer that is one picture.
pub(super) fn picture(line: &mut dyn Line, grey: u8) -> std::io::Result<bool> {
    let jpeg = jpeg(grey);
    write!(line, "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len())?;
    line.write_all(&jpeg)?;
    Ok(true)
}

/// An answer without a body.
pub(super) fn bare(line: &mut dyn Line, status: &str, headers: &str) -> std::io::Result<bool> {
    write!(line, "HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n")?;
    Ok(true)
}

pub(super) const STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n";

/// A part of a stream, with headers that state this length.
pub(super) fn part(line: &mut dyn Line, jpeg: &[u8], length: Option<usize>) -> std::io::Result<()> {
    write!(line, "--cut\r\nContent-Type: image/jpeg\r\n")?;
    if let Some(length) = length {
        write!(line, "Content-Length: {length}\r\n")?;
    }
    write!(line, "\r\n")?;
    line.write_all(jpeg)?;
    write!(line, "\r\n")?;
    line.flush()
}

/// Waits until the other side has hung up.
pub(super) fn hang(line: &mut dyn Line) -> std::io::Result<bool> {
    let mut byte = [0];
    while line.read(&mut byte)? != 0 {}
    Ok(false)
}

/// MD5 by another's hand.
pub(super) fn md5(text: &str) -> String {
    let mut child = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("md5sum of coreutils");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    String::from_utf8(said).unwrap()[..32].to_owned()
}
