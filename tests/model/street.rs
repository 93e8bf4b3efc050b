//! The shipped model on crops of a street, as the daemon makes them, with labels checked by eye.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;

use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Stamp};
use portero::infer::{Classifier, Model};

use super::shipped;
use crate::support::daemon::{root, shared};

struct Crop {
    rect: NormRect,
    person: bool,
}

/// The checked crops by frame number of `vtest.avi`.
fn crops() -> BTreeMap<u32, Vec<Crop>> {
    let text = fs::read_to_string(root().join("tests/data/vtest_zones.csv")).unwrap();
    let mut crops: BTreeMap<u32, Vec<Crop>> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.starts_with("frame")) {
        let fields: Vec<&str> = line.split(',').collect();
        let corner = |i: usize| fields[i].parse::<f32>().unwrap();
        let rect = NormRect::new(corner(1), corner(2), corner(3), corner(4)).unwrap();
        let person = match fields[5] {
            "person" => true,
            "no_person" => false,
            other => panic!("label {other:?}"),
        };
        crops.entry(fields[0].parse().unwrap()).or_default().push(Crop { rect, person });
    }
    crops
}

/// What the model card promises, with room for the decoder's rounding: balanced accuracy on the crops.
const AT_LEAST: f64 = 0.97;

#[test]
fn people_in_the_street_are_told_from_the_empty_street() {
    let Some(video) = shared("media/vtest.avi") else { return };
    let crops = crops();
    let total: usize = crops.values().map(Vec::len).sum();
    assert!(total >= 300, "only {total} checked crops");
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i", video.to_str().unwrap()])
        .args(["-vsync", "passthrough", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is needed by the tests: apt-get install ffmpeg");
    let mut pixels = ffmpeg.stdout.take().unwrap();

    let model = Arc::new(Model::load(&shipped()).unwrap());
    let mut worker = model.worker().unwrap();
    let (mut right, mut of) = ([0_u32; 2], [0_u32; 2]);
    for number in 0..=*crops.keys().last().unwrap() {
        let mut rgb = vec![0; 768 * 576 * 3];
        pixels.read_exact(&mut rgb).unwrap();
        let Some(crops) = crops.get(&number) else { continue };
        let at = FrameRef::new(FrameSeq(number.into()), Stamp::new(0, 0));
        let picture = Frame::new(CameraId::new("street").unwrap(), at, 768, 576, rgb).unwrap();
        for crop in crops {
            let (top, _) = worker.classify(&picture, crop.rect).unwrap();
            let said = top[0].0.as_str() == "person";
            of[usize::from(crop.person)] += 1;
            right[usize::from(crop.person)] += u32::from(said == crop.person);
        }
    }
    drop(pixels);
    ffmpeg.wait().unwrap();
    let recall = [0, 1].map(|i| f64::from(right[i]) / f64::from(of[i]));
    let balanced = (recall[0] + recall[1]) / 2.0;
    println!(
        "no person {}/{}, person {}/{}: balanced accuracy {balanced:.4}",
        right[0], of[0], right[1], of[1]
    );
    assert!(balanced >= AT_LEAST, "balanced accuracy {balanced:.4}: {right:?} of {of:?}");
}
