//! A camera that is covered while the daemon's configuration is reloaded.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;

use super::{HEIGHT, WIDTH, frames};
use crate::support::daemon::{Daemon, Site, street};
use crate::support::wait_until;

/// A web camera in the street with a lens that can be covered.
struct StreetCamera {
    port: u16,
    lens: Arc<Lens>,
    thread: Option<JoinHandle<()>>,
}

struct Lens {
    open: Vec<Vec<u8>>,
    covered: Vec<Vec<u8>>,
    is_covered: AtomicBool,
    /// Pictures sent so far.
    sent: AtomicUsize,
    over: AtomicBool,
}

/// Pictures a second.
const RATE: u64 = 10;

impl StreetCamera {
    fn start() -> Self {
        let pictures = |graph: &str| {
            let mut pictures = Vec::new();
            frames(&street(), 10, graph, |frame| {
                let mut jpeg = Vec::new();
                let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 85);
                let (width, height) = (WIDTH as u16, HEIGHT as u16);
                encoder.encode(frame.rgb(), width, height, jpeg_encoder::ColorType::Rgb).unwrap();
                pictures.push(jpeg);
            });
            pictures
        };
        let lens = Arc::new(Lens {
            open: pictures("trim=0:3"),
            covered: pictures("trim=0:1,drawbox=c=0x020202:t=fill,noise=alls=3:allf=t"),
            is_covered: AtomicBool::new(false),
            sent: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shown = Arc::clone(&lens);
        let serve = move || {
            for stream in listener.incoming().flatten() {
                if shown.over.load(Ordering::Relaxed) {
                    return;
                }
                // An error is the daemon's hanging up.
                let _ = shown.show(stream);
            }
        };
        Self { port, lens, thread: Some(std::thread::Builder::new().spawn(serve).unwrap()) }
    }

    fn cover(&self, covered: bool) {
        self.lens.is_covered.store(covered, Ordering::Relaxed);
    }

    /// Waits until it has sent what it sends in so many seconds.
    fn wait(&self, seconds: u64) {
        let until = self.lens.sent.load(Ordering::Relaxed) + (seconds * RATE) as usize;
        let deadline = Duration::from_secs(60);
        wait_until("pictures are sent", deadline, || self.lens.sent.load(Ordering::Relaxed) >= until);
    }
}

impl Lens {
    fn show(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request)?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=cut\r\n\r\n")?;
        while !self.over.load(Ordering::Relaxed) {
            let pictures = if self.is_covered.load(Ordering::Relaxed) { &self.covered } else { &self.open };
            let jpeg = &pictures[self.sent.fetch_add(1, Ordering::Relaxed) % pictures.len()];
            write!(stream, "--cut\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len())?;
            stream.write_all(jpeg)?;
            stream.write_all(b"\r\n")?;
            std::thread::sleep(Duration::from_millis(1000 / RATE));
        }
        Ok(())
    }
}

impl Drop for StreetCamera {
    fn drop(&mut self) {
        self.lens.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn configuration(camera: &StreetCamera, tamper: &str, mask: &str, cooldown: &str) -> String {
    format!(
        "[[camera]]\nid = \"street\"\nsource = {{ http = \"http://127.0.0.1:{}/\" }}\nsize = [{WIDTH}, {HEIGHT}]\n\
         fps = 5\ntamper = {tamper}\n{mask}[[rule]]\nid = \"hands-off\"\ncamera = \"street\"\ntamper = true\n\
         cooldown = \"{cooldown}\"\nlog = true\n",
        camera.port
    )
}

const OVER: &str = "its picture is as it should be again";

fn reload(daemon: &Daemon, site: &Site, configuration: &str) {
    let said = || daemon.log().matches("rules in force").count();
    let before = said();
    site.configure(configuration);
    daemon.signal(Signal::HUP);
    wait_until("it is reloaded", Duration::from_secs(20), || said() > before);
}

#[test]
fn no_reload_clears_a_tamper_alarm_while_the_camera_is_covered() {
    let camera = StreetCamera::start();
    let tamper = "{ after = \"2s\" }";
    let site = Site::new(&configuration(&camera, tamper, "", "30s"));
    let daemon = site.start(&[]);
    daemon.wait_for_log("street: online", Duration::from_secs(60));
    camera.wait(6);
    camera.cover(true);
    daemon.wait_for_log("camera street was tampered with: it is dark", Duration::from_secs(20));
    let mask = "[[camera.mask]]\nbox = [0.0, 0.0, 0.4, 0.5]\n";
    for (tamper, mask, cooldown) in [
        (tamper, "", "40s"),
        ("{ after = \"1s\", frozen_after = \"9s\" }", "", "40s"),
        ("{ after = \"1s\", frozen_after = \"9s\" }", mask, "40s"),
    ] {
        reload(&daemon, &site, &configuration(&camera, tamper, mask, cooldown));
        camera.wait(4);
        let log = daemon.log();
        assert!(!log.contains(OVER), "cleared by a reload of {tamper} {mask:?} {cooldown}:\n{log}");
    }
    camera.cover(false);
    daemon.wait_for_log(OVER, Duration::from_secs(20));
    let told: Vec<String> =
        site.events().iter().map(|event| event.decision.observation.answer.as_str().to_owned()).collect();
    assert_eq!(told, ["dark"], "told once:\n{}", daemon.log());
}
