//! A NUT stream, as ffmpeg writes it: any head, any size of pictures, any cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/capture/nut.rs"]
mod nut;

use nut::{NotNut, Splitter};

/// A picture and its moment.
type Timed = (i64, Vec<u8>);

/// The pictures of a stream that comes in pieces of at most `step` bytes, what ended it, and whether it ended within a picture.
fn pictures(stream: &[u8], size: usize, step: usize) -> (Vec<Timed>, Result<(), NotNut>, bool) {
    let mut splitter = Splitter::new(size);
    let (mut pictures, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        let room = splitter.room();
        let free = room.capacity() - room.len();
        assert!(free > 0, "there is always room");
        let (piece, left) = rest.split_at(step.min(free).min(rest.len()));
        room.extend_from_slice(piece);
        rest = left;
        loop {
            match splitter.take() {
                Ok(Some(picture)) => pictures.push(picture),
                Ok(None) => break,
                Err(error) => return (pictures, Err(error), false),
            }
        }
    }
    (pictures, Ok(()), splitter.is_inside())
}

fuzz_target!(|data: &[u8]| {
    let [size, step, stream @ ..] = data else { return };
    let (size, step) = (usize::from(*size), usize::from(*step) + 1);
    // The head that every stream has is given, so that what follows it is reached.
    let stream = [b"nut/multimedia container\0", stream].concat();
    let (in_pieces, end, inside) = pictures(&stream, size, step);
    assert!(in_pieces.iter().all(|(_, picture)| picture.len() == size.max(1)));
    let whole = pictures(&stream, size, stream.len().max(1));
    assert_eq!(in_pieces, whole.0, "however it is cut");
    assert_eq!((end.is_err(), inside), (whole.1.is_err(), whole.2), "however it is cut");
});
