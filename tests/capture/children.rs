//! Programs that write pictures, and everything a program can do wrong.

use portero::capture::{CommandOutput, PixelFormat};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

fn command(argv: &[&str], output: CommandOutput) -> Settings {
    settings(Source::Command { argv: argv.iter().map(|&s| s.to_owned()).collect(), output })
}

fn shell(script: &str, output: CommandOutput) -> Settings {
    command(&["sh", "-c", script], output)
}

/// ffmpeg's test pattern at 10 frames a second, 64x48, for ever, in real time; `mark` tells it from others.
fn pattern(mark: &str, output: &[&'static str]) -> Vec<String> {
    let input = format!("testsrc=size=64x48:rate=10,drawtext=text={mark}:fontsize=1");
    let start = ["ffmpeg", "-loglevel", "error", "-re", "-f", "lavfi", "-i"].map(str::to_owned);
    start.into_iter().chain([input]).chain(output.iter().map(|&s| s.to_owned())).collect()
}

fn mjpeg(mark: &str) -> Settings {
    let argv = pattern(mark, &["-f", "mjpeg", "-"]);
    settings(Source::Command { argv, output: CommandOutput::Mjpeg })
}

fn signal(mark: &str, signal: Signal) {
    let pids = processes_with(mark);
    assert_eq!(pids.len(), 1, "one process with {mark}");
    kill_process(Pid::from_raw(pids[0] as i32).unwrap(), signal).unwrap();
}

#[test]
fn every_output_of_a_command_shows_the_same_picture() {
    let raw = |name: &'static str, format| {
        let argv = pattern("raw", &["-pix_fmt", name, "-f", "rawvideo", "-"]);
        settings(Source::Command { argv, output: CommandOutput::Raw(format) })
    };
    let rgb = start(raw("rgb24", PixelFormat::Rgb24)).frame();
    for other in [raw("yuv420p", PixelFormat::Yuv420p), raw("yuyv422", PixelFormat::Yuyv), mjpeg("raw")] {
        let frame = start(other.clone()).frame();
        assert_eq!((frame.width(), frame.height()), (64, 48));
        let off: u32 = frame.rgb().iter().zip(rgb.rgb()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        let mean = f64::from(off) / rgb.rgb().len() as f64;
        assert!(mean < 12.0, "{:?}: {mean}", other.source);
    }
}

#[test]
fn a_killed_child_is_replaced_while_another_camera_goes_on() {
    let (victim, other) = (start(mjpeg("victim")), start(mjpeg("bystander")));
    victim.frame();
    other.frame();
    signal("victim", Signal::KILL);
    let why = victim.reaches(CameraState::Offline);
    assert!(why.contains("`ffmpeg` ended (signal: 9 (SIGKILL))"), "{why}");
    wait_until("the victim to come back", || victim.state_names().ends_with(&["offline", "online"]));
    let (before, after) = (other.frame(), other.frame());
    assert_eq!(after.at().seq.0, before.at().seq.0 + 1);
    assert_eq!(other.state_names(), ["starting", "online"]);
    assert_eq!((victim.counters.reopens(), other.counters.reopens()), (1, 0));
}

#[test]
fn frame_numbers_and_stamps_go_on_over_a_loss() {
    let running = start(mjpeg("numbered"));
    let first = running.frames(3);
    signal("numbered", Signal::KILL);
    let then = running.frames(6);
    let all: Vec<_> = first.iter().chain(&then).map(Frame::at).collect();
    assert!(all.iter().map(|at| at.seq.0).eq(0..9));
    assert!(all.windows(2).all(|pair| pair[0].stamp < pair[1].stamp));
}

#[test]
fn a_frozen_child_is_a_stall_and_is_replaced() {
    let running = start(Settings { stall_after: Duration::from_secs(1), ..mjpeg("frozen") });
    running.frame();
    signal("frozen", Signal::STOP);
    assert_eq!(running.reaches(CameraState::Stalled), "no picture for 1.0 s");
    wait_until("it to come back", || {
        while running.frames.try_recv().is_ok() {}
        running.state_names().ends_with(&["stalled", "online"])
    });
    assert_eq!(running.counters.stalls(), 1);
    assert_eq!(processes_with("frozen").len(), 1, "the frozen one must be gone");
}

#[test]
fn garbage_is_never_a_picture() {
    let random = start(shell("head -c 1000000 /dev/urandom", CommandOutput::Mjpeg));
    let why = random.reaches(CameraState::Offline);
    assert!(why.contains("`sh` ended (exit status: 0) after 0 frames"), "{why}");

    let flood = start(command(&["yes"], CommandOutput::Mjpeg));
    let why = flood.reaches(CameraState::Offline);
    assert!(why.starts_with("`yes` wrote") && why.ends_with("bytes without a JPEG picture in them"), "{why}");

    let endless = r"printf '\377\330\377\332\000\002'; exec yes";
    let flood = start(shell(endless, CommandOutput::Mjpeg));
    wait_until("the endless picture to be given up", || flood.counters.decode_errors() >= 1);
    assert_eq!((random.counters.frames(), flood.counters.frames()), (0, 0));
}

#[test]
fn a_damaged_picture_between_good_ones_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.jpg");
    make(&["-f", "lavfi", "-i", "testsrc=size=64x48", "-frames:v", "1"], &picture);
    let script = format!(
        "while :; do cat {0}; sleep 0.1; head -c 700 {0}; sleep 0.1; printf 'noise'; done",
        picture.display()
    );
    let running = start(shell(&script, CommandOutput::Mjpeg));
    running.frames(3);
    assert!(running.counters.decode_errors() >= 2);
    assert_eq!(running.counters.reopens(), 0);
}

#[test]
fn a_flood_of_frames_is_held_back_and_thinned() {
    let running = start(command(&["yes"], CommandOutput::Raw(PixelFormat::Rgb24)));
    let frames = running.frames(5);
    let took = frames[4].at().stamp.since(frames[0].at().stamp);
    assert!(took >= Duration::from_millis(300), "5 frames at 10 a second came within {took:?}");
    let seen = running.counters.frames();
    assert!(running.counters.thinned() > 0 && seen < 1000, "{seen} frames were read");
}

#[test]
fn half_a_frame_at_the_end_is_said() {
    let running = start(shell(
        "head -c 10000 /dev/zero; echo camera busy >&2; exit 3",
        CommandOutput::Raw(PixelFormat::Rgb24),
    ));
    assert_eq!(running.frame().rgb(), vec![0; 64 * 48 * 3]);
    let why = running.reaches(CameraState::Offline);
    let expected = "`sh` ended (exit status: 3) after 1 frames: camera busy (in the middle of a picture)";
    assert_eq!(why, expected);
}

#[test]
fn complaints_without_end_neither_fill_memory_nor_hide_the_last() {
    let script = "yes 'rtsp://u:geheim@h: bad packet' | head -c 3000000 >&2; echo the end >&2; exit 1";
    let why = start(shell(script, CommandOutput::Mjpeg)).reaches(CameraState::Offline);
    assert!(why.ends_with("rtsp://***@h: bad packet; the end"), "{why}");
    assert!(why.len() < 500 && !why.contains("geheim"), "{why}");
}

#[test]
fn a_child_that_ignores_being_asked_is_killed_with_its_own_children() {
    let mark = "ignores-term-4711";
    let script = format!(
        "trap '' TERM; (trap '' TERM; exec sh -c 'sleep 1000; : {mark}') & while :; do sleep 1; done"
    );
    let running = start(shell(&script, CommandOutput::Mjpeg));
    wait_until("both to run", || processes_with(mark).len() >= 2);
    running.finish();
    // Killed they are; the kernel may take its time to bury the grandchild.
    wait_until("both to be gone", || processes_with(mark).is_empty());
}

#[test]
fn stopping_leaves_no_process_and_no_zombie() {
    let running = start(mjpeg("leftover"));
    running.frame();
    let pid = processes_with("leftover")[0];
    running.finish();
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "neither running nor a zombie");
}

#[test]
fn a_silent_child_does_not_delay_a_stop() {
    let running = start(command(&["sleep", "1000"], CommandOutput::Mjpeg));
    wait_until("it to start", || running.state_names() == ["starting"]);
    let begun = SystemClock.now();
    running.finish();
    assert!(SystemClock.now().since(begun) < Duration::from_secs(10));
}

#[test]
fn what_is_not_installed_is_said() {
    let why = |argv: &[&str]| start(command(argv, CommandOutput::Mjpeg)).reaches(CameraState::Offline);
    assert_eq!(why(&["no-such-program"]), "`no-such-program` is not installed");
    assert_eq!(why(&["/no/such/program"]), "`/no/such/program` is not installed");
    assert_eq!(why(&[]), "the command is empty: give the program and its arguments");
}
