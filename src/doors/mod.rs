//! What a grant does.

use std::time::Duration;

use crate::domain::DoorId;

/// A door and how it is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its name.
    pub door: DoorId,
    /// Whether grants are acted upon.
    pub mode: Mode,
    /// A grant whose frame is older than this is refused as stale.
    pub max_age: Duration,
    /// How it is opened.
    pub kind: Kind,
}

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
        /// It is killed, with its process group, when it takes longer.
        time_limit: Duration,
    },
}
