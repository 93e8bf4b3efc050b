//! Clips, snapshots and the write budget: the real daemon, the real ffmpeg, the street.

mod copied;
mod disk;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portero::domain::{ClipState, Severity, Verdict};
use portero::store::{Filter, Order, Reader, Stored};

use crate::support::daemon::{Daemon, Site, portero, stderr, street};

/// A camera that plays the street as fast as it is decided, with these lines of its own. Its clips are made of its pictures.
fn camera(lines: &str) -> String {
    format!(
        "[[camera]]\nid = \"street\"\nsource = {{ ffmpeg = {:?} }}\nfps = 5\nsize = [768, 576]\npace = \"fast\"\nclips = \"encode\"\n{lines}\n",
        street()
    )
}

/// The same, where each picture is a presence of its own, so that rules fire as often as their cooldown lets them.
fn busy_camera(lines: &str) -> String {
    format!("[presence]\ngap = \"100ms\"\n{}", camera(lines))
}

/// A rule that alerts of people, with these lines of its own.
fn rule(lines: &str) -> String {
    format!(
        "[[rule]]\nid = \"people\"\ncamera = \"street\"\nlabel = \"person\"\nalert = \"warning\"\n{lines}\n"
    )
}

/// All events with what is kept of them, oldest first.
fn stored(site: &Site) -> Vec<Stored> {
    let reader = Reader::open(&site.database()).unwrap();
    reader.events(&Filter::default(), 1_000_000, Order::OldestFirst).unwrap()
}

fn clips(site: &Site) -> PathBuf {
    site.folder().join("clips")
}

/// What stands in the folder of clips, hidden files too.
fn files(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Codec and seconds of a clip that plays from its beginning to its end.
#[track_caller]
fn played(clip: &Path) -> (String, f64) {
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .arg(clip)
            .args(["-f", "null", "-"].iter().take(if program == "ffmpeg" { 3 } else { 0 }))
            .output();
        let output = output.expect("ffmpeg is needed by the tests: apt-get install ffmpeg");
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}: {}",
            clip.display(),
            stderr(&output)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    run("ffmpeg", &["-v", "error", "-xerror", "-i"]);
    let told = run(
        "ffprobe",
        &["-v", "error", "-show_entries", "stream=codec_name:format=duration", "-of", "csv=p=0"],
    );
    let (codec, seconds) = told.split_once('\n').unwrap();
    (codec.to_owned(), seconds.parse().unwrap())
}

#[test]
fn a_clip_begins_before_its_event_ends_after_it_and_plays() {
    // People are there all the time: with `for` the event comes late enough for all that is to go before it.
    let wanting = rule("for = \"5s\"\ncooldown = \"1h\"\nclip = { before = \"3s\", after = \"4s\" }");
    let plain = "[[rule]]\nid = \"plain\"\ncamera = \"street\"\nlabel = \"person\"\nlog = true\n";
    let site = Site::new(&(camera("") + &wanting + plain));
    let log = site.play();
    let (wanting, plain): (Vec<Stored>, Vec<Stored>) = stored(&site)
        .into_iter()
        .partition(|event| event.event.decision.rule.as_ref().unwrap().as_str() == "people");
    assert!(!plain.is_empty() && plain.iter().all(|event| event.clip.is_none()), "{log}");
    let event = &wanting[0];
    let Some(ClipState::Written(file)) = &event.clip else { panic!("{:?}\n{log}", event.clip) };
    let captured = event.event.decision.frame.stamp.wall_us();
    assert_eq!(
        (file.from_wall_us, file.until_wall_us),
        (captured - 3_000_000, captured + 4_000_000),
        "{log}"
    );
    let path = clips(&site).join(&file.name);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), file.bytes);
    let (codec, seconds) = played(&path);
    assert!(codec == "h264" && (7.0..7.5).contains(&seconds), "{codec}, {seconds} s");
    assert_eq!(files(&clips(&site)), std::slice::from_ref(&file.name), "nothing else lies there");
    assert!(log.contains("clips: 1 written"), "{log}");

    let copy = site.folder().join("copy.mp4");
    let (config, id) = (site.config(), event.event.id.to_string());
    let show = |more: &[&str]| {
        let arguments =
            [&["events", "show", id.as_str(), "--config", config.to_str().unwrap()], more].concat();
        portero(&arguments)
    };
    let shown = show(&["--clip", copy.to_str().unwrap()]);
    assert!(shown.status.success(), "{}", stderr(&shown));
    assert!(String::from_utf8_lossy(&shown.stdout).contains(path.to_str().unwrap()));
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(&path).unwrap());
    let other = plain[0].event.id.to_string();
    let refused =
        portero(&["events", "show", &other, "--config", config.to_str().unwrap(), "--clip", "x.mp4"]);
    assert!(!refused.status.success() && stderr(&refused).contains("has no clip"), "{}", stderr(&refused));
}

#[test]
fn events_that_lie_close_together_share_one_clip() {
    let site = Site::new(
        &(busy_camera("") + &rule("agree = \"1 of 1\"\ncooldown = \"1s\"\nclip = true\nlog = true")),
    );
    let log = site.play();
    let events = stored(&site);
    let names: Vec<&str> =
        events.iter().filter_map(|event| Some(event.clip.as_ref()?.file()?.name.as_str())).collect();
    assert!(events.len() >= 4 && names.len() == events.len(), "{log}");
    assert!(names.iter().all(|name| *name == names[0]), "20 s of people are one clip: {names:?}");
    played(&clips(&site).join(names[0]));
}

#[test]
fn what_is_masked_is_black_in_every_picture_of_a_clip() {
    let mask = "[[camera.mask]]\nbox = [0.0, 0.0, 0.5, 1.0]\n";
    let site = Site::new(&(camera(mask) + &rule("clip = true")));
    let log = site.play();
    let names = files(&clips(&site));
    assert!(!names.is_empty(), "{log}");
    // A margin of one block of the encoder beside the edge of the mask.
    let grey = |crop: &str| {
        let filter = format!("crop={crop},format=gray");
        let clip = clips(&site).join(&names[0]);
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-i"]).arg(clip).args(["-vf", &filter, "-f", "rawvideo", "-"]);
        command.output().unwrap().stdout
    };
    let masked = grey("360:576:0:0");
    assert!(masked.len() >= 360 * 576 * 10, "{} bytes", masked.len());
    assert!(masked.iter().all(|luma| *luma <= 8), "the brightest is {:?}", masked.iter().max());
    assert!(grey("360:576:408:0").iter().any(|luma| *luma > 128));
}

#[test]
fn a_snapshot_shows_where_and_what_unless_it_is_to_be_plain() {
    let picture = |lines: &str| {
        let zone = "[[camera.zone]]\nid = \"path\"\nbox = [0.45, 0.25, 0.95, 0.80]\n";
        let site = Site::new(&(camera(zone) + &rule(&format!("zone = \"path\"\nsnapshot = true\n{lines}"))));
        let log = site.play();
        let events = stored(&site);
        let event = &events.first().expect(&log).event;
        let jpeg = Reader::open(&site.database()).unwrap().snapshot(event.id).unwrap().unwrap();
        (event.decision.frame.seq, image::load_from_memory(&jpeg).unwrap().to_rgb8())
    };
    let (boxed, plain) = (picture(""), picture("boxes = false"));
    assert_eq!(boxed.0, plain.0, "the same frame");
    assert_eq!((boxed.1.width(), boxed.1.height()), (768, 576));
    let differs = |(_, _, a): &(u32, u32, &image::Rgb<u8>), b: &image::Rgb<u8>| {
        a.0.iter().zip(b.0).any(|(a, b)| a.abs_diff(b) > 60)
    };
    let drawn: Vec<(u32, u32)> = boxed
        .1
        .enumerate_pixels()
        .zip(plain.1.pixels())
        .filter(|(a, b)| differs(a, b))
        .map(|((x, y, _), _)| (x, y))
        .collect();
    assert!(drawn.len() > 1500, "{} pixels", drawn.len());
    // The zone is 345..730 by 144..461; the text stands above it.
    let outside = drawn.iter().find(|(x, y)| !(343..733).contains(x) || !(120..464).contains(y));
    assert_eq!(outside, None);
    let inside = drawn.iter().find(|(x, y)| (351..724).contains(x) && (150..455).contains(y));
    assert_eq!(inside, None);
}

#[test]
fn a_write_budget_leaves_out_clips_then_pictures_and_no_event() {
    let site = Site::new(
        &("write_budget_per_day = \"4MiB\"\n".to_owned()
            + &busy_camera("")
            + &rule("agree = \"1 of 1\"\ncooldown = \"1s\"\nsnapshot = true")
            + "[[rule]]\nid = \"film\"\ncamera = \"street\"\nlabel = \"person\"\nlog = true\ncooldown = \"2s\"\nagree = \"1 of 1\"\nclip = { before = \"1s\", after = \"0s\" }\n"),
    );
    let mut kept = Vec::new();
    let mut logs = String::new();
    // A second day's worth on the same day: what was written before the restart counts.
    for _ in 0..3 {
        logs += &site.play();
        let events = stored(&site);
        let pictures: u64 = events.iter().filter_map(|event| event.snapshot_bytes).sum();
        let films: u64 =
            files(&clips(&site)).iter().map(|name| clips(&site).join(name).metadata().unwrap().len()).sum();
        assert!(pictures + films <= 4 << 20, "{pictures} + {films}");
        kept.push((events.len(), pictures + films));
    }
    assert!(kept[0].0 > 5 && kept[1].0 > kept[0].0 && kept[2].0 > kept[1].0, "events go on: {kept:?}");
    assert_eq!(kept[1].1, kept[2].1, "the day's budget is used up");
    let events = stored(&site);
    let refused = |event: &&Stored| matches!(&event.clip, Some(ClipState::Refused(why)) if why.contains("write budget"));
    let first_film = events.iter().position(|event| refused(&event)).expect(&logs);
    let first_picture = events.iter().position(|event| event.picture_refused.is_some()).expect(&logs);
    assert!(first_film < first_picture, "clips go first: {first_film}, {first_picture}");
    let is_alert = |event: &&Stored| {
        event.event.decision.verdict == Verdict::Alert { severity: Severity::Warning, snapshot: true }
    };
    let quiet = events.iter().filter(is_alert).filter(|event| event.snapshot_bytes.is_none());
    assert!(quiet.clone().count() > 0 && quiet.clone().all(|event| event.picture_refused.is_some()));
    assert!(logs.contains("the write budget of 4.0 MiB a day is used up"), "{logs}");
    site.assert_intact();
}

/// The daemon with an ffmpeg that runs these lines of shell first, until all is played.
fn with_ffmpeg(site: &Site, lines: &str) -> Daemon {
    let folder = site.folder().join("bin");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("ffmpeg"), format!("#!/bin/sh\n{lines}\nexec /usr/bin/ffmpeg \"$@\"\n"))
        .unwrap();
    std::fs::set_permissions(folder.join("ffmpeg"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    site.start_with(&["--exit-when-done"], |command| {
        command.env("PATH", &path);
    })
}

#[test]
fn a_camera_without_ffmpegs_encoder_still_leaves_its_pictures() {
    // An ffmpeg that knows of no encoder for browsers.
    let site = Site::new(&(camera("") + &rule("clip = true")));
    let mut daemon = with_ffmpeg(&site, "case \"$*\" in *-encoders*) exit 0;; esac");
    assert!(daemon.wait(Duration::from_secs(240)).success(), "{}", daemon.log());
    let names = files(&clips(&site));
    assert!(names.len() == 1 && names[0].ends_with(".mkv"), "{names:?}\n{}", daemon.log());
    let (codec, seconds) = played(&clips(&site).join(&names[0]));
    assert!(codec == "mjpeg" && seconds > 8.0, "{codec}, {seconds} s");
}
