//! The whole way of a frame but decoding and inference: motion gate, crop and normalise, the slot and
//! twenty rules. The house's bound is 1.5 ms of CPU per 768x576 frame.

use std::hint::black_box;
use std::time::Duration;

use criterion::Criterion;
use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Pixels, Stamp};
use portero::infer::Preprocessor;
use portero::rules::Engine;
use portero::slots::Slots;
use portero::watch::{MotionSettings, Settings, Watched, Watcher};

use crate::rules;

const WIDTH: u32 = 768;
const HEIGHT: u32 = 576;

pub(crate) fn bench(c: &mut Criterion) {
    let camera = CameraId::new("bench").expect("a name");
    let yuv: Vec<u8> = (0..WIDTH * HEIGHT * 3 / 2).map(|i| (i * 7 % 251) as u8).collect();
    // An open gate: the frame is looked at, which is the dearer case.
    let motion =
        MotionSettings { min_area: 0.0, hold: Duration::from_secs(3600), ..MotionSettings::default() };
    let regions = vec![Watched::picture()];
    let mut watcher = Watcher::new(Settings::new(regions, Some(motion)));
    let mut preprocessor = Preprocessor::new(super::decode::input());
    let mut planes = vec![0.0; preprocessor.len()];
    let slots = Slots::new(1);
    let mut engine = Engine::new(rules::rules());
    let mut n = 0;
    c.bench_function("frame/all but decode and inference", |b| {
        b.iter(|| {
            n += 1;
            let at = FrameRef::new(FrameSeq(n), Stamp::new(n * 200_000, 0));
            let pixels = Pixels::Yuv420p(black_box(&yuv).clone());
            let frame = Frame::new(camera.clone(), at, WIDTH, HEIGHT, pixels).expect("it fits");
            slots.put(0, watcher.look(frame).expect("the gate is open"));
            let ticket = slots.take().expect("a look waits");
            preprocessor.fill(&ticket.look.frame, NormRect::FULL, &mut planes);
            let prediction = rules::prediction(n, "person");
            black_box(engine.step(&prediction, ticket.look.frame.at().stamp))
        });
    });
}
