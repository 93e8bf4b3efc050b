//! Raw frames, as a program writes them: any size, any cut, any layout.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/capture/raw.rs"]
mod raw;
#[allow(dead_code, reason = "not all of it is asked here")]
#[path = "../../src/capture/yuv.rs"]
mod yuv;

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
            for rgb in [yuv::yuv420p_to_rgb(&frame, width, height), yuv::yuyv_to_rgb(&frame, width, height)] {
                assert!(rgb.is_none_or(|rgb| rgb.len() == width * height * 3));
            }
        }
    }
    assert_eq!(frames, rest.len() / size.max(1));
    assert_eq!(cutter.is_inside(), !rest.len().is_multiple_of(size.max(1)));
    // Lengths that fit no frame.
    let _ = yuv::yuv420p_to_rgb(rest, width, height);
    let _ = yuv::yuyv_to_rgb(rest, width, height);
});
