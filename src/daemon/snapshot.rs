//! The picture that goes with an event.

use std::sync::Arc;

use jpeg_encoder::{ColorType, Encoder};

use crate::domain::Frame;
use crate::store::Picture;

/// JPEG quality, 1..=100: faces and plates stay readable, a 768x576 street takes about 100 KB.
const QUALITY: u8 = 80;

/// The whole frame as JPEG, encoded when the recorder asks for it.
pub(super) fn of(frame: &Arc<Frame>) -> Picture {
    let frame = Arc::clone(frame);
    Picture::Later(Box::new(move || encode(&frame)))
}

fn encode(frame: &Frame) -> Option<Vec<u8>> {
    let mut jpeg = Vec::new();
    let size = (u16::try_from(frame.width()), u16::try_from(frame.height()));
    let (Ok(width), Ok(height)) = size else {
        log::warn!("{frame:?} is too large for a JPEG: the event is kept without a picture");
        return None;
    };
    match Encoder::new(&mut jpeg, QUALITY).encode(frame.rgb(), width, height, ColorType::Rgb) {
        Ok(()) => Some(jpeg),
        Err(error) => {
            log::warn!("{frame:?} cannot be encoded, the event is kept without a picture: {error}");
            None
        }
    }
}
