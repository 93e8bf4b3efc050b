//! Does every part of the daemon still turn?
//!
//! Each part has a number that changes while it works, its beat, or is at rest, waiting for work without turning. A beat
//! that stands for too long is a part that hangs: then systemd's watchdog is no longer notified, and systemd starts
//! the daemon anew.

use std::time::Duration;

use log::error;

use crate::domain::Stamp;

/// A part whose beat has stood for this long hangs.
const HANGS: Duration = Duration::from_secs(20);
/// The makers of clips may be busy with one clip for so long: what they do is not urgent, and a slow machine takes its
/// time.
const CLIP_HANGS: Duration = Duration::from_secs(300);

/// What is known of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Beat {
    part: String,
    /// `None` while it is at rest.
    count: Option<u64>,
    patience: Duration,
}

impl Beat {
    /// A part that always turns, or is at rest while `count` is `None`.
    pub(super) fn of(part: impl Into<String>, count: impl Into<Option<u64>>) -> Self {
        Self { part: part.into(), count: count.into(), patience: HANGS }
    }

    /// A maker of clips.
    pub(super) fn of_clips(part: &str, count: u64) -> Self {
        Self { patience: CLIP_HANGS, ..Self::of(part, count) }
    }
}

/// Remembers since when each beat stands.
pub(super) struct Watchdog {
    period: Option<Duration>,
    last: Stamp,
    known: Vec<(Beat, Stamp)>,
}

impl Watchdog {
    /// `period`: how often systemd wants to hear of us; `None` when it does not.
    pub(super) fn new(period: Option<Duration>, now: Stamp) -> Self {
        Self { period, last: now, known: Vec::new() }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Stamp) -> bool {
        self.period.is_some_and(|period| now.since(self.last) >= period / 3)
    }

    /// Takes in all beats. Returns whether systemd may be told that all is well; else the part that hangs is named in the
    /// log.
    pub(super) fn look(&mut self, beats: Vec<Beat>, now: Stamp) -> bool {
        self.last = now;
        let before = std::mem::take(&mut self.known);
        self.known = beats
            .into_iter()
            .map(|beat| {
                let since = before.iter().find(|(known, _)| *known == beat && beat.count.is_some());
                let since = since.map_or(now, |(_, since)| *since);
                (beat, since)
            })
            .collect();
        let hangs = self.hanging(now);
        if let Some(part) = hangs {
            error!("the {part} hangs: systemd's watchdog is no longer notified");
        }
        hangs.is_none()
    }

    /// The first part that hangs.
    fn hanging(&self, now: Stamp) -> Option<&str> {
        let hangs = |(beat, since): &&(Beat, Stamp)| now.since(*since) > beat.patience;
        self.known.iter().find(hangs).map(|(beat, _)| beat.part.as_str())
    }
}

#[cfg(test)]
mod tests;
