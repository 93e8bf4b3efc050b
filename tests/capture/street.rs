//! The motion gate on a real street.

#![expect(clippy::print_stdout, reason = "a skipped test says why, and what the gate saw is worth knowing")]

use std::collections::HashMap;
use std::path::PathBuf;

use portero::domain::{FrameRef, FrameSeq, NormRect, Region, Stamp, ZoneId};
use portero::watch::{self, MotionSettings, Watched, Watcher};

use super::*;

/// The gate as the configuration has it when it is just switched on, but with a short hold: what counts here is
/// what it sees.
fn motion() -> MotionSettings {
    MotionSettings { hold: Duration::from_millis(500), ..MotionSettings::default() }
}

const WIDTH: u32 = 384;
const HEIGHT: u32 = 288;
/// The first frame of the clip that is shown; the labels begin at 398.
const FIRST: u64 = 378;

fn watched(zone: ZoneId, rect: NormRect) -> Watched {
    Watched { region: Region { zone: Some(zone), rect }, ..Watched::picture() }
}

/// The street clip, 768x576 at 10 frames a second; `None`, with a word, where it is not at hand.
fn street() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media/vtest.avi"));
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
        return None;
    }
    Some(path)
}

/// The frames of the clip at half its size, through the real capture.
fn each_frame(clip: &Path, fps: f32, mut see: impl FnMut(Frame)) {
    let source = Source::Ffmpeg(FfmpegInput::new(clip.to_str().unwrap().to_owned()));
    let settings = Settings { fps, width: WIDTH, height: HEIGHT, pace: Pace::Fast, ..settings(source) };
    start(settings).all_to(&mut see);
}

/// Frame number to zones with somebody (true) or nobody in them, from the labels of the second half of the clip.
fn labels() -> HashMap<u64, Vec<(NormRect, bool)>> {
    let mut labels: HashMap<u64, Vec<_>> = HashMap::new();
    for line in
        include_str!("../data/vtest_zones.csv").lines().filter(|line| line.as_bytes()[0].is_ascii_digit())
    {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |i: usize| fields[i].parse::<f32>().unwrap();
        let rect = NormRect::new(number(1), number(2), number(3), number(4)).unwrap();
        labels.entry(fields[0].parse().unwrap()).or_default().push((rect, fields[5] == "person"));
    }
    labels
}

#[test]
fn nearly_everybody_on_the_street_opens_the_gate_of_his_zone() {
    let Some(clip) = street() else { return };
    // Every other frame of the half that has labels, so that frame `n` here is `FIRST + 2 n` there.
    let folder = tempfile::tempdir().unwrap();
    let half = folder.path().join("half.avi");
    let filter = format!("select=gte(n\\,{FIRST})*not(mod(n\\,2)),setpts=N/5/TB,scale={WIDTH}:{HEIGHT}");
    make(&["-i", clip.to_str().unwrap(), "-vf", &filter, "-r", "5", "-c:v", "ffv1"], &half);
    let labels = labels();
    let mut zones: Vec<NormRect> = Vec::new();
    for (rect, _) in labels.values().flatten() {
        if !zones.contains(rect) {
            zones.push(*rect);
        }
    }
    let name = |i: usize| ZoneId::new(&format!("zone-{i}")).unwrap();
    let regions = zones.iter().enumerate().map(|(i, &rect)| watched(name(i), rect)).collect();
    let mut watcher = Watcher::new(watch::Settings::new(regions, Some(motion())));
    let (mut persons, mut missed, mut empty, mut passed) = (0, Vec::new(), 0, 0);
    each_frame(&half, 5.0, |frame| {
        let seq = FIRST + 2 * frame.at().seq.0;
        let look = watcher.look(frame);
        for (rect, person) in labels.get(&seq).into_iter().flatten() {
            let open = look.as_ref().is_some_and(|look| look.regions.iter().any(|r| r.rect == *rect));
            if *person {
                persons += 1;
                if !open {
                    missed.push((seq, *rect));
                }
            } else {
                empty += 1;
                passed += usize::from(open);
            }
        }
    });
    println!("persons {persons}, missed {}; empty {empty}, looked at all the same {passed}", missed.len());
    assert!(persons > 100, "{persons}");
    assert!(missed.len() * 50 <= persons, "more than 2 % are missed: {missed:?}");
    assert!(
        passed * 4 < empty * 3,
        "the gate spares too few of the empty zones: {passed} of {empty} were open"
    );
}

#[test]
fn the_street_without_anybody_keeps_the_gate_shut_in_spite_of_noise() {
    let Some(clip) = street() else { return };
    let mut frames = Vec::new();
    each_frame(&clip, 0.25, |frame| frames.push(frame.rgb().to_vec()));
    assert!(frames.len() >= 15, "{}", frames.len());
    let median = |i: usize| {
        let mut values: Vec<u8> = frames.iter().map(|frame| frame[i]).collect();
        *values.select_nth_unstable(frames.len() / 2).1
    };
    let empty: Vec<u8> = (0..frames[0].len()).map(median).collect();
    let mut watcher = Watcher::new(watch::Settings::new(vec![Watched::picture()], Some(motion())));
    let mut random = 1u32;
    for n in 0..50u64 {
        let mut noise = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // The sum of four even parts is nearly normal; its deviation is 9 steps.
            random.to_le_bytes().iter().map(|&b| i32::from(b >> 4)).sum::<i32>() - 30
        };
        let rgb: Vec<u8> =
            empty.iter().map(|&value| (i32::from(value) + noise()).clamp(0, 255) as u8).collect();
        let at = FrameRef::new(FrameSeq(n), Stamp::new(n * 200_000, 0));
        let frame = Frame::new(CameraId::new("street").unwrap(), at, WIDTH, HEIGHT, rgb).unwrap();
        let look = watcher.look(frame);
        assert_eq!(look.is_some(), n < 5, "frame {n}; the first second is learnt");
    }
}
