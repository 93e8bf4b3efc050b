//! Clips that are copies of a camera's own stream: files, GStreamer's RTSP server, and what must not be copied.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portero::domain::ClipState;
use rustix::process::Signal;
use tempfile::TempDir;

use super::{clips, files, played, rule, stored, with_ffmpeg};
use crate::capture::rtsp::Server;
use crate::support::daemon::{Site, street};
use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(120);

/// The street encoded anew with these options of ffmpeg, in a folder that lives as long as the test.
fn film(name: &str, options: &[&str]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-i"]).arg(street()).args(options);
    let done = command.arg(&path).status().expect("ffmpeg is needed by the tests: apt-get install ffmpeg");
    assert!(done.success(), "{options:?}");
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// H.264 with a key picture every second, and pictures that are not shown in the order in which they are coded.
fn h264() -> (TempDir, String) {
    film(
        "street.mp4",
        &["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "10", "-sc_threshold", "0"],
    )
}

/// A camera with pictures much smaller than its stream's.
fn camera(source: &str, lines: &str) -> String {
    format!(
        "[[camera]]\nid = \"street\"\nsource = {{ ffmpeg = {source:?} }}\nfps = 5\nsize = [320, 240]\n{lines}\n"
    )
}

/// What ffprobe says of the first video stream, one entry a line.
fn probe(clip: &Path, entries: &str) -> Vec<String> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "csv=p=0"]);
    let output = command.arg(clip).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.trim_end_matches(',').to_owned())
        .collect()
}

fn size(clip: &Path) -> String {
    probe(clip, "stream=width,height").concat()
}

/// A checksum of each decoded picture.
fn pictures(film: &Path) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(film).args(["-map", "0:v:0", "-f", "framemd5", "-"]);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Seconds of a clip that can be decoded to its end. The pictures of a network camera come at uneven times, which is no fault.
#[track_caller]
fn decoded(clip: &Path) -> f64 {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-xerror", "-i"]).arg(clip).args([
        "-vf",
        "scale=32:32",
        "-f",
        "rawvideo",
        "-",
    ]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty() && !output.stdout.is_empty(),
        "{}: {said}",
        clip.display()
    );
    probe(clip, "format=duration").concat().parse().unwrap()
}

#[test]
fn a_clip_is_the_cameras_own_stream_from_a_key_picture_before_the_event_to_its_end() {
    let (_folder, source) = h264();
    let wanting = rule("for = \"5s\"\ncooldown = \"1h\"\nclip = { before = \"3s\", after = \"4s\" }");
    let site = Site::new(&(camera(&source, "pace = \"fast\"") + &wanting));
    let log = site.play();
    let events = stored(&site);
    let Some(ClipState::Written(file)) = &events[0].clip else { panic!("{:?}\n{log}", events[0].clip) };
    assert!(
        log.contains("1 written") && log.contains("1 of them copied") && log.contains(", 0 times not copied"),
        "{log}"
    );
    let clip = clips(&site).join(&file.name);
    assert_eq!(size(&clip), "768,576", "the stream's size, not that of the pictures");
    let (codec, seconds) = played(&clip);
    assert!(codec == "h264" && (7.0..=8.3).contains(&seconds), "{codec}, {seconds} s");
    assert!(probe(&clip, "packet=flags")[0].starts_with('K'));

    // Bit for bit a stretch of the source, and the right one.
    let (all, some) = (pictures(Path::new(&source)), pictures(&clip));
    let at = all.windows(some.len()).position(|stretch| stretch == some).expect("it is part of the source");
    let event_at = events[0].event.decision.frame.seq.0 as f64 / 5.0;
    let (from, until) = (at as f64 / 10.0, (at + some.len()) as f64 / 10.0);
    assert!((event_at - 4.01..event_at - 2.99).contains(&from), "{from} s, the event is at {event_at} s");
    assert!((event_at + 3.8..event_at + 4.2).contains(&until), "{until} s, the event is at {event_at} s");
    let captured = events[0].event.decision.frame.stamp.wall_us();
    assert!((captured - 4_010_000..=captured - 2_990_000).contains(&file.from_wall_us));
    assert!((captured + 3_700_000..=captured + 4_000_000).contains(&file.until_wall_us));
}

#[test]
fn h265_is_copied_too_under_the_name_that_players_know() {
    let options = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "keyint=10:log-level=none"];
    let (_folder, source) = film("street.mkv", &[&options[..], &["-t", "10"]].concat());
    let site = Site::new(
        &(camera(&source, "pace = \"fast\"") + &rule("clip = { before = \"2s\", after = \"2s\" }")),
    );
    let log = site.play();
    let names = files(&clips(&site));
    assert!(log.contains("1 of them copied"), "{log}");
    let clip = clips(&site).join(&names[0]);
    assert_eq!(probe(&clip, "stream=codec_name,codec_tag_string").concat(), "hevc,hvc1");
    played(&clip);
}

#[test]
fn what_mp4_players_do_not_know_is_encoded_and_said() {
    let (_folder, source) = film("street.avi", &["-c:v", "mpeg4", "-q:v", "3"]);
    let site = Site::new(
        &(camera(&source, "pace = \"fast\"") + &rule("clip = { before = \"2s\", after = \"2s\" }")),
    );
    let log = site.play();
    assert!(log.contains("its stream is not copied into clips: it is neither H.264 nor H.265"), "{log}");
    assert!(log.contains("0 of them copied") && log.contains(", 1 times not copied"), "{log}");
    let clip = clips(&site).join(&files(&clips(&site))[0]);
    assert_eq!((played(&clip).0.as_str(), size(&clip).as_str()), ("h264", "320,240"));
}

#[test]
fn an_ffmpeg_that_fails_over_the_copy_is_let_decode_without_it() {
    let (_folder, source) = h264();
    let fails = |lines: &str| {
        let wanting = rule("clip = { before = \"2s\", after = \"2s\" }");
        let site = Site::new(&(camera(&source, "pace = \"fast\"") + &wanting));
        let mut daemon =
            with_ffmpeg(&site, &format!("case \"$*\" in *\"-f mpegts pipe:0\"*) {lines} exit 1;; esac"));
        assert!(daemon.wait(Duration::from_secs(240)).success(), "{}", daemon.log());
        let clip = clips(&site).join(&files(&clips(&site))[0]);
        assert_eq!(size(&clip), "320,240");
        daemon.log()
    };
    let log = fails("echo '[mpegts @ 0x5] first pts value must be set' >&2;");
    assert_eq!(log.matches("next attempt").count(), 1, "{log}");
    assert!(log.contains("ffmpeg fails over it") && log.contains(", 1 times not copied"), "{log}");
    // With words that nobody knows.
    let log = fails("echo 'Conversion failed!' >&2;");
    assert_eq!(log.matches("next attempt").count(), 3, "{log}");
    assert!(log.contains("clips are encoded from its pictures from now on"), "{log}");
}

#[test]
fn memory_that_is_too_small_ends_a_clip_early_and_without_key_pictures_pictures_are_kept() {
    let heavy = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "6"];
    let wanting = rule("for = \"8s\"\ncooldown = \"1h\"\nclip = { before = \"2s\", after = \"4s\" }");
    let little = |source: &str| {
        let site = Site::new(
            &("clips_memory = \"1MiB\"\n".to_owned() + &camera(source, "pace = \"fast\"") + &wanting),
        );
        let log = site.play();
        let name = files(&clips(&site)).pop().unwrap_or_else(|| panic!("{log}"));
        (log, clips(&site).join(name), site)
    };
    let (_folder, often) = film("often.mp4", &[&heavy[..], &["-g", "3"]].concat());
    let (log, clip, _site) = little(&often);
    assert!(log.contains("1 of them copied") && log.contains("1 cut short"), "{log}");
    let (_, seconds) = played(&clip);
    assert!(seconds < 6.0 && clip.metadata().unwrap().len() <= 2 << 20, "{seconds} s");

    let (_folder, never) = film("never.mp4", &[&heavy[..], &["-g", "1000"]].concat());
    let (log, clip, _site) = little(&never);
    assert!(
        log.contains("of its stream have no two key pictures") && log.contains("0 of them copied"),
        "{log}"
    );
    assert_eq!(size(&clip), "320,240", "{log}");
    played(&clip);
}

#[test]
fn a_mask_that_a_reload_brings_is_in_the_first_clip_and_its_removal_copies_again() {
    let (_folder, source) = h264();
    let mask = "[[camera.mask]]\nbox = [0.0, 0.0, 0.5, 1.0]\n";
    let quiet = rule("for = \"1h\"\ncooldown = \"2h\"\nclip = { before = \"20s\", after = \"1s\" }");
    let loud = rule("agree = \"1 of 1\"\ncooldown = \"4s\"\nclip = { before = \"20s\", after = \"1s\" }");
    // Each picture is a presence of its own, so that the rule fires again and again.
    let camera = |lines: &str| {
        format!("[presence]\ngap = \"100ms\"\n{}", camera(&source, &format!("loop = true\n{lines}")))
    };
    let site = Site::new(&(camera("") + &quiet));
    let mut daemon = site.start(&["--report", "1"]);
    wait_until("the ring holds some seconds without the mask", PATIENCE, || {
        let log = daemon.log();
        let reports =
            log.lines().filter_map(|line| line.split_once("street online ")?.1.split_once(" frames"));
        reports.filter_map(|(count, _)| count.parse::<u64>().ok()).any(|count| count >= 30)
    });
    site.configure(&(camera(mask) + &loud));
    daemon.signal(Signal::HUP);
    let first =
        || files(&clips(&site)).into_iter().find(|name| name.ends_with(".mp4") && !name.starts_with('.'));
    wait_until("the first clip", PATIENCE, || first().is_some());
    let clip = clips(&site).join(first().unwrap());
    assert_eq!(size(&clip), "320,240");
    let black = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&clip)
        .args(["-vf", "crop=144:240:0:0,format=gray", "-f", "rawvideo", "-"])
        .output()
        .unwrap()
        .stdout;
    assert!(black.len() >= 144 * 240 && black.iter().all(|luma| *luma <= 8), "{:?}", black.iter().max());

    site.configure(&(camera("") + &loud));
    daemon.signal(Signal::HUP);
    wait_until("a clip is copied again", PATIENCE, || daemon.log().contains(", copied)"));
    assert!(daemon.stop().success());
    let log = daemon.log();
    let (_, after) = log.rsplit_once("rules in force").unwrap();
    assert!(!log[..log.len() - after.len()].contains(", copied)"), "not before the mask was gone: {log}");
    let copied = after.lines().find(|line| line.contains(", copied)")).unwrap();
    let name = copied.split(" clip ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(size(&clips(&site).join(name)), "768,576");
    played(&clips(&site).join(name));
}

#[test]
fn a_network_cameras_stream_is_copied_and_one_that_freezes_leaves_what_there_was() {
    let Some(mut server) = Server::start() else { return };
    let ball = "[[rule]]\nid = \"ball\"\ncamera = \"street\"\nlabel = \"no_person\"\nlog = true\nagree = \"1 of 1\"\ncooldown = \"8s\"\nclip = { before = \"3s\", after = \"2s\" }\n";
    let presence = "[presence]\ngap = \"100ms\"\n";
    let site =
        Site::new(&(presence.to_owned() + &camera(&server.url("/cam"), "stall_after = \"5s\"") + ball));
    let mut daemon = site.start(&[]);
    daemon.wait_for_log("street: online", PATIENCE);
    let written =
        || -> Vec<_> { stored(&site).into_iter().filter_map(|event| event.clip?.file().cloned()).collect() };
    // The first event comes too soon for all that is to go before it.
    wait_until("a second clip", PATIENCE, || written().len() > 1);
    let file = written().remove(1);
    let clip = clips(&site).join(&file.name);
    let seconds = decoded(&clip);
    assert_eq!(probe(&clip, "stream=codec_name,width,height").concat(), "h264,1280,720", "{}", daemon.log());
    // Key pictures come every two seconds.
    assert!((4.5..7.6).contains(&seconds), "{seconds} s\n{}", daemon.log());
    assert!(probe(&clip, "packet=flags")[0].starts_with('K'));
    let wall = (file.until_wall_us - file.from_wall_us) as f64 / 1e6;
    assert!((wall - seconds).abs() < 1.0, "{wall} s by the clock, {seconds} s in the clip");

    // It freezes while a clip is gathered.
    let known = stored(&site).len();
    wait_until("another event", PATIENCE, || stored(&site).len() > known);
    server.signal(Signal::STOP);
    let last = || stored(&site).last().unwrap().clip.clone().unwrap();
    wait_until("its clip is settled", PATIENCE, || last() != ClipState::Pending);
    let ClipState::Written(file) = last() else { panic!("{:?}\n{}", last(), daemon.log()) };
    decoded(&clips(&site).join(&file.name));

    // It comes back, and so do its clips.
    server.signal(Signal::CONT);
    let known = written().len();
    wait_until("a clip of what came back", PATIENCE, || written().len() > known);
    decoded(&clips(&site).join(&written().last().unwrap().name));
    server.kill();
    assert!(daemon.stop().success());
    assert!(
        !daemon.log().contains("panicked") && !daemon.log().contains("0 of them copied"),
        "{}",
        daemon.log()
    );
}
