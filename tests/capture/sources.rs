//! What holds for every source: trying it out, and the loop's answer to faults that no real source shows on demand.

use portero::capture::{CaptureError, FrameSource, Grab, Picture, ProbeReport, Timing, probe, v4l2};
use portero::shutdown::Stop;

use super::*;

fn try_out(settings: &Settings, timeout: Duration) -> Result<ProbeReport, CaptureError> {
    let (_handle, stop) = stop_pair();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    probe(settings, &clock, spawn(), timeout, &stop)
}

#[test]
fn trying_a_camera_reports_its_frames_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let input = clip(folder.path(), 1).to_str().unwrap().to_owned();
    let settings = settings(Source::Ffmpeg(FfmpegInput::new(input.clone())));
    let report = try_out(&settings, PATIENCE).unwrap();
    assert_eq!((report.width, report.height, report.format), (64, 48, "yuv420p"));
    assert_eq!(processes_with(&input), Vec::<u32>::new());
}

#[test]
fn trying_a_silent_camera_ends_in_time() {
    let argv = vec!["sleep".to_owned(), "1000".to_owned()];
    let silent = settings(Source::Command { argv, output: portero::capture::CommandOutput::Mjpeg });
    let error = try_out(&silent, Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.to_string(), "no frame came within 300ms");
}

#[test]
fn a_device_that_is_none_is_named() {
    for (device, expected) in [
        ("/dev/video4711", "/dev/video4711 does not exist"),
        ("4711", "/dev/video4711 does not exist"),
        ("/dev/null", "/dev/null is no V4L2 camera"),
        ("/etc/hostname", "/etc/hostname is no V4L2 camera"),
    ] {
        let settings = settings(Source::V4l2 { device: device.into() });
        let error = try_out(&settings, PATIENCE).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn listing_devices_works_without_any() {
    for device in v4l2::list() {
        assert!(device.path.starts_with("/dev"));
    }
}

/// A source that gives what the test says, one grab a call.
struct Script(std::vec::IntoIter<Result<Grab, CaptureError>>);

impl FrameSource for Script {
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError> {
        self.0.next().unwrap_or_else(|| {
            let _ = stop.wait_for(deadline);
            Ok(Grab::Nothing)
        })
    }
}

fn picture() -> Result<Grab, CaptureError> {
    Ok(Grab::Picture(Picture { width: 2, height: 1, pixels: vec![7; 6].into() }, Timing::NOW))
}

/// A camera whose openings follow a script; then it cannot be opened any more.
fn scripted(openings: Vec<Vec<Result<Grab, CaptureError>>>, looped: bool) -> Running {
    let mut openings = openings.into_iter();
    let open = move || match openings.next() {
        Some(grabs) => Ok(Box::new(Script(grabs.into_iter())) as Box<dyn FrameSource>),
        None => Err(CaptureError::Missing { path: "/the/end".into() }),
    };
    let folder = Source::Folder { path: "/unused".into(), watch: false };
    let settings =
        Settings { stall_after: Duration::from_millis(500), pace: Pace::Fast, looped, ..settings(folder) };
    start_camera(Camera::with_open(settings, Arc::new(SystemClock), Box::new(open)))
}

#[test]
fn a_lost_source_is_opened_again_and_each_state_is_told_once() {
    let lost = || Err(CaptureError::NoFrame);
    let running = scripted(vec![vec![picture(), lost()], vec![lost()], vec![picture(), picture()]], false);
    let frames = running.frames(3);
    assert!(frames.iter().map(|f| f.at().seq.0).eq(0..3));
    running.reaches(CameraState::Stalled);
    wait_until("the last attempt", || running.state_names().len() == 6);
    let expected = ["starting", "online", "offline", "online", "stalled", "offline"];
    assert_eq!(running.state_names(), expected);
    assert_eq!(running.states().pop().unwrap().1, "/the/end does not exist");
}

#[test]
fn damaged_pictures_alone_are_a_stall_with_their_reason() {
    let damaged = || Ok(Grab::Damaged(CaptureError::Damaged { what: "a.jpg".into(), why: "cut off".into() }));
    let picture = Picture { width: 5, height: 5, pixels: vec![0; 3].into() };
    let wrong = Ok(Grab::Picture(picture, Timing::NOW));
    let running = scripted(vec![vec![damaged(), damaged(), wrong]], false);
    let why = running.reaches(CameraState::Stalled);
    assert!(why.starts_with("no good picture for 0.5 s; the last: "), "{why}");
    assert_eq!(running.counters.decode_errors(), 3);
    assert!(!running.state_names().contains(&"online"));
}

#[test]
fn a_looped_source_that_ends_is_opened_again_without_a_word() {
    let once = || vec![picture(), Ok(Grab::End)];
    let running = scripted(vec![once(), once(), once()], true);
    running.frames(3);
    running.reaches(CameraState::Offline);
    assert_eq!(running.state_names(), ["starting", "online", "offline"]);
}

#[test]
fn a_camera_that_waits_still_gives_a_sign_of_life() {
    let running = scripted(vec![], false);
    running.reaches(CameraState::Offline);
    let seen = running.counters.heartbeat_us();
    assert!(seen > 0);
    wait_until("another turn", || running.counters.heartbeat_us() > seen);
}
