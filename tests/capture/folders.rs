//! Folders of pictures.

use std::path::PathBuf;

use portero::capture::load_picture;

use super::*;

/// Three good pictures of different kinds and sizes between damaged ones.
fn pictures() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    make(&["-f", "lavfi", "-i", "color=red:size=40x30", "-frames:v", "1"], &path("b.jpg"));
    make(&["-f", "lavfi", "-i", "color=lime:size=20x30", "-frames:v", "1"], &path("d.png"));
    make(&["-f", "lavfi", "-i", "testsrc=size=640x480", "-frames:v", "1"], &path("f.JPG"));
    std::fs::write(path("a.jpg"), []).unwrap();
    let whole = std::fs::read(path("f.JPG")).unwrap();
    std::fs::write(path("c.jpeg"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(path("e.png"), b"not a picture").unwrap();
    std::fs::write(path("notes.txt"), b"no picture's name").unwrap();
    std::fs::create_dir(path("g.png")).unwrap();
    folder
}

fn folder(path: impl Into<PathBuf>) -> Settings {
    Settings { pace: Pace::Fast, ..settings(Source::Folder { path: path.into(), watch: false }) }
}

#[test]
fn a_folder_plays_by_name_and_passes_over_what_is_damaged() {
    let pictures = pictures();
    let running = start(folder(pictures.path()));
    let frames = running.all();
    let sizes: Vec<_> = frames.iter().map(|f| (f.width(), f.height())).collect();
    assert_eq!(sizes, [(40, 30), (20, 30), (640, 480)]);
    assert!(frames[0].rgb()[0] > 200 && frames[0].rgb()[1] < 60, "red first");
    let counters = &running.counters;
    assert_eq!((counters.frames(), counters.decode_errors(), counters.reopens()), (3, 4, 0));
    assert_eq!(running.finish().pop().unwrap().0, CameraState::Ended);
}

#[test]
fn a_looped_folder_goes_round_and_sees_new_pictures() {
    let pictures = pictures();
    let running = start(Settings { looped: true, ..folder(pictures.path()) });
    let widths: Vec<_> = running.frames(6).iter().map(Frame::width).collect();
    assert_eq!(widths, [40, 20, 640, 40, 20, 640]);
    // Made elsewhere and moved in, so that no half-written picture is ever listed.
    let elsewhere = tempfile::tempdir().unwrap();
    let new = elsewhere.path().join("z.png");
    make(&["-f", "lavfi", "-i", "color=blue:size=50x30", "-frames:v", "1"], &new);
    std::fs::copy(&new, pictures.path().join("z.tmp")).unwrap();
    std::fs::rename(pictures.path().join("z.tmp"), pictures.path().join("z.png")).unwrap();
    wait_until("the new picture", || running.frames(1)[0].width() == 50);
    let widths: Vec<_> = running.frames(4).iter().map(Frame::width).collect();
    assert_eq!(widths, [40, 20, 640, 50], "it comes last by name and goes round with the others");
}

#[test]
fn a_folder_in_real_time_keeps_its_rate() {
    let pictures = pictures();
    let running = start(Settings { pace: Pace::Realtime, ..folder(pictures.path()) });
    let frames = running.all();
    let played = frames[2].at().stamp.since(frames[0].at().stamp);
    assert!(played >= Duration::from_millis(390), "five pictures at 10 a second took {played:?}");
}

#[test]
fn folders_without_a_good_picture_are_named() {
    let empty = tempfile::tempdir().unwrap();
    let why = |path: &Path| start(Settings { looped: true, ..folder(path) }).reaches(CameraState::Offline);
    assert!(why(empty.path()).contains("holds no picture that can be read (0 files"));
    std::fs::write(empty.path().join("a.jpg"), b"x").unwrap();
    assert!(why(empty.path()).contains("holds no picture that can be read (1 files"));
    assert_eq!(why(Path::new("/nonexistent")), "/nonexistent does not exist");
}

#[test]
fn a_picture_that_cannot_be_used_is_named_with_its_reason() {
    let pictures = pictures();
    let error = |name: &str| load_picture(&pictures.path().join(name)).unwrap_err().to_string();
    assert!(error("a.jpg").ends_with("a.jpg is damaged: it is empty"));
    assert!(error("c.jpeg").ends_with("c.jpeg is damaged: it is truncated"));
    assert!(error("g.png").ends_with("it is no regular file"));
    assert!(error("missing.png").ends_with("missing.png does not exist"));
    let huge = pictures.path().join("huge.bmp");
    // A header that promises 60,000 x 60,000 pixels.
    let mut header = b"BM".to_vec();
    header.extend([0, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0]);
    header.extend(60_000u32.to_le_bytes());
    header.extend(60_000u32.to_le_bytes());
    header.extend([1, 0, 24, 0]);
    header.resize(54, 0);
    std::fs::write(&huge, header).unwrap();
    assert!(error("huge.bmp").contains("huge.bmp is damaged: "), "{}", error("huge.bmp"));
}
