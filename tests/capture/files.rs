//! Files that ffmpeg plays.

use super::*;

fn ffmpeg(path: &Path) -> Settings {
    settings(Source::Ffmpeg(FfmpegInput::new(path.to_str().unwrap().to_owned())))
}

#[test]
fn a_file_played_fast_gives_every_frame_once_with_the_stamps_of_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(Settings { pace: Pace::Fast, ..ffmpeg(&clip(folder.path(), 2)) });
    let frames = running.all();
    assert_eq!(frames.len(), 20);
    for (n, frame) in (0u64..).zip(&frames) {
        assert_eq!((frame.width(), frame.height(), frame.at().seq.0), (64, 48, n));
        let played = frame.at().stamp.since(frames[0].at().stamp);
        assert!(
            played.abs_diff(Duration::from_millis(100 * n)) < Duration::from_millis(1),
            "{n}: {played:?}"
        );
        let expected = (8.0 * n as f64) * 255.0 / 219.0;
        assert!((brightness(frame) - expected).abs() < 2.0, "{n}: {} for {expected}", brightness(frame));
    }
    wait_until("the end", || running.state_names() == ["starting", "online", "ended"]);
    let counters = &running.counters;
    assert_eq!(
        (counters.frames(), counters.thinned(), counters.decode_errors(), counters.reopens()),
        (20, 0, 0, 0)
    );
}

/// Every second picture of the video is one that no other needs.
#[test]
fn only_what_others_are_predicted_from_is_decoded_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let video = folder.path().join("b-frames.mp4");
    let plain = clip(folder.path(), 4);
    let coded =
        ["-c:v", "libx264", "-x264-params", "bframes=1:b-adapt=0:b-pyramid=none:keyint=20:scenecut=0"];
    make(&[&["-i", plain.to_str().unwrap()][..], &coded, &["-pix_fmt", "yuv420p"]].concat(), &video);
    let levels = |pictures| {
        let input = FfmpegInput { pictures, ..FfmpegInput::new(video.to_str().unwrap()) };
        let settings = Settings { pace: Pace::Fast, ..settings(Source::Ffmpeg(input)) };
        let mut levels: Vec<u32> =
            start(settings).all().iter().map(|f| brightness(f).round() as u32).collect();
        let frames = levels.len();
        levels.dedup();
        (frames, levels.len())
    };
    let (frames, shown) = levels(Pictures::All);
    assert!(frames == 40 && shown >= 38, "{shown} of {frames}");
    let (frames, shown) = levels(Pictures::Referenced);
    assert!(frames == shown && (18..=24).contains(&shown), "half of them, none twice: {shown} of {frames}");
}

#[test]
fn a_file_played_in_real_time_is_stamped_by_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(ffmpeg(&clip(folder.path(), 2)));
    let frames = running.all();
    assert!((15..=20).contains(&frames.len()), "{}", frames.len());
    let played = frames[frames.len() - 1].at().stamp.since(frames[0].at().stamp);
    assert!(played > Duration::from_secs(1), "2 s of video came within {played:?}");
    assert_eq!(running.finish().pop().unwrap().0, CameraState::Ended);
}

#[test]
fn a_looped_file_goes_on_and_its_numbers_too() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(Settings { pace: Pace::Fast, looped: true, ..ffmpeg(&clip(folder.path(), 1)) });
    let frames = running.frames(35);
    assert!(frames.iter().map(|f| f.at().seq.0).eq(0..35));
    assert!((brightness(&frames[1]) - brightness(&frames[21])).abs() < 2.0, "the third turn shows the same");
    assert_eq!(running.state_names(), ["starting", "online"]);
}

#[test]
fn a_slow_file_is_not_filled_up_in_real_time() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(Settings { fps: 40.0, ..ffmpeg(&clip(folder.path(), 1)) });
    let n = running.all().len();
    assert!(n <= 11, "10 frames became {n}");
}

#[test]
fn what_is_no_video_says_so_and_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("video.mp4");
    std::fs::write(&text, "this is no video\n".repeat(100)).unwrap();
    let running = start(ffmpeg(&text));
    let why = running.reaches(CameraState::Offline);
    assert!(why.contains("`ffmpeg` ended") && why.contains("video.mp4: Invalid data"), "{why}");
    wait_until("a second attempt", || running.counters.reopens() >= 1);
    make(&["-f", "lavfi", "-i", "testsrc=duration=1:rate=10"], &text);
    running.frame();
    assert_eq!(running.state_names()[..3], ["starting", "offline", "online"]);
}

#[test]
fn a_missing_file_is_named() {
    let why = start(ffmpeg(Path::new("/nonexistent/a.mp4"))).reaches(CameraState::Offline);
    assert_eq!(why, "/nonexistent/a.mp4 does not exist");
}

#[test]
fn a_playlist_cannot_reach_the_network_and_credentials_stay_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.m3u8");
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("http://user:geheim@{}/a.ts", server.local_addr().unwrap());
    std::fs::write(&list, format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n"))
        .unwrap();
    let why = start(ffmpeg(&list)).reaches(CameraState::Offline);
    assert!(!why.contains("geheim"), "{why}");
    assert!(server.accept().is_err(), "ffmpeg asked the network");
}

#[test]
fn a_refused_stream_names_the_reason_without_credentials() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    drop(server);
    let input = format!("rtmp://admin:geheim@{address}/live");
    let why = start(settings(Source::Ffmpeg(FfmpegInput::new(input)))).reaches(CameraState::Offline);
    assert!(why.contains("Connection refused") && !why.contains("geheim"), "{why}");
}

#[test]
fn a_stream_arrives_and_its_end_is_a_loss() {
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let url = format!("http://{address}/live");
    let serve = ["-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc=size=128x96:rate=10:duration=2"];
    let mut server = Command::new("ffmpeg")
        .args(serve)
        .args(["-g", "5", "-f", "mpegts", "-listen", "1", &url])
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let running = start(settings(Source::Ffmpeg(FfmpegInput::new(url))));
    let frame = running.frame();
    assert_eq!((frame.width(), frame.height()), (64, 48));
    wait_until("the loss", || {
        while running.frames.try_recv().is_ok() {}
        running.state_names().ends_with(&["online", "offline"])
    });
    server.kill().unwrap();
    server.wait().unwrap();
}
