//! What a door is and how it is opened.

use std::time::Duration;

use crate::domain::DoorId;

/// A door and how it is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its name.
    pub door: DoorId,
    /// Whether grants are acted upon.
    pub mode: Mode,
    /// A grant whose frame is older than this, at the moment at which the door would be opened, is refused as stale.
    pub max_age: Duration,
    /// After an opening has ended, the next is refused for this long.
    pub min_interval: Duration,
    /// Whether it opens on frames of sources that do not date their pictures: those count as old as their arrival.
    pub trust_arrival: bool,
    /// How it is opened.
    pub kind: Kind,
}

/// [`Settings::min_interval`] unless the owner says otherwise.
pub const DEFAULT_MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Whether grants are acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Record what would have been done; the default until the owner changes it.
    Observe,
    /// Open.
    Active,
}

/// How a door is opened.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Only logged.
    Log,
    /// One message on a live broker connection, QoS 0, never retained, never queued.
    Mqtt {
        /// The topic, complete.
        topic: String,
        /// How long after being sent the receiver may still obey it.
        expires_after: Duration,
    },
    /// A program without a shell.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// When it takes longer, it is ended with everything that it has started; what it leaves running is ended then
        /// as well.
        time_limit: Duration,
    },
}
