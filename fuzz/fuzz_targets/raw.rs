//! Raw frames, as a program writes them: any size, any cut, any layout.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "not all of it is asked here")]
#[path = "../../crates/portero-core/src/domain/pixels.rs"]
mod pixels;
#[path = "../../src/capture/raw.rs"]
mod raw;
#[allow(dead_code, reason = "not all of it is asked here")]
#[path = "../../crates/portero-core/src/domain/yuv.rs"]
mod yuv;

use pixels::{Pixels, Planes};

/// The picture in RGB, if `bytes` are one in I420.
fn rgb(bytes: Vec<u8>, width: usize, height: usize) -> Option<Vec<u8>> {
    let pixels = Pixels::Yuv420p(bytes);
    (pixels.wanted(width as u32, height as u32) == pixels.len() as u128 && !pixels.is_empty())
        .then(|| yuv::planes_to_rgb(&pixels.planes(width, height).expect("it has the right length")))
}

fuzz_target!(|data: &[u8]| {
    let [width, height, layout, step, rest @ ..] = data else { return };
    let (width, height) = (usize::from(*width), usize::from(*height));
    let planar = width * height + 2 * width.div_ceil(2) * height.div_ceil(2);
    let size = [width * height * 3, planar, width.div_ceil(2) * 4 * height][usize::from(layout % 3)];
    let mut cutter = raw::Cutter::new(size);
    let mut frames = 0;
    for piece in rest.chunks(usize::from(*step) + 1) {
        let room = cutter.room();
        assert!(room.capacity() > room.len());
        room.extend_from_slice(piece);
        while let Some(frame) = cutter.take() {
            assert_eq!(frame.len(), size.max(1));
            frames += 1;
            let planes = yuv::yuyv_to_planes(&frame, width, height);
            assert!(planes.as_ref().is_none_or(|planes| planes.len() == planar));
            for picture in [Some(frame), planes].into_iter().flatten() {
                assert!(rgb(picture, width, height).is_none_or(|rgb| rgb.len() == width * height * 3));
            }
        }
    }
    assert_eq!(frames, rest.len() / size.max(1));
    assert_eq!(cutter.is_inside(), !rest.len().is_multiple_of(size.max(1)));
    // Lengths that fit no frame.
    let _ = rgb(rest.to_vec(), width, height);
    let _ = yuv::yuyv_to_planes(rest, width, height);
});
