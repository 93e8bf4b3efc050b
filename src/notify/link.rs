//! Door commands: on a live connection now, or not at all.
//!
//! A command is handed to the publisher's thread and the caller waits, a second or so. The publisher first asks the
//! broker for a sign of life *after* the command came (an UNSUBSCRIBE that changes nothing, answered by UNSUBACK).
//! Only then it writes the command, QoS 0 and not retained, and asks again; as a broker handles the packets of a
//! connection in order, the second answer confirms that it has taken the command.
//!
//! So a frozen broker is never written to, and a command whose first answer is late is withdrawn unsent. If the
//! second answer is missing the connection is dropped with everything that was still buffered in it: whether the
//! broker took the command is then unknown, it is reported as [`LinkDown::Unconfirmed`], and never sent again. A
//! command carries `expires_at` for the rest of that risk: bytes that a broker received and then slept on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::Notify;

use super::counters::Counters;
use crate::clock::Clock;
use crate::domain::Stamp;

/// Commands that may wait for the publisher's hand at once; doors are few.
const COMMANDS: usize = 8;

/// Longest payload of a command, in bytes.
const PAYLOAD_LIMIT: usize = 64 * 1024;

/// Why a command did not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkDown {
    /// There is no connection. Nothing was sent.
    #[error("no live connection to the broker; nothing was sent")]
    NotConnected,
    /// The connection stands but the broker gave no sign of life in time. Nothing was sent.
    #[error("the broker did not answer in time; nothing was sent")]
    NoAnswer,
    /// The broker answered, but only after the deadline of the command. Nothing was sent.
    #[error("the frame grew too old while the broker was waited for; nothing was sent")]
    TooLate,
    /// The command was written but not confirmed. It may have arrived; it is never sent again.
    #[error(
        "the command was sent but the broker did not confirm it; it may have arrived and is not repeated"
    )]
    Unconfirmed,
    /// Other commands are under way. Nothing was sent.
    #[error("too many commands at once; nothing was sent")]
    Busy,
    /// No broker would take this. Nothing was sent.
    #[error("topic {0:?} is no topic to publish on, or the payload exceeds 64 KiB; nothing was sent")]
    Invalid(String),
}

/// Sends door commands. Cloning shares.
#[derive(Clone)]
pub struct LiveLink {
    commands: Sender<Arc<Command>>,
    counters: Arc<Counters>,
    bell: Arc<Notify>,
    clock: Arc<dyn Clock>,
    patience: Duration,
}

/// Where a command stands. Whoever moves it out of `WAITING` decides: the publisher by committing to send it, the
/// caller by withdrawing it.
const WAITING: u8 = 0;
const COMMITTED: u8 = 1;
const WITHDRAWN: u8 = 2;

/// A command in the publisher's hands.
pub(super) struct Command {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    /// After this the caller no longer waits for the first answer.
    pub(super) deadline: Stamp,
    /// After this it must not be written any more, whatever the broker answers.
    not_after: Stamp,
    stage: AtomicU8,
    reply: Sender<Result<(), LinkDown>>,
}

impl Command {
    /// From now on it may be written to the connection; to be asked last, with a fresh `now`. False when the caller
    /// has withdrawn it or its deadline has passed: then it must not, and the caller has been told.
    pub(super) fn commit(&self, now: Stamp) -> bool {
        if !now.is_after(self.not_after) {
            return self.leave_waiting_for(COMMITTED);
        }
        self.withdraw();
        self.answer(Err(LinkDown::TooLate));
        false
    }

    fn withdraw(&self) -> bool {
        self.leave_waiting_for(WITHDRAWN)
    }

    fn is_withdrawn(&self) -> bool {
        self.stage.load(Ordering::Acquire) == WITHDRAWN
    }

    fn leave_waiting_for(&self, stage: u8) -> bool {
        self.stage.compare_exchange(WAITING, stage, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Tells the caller, if it still waits. Never blocks.
    pub(super) fn answer(&self, result: Result<(), LinkDown>) {
        // The channel holds one answer and only one is given; a caller that left needs none.
        let _ = self.reply.try_send(result);
    }
}

impl LiveLink {
    /// The link and the publisher's end of it. `patience` bounds each of the two answers of the broker.
    pub(super) fn new(
        counters: Arc<Counters>,
        bell: Arc<Notify>,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> (Self, Receiver<Arc<Command>>) {
        let (commands, receiver) = bounded(COMMANDS);
        (Self { commands, counters, bell, clock, patience }, receiver)
    }

    /// Publishes `payload` on `topic` with QoS 0, not retained, on the connection that is live now, and not after
    /// `deadline`, which is checked when the broker has given its sign of life. Blocks until
    /// the broker has confirmed it: some milliseconds as a rule, at most twice [`super::Timing::command`].
    ///
    /// # Errors
    /// [`LinkDown`]: refused. Except for [`LinkDown::Unconfirmed`] nothing has left this machine, and in no case
    /// is anything sent later.
    pub fn send(&self, topic: &str, payload: Vec<u8>, deadline: Stamp) -> Result<(), LinkDown> {
        let result = self.try_send(topic, payload, deadline);
        match &result {
            Ok(()) => self.counters.commands_sent.add_one(),
            Err(_) => self.counters.commands_refused.add_one(),
        }
        result
    }

    fn try_send(&self, topic: &str, payload: Vec<u8>, not_after: Stamp) -> Result<(), LinkDown> {
        if topic.is_empty() || !rumqttc::valid_topic(topic) || payload.len() > PAYLOAD_LIMIT {
            return Err(LinkDown::Invalid(topic.to_owned()));
        }
        if !self.counters.is_live() {
            return Err(LinkDown::NotConnected);
        }
        let (reply, answer) = bounded(1);
        let deadline = self.clock.now().plus(self.patience);
        let stage = AtomicU8::new(WAITING);
        let command =
            Arc::new(Command { topic: topic.to_owned(), payload, deadline, not_after, stage, reply });
        self.commands.try_send(Arc::clone(&command)).map_err(|refused| match refused {
            TrySendError::Full(_) => LinkDown::Busy,
            TrySendError::Disconnected(_) => LinkDown::NotConnected,
        })?;
        self.bell.notify_one();
        match answer.recv_timeout(self.patience) {
            Ok(result) => result,
            Err(_) if command.withdraw() => Err(LinkDown::NoAnswer),
            // Withdrawn by the publisher, which has answered.
            Err(_) if command.is_withdrawn() => answer.try_recv().unwrap_or(Err(LinkDown::TooLate)),
            // Committed in the meantime: the second answer decides. The margin lets the publisher judge first.
            Err(_) => answer.recv_timeout(self.patience * 2).unwrap_or(Err(LinkDown::Unconfirmed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn link() -> (LiveLink, Receiver<Arc<Command>>) {
        let counters = Arc::new(Counters::default());
        counters.live.store(true, Ordering::Release);
        LiveLink::new(counters, Arc::new(Notify::new()), Arc::new(SystemClock), Duration::from_millis(20))
    }

    #[test]
    fn a_command_that_nobody_takes_is_withdrawn_and_can_never_be_sent() {
        let (link, publisher) = link();
        assert_eq!(link.send("door/main", b"open".to_vec(), never()), Err(LinkDown::NoAnswer));
        let late = publisher.try_recv().unwrap();
        assert!(!late.commit(SystemClock.now()), "the publisher came too late");
        assert_eq!(link.counters.read().commands_refused, 1);
    }

    /// A deadline that does not pass.
    fn never() -> Stamp {
        SystemClock.now().plus(Duration::from_secs(3600))
    }

    #[test]
    fn a_command_whose_deadline_passed_while_the_broker_was_waited_for_is_not_written() {
        let (link, publisher) = link();
        let link = LiveLink { patience: Duration::from_secs(30), ..link };
        let deadline = SystemClock.now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let command = publisher.recv().unwrap();
                let later = deadline.plus(Duration::from_micros(1));
                assert!(!command.commit(later), "its frame is too old by now");
                assert!(!command.commit(deadline), "and what was withdrawn stays so");
            });
            assert_eq!(link.send("door/main", b"open".to_vec(), deadline), Err(LinkDown::TooLate));
        });
    }

    #[test]
    fn without_a_connection_nothing_is_handed_over() {
        let (link, publisher) = link();
        link.counters.live.store(false, Ordering::Release);
        assert_eq!(link.send("door/main", vec![], never()), Err(LinkDown::NotConnected));
        assert!(publisher.try_recv().is_err());
    }

    #[test]
    fn more_commands_than_hands_are_refused() {
        let (link, publisher) = link();
        for _ in 0..COMMANDS {
            assert_eq!(link.send("door/main", vec![], never()), Err(LinkDown::NoAnswer));
        }
        assert_eq!(link.send("door/main", vec![], never()), Err(LinkDown::Busy));
        drop(publisher);
    }

    #[test]
    fn wildcards_and_giants_are_no_commands() {
        let (link, _publisher) = link();
        for topic in ["", "door/#", "door/+/open"] {
            assert_eq!(link.send(topic, vec![], never()), Err(LinkDown::Invalid(topic.into())));
        }
        assert!(matches!(link.send("door", vec![0; PAYLOAD_LIMIT + 1], never()), Err(LinkDown::Invalid(_))));
    }
}
