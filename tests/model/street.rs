//! The shipped model on crops of a street, as the daemon makes them, with labels checked by eye.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use portero::domain::{Answer, NormRect};
use portero::infer::{Classifier, Model};

use super::{frame, shipped};
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
const AT_LEAST: f64 = 0.90;

#[test]
fn people_in_the_street_are_told_from_the_empty_street() {
    let Some(video) = shared("media/vtest.avi") else { return };
    let crops = crops();
    let total: usize = crops.values().map(Vec::len).sum();
    assert!(total >= 300, "only {total} checked crops");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-start_number", "0", "-i", video.to_str().unwrap()])
        .args(["-vsync", "passthrough", "-start_number", "0"])
        .arg(folder.path().join("%d.bmp"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let model = Arc::new(Model::load(&shipped()).unwrap());
    let mut worker = model.worker().unwrap();
    let (mut right, mut of) = ([0_u32; 2], [0_u32; 2]);
    for (number, crops) in &crops {
        let picture = frame(&folder.path().join(format!("{number}.bmp")));
        for crop in crops {
            let (top, _) = worker.classify(&picture, crop.rect).unwrap();
            let said = Answer::Label(top[0].0.clone()).as_str() == "person";
            of[usize::from(crop.person)] += 1;
            right[usize::from(crop.person)] += u32::from(said == crop.person);
        }
    }
    let recall = [0, 1].map(|i| f64::from(right[i]) / f64::from(of[i]));
    let balanced = (recall[0] + recall[1]) / 2.0;
    println!(
        "no person {}/{}, person {}/{}: balanced accuracy {balanced:.4}",
        right[0], of[0], right[1], of[1]
    );
    assert!(balanced >= AT_LEAST, "balanced accuracy {balanced:.4}: {right:?} of {of:?}");
}
