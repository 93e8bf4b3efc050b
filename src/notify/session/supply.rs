//! What a session hands to the connection: announcements, states, and the rows of the outbox.

use std::time::Duration;

use log::warn;
use rumqttc::QoS;

use super::{Session, Turn, WINDOW};
use crate::domain::{Alert, Stamp};
use crate::notify::alert::{self, Message};
use crate::notify::error::NotifyError;
use crate::notify::flight::Part;
use crate::notify::homeassistant;
use crate::notify::publisher::Ended;

/// Payloads in flight at most, before more rows are taken: a door command must not wait long behind pictures.
const WINDOW_BYTES: usize = 512 * 1024;

/// Rows taken from the outbox at a time: their pictures are all in memory.
const BATCH: usize = 4;

/// The outbox is looked into at least this often.
const POLL: Duration = Duration::from_secs(1);

impl Session<'_> {
    pub(super) fn subscribe(&mut self) -> Turn {
        let Some(topic) = self.desk.settings.birth_topic() else { return Ok(()) };
        self.begin_to_wait();
        self.client.try_subscribe(&topic, QoS::AtMostOnce).map_err(|_| self.bad_topic(topic))?;
        self.subscription_owed = true;
        Ok(())
    }

    /// Discovery, every state, and only then `online`.
    pub(super) fn announce(&mut self) -> Turn {
        if let Some(discovery) = homeassistant::discovery(&self.desk.settings, &self.desk.cameras) {
            self.hand(discovery, None)?;
        }
        self.desk.states.forget_told();
        self.tell(usize::MAX)?;
        self.hand(self.availability("online"), None)
    }

    pub(super) fn availability(&self, word: &str) -> Message {
        Message { topic: self.desk.settings.availability_topic(), payload: word.into(), retain: true }
    }

    pub(super) fn tell_changes(&mut self) -> Turn {
        self.tell(WINDOW.saturating_sub(self.flight.len()))
    }

    fn tell(&mut self, room: usize) -> Turn {
        for message in self.desk.states.take_changes(&self.desk.settings, room) {
            self.hand(message, None)?;
        }
        Ok(())
    }

    // The outbox.

    /// Takes rows from the outbox while there are some and the window has room.
    pub(super) fn refill(&mut self, now: Stamp) -> Turn {
        let due = now.since(self.asked_outbox) >= POLL;
        if due && self.flight.rows() == 0 && self.delivered.is_empty() {
            // Nothing is in flight: whatever is there is undelivered, or its delivery was not recorded.
            self.cursor = 0;
        }
        if self.desk.take_news() || due {
            self.more_rows = true;
        }
        while self.more_rows && self.flight.len() < WINDOW && self.flight.bytes() < WINDOW_BYTES {
            self.asked_outbox = now;
            let rows = match self.desk.outbox.pending(self.cursor, BATCH) {
                Ok(rows) => rows,
                Err(error) => {
                    if !self.outbox_failed {
                        warn!("mqtt: the outbox cannot be read: {error}; tried again every second");
                    }
                    self.outbox_failed = true;
                    self.more_rows = false;
                    return Ok(());
                }
            };
            self.outbox_failed = false;
            self.more_rows = rows.len() == BATCH;
            for alert in rows {
                self.cursor = alert.row;
                self.send(&alert)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, alert: &Alert) -> Turn {
        let event = alert.event.id;
        if self.desk.was_acked(event) {
            self.delivered.push(alert.row);
            return Ok(());
        }
        let left_out = alert::too_large(alert).or_else(|| self.desk.refused_picture(event));
        if left_out.is_some() {
            self.desk.counters.snapshots_left_out.add_one();
            warn!(
                "mqtt: the snapshot of event {event} is left out: {}",
                left_out.map_or("", |why| why.as_str())
            );
        }
        let messages = alert::messages(&self.desk.settings, alert, left_out);
        let pictured = alert.snapshot.is_some() && left_out.is_none();
        self.flight.open_row(alert.row, event, pictured, messages.len());
        self.desk.counters.published.add_one();
        if self.desk.unsure.remove(&event) {
            self.desk.counters.republished.add_one();
        }
        messages.into_iter().try_for_each(|message| self.hand(message, Some(alert.row)))
    }

    pub(super) fn hand(&mut self, message: Message, row: Option<i64>) -> Turn {
        let Message { topic, payload, retain } = message;
        let bytes = payload.len();
        // The queue is as long as everything that is ever handed over without an acknowledgement, so it is never
        // full: what is refused here is a topic that no broker takes.
        let taken = self.client.try_publish(&topic, QoS::AtLeastOnce, retain, payload);
        taken.map_err(|_| self.bad_topic(topic))?;
        let deadline = self.desk.clock.now().plus(self.patience(bytes));
        self.flight.handed(Part { row, bytes, deadline });
        Ok(())
    }

    pub(super) fn bad_topic(&self, topic: String) -> Ended {
        self.failed(NotifyError::BadTopic { topic })
    }
}
