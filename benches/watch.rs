//! What a frame costs before anything is decided: YUV to RGB, and the motion gate.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use portero::capture::yuv420p_to_rgb;
use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, Stamp};
use portero::watch::{LumaGrid, MotionSettings, Settings, Watched, Watcher};

/// The two sizes that matter: the street clip's and HD.
const SIZES: [(u32, u32); 2] = [(768, 576), (1280, 720)];

/// Adds the measurements to `c`.
pub(crate) fn bench(c: &mut Criterion) {
    for (width, height) in SIZES {
        let (w, h) = (width as usize, height as usize);
        let yuv: Vec<u8> = (0..w * h * 3 / 2).map(|i| (i * 7 % 251) as u8).collect();
        c.bench_function(&format!("yuv420p to rgb {width}x{height}"), |b| {
            b.iter(|| yuv420p_to_rgb(black_box(&yuv), w, h));
        });
        let Some(rgb) = yuv420p_to_rgb(&yuv, w, h) else { continue };
        c.bench_function(&format!("luma grid {width}x{height}"), |b| {
            b.iter(|| LumaGrid::of(black_box(&rgb), width, height));
        });
        watch(c, &rgb, width, height);
    }
}

/// A whole look with the gate shut.
fn watch(c: &mut Criterion, rgb: &[u8], width: u32, height: u32) {
    let Ok(camera) = CameraId::new("bench") else { return };
    let motion = MotionSettings::default();
    let regions = vec![Watched::picture()];
    let mut watcher = Watcher::new(Settings::new(regions, Some(motion)));
    let mut n = 0;
    let mut frame = || {
        n += 1;
        let at = FrameRef { seq: FrameSeq(n), stamp: Stamp::new(n * 200_000, 0) };
        Frame::new(camera.clone(), at, width, height, rgb.to_vec()).ok()
    };
    c.bench_function(&format!("motion gate {width}x{height}"), |b| {
        b.iter_batched(&mut frame, |frame| frame.and_then(|f| watcher.look(f)), BatchSize::LargeInput);
    });
}
