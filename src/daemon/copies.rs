//! A camera's own stream on its way to the keeper of clips, and its pictures in place of it where it does not come.

use std::sync::Arc;

use log::info;

use super::camera::Desk;
use crate::capture::{CopySink, Pace};
use crate::domain::StreamPart;
use crate::evidence::Feed;
use crate::shutdown::Stop;

/// Decides for one camera.
pub(super) struct Copies {
    desk: Arc<Desk>,
    feed: Feed,
    /// Pictures were kept although the stream is wanted; said and counted once.
    falls_back: bool,
}

impl Copies {
    pub(super) fn new(desk: &Arc<Desk>, feed: &Feed) -> Self {
        Self { desk: Arc::clone(desk), feed: feed.clone(), falls_back: false }
    }

    /// Whether pictures need not be kept, because the stream is.
    pub(super) fn suffice(&mut self) -> bool {
        let Desk { copying, camera, .. } = &*self.desk;
        if !copying.is_wanted() {
            return false;
        }
        let suffice = copying.works() && self.feed.takes_stream(camera);
        if self.falls_back == suffice {
            self.falls_back = !suffice;
            if self.falls_back {
                self.feed.does_not_copy();
            }
            let what = if suffice { "copied from its stream" } else { "encoded from its pictures" };
            info!("camera {camera}: clips are {what} from now on");
        }
        suffice
    }

    /// Takes the stream.
    pub(super) fn sink(&self, stop: &Stop) -> CopySink {
        let (desk, feed, stop) = (Arc::clone(&self.desk), self.feed.clone(), stop.clone());
        let mut has_gap = false;
        Box::new(move |mut parts: Vec<StreamPart>| {
            if desk.pace == Pace::Fast {
                return feed.hand_stream(&desk.camera, parts, &stop);
            }
            if has_gap {
                // What follows a gap cannot be decoded up to the next key picture.
                let key = parts.iter().position(|part| part.is_key).unwrap_or(parts.len());
                parts.drain(..key);
            }
            if !parts.is_empty() {
                has_gap = !feed.offer_stream(&desk.camera, parts);
            }
        })
    }
}
