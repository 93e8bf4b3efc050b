//! Door commands within a session: a sign of life, the command, another sign of life (see `link`).

use std::sync::Arc;

use rumqttc::QoS;

use super::{Session, Turn};
use crate::domain::Stamp;
use crate::notify::error::NotifyError;
use crate::notify::link::{Command, LinkDown};
use crate::notify::publisher::Ended;

/// Unanswered signs of life asked for at most.
const KNOCKS: u64 = 4;

/// A door command under way.
pub(super) struct Errand {
    pub(super) command: Arc<Command>,
    /// The sign of life that it waits for.
    knock: u64,
    deadline: Stamp,
    pub(super) written: bool,
}

impl Session<'_> {
    /// Moves the door command under way on, and takes the next when it is through.
    pub(super) fn run_errands(&mut self, now: Stamp) -> Turn {
        loop {
            let Some(mut errand) = self.errand.take().or_else(|| self.next_errand()) else { return Ok(()) };
            if self.knocks_answered >= errand.knock {
                if errand.written {
                    errand.command.answer(Ok(()));
                } else if errand.command.commit(self.desk.clock.now()) {
                    self.write(&errand.command)?;
                    errand.knock = self.knock()?;
                    errand.deadline = now.plus(self.desk.timing.command);
                    errand.written = true;
                    self.errand = Some(errand);
                    return Ok(());
                }
            } else if now < errand.deadline {
                self.errand = Some(errand);
                return Ok(());
            } else if errand.written {
                errand.command.answer(Err(LinkDown::Unconfirmed));
                let broker = self.desk.settings.broker();
                return Err(self.failed(NotifyError::CommandUnconfirmed { broker }));
            } else {
                errand.command.answer(Err(LinkDown::NoAnswer));
            }
        }
    }

    fn next_errand(&mut self) -> Option<Errand> {
        loop {
            let command = self.desk.commands.try_recv().ok()?;
            if self.knocks_sent - self.knocks_answered >= KNOCKS {
                command.answer(Err(LinkDown::NoAnswer));
                continue;
            }
            let Ok(knock) = self.knock() else {
                command.answer(Err(LinkDown::NotConnected));
                continue;
            };
            let deadline = command.deadline;
            return Some(Errand { command, knock, deadline, written: false });
        }
    }

    /// Asks for a sign of life; returns its number. Answers come in the order of asking.
    fn knock(&mut self) -> Result<u64, Ended> {
        self.begin_to_wait();
        let topic = self.desk.settings.topic("none");
        self.client.try_unsubscribe(&topic).map_err(|_| self.bad_topic(topic))?;
        self.knocks_sent += 1;
        Ok(self.knocks_sent)
    }

    fn write(&mut self, command: &Command) -> Turn {
        let payload = command.payload.clone();
        let sent = self.client.try_publish(&command.topic, QoS::AtMostOnce, false, payload);
        sent.map_err(|_| self.bad_topic(command.topic.clone()))
    }
}
