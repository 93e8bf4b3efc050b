//! Cameras on real programs, files and folders: what a user plugs in, and everything that can be wrong with it; and
//! what the watch room makes of real frames.

mod children;
mod files;
mod folders;
mod http;
mod inbox;
pub(crate) mod rtsp;
mod sources;
mod street;

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use portero::capture::{Camera, Counters, FfmpegInput, Pace, Pictures, Settings, Source, Spawn};
use portero::clock::{Clock, SystemClock};
use portero::domain::{CameraId, CameraState, Frame};
use portero::shutdown::{StopHandle, stop_pair};

/// Nothing here takes as long on a machine that works.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(source: Source) -> Settings {
    Settings {
        camera: CameraId::new("test").unwrap(),
        source,
        fps: 10.0,
        width: 64,
        height: 48,
        settle: Duration::ZERO,
        stall_after: Duration::from_secs(5),
        pace: Pace::Realtime,
        looped: false,
    }
}

fn spawn() -> Spawn {
    Arc::new(|name, work| std::thread::Builder::new().name(name.to_owned()).spawn(work))
}

/// A camera on its own thread. Dropping it stops it and waits.
struct Running {
    frames: Receiver<Frame>,
    states: Arc<Mutex<Vec<(CameraState, String)>>>,
    counters: Arc<Counters>,
    stop: Option<StopHandle>,
    thread: Option<JoinHandle<()>>,
}

fn start(settings: Settings) -> Running {
    start_camera(Camera::new(settings, Arc::new(SystemClock), spawn()))
}

fn start_camera(camera: Camera) -> Running {
    let (handle, stop) = stop_pair();
    let (sender, frames) = sync_channel(1);
    let states = Arc::new(Mutex::new(Vec::new()));
    let (counters, told) = (camera.counters(), states.clone());
    let asked = stop.clone();
    let work = move || {
        let mut sink = |frame| {
            // Waits for the test to take it, as a fast pipeline does, but not for longer than the test lives.
            let mut frame = Some(frame);
            while let Some(waiting) = frame.take() {
                match sender.try_send(waiting) {
                    Err(std::sync::mpsc::TrySendError::Full(back)) if !asked.is_requested() => {
                        frame = Some(back);
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    _ => {}
                }
            }
        };
        let mut health = |state, why: &str| told.lock().unwrap().push((state, why.to_owned()));
        camera.run(&stop, &mut sink, &mut health);
    };
    let thread = std::thread::Builder::new().name("cam-test".into()).spawn(work).unwrap();
    Running { frames, states, counters, stop: Some(handle), thread: Some(thread) }
}

impl Running {
    fn frame(&self) -> Frame {
        self.frames.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            panic!("no frame ({error}); states: {:?}", self.states());
        })
    }

    fn frames(&self, n: usize) -> Vec<Frame> {
        (0..n).map(|_| self.frame()).collect()
    }

    /// All frames until the camera ends.
    fn all(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        self.all_to(&mut |frame| frames.push(frame));
        frames
    }

    /// Shows all frames until the camera ends.
    fn all_to(&self, see: &mut dyn FnMut(Frame)) {
        loop {
            match self.frames.recv_timeout(PATIENCE) {
                Ok(frame) => see(frame),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end; states: {:?}", self.states()),
            }
        }
    }

    fn states(&self) -> Vec<(CameraState, String)> {
        self.states.lock().unwrap().clone()
    }

    /// Waits for the state and returns its reason.
    fn reaches(&self, state: CameraState) -> String {
        let mut why = None;
        wait_until(&format!("the camera to be {state:?}"), || {
            // Frames nobody takes must not hold the camera up.
            while self.frames.try_recv().is_ok() {}
            why = self.states().iter().find(|(s, _)| *s == state).map(|(_, why)| why.clone());
            why.is_some()
        });
        why.unwrap()
    }

    fn state_names(&self) -> Vec<&'static str> {
        self.states().iter().map(|(state, _)| state.as_str()).collect()
    }

    /// Stops it and waits; the frames it had passed on are gone.
    fn finish(mut self) -> Vec<(CameraState, String)> {
        self.stop_and_wait();
        self.states()
    }

    fn stop_and_wait(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            wait_until("the camera thread to end", || thread.is_finished());
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop_and_wait();
        }
    }
}

fn wait_until(what: &str, done: impl FnMut() -> bool) {
    crate::support::wait_until(what, PATIENCE, done);
}

/// Runs ffmpeg to make something to play.
fn make(args: &[&str], target: &Path) {
    let done = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y"])
        .args(args)
        .arg(target)
        .status()
        .expect("ffmpeg is not installed: apt-get install ffmpeg");
    assert!(done.success(), "{args:?}");
}

/// A clip of `seconds` at 10 frames a second, 128x96: grey that gets lighter by 8 with each frame.
fn clip(folder: &Path, seconds: u32) -> std::path::PathBuf {
    let path = folder.join("-clip.avi");
    let input =
        format!("color=black:size=128x96:rate=10:duration={seconds},geq=lum='mod(16+8*N,220)':cb=128:cr=128");
    make(&["-f", "lavfi", "-i", &input, "-c:v", "ffv1", "-pix_fmt", "yuv420p"], &path);
    path
}

/// The mean of all channels.
fn brightness(frame: &Frame) -> f64 {
    frame.rgb().iter().map(|&v| f64::from(v)).sum::<f64>() / frame.rgb().len() as f64
}

/// Processes whose command line holds `word`.
fn processes_with(word: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        })
        .collect()
}
