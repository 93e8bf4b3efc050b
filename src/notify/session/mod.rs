//! The life of one network connection.
//!
//! The event loop's future is polled to its end and never dropped half-way, because a half-written packet would
//! be lost with it; between its events the session takes its turns: what has been delivered, whether the broker
//! still answers, door commands, announcements, states, and then the outbox, a window at a time. Nothing here
//! waits for room: what does not fit now is looked at again on the next turn.

mod errands;
mod supply;

use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{debug, warn};
use rumqttc::{AsyncClient, Event, EventLoop, Outgoing, Packet, SubscribeReasonCode};

use crate::domain::Stamp;
use crate::notify::error::NotifyError;
use crate::notify::flight::Flight;
use crate::notify::link::LinkDown;
use crate::notify::publisher::{Desk, Ended, REST, TICK};
use crate::shutdown::Stop;

use errands::Errand;

/// Messages in flight at most, before more rows are taken from the outbox.
const WINDOW: usize = 32;

/// Delivered rows are reported together, after this at the latest: each report costs the store a commit.
const REPORT_AFTER: Duration = Duration::from_millis(100);

/// After Home Assistant's start the announcement waits for up to this long, so that not all devices come at once.
const ANNOUNCE_WITHIN: Duration = Duration::from_millis(500);

/// A broker that owes answers is given a second more for each of these in flight.
const BYTES_PER_SECOND: usize = 32 * 1024;

/// One connection being served.
pub(super) struct Session<'a> {
    desk: &'a mut Desk,
    client: AsyncClient,
    flight: Flight,
    /// When the broker was last heard, or when we began to wait for it.
    heard: Stamp,
    ping_owed: bool,
    subscription_owed: bool,
    knocks_sent: u64,
    knocks_answered: u64,
    errand: Option<Errand>,
    announce_at: Option<Stamp>,
    /// The last row taken from the outbox since it was read from its start.
    cursor: i64,
    more_rows: bool,
    asked_outbox: Stamp,
    outbox_failed: bool,
    delivered: Vec<i64>,
    reported: Stamp,
    /// Set when stopping: until when acknowledgements are waited for.
    farewell: Option<Stamp>,
    goodbye: bool,
    gone: bool,
}

type Turn = Result<(), Ended>;

impl<'a> Session<'a> {
    /// For a connection that the broker has just accepted.
    pub(super) fn new(desk: &'a mut Desk, client: AsyncClient) -> Self {
        let now = desk.clock.now();
        Self {
            desk,
            client,
            flight: Flight::default(),
            heard: now,
            ping_owed: false,
            subscription_owed: false,
            knocks_sent: 0,
            knocks_answered: 0,
            errand: None,
            announce_at: None,
            cursor: 0,
            more_rows: true,
            asked_outbox: now,
            outbox_failed: false,
            delivered: Vec::new(),
            reported: now,
            farewell: None,
            goodbye: false,
            gone: false,
        }
    }

    /// Serves the connection until it fails or stopping is requested, then closes the books.
    pub(super) async fn serve(mut self, events: &mut EventLoop, stop: &Stop) -> Ended {
        let ended = match self.live(events, stop).await {
            Ok(()) => Ended::Stopped,
            Err(ended) => ended,
        };
        self.desk.counters.live.store(false, Ordering::Release);
        if let Some(errand) = self.errand.take() {
            errand.command.answer(Err(if errand.written {
                LinkDown::Unconfirmed
            } else {
                LinkDown::NotConnected
            }));
        }
        self.report_delivered();
        self.desk.remember_unacked(&self.flight);
        ended
    }

    async fn live(&mut self, events: &mut EventLoop, stop: &Stop) -> Turn {
        self.subscribe()?;
        self.announce()?;
        self.desk.counters.live.store(true, Ordering::Release);
        while !self.gone {
            let result = {
                let mut poll = std::pin::pin!(events.poll());
                loop {
                    tokio::select! {
                        biased;
                        result = &mut poll => break result,
                        () = self.desk.nudge(self.until_next_turn()) => self.turn(stop)?,
                    }
                }
            };
            match result {
                Ok(event) => self.on(event),
                Err(error) => {
                    // What had arrived before the end still counts.
                    while let Some(event) = events.state.events.pop_front() {
                        self.on(event);
                    }
                    return Err(self.failed(NotifyError::from_connection(&self.desk.settings, error, true)));
                }
            }
            self.turn(stop)?;
        }
        Ok(())
    }

    fn failed(&self, error: NotifyError) -> Ended {
        // A connection that ends while we are leaving is no failure.
        if self.farewell.is_some() { Ended::Stopped } else { Ended::Failed(error) }
    }

    // What the connection tells.

    fn on(&mut self, event: Event) {
        match event {
            Event::Outgoing(Outgoing::Publish(pkid)) if pkid != 0 => self.flight.numbered(pkid),
            Event::Outgoing(Outgoing::PingReq) => {
                self.begin_to_wait();
                self.ping_owed = true;
            }
            Event::Outgoing(Outgoing::Disconnect) => self.gone = true,
            Event::Outgoing(_) => {}
            Event::Incoming(packet) => {
                self.heard = self.desk.clock.now();
                self.on_packet(packet);
            }
        }
    }

    fn on_packet(&mut self, packet: Packet) {
        match packet {
            Packet::PubAck(ack) => {
                if let Some((row, event)) = self.flight.acked(ack.pkid) {
                    self.desk.remember_acked(event);
                    self.delivered.push(row);
                }
            }
            Packet::PingResp => self.ping_owed = false,
            Packet::UnsubAck(_) => self.knocks_answered += 1,
            Packet::SubAck(ack) => {
                self.subscription_owed = false;
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    warn!(
                        "mqtt: the broker does not let us read Home Assistant's status; after a restart of Home \
                         Assistant states may be missing there until they change. Allow it in the broker's ACL"
                    );
                }
            }
            Packet::Publish(publish) if publish.payload.as_ref() == b"online" => {
                let wait = ANNOUNCE_WITHIN.mul_f64(self.desk.backoff.fraction());
                self.announce_at = Some(self.desk.clock.now().plus(wait));
            }
            _ => {}
        }
    }

    // Turns.

    fn turn(&mut self, stop: &Stop) -> Turn {
        let now = self.desk.clock.now();
        self.desk.counters.beat(now);
        if self.flight.rows() == 0 || now.since(self.reported) >= REPORT_AFTER {
            self.report_delivered();
            self.reported = now;
        }
        self.check_that_it_answers(now)?;
        if self.farewell.is_some() || stop.is_requested() {
            return self.leave(now);
        }
        self.run_errands(now)?;
        if self.errand.is_some() {
            return Ok(());
        }
        if self.announce_at.is_some_and(|at| now >= at) && self.flight.len() < WINDOW {
            self.announce_at = None;
            self.announce()?;
        }
        self.tell_changes()?;
        self.refill(now)
    }

    /// How long nothing happens by itself.
    fn until_next_turn(&self) -> Duration {
        let due = self.flight.len() > 0
            || !self.delivered.is_empty()
            || self.waits()
            || self.errand.is_some()
            || self.announce_at.is_some()
            || self.farewell.is_some();
        if due { TICK } else { REST }
    }

    /// Whether the broker owes an answer, acknowledgements aside.
    fn waits(&self) -> bool {
        self.ping_owed || self.subscription_owed || self.knocks_sent > self.knocks_answered
    }

    /// Call before asking for an answer: silence counts from here if nothing was owed before.
    fn begin_to_wait(&mut self) {
        if !self.waits() {
            self.heard = self.desk.clock.now();
        }
    }

    /// How long an answer may take that comes after everything in flight and `bytes` more.
    fn patience(&self, bytes: usize) -> Duration {
        let bulk = (self.flight.bytes() + bytes) / BYTES_PER_SECOND;
        self.desk.timing.answer + Duration::from_secs(bulk as u64)
    }

    fn check_that_it_answers(&self, now: Stamp) -> Turn {
        let silent = self.waits() && now.since(self.heard) > self.patience(0);
        if silent || self.flight.is_overdue(now) {
            return Err(self.failed(NotifyError::FellSilent { broker: self.desk.settings.broker() }));
        }
        Ok(())
    }

    fn report_delivered(&mut self) {
        if !self.delivered.is_empty() {
            self.desk.outbox.delivered(&self.delivered);
            self.delivered.clear();
        }
    }

    // Leaving.

    /// Lets what is in flight be acknowledged, says `offline`, and goes.
    fn leave(&mut self, now: Stamp) -> Turn {
        self.desk.counters.live.store(false, Ordering::Release);
        self.desk.refuse_commands();
        let deadline = match self.farewell {
            Some(deadline) => deadline,
            None => {
                let deadline = now.plus(self.desk.timing.farewell);
                self.farewell = Some(deadline);
                self.more_rows = true;
                self.tell_changes()?;
                self.refill(now)?;
                self.hand(self.availability("offline"), None)?;
                deadline
            }
        };
        if now >= deadline {
            debug!("mqtt: left with {} alerts unacknowledged; they stay in the outbox", self.flight.rows());
            return Err(Ended::Stopped);
        }
        if self.flight.len() == 0 && !self.goodbye {
            self.goodbye = true;
            // Without it the broker would publish the last will, which says the same.
            let _ = self.client.try_disconnect();
        }
        Ok(())
    }
}
