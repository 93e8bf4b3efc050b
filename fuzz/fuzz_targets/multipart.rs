//! An HTTP answer with a stream of pictures, as it comes from a camera: head, chunks, parts, JPEG markers.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "not all of it is asked here")]
#[path = "../../src/capture/http/message.rs"]
mod message;
#[allow(dead_code, reason = "not all of it is asked here")]
#[path = "../../src/capture/mjpeg.rs"]
mod mjpeg;

use message::{Body, HEAD_BYTES, Head};
use mjpeg::{Found, Splitter};

const LIMIT: usize = 32 << 10;

/// The content of an answer that comes in pieces, and whether it was read to the end of what came.
fn content(answer: &[u8], step: usize) -> Option<Vec<u8>> {
    let mut held = Vec::new();
    let mut pieces = answer.chunks(step);
    let (head, length) = loop {
        match Head::read(&held).ok()? {
            Some(read) => break read,
            None => assert!(held.len() < HEAD_BYTES, "a head without end is refused"),
        }
        held.extend_from_slice(pieces.next()?);
    };
    assert!(length <= held.len());
    let (_, _) = (head.media_type(), head.persists());
    let mut body: Body = head.body().ok()?;
    let mut content = Vec::new();
    for piece in std::iter::once(&held[length..]).chain(pieces) {
        if body.is_over() {
            break;
        }
        let mut given = 0;
        let taken = body.digest(piece, &mut |bytes| {
            given += bytes.len();
            content.extend_from_slice(bytes);
        });
        let taken = taken.ok()?;
        assert!(given <= taken && taken <= piece.len());
        assert!(taken == piece.len() || body.is_over());
    }
    Some(content)
}

/// The pictures in a stream that comes in pieces.
fn pictures(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
    let mut splitter = Splitter::new(LIMIT);
    let (mut pictures, mut bytes) = (Vec::new(), 0);
    for piece in stream.chunks(step) {
        splitter.feed(piece);
        loop {
            match splitter.next() {
                Found::Picture(picture) => {
                    assert!(picture.starts_with(&[0xff, 0xd8]) && picture.ends_with(&[0xff, 0xd9]));
                    assert_eq!(mjpeg::trim(&picture), Some(&picture[..]));
                    let _ = mjpeg::has_tables(&picture);
                    bytes += picture.len();
                    pictures.push(picture);
                }
                Found::Broken(_) | Found::Nothing(_) => {}
                Found::More => break,
            }
        }
    }
    assert!(bytes <= stream.len());
    pictures
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, rest)) = data.split_first() else { return };
    let step = usize::from(first) + 1;
    let _ = mjpeg::trim(rest);
    let in_pieces = pictures(rest, step);
    if rest.len() < LIMIT {
        assert_eq!(in_pieces, pictures(rest, rest.len().max(1)), "however it is cut");
    }
    let content_in_pieces = content(rest, step);
    if rest.len() < HEAD_BYTES {
        assert_eq!(content_in_pieces, content(rest, rest.len().max(1)), "however it is cut");
    }
    if let Some(content) = content_in_pieces {
        pictures(&content, step);
    }
});
