//! RTSP cameras: GStreamer's server, one of our own making whose clock is ours, and what can go wrong on the way.

#![expect(clippy::print_stdout, reason = "a skipped test says why")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use portero::capture::{Decoder, RtspAddress, RtspCamera, Transport};
use portero::domain::{Login, Secret, Withheld};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::support::authority::Authority;
use crate::support::broker::free_port;
use crate::support::rtsp_camera::{Endless, Manner, RtspServer};

const PYTHON: &str = "/usr/bin/python3";
const NEEDS: &str = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad,ugly}";
/// The server's exit code where a part of GStreamer is missing.
const MISSING: i32 = 69;

/// GStreamer's RTSP server in a process of its own: a ball on black at `/cam`, 15 pictures a second. Killed when
/// dropped.
pub(crate) struct Server {
    port: u16,
    child: Child,
}

impl Server {
    /// `None`, with a word, where GStreamer is not at hand.
    pub(crate) fn start() -> Option<Self> {
        let port = free_port();
        Some(Self { port, child: Self::launch(port, ["1280", "720"])? })
    }

    fn launch(port: u16, size: [&str; 2]) -> Option<Child> {
        let mut command = Command::new(PYTHON);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/capture/rtsp_server.py"));
        command.arg(port.to_string()).args(size).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!("skipped: the RTSP server needs: apt-get install {NEEDS}");
                return None;
            }
            started => started.unwrap(),
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.trim() != "ready" {
            let status = child.wait().unwrap();
            assert_eq!(status.code(), Some(MISSING), "the RTSP server did not start");
            println!("skipped: the RTSP server needs: apt-get install {NEEDS}");
            return None;
        }
        Some(child)
    }

    /// Another one on the same port, with pictures of another size.
    fn restart_smaller(&mut self) {
        self.kill();
        self.child = Self::launch(self.port, ["640", "480"]).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("rtsp://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn rtsp(url: &str, login: Option<(&str, &str)>) -> Settings {
    let login =
        login.map(|(user, password)| Login { user: user.into(), password: Secret::new(password.into()) });
    let (address, within) = RtspAddress::parse(url).unwrap();
    camera(RtspCamera { login: login.or(within), ..RtspCamera::new(address) })
}

fn camera(camera: RtspCamera) -> Settings {
    Settings { stall_after: Duration::from_secs(8), ..settings(Source::Rtsp(camera)) }
}

/// A door before an RTSP server: lets in who shows this Basic login, over TLS where it is given keys.
struct Gate {
    port: u16,
    over: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Gate {
    fn start(target: u16, expected: &'static str, keys: Option<&Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let over: Arc<std::sync::atomic::AtomicBool> = Arc::default();
        let ended = over.clone();
        let tls = keys.map(|keys| {
            let certificate = CertificateDer::from_pem_file(keys.file("server.crt")).unwrap();
            let key = PrivateKeyDer::from_pem_file(keys.file("server.key")).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            Arc::new(builder.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
        });
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if ended.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let (tls, ended) = (tls.clone(), ended.clone());
                let pass = move || {
                    let is_over = || ended.load(std::sync::atomic::Ordering::Relaxed);
                    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                    let end = match tls {
                        None => pass(stream, target, expected, &is_over),
                        Some(config) => {
                            let session = ServerConnection::new(config).unwrap();
                            pass(StreamOwned::new(session, stream), target, expected, &is_over)
                        }
                    };
                    drop(end);
                };
                std::thread::Builder::new().spawn(pass).unwrap();
            }
        };
        let thread = Some(std::thread::Builder::new().spawn(accept).unwrap());
        Self { port, over, thread }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.over.store(true, std::sync::atomic::Ordering::Relaxed);
        // Wakes it.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Passes on both ways what may pass, until one side closes.
fn pass(
    mut client: impl Read + Write,
    target: u16,
    expected: &str,
    is_over: &dyn Fn() -> bool,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", target))?;
    server.set_read_timeout(Some(Duration::from_millis(5)))?;
    let mut bytes = vec![0; 64 << 10];
    let come = |read: std::io::Result<usize>| match read {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(n) => Ok(n),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(0),
        Err(error) => Err(error),
    };
    while !is_over() {
        let n = come(client.read(&mut bytes))?;
        let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
        let is_request = text.starts_with(|c: char| c.is_ascii_uppercase());
        if is_request && !text.contains(&format!("\r\nAuthorization: {expected}\r\n")) {
            let number = text.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("1");
            let asks = "WWW-Authenticate: Basic realm=\"cam\"";
            write!(client, "RTSP/1.0 401 Unauthorized\r\nCSeq: {number}\r\n{asks}\r\n\r\n")?;
            client.flush()?;
        } else {
            server.write_all(&bytes[..n])?;
        }
        let n = come(server.read(&mut bytes))?;
        client.write_all(&bytes[..n])?;
        client.flush()?;
    }
    Ok(())
}

/// `viewer:p@ss:w/'rd?%ä`, by coreutils' base64.
const LOGIN: (&str, &str) = ("viewer", "p@ss:w/'rd?%ä");
const BASIC: &str = "Basic dmlld2VyOnBAc3M6dy8ncmQ/JcOk";

/// The command lines of all processes, as `ps` shows them to everybody.
fn command_lines() -> String {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " ") + "\n")
        .collect()
}

#[test]
fn a_login_gets_in_over_tcp_and_shows_in_no_list_of_processes() {
    let Some(server) = Server::start() else { return };
    let gate = Gate::start(server.port, BASIC, None);
    let url = format!("rtsp://127.0.0.1:{}/cam", gate.port);
    let running = start(rtsp(&url, Some(LOGIN)));
    let frames = running.frames(12);
    let lines = command_lines();
    assert!(lines.contains("-f matroska -i pipe:0"), "{lines}");
    for secret in ["p@ss", "p%40ss", &format!(":{}/cam", gate.port)] {
        assert!(!lines.contains(secret), "{secret} stands in a command line");
    }
    let took = frames[11].at().stamp.since(frames[2].at().stamp).as_secs_f32();
    assert!((0.4..20.0).contains(&took), "9 frames at 10 a second took {took} s");

    let in_url =
        start(rtsp(&format!("rtsp://viewer:p%40ss%3Aw%2F'rd%3F%25%C3%A4@127.0.0.1:{}/cam", gate.port), None));
    in_url.frame();
    assert!(!command_lines().contains("p%40ss"));
}

#[test]
fn rtsps_gets_in_too_and_nobody_poses_as_the_camera() {
    let Some(server) = Server::start() else { return };
    let (keys, others) = (Authority::new("localhost"), Authority::new("localhost"));
    let gate = Gate::start(server.port, BASIC, Some(&keys));
    let trusting = |ca_file| {
        let (address, _) = RtspAddress::parse(&format!("rtsps://localhost:{}/cam", gate.port)).unwrap();
        let login = Login { user: LOGIN.0.into(), password: Secret::new(LOGIN.1.into()) };
        start(camera(RtspCamera { ca_file, login: Some(login), ..RtspCamera::new(address) }))
    };
    trusting(Some(keys.file("ca.crt"))).frames(3);
    for ca_file in [Some(others.file("ca.crt")), None] {
        let why = trusting(ca_file).reaches(CameraState::Offline);
        assert!(why.contains("no secure connection to rtsps://localhost"), "{why}");
    }
}

#[test]
fn a_wrong_password_and_a_wrong_path_are_told_without_the_password() {
    let Some(server) = Server::start() else { return };
    let gate = Gate::start(server.port, BASIC, None);
    let url = format!("rtsp://127.0.0.1:{}/cam", gate.port);
    let wrong = start(rtsp(&url, Some(("viewer", "geheim'"))));
    let why = wrong.reaches(CameraState::Offline);
    assert!(why.contains("refuses the user or the password (401)") && !why.contains("geheim"), "{why}");
    let why = start(rtsp(&url, None)).reaches(CameraState::Offline);
    assert!(why.contains("asks for a login (401): give `user` and `password_file`"), "{why}");
    let lost = start(rtsp(&server.url("/nothing"), None));
    let why = lost.reaches(CameraState::Offline);
    assert!(why.contains("404: it has no stream at this path"), "{why}");
}

#[test]
fn a_frozen_server_is_a_stall_and_one_that_dies_and_comes_back_another_size_goes_on() {
    let Some(mut server) = Server::start() else { return };
    let running = start(Settings { stall_after: Duration::from_secs(5), ..rtsp(&server.url("/cam"), None) });
    running.frames(3);
    server.signal(Signal::STOP);
    assert_eq!(running.reaches(CameraState::Stalled), "no picture for 5.0 s");
    server.signal(Signal::CONT);
    wait_until("it to be online again", || {
        while running.frames.try_recv().is_ok() {}
        running.state_names().ends_with(&["online"])
    });
    server.kill();
    let why = running.reaches(CameraState::Offline);
    assert!(
        ["broke off", "ended its stream", "cannot be reached", "no picture"].iter().any(|w| why.contains(w)),
        "{why}"
    );
    let known = running.state_names().len();
    server.restart_smaller();
    wait_until("it to be back", || {
        while running.frames.try_recv().is_ok() {}
        running.state_names()[known..].ends_with(&["online"])
    });
    let frame = running.frame();
    assert_eq!((frame.width(), frame.height()), (64, 48), "as configured, whatever comes");
}

#[test]
fn garbage_in_place_of_rtsp_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://127.0.0.1:{}/cam", listener.local_addr().unwrap().port());
    let garble = move || {
        for mut stream in listener.incoming().flatten().take(1) {
            let noise: Vec<u8> =
                (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            while stream.write_all(&noise).is_ok() {}
        }
    };
    let server = std::thread::Builder::new().spawn(garble).unwrap();
    let running = start(Settings { stall_after: Duration::from_secs(3), ..rtsp(&url, None) });
    wait_until("it to be given up", || {
        running.state_names().iter().any(|state| ["offline", "stalled"].contains(state))
    });
    assert_eq!(running.counters.frames(), 0);
    drop(running);
    server.join().unwrap();
}

/// The frames of so many seconds, and the states meanwhile.
fn watch(manner: Manner, seconds: u64) -> (Vec<Frame>, Vec<(CameraState, String)>) {
    let server = RtspServer::start(manner);
    let running = start(rtsp(&server.url(), None));
    let first = running.frame();
    let mut frames = vec![first];
    let until = SystemClock.now().plus(Duration::from_secs(seconds));
    while SystemClock.now() < until {
        if let Ok(frame) = running.frames.recv_timeout(Duration::from_millis(100)) {
            frames.push(frame);
        }
    }
    (frames, running.finish())
}

#[test]
fn a_camera_whose_clock_is_set_makes_no_pictures_up_and_a_new_run_begins() {
    for jump in [10_000, -10_000] {
        let (frames, states) = watch(Manner { jump: Some((2.0, jump)), ..Manner::default() }, 6);
        assert!((40..=75).contains(&frames.len()), "{} frames in 6 s of ten a second", frames.len());
        let told: Vec<_> = frames.iter().map(|frame| (frame.at().run, frame.withheld())).collect();
        assert!(told[0].0 < told[told.len() - 1].0, "{told:?}");
        assert!(told.iter().rev().take(20).all(|told| told.1 == Some(Withheld::Unsteady)), "{told:?}");
        let told =
            states.iter().any(|(state, why)| *state == CameraState::Degraded && why.contains("jumped"));
        assert!(told, "{states:?}");
    }
}

#[test]
fn what_a_held_network_brings_at_once_is_never_shown_as_new() {
    // Nothing comes between the 2nd second and the 5th; then everything at once.
    let (frames, states) = watch(Manner { hold: Some((2.0, 5.0)), ..Manner::default() }, 9);
    let late = |state: &(CameraState, String)| state.0 == CameraState::Degraded && state.1.contains("late");
    assert!(states.iter().any(late), "{states:?}");
    let gap = frames.windows(2).max_by_key(|two| two[1].at().stamp.since(two[0].at().stamp)).unwrap();
    let gap = gap[1].at().stamp.since(gap[0].at().stamp);
    // What was at most a second and a half late was looked at, with its true moment.
    assert!(
        gap < Duration::from_secs(3),
        "the stamps are those of the pictures, not of their arrival: {gap:?}"
    );
    let held = frames.iter().filter(|frame| frame.at().run != frames[0].at().run);
    assert!(held.clone().count() > 0 && held.take(20).all(|frame| frame.withheld().is_some()));
}

/// The most memory that this process has taken, in bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn a_camera_that_never_comes_to_an_end_is_cut_off_before_it_fills_the_memory() {
    for (endless, words) in [
        (Endless::Head, "a message of more than 64 KiB"),
        (Endless::Fragments, "16 MiB without a picture"),
        (Endless::Parameters, "16 MiB without a picture"),
    ] {
        let server = RtspServer::start(Manner { endless: Some(endless), ..Manner::default() });
        let before = peak_memory();
        let running = start(Settings { stall_after: Duration::from_secs(60), ..rtsp(&server.url(), None) });
        let why = running.reaches(CameraState::Offline);
        assert!(why.contains(words), "{endless:?}: {why}");
        let grown = peak_memory() - before;
        assert!(grown < 128 << 20, "{endless:?}: it took {} MiB", grown >> 20);
    }
}

#[test]
fn a_redirect_is_not_followed_and_nobody_else_is_given_the_login() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let there = format!("rtsp://127.0.0.1:{}/loot", elsewhere.local_addr().unwrap().port());
    let server = RtspServer::start(Manner { redirect: Some(there), ..Manner::default() });
    let running = start(rtsp(&server.url(), Some(("viewer", "geheim"))));
    let why = running.reaches(CameraState::Offline);
    assert!(why.contains("302: it sends us elsewhere, which is not followed"), "{why}");
    assert!(elsewhere.accept().is_err(), "somebody else was asked");
}

#[test]
fn a_stream_that_is_joined_in_the_middle_waits_for_its_key_picture_and_udp_is_taken_where_it_is_said() {
    let server = RtspServer::start(Manner { begin: 5, ..Manner::default() });
    start(rtsp(&server.url(), None)).frames(3);
    let server = RtspServer::start(Manner { udp: true, ..Manner::default() });
    let why = start(rtsp(&server.url(), None)).reaches(CameraState::Offline);
    assert!(why.contains("461") && why.contains("`transport = \"udp\"`"), "{why}");
    let (address, _) = RtspAddress::parse(&server.url()).unwrap();
    start(camera(RtspCamera { transport: Transport::Udp, ..RtspCamera::new(address) })).frames(3);
}

#[test]
fn a_decoder_that_this_machine_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(folder.path(), 1);
    let input =
        FfmpegInput { decoder: Decoder::Nvv4l2(portero::domain::Codec::H264), ..FfmpegInput::new("x") };
    let input = FfmpegInput { input: clip.to_str().unwrap().into(), ..input };
    let why = start(settings(Source::Ffmpeg(input))).reaches(CameraState::Offline);
    assert!(why.contains("h264_nvv4l2dec"), "{why}");
}
