//! Folders into which pictures come.

use std::fs::File;
use std::io::Write;

use super::http::server::jpeg;
use super::*;

fn watched(path: &Path) -> Settings {
    Settings { fps: 50.0, ..settings(Source::Folder { path: path.into(), watch: true }) }
}

fn grey(frame: &Frame) -> u8 {
    brightness(frame).round() as u8
}

/// A camera that watches a fresh folder with one old picture in it.
fn inbox() -> (tempfile::TempDir, Running) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("old.jpg"), jpeg(255)).unwrap();
    let running = start(watched(folder.path()));
    assert_eq!(running.reaches(CameraState::Online), "waiting for pictures");
    (folder, running)
}

#[test]
fn new_pictures_come_in_their_order_and_old_ones_stay_where_they_are() {
    let (folder, running) = inbox();
    for n in 0..8u8 {
        std::fs::write(folder.path().join(format!("{}.jpg", 9 - n)), jpeg(n * 10)).unwrap();
    }
    let frames = running.frames(8);
    assert!(frames.iter().map(grey).eq((0..8).map(|n| n * 10)), "a burst loses none");
    std::fs::write(folder.path().join("note.txt"), "no picture").unwrap();
    std::fs::write(folder.path().join(".hidden.jpg"), jpeg(1)).unwrap();
    std::fs::write(folder.path().join("last.JPEG"), jpeg(100)).unwrap();
    assert_eq!(grey(&running.frame()), 100);
    assert_eq!(running.counters.frames(), 9);
}

#[test]
fn a_half_written_picture_is_not_read() {
    let (folder, running) = inbox();
    let bytes = jpeg(40);
    let mut slow = File::create(folder.path().join("slow.jpg")).unwrap();
    slow.write_all(&bytes[..bytes.len() / 2]).unwrap();
    slow.sync_all().unwrap();
    // Uploaded under another name, then moved into place.
    std::fs::write(folder.path().join("upload.part"), jpeg(80)).unwrap();
    std::fs::rename(folder.path().join("upload.part"), folder.path().join("whole.jpg")).unwrap();
    assert_eq!(grey(&running.frame()), 80);
    slow.write_all(&bytes[bytes.len() / 2..]).unwrap();
    drop(slow);
    assert_eq!(grey(&running.frame()), 40);
    assert_eq!(running.counters.decode_errors(), 0);
}

#[test]
fn folders_that_are_made_later_count_with_what_is_in_them() {
    let (folder, running) = inbox();
    let day = folder.path().join("2026-11-24/front");
    std::fs::create_dir_all(&day).unwrap();
    std::fs::write(day.join("a.jpg"), jpeg(20)).unwrap();
    assert_eq!(grey(&running.frame()), 20);
    let ready = folder.path().join("elsewhere");
    std::fs::create_dir(&ready).unwrap();
    std::fs::write(ready.join("b.jpg"), jpeg(60)).unwrap();
    assert_eq!(grey(&running.frame()), 60);
    std::fs::write(day.join("c.jpg"), jpeg(90)).unwrap();
    assert_eq!(grey(&running.frame()), 90);
    assert_eq!(running.counters.frames(), 3, "none twice");
}

#[test]
fn a_damaged_picture_is_counted_and_silence_is_no_stall() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(Settings { stall_after: Duration::from_millis(300), ..watched(folder.path()) });
    running.reaches(CameraState::Online);
    std::fs::write(folder.path().join("bad.jpg"), &jpeg(1)[..300]).unwrap();
    wait_until("the damage to be counted", || running.counters.decode_errors() == 1);
    std::thread::sleep(Duration::from_secs(1));
    std::fs::write(folder.path().join("good.jpg"), jpeg(30)).unwrap();
    assert_eq!(grey(&running.frame()), 30);
    assert_eq!(running.state_names(), ["starting", "online"]);
}

#[test]
fn more_than_can_wait_is_counted_and_the_newest_stay() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(Settings { fps: 0.5, ..watched(folder.path()) });
    running.reaches(CameraState::Online);
    std::fs::write(folder.path().join("first.jpg"), jpeg(1)).unwrap();
    running.frame();
    for n in 0..400 {
        std::fs::write(folder.path().join(format!("{n}.jpg")), jpeg(5)).unwrap();
    }
    wait_until("the crowd to be counted", || running.counters.decode_errors() >= 1);
}

#[test]
fn a_folder_that_goes_away_is_waited_for() {
    let (folder, running) = inbox();
    let aside = folder.path().with_extension("aside");
    std::fs::rename(folder.path(), &aside).unwrap();
    let why = running.reaches(CameraState::Offline);
    assert_eq!(why, format!("{} does not exist", folder.path().display()));
    std::fs::rename(&aside, folder.path()).unwrap();
    wait_until("it to be back", || running.state_names().ends_with(&["offline", "online"]));
    std::fs::write(folder.path().join("back.jpg"), jpeg(70)).unwrap();
    assert_eq!(grey(&running.frame()), 70);
}
