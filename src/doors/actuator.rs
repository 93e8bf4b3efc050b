//! The ways to open a door.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::command::CommandActuator;
use super::leftover;
use super::mqtt::MqttActuator;
use super::{Kind, Order, Settings};
use crate::domain::{EventId, Outcome, Stamp};

/// Opens one door. A trait because tests inject faults.
pub trait Actuator: Send {
    /// Starts to open the door. Not called while an opening is under way. Whoever implements it asks
    /// [`Order::refusal`] as the last thing before anything is done.
    fn start(&mut self, order: &Order<'_>) -> Started;

    /// How the opening that [`Actuator::start`] left running has ended; `None` while it has not. Never blocks.
    fn poll(&mut self, now: Stamp) -> Option<Outcome>;

    /// Whether something that the last opening has started still runs after its end. Never blocks.
    fn is_busy(&mut self, _now: Stamp) -> bool {
        false
    }

    /// How long after its start an opening may end at the latest.
    fn longest(&self) -> Duration {
        Duration::ZERO
    }

    /// Ends what the opening of `event` by an earlier run of the daemon has left running; says whether there was
    /// anything. May block for some seconds.
    fn end_leftover(&mut self, event: EventId) -> bool {
        // The door may have been opened by a program before the configuration was changed.
        leftover::end(event)
    }
}

/// What became of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// The opening is over.
    Ended(Outcome),
    /// It goes on; [`Actuator::poll`] tells its end.
    Running,
}

/// The way of a door command to the broker: QoS 0, not retained, on a connection that lives now, or not at all.
pub trait CommandLink: Send + Sync {
    /// Sends `payload` to `topic`, but not after `deadline`. Must not queue it for a later connection. May block until
    /// the broker has answered, some seconds at most.
    ///
    /// # Errors
    /// [`LinkDown`] says whether anything may have left the machine.
    fn send(&self, topic: &str, payload: Vec<u8>, deadline: Stamp) -> Result<(), LinkDown>;
}

/// Why a door command did not reach the broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkDown {
    /// Nothing was sent: recorded as refused.
    #[error("{0}")]
    NotSent(String),
    /// It was sent, and may or may not have arrived: recorded as failed.
    #[error("{0}")]
    Unconfirmed(String),
}

/// The actuator of a door's kind.
pub(super) fn of(settings: &Settings, link: &Arc<dyn CommandLink>, portero: &Path) -> Box<dyn Actuator> {
    match &settings.kind {
        Kind::Log => Box::new(LogActuator),
        Kind::Mqtt { topic, expires_after } => {
            Box::new(MqttActuator::new(topic.clone(), *expires_after, Arc::clone(link)))
        }
        Kind::Command { argv, time_limit } => {
            Box::new(CommandActuator::new(argv.clone(), *time_limit, portero.to_owned()))
        }
    }
}

/// Says it and does nothing.
struct LogActuator;

impl Actuator for LogActuator {
    fn start(&mut self, order: &Order<'_>) -> Started {
        if let Some(why) = order.refusal() {
            return Started::Ended(Outcome::Refused(why));
        }
        log::info!("door {} is open, says event {}", order.grant.door, order.grant.event);
        Started::Ended(Outcome::Opened)
    }

    fn poll(&mut self, _now: Stamp) -> Option<Outcome> {
        None
    }
}
