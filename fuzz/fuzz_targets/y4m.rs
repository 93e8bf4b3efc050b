//! A YUV4MPEG2 stream, as ffmpeg writes it: any head, any size of frames, any cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/capture/y4m.rs"]
mod y4m;

use y4m::{NotY4m, Splitter};

/// The frames of a stream that comes in pieces of at most `step` bytes, what ended it, its rate, and whether it ended within a frame.
fn frames(stream: &[u8], size: usize, step: usize) -> (Vec<Vec<u8>>, Result<(), NotY4m>, Option<f64>, bool) {
    let mut splitter = Splitter::new(size);
    let (mut frames, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        let room = splitter.room();
        let free = room.capacity() - room.len();
        assert!(free > 0, "there is always room");
        let (piece, left) = rest.split_at(step.min(free).min(rest.len()));
        room.extend_from_slice(piece);
        rest = left;
        loop {
            match splitter.take() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error), splitter.rate(), false),
            }
        }
    }
    (frames, Ok(()), splitter.rate(), splitter.is_inside())
}

fuzz_target!(|data: &[u8]| {
    let [size, step, stream @ ..] = data else { return };
    let (size, step) = (usize::from(*size), usize::from(*step) + 1);
    let (in_pieces, end, rate, inside) = frames(stream, size, step);
    assert!(in_pieces.iter().all(|frame| frame.len() == size.max(1)));
    assert!(in_pieces.iter().map(Vec::len).sum::<usize>() <= stream.len());
    assert!(rate.is_none_or(|rate| rate.is_finite() && rate > 0.0));
    let whole = frames(stream, size, stream.len().max(1));
    assert_eq!(in_pieces, whole.0, "however it is cut");
    assert_eq!((end.is_err(), rate, inside), (whole.1.is_err(), whole.2, whole.3), "however it is cut");
});
