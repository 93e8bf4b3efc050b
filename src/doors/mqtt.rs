//! A door that listens to the broker.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::{Actuator, CommandLink, LinkDown, Order, Started};
use crate::domain::{Outcome, Stamp};

/// Version of the command's JSON form.
const FORM: u32 = 1;

/// By then a broker has confirmed a command, or its link has given up.
const CONFIRMED_AFTER: Duration = Duration::from_secs(5);

/// Sends one command to one topic.
pub(super) struct MqttActuator {
    topic: String,
    expires_after: Duration,
    link: Arc<dyn CommandLink>,
}

impl MqttActuator {
    pub(super) fn new(topic: String, expires_after: Duration, link: Arc<dyn CommandLink>) -> Self {
        Self { topic, expires_after, link }
    }

    /// `{"v":1,"command":"open","id":EVENT,"door":DOOR,"issued_at":T,"expires_at":T}`, times in RFC 3339, UTC. The
    /// receiver obeys each `id` once and nothing after `expires_at`, which never lies beyond the grant's deadline. `None`
    /// when the clock shows no valid date.
    fn payload(&self, order: &Order<'_>, now: Stamp) -> Option<Vec<u8>> {
        let grant = order.grant;
        let left = Duration::from_micros(order.deadline.mono_us().saturating_sub(now.mono_us()));
        let time =
            |stamp: Stamp| Timestamp::from_microsecond(stamp.wall_us()).ok().map(|t| format!("{t:.3}"));
        let command = json!({
            "v": FORM,
            "command": "open",
            "id": grant.event.to_string(),
            "door": grant.door.as_str(),
            "issued_at": time(now)?,
            "expires_at": time(now.plus(self.expires_after.min(left)))?,
        });
        Some(command.to_string().into_bytes())
    }
}

impl Actuator for MqttActuator {
    fn start(&mut self, order: &Order<'_>) -> Started {
        if let Some(why) = order.refusal() {
            return Started::Ended(Outcome::Refused(why));
        }
        let Some(payload) = self.payload(order, order.clock.now()) else {
            return Started::Ended(Outcome::Refused("the clock shows no valid date".to_owned()));
        };
        // The link checks the deadline again, once it has waited for the broker.
        Started::Ended(match self.link.send(&self.topic, payload, order.deadline) {
            Ok(()) => Outcome::Opened,
            Err(LinkDown::NotSent(why)) => Outcome::Refused(why),
            Err(LinkDown::Unconfirmed(why)) => Outcome::Failed(why),
        })
    }

    fn poll(&mut self, _now: Stamp) -> Option<Outcome> {
        None
    }

    fn longest(&self) -> Duration {
        CONFIRMED_AFTER
    }
}
