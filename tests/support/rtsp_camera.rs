//! An RTSP camera whose clock, network and manners are those that a test gives it: ten pictures a second of the street.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::daemon::street;

const PERIOD: Duration = Duration::from_millis(100);
/// Larger units are sent in fragments (RFC 6184, 5.8).
const FRAGMENT: usize = 1_400;

/// How a camera behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// After so many seconds its clock is set by so many seconds.
    pub(crate) jump: Option<(f64, i64)>,
    /// From the one second to the other nothing comes, then all of it.
    pub(crate) hold: Option<(f64, f64)>,
    /// The picture that the stream begins with; every 20th is a key picture.
    pub(crate) begin: usize,
    /// It offers UDP only.
    pub(crate) udp: bool,
    /// It sends everybody there.
    pub(crate) redirect: Option<String>,
    /// What it sends has no end.
    pub(crate) endless: Option<Endless>,
}

/// What has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endless {
    /// The head of its first answer.
    Head,
    /// The first picture: one fragment after the other.
    Fragments,
    /// Parameters of pictures, each as if it were one.
    Parameters,
}

/// A camera in a thread of its own. It ends when it is dropped.
pub(crate) struct RtspServer {
    port: u16,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RtspServer {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (manner, ended) = (manner.clone(), Arc::clone(&ended));
                let serve = move || {
                    // A viewer that leaves is no fault of the camera's.
                    let _ = Visit::new(stream, manner, ended).and_then(Visit::serve);
                };
                std::thread::Builder::new().spawn(serve).unwrap();
            }
        };
        let thread = Some(std::thread::Builder::new().spawn(accept).unwrap());
        Self { port, over, thread }
    }

    pub(crate) fn url(&self) -> String {
        format!("rtsp://127.0.0.1:{}/cam", self.port)
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The street's pictures: the units of each, without start codes.
fn pictures() -> &'static Vec<Vec<Vec<u8>>> {
    static PICTURES: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    PICTURES.get_or_init(|| {
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-t", "12", "-i"])
            .arg(street())
            .args(["-vf", "fps=10,scale=320:240", "-c:v", "libx264", "-preset", "ultrafast", "-g", "20"])
            .args(["-bf", "0", "-sc_threshold", "0", "-x264-params", "slices=1:repeat-headers=1"])
            .args(["-f", "h264", "pipe:1"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut pictures = vec![Vec::new()];
        for unit in units(&made.stdout) {
            let last = pictures.last_mut().unwrap();
            if last.iter().any(|unit: &Vec<u8>| matches!(unit[0] & 31, 1 | 5)) {
                pictures.push(vec![unit.to_vec()]);
            } else {
                last.push(unit.to_vec());
            }
        }
        pictures
    })
}

/// The units between start codes (H.264, annex B).
fn units(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..stream.len().saturating_sub(3))
        .filter(|at| stream[*at..].starts_with(&[0, 0, 1]))
        .map(|at| at + 3)
        .collect();
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([stream.len()]);
    let unit = |(start, end): (&usize, usize)| {
        let unit = &stream[*start..end];
        &unit[..unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
    };
    starts.iter().zip(ends).map(unit).filter(|unit| !unit.is_empty()).collect()
}

/// One viewer's connection.
struct Visit {
    requests: BufReader<TcpStream>,
    line: Arc<Mutex<TcpStream>>,
    manner: Manner,
    over: Arc<AtomicBool>,
    udp: Option<(UdpSocket, SocketAddr)>,
}

impl Visit {
    fn new(stream: TcpStream, manner: Manner, over: Arc<AtomicBool>) -> std::io::Result<Self> {
        let line = Arc::new(Mutex::new(stream.try_clone()?));
        Ok(Self { requests: BufReader::new(stream), line, manner, over, udp: None })
    }

    fn serve(mut self) -> std::io::Result<()> {
        loop {
            let mut request = Vec::new();
            if self.requests.fill_buf()?.is_empty() {
                return Ok(());
            }
            if self.requests.fill_buf()?[0] == b'$' {
                // What the viewer reports of the reception.
                let mut head = [0; 4];
                self.requests.read_exact(&mut head)?;
                let mut report = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
                self.requests.read_exact(&mut report)?;
                continue;
            }
            while !request.ends_with(b"\r\n\r\n") {
                if self.requests.read_until(b'\n', &mut request)? == 0 {
                    return Ok(());
                }
            }
            self.answer(&String::from_utf8_lossy(&request))?;
        }
    }

    fn answer(&mut self, request: &str) -> std::io::Result<()> {
        let header = |name: &str| {
            request.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let number = header("cseq").unwrap_or_default();
        let reply = |status: &str, rest: &str| {
            write!(self.line.lock().unwrap(), "RTSP/1.0 {status}\r\nCSeq: {number}\r\n{rest}\r\n")
        };
        if let Some(there) = &self.manner.redirect {
            return reply("302 Moved", &format!("Location: {there}\r\n"));
        }
        let session = "Session: 1;timeout=60\r\n";
        match request.split_whitespace().next().unwrap_or_default() {
            "DESCRIBE" if self.manner.endless == Some(Endless::Head) => {
                reply("200 OK", "X-First: 1")?;
                loop {
                    self.line.lock().unwrap().write_all(b"X-More: and more\r\n")?;
                }
            }
            "DESCRIBE" => {
                let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\na=control:*\r\n\
                           m=video 0 RTP/AVP 96\r\na=control:track1\r\na=rtpmap:96 H264/90000\r\n\
                           a=fmtp:96 packetization-mode=1\r\n";
                let length = sdp.len();
                reply("200 OK", &format!("Content-Type: application/sdp\r\nContent-Length: {length}\r\n"))?;
                // The body follows the empty line that ends the head.
                self.line.lock().unwrap().write_all(sdp.as_bytes())
            }
            "SETUP" => {
                let transport = header("transport").unwrap_or_default();
                if self.manner.udp && transport.contains("TCP") {
                    return reply("461 Unsupported Transport", "");
                }
                if let Some((_, ports)) = transport.split_once("client_port=") {
                    let port: u16 = ports.split('-').next().unwrap().parse().unwrap();
                    let socket = UdpSocket::bind("127.0.0.1:0")?;
                    let own = socket.local_addr()?.port();
                    self.udp = Some((socket, SocketAddr::from(([127, 0, 0, 1], port))));
                    let ports = format!("{transport};server_port={own}-{}", own.wrapping_add(1));
                    return reply("200 OK", &format!("Transport: {ports}\r\n{session}"));
                }
                reply("200 OK", &format!("Transport: {transport}\r\n{session}"))
            }
            "PLAY" => {
                reply("200 OK", session)?;
                let stream = Stream {
                    line: Arc::clone(&self.line),
                    manner: self.manner.clone(),
                    over: Arc::clone(&self.over),
                    udp: self.udp.take(),
                    sequence: 1,
                };
                std::thread::Builder::new().spawn(move || stream.play()).map(drop)
            }
            _ => reply("200 OK", session),
        }
    }
}

/// What a viewer is sent.
struct Stream {
    line: Arc<Mutex<TcpStream>>,
    manner: Manner,
    over: Arc<AtomicBool>,
    udp: Option<(UdpSocket, SocketAddr)>,
    sequence: u16,
}

impl Stream {
    #[expect(clippy::disallowed_methods, reason = "a camera has a clock of its own")]
    fn play(mut self) {
        if let Some(endless) = self.manner.endless {
            // Until the viewer leaves.
            while self.send_endless(endless).is_ok() {}
            return;
        }
        let began = Instant::now();
        let pictures = pictures();
        for n in 0u32.. {
            let at = PERIOD * n;
            let due = match self.manner.hold {
                Some((from, until)) if at.as_secs_f64() >= from => at.max(Duration::from_secs_f64(until)),
                _ => at,
            };
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let set =
                self.manner.jump.filter(|(after, _)| at.as_secs_f64() >= *after).map_or(0, |(_, by)| by);
            let time = (i64::from(n) * 9_000 + (1_000 + set) * 90_000) as u32;
            let units = &pictures[(n as usize + self.manner.begin) % pictures.len()];
            if self.over.load(Ordering::Relaxed) || self.send(units, time).is_err() {
                return;
            }
        }
    }

    fn send(&mut self, units: &[Vec<u8>], time: u32) -> std::io::Result<()> {
        for (index, unit) in units.iter().enumerate() {
            let is_last = index + 1 == units.len();
            if unit.len() <= FRAGMENT {
                self.packet(unit, time, is_last)?;
                continue;
            }
            let pieces: Vec<&[u8]> = unit[1..].chunks(FRAGMENT).collect();
            for (piece, bytes) in pieces.iter().enumerate() {
                let ends = piece + 1 == pieces.len();
                let kind = unit[0] & 31 | u8::from(piece == 0) << 7 | u8::from(ends) << 6;
                let fragment = [&[unit[0] & 0xe0 | 28, kind][..], bytes].concat();
                self.packet(&fragment, time, is_last && ends)?;
            }
        }
        Ok(())
    }

    fn send_endless(&mut self, endless: Endless) -> std::io::Result<()> {
        if endless == Endless::Parameters {
            return self.packet(&[&[0x67][..], &[0x11; 60_000]].concat(), 0, true);
        }
        let begins = u8::from(self.sequence == 1) << 7;
        self.packet(&[&[0x7c, 5 | begins][..], &[0x11; 60_000]].concat(), 0, false)
    }

    /// One RTP packet (RFC 3550, 5.1).
    fn packet(&mut self, payload: &[u8], time: u32, is_last: bool) -> std::io::Result<()> {
        let mut packet = vec![0x80, 96 | u8::from(is_last) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(time.to_be_bytes());
        packet.extend(0x1234u32.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        if let Some((socket, to)) = &self.udp {
            return socket.send_to(&packet, to).map(drop);
        }
        let mut line = self.line.lock().unwrap();
        line.write_all(&[b'$', 0])?;
        line.write_all(&(packet.len() as u16).to_be_bytes())?;
        line.write_all(&packet)
    }
}
