//! What a frame costs before anything is decided: the motion gate, and YUV to RGB where somebody asks for it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, Pixels, Stamp};
use portero::watch::{LumaGrid, MotionSettings, Settings, Watched, Watcher};

/// The two sizes that matter: the street clip's and HD.
const SIZES: [(u32, u32); 2] = [(768, 576), (1280, 720)];

/// Adds the measurements to `c`.
pub(crate) fn bench(c: &mut Criterion) {
    for (width, height) in SIZES {
        let yuv: Vec<u8> = (0..width * height * 3 / 2).map(|i| (i * 7 % 251) as u8).collect();
        let pixels = Pixels::Yuv420p(yuv);
        c.bench_function(&format!("yuv420p to rgb {width}x{height}"), |b| {
            b.iter_batched(|| frame(1, &pixels, width, height), |f| f.rgb().len(), BatchSize::LargeInput);
        });
        let once = frame(1, &pixels, width, height);
        c.bench_function(&format!("luma grid {width}x{height}"), |b| {
            b.iter(|| LumaGrid::of(black_box(&once)));
        });
        let motion = MotionSettings::default();
        let mut watcher = Watcher::new(Settings::new(vec![Watched::picture()], Some(motion)));
        let mut n = 0;
        let mut next = || {
            n += 1;
            frame(n, &pixels, width, height)
        };
        // A whole look with the gate shut.
        c.bench_function(&format!("motion gate {width}x{height}"), |b| {
            b.iter_batched(&mut next, |frame| watcher.look(frame), BatchSize::LargeInput);
        });
        let settings = Settings::new(vec![Watched::picture()], Some(motion));
        let mut watcher = Watcher::new(Settings { replay: true, ..settings });
        // The same, and it is remembered what was seen before.
        c.bench_function(&format!("motion gate and repetitions {width}x{height}"), |b| {
            b.iter_batched(&mut next, |frame| watcher.look(frame), BatchSize::LargeInput);
        });
    }
}

fn frame(n: u64, pixels: &Pixels, width: u32, height: u32) -> Frame {
    let at = FrameRef::new(FrameSeq(n), Stamp::new(n * 200_000, 0));
    let camera = CameraId::new("bench").expect("a name");
    Frame::new(camera, at, width, height, pixels.clone()).expect("it fits")
}
