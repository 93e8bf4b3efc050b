//! The picture that goes with an event.

use std::sync::Arc;

use crate::domain::{Decision, Frame, NormRect};
use crate::evidence::{self, Mark};
use crate::store::Picture;
use crate::words::in_words;

/// JPEG quality, 1..=100: faces and plates stay readable, a 768x576 street takes about 100 KB.
const QUALITY: u8 = 80;

/// The whole frame as JPEG, encoded when the recorder asks for it, with the marks drawn into it.
pub(super) fn of(frame: &Arc<Frame>, marks: Vec<Mark>) -> Picture {
    let frame = Arc::clone(frame);
    Picture::Later(Box::new(move || match evidence::snapshot(&frame, &marks, QUALITY) {
        Ok(jpeg) => Some(jpeg),
        Err(error) => {
            log::warn!("the event is kept without a picture: {}", in_words(&error));
            None
        }
    }))
}

/// A box around what was looked at, with what was seen there and how sure the model was.
pub(super) fn mark(decision: &Decision, rect: NormRect) -> Mark {
    let answer = decision.observation.answer.as_str();
    let score = decision.top.iter().find(|(label, _)| label.as_str() == answer).or(decision.top.first());
    let text = match score {
        Some((_, score)) => format!("{answer} {:.2}", score.get()),
        None => answer.to_owned(),
    };
    Mark { rect, text }
}
