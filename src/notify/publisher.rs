//! The publisher's thread: connect, serve the connection, back off, connect again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use log::{debug, info, warn};
use rumqttc::EventLoop;
use tokio::sync::Notify;

use super::alert::LeftOut;
use super::connection;
use super::counters::Counters;
use super::error::NotifyError;
use super::flight::Flight;
use super::link::{Command, LinkDown, LiveLink};
use super::outbox::Outbox;
use super::session::Session;
use super::states::States;
use super::{Settings, Timing};
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::domain::{CameraId, EventId, Stamp};
use crate::shutdown::Stop;
use crate::words::in_words;

/// How often the loop turns at least while something is due: an answer, a report, an announcement.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// How often it turns when nothing is: the heart beats, the outbox is looked into, and a request to stop is heard for which nobody
/// rang. Waking up costs more than what is done then.
pub(super) const REST: Duration = Duration::from_secs(1);

/// A snapshot with which this many connections in a row were lost is left out: the broker's limit may be lower
/// than ours, and it says so only by hanging up.
const SNAPSHOT_TRIES: u32 = 5;

/// Acknowledged events remembered, in case the outbox hands one out again.
const REMEMBERED: usize = 1_024;

/// What other threads hold of the publisher.
#[derive(Clone)]
pub struct Handles {
    /// Camera states.
    pub states: States,
    /// Door commands.
    pub link: LiveLink,
    /// Tells of new rows in the outbox.
    pub wake: Wake,
    /// What was done so far.
    pub counters: Arc<Counters>,
}

/// Tells the publisher that new rows stand in the outbox, or that it is to stop. It would find out within a second anyway.
#[derive(Clone)]
pub struct Wake {
    bell: Arc<Notify>,
    news: Arc<AtomicBool>,
}

impl Wake {
    /// New rows are committed, or stopping was requested. Never blocks.
    pub fn ring(&self) {
        self.news.store(true, Ordering::Release);
        self.bell.notify_one();
    }
}

/// Brings alerts, states and door commands to the broker, for as long as it takes. Built on one thread, run on
/// its own.
pub struct Publisher {
    desk: Desk,
}

/// What outlives a connection.
pub(super) struct Desk {
    pub(super) settings: Settings,
    pub(super) timing: Timing,
    pub(super) cameras: Vec<CameraId>,
    pub(super) outbox: Box<dyn Outbox>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Arc<Counters>,
    pub(super) states: States,
    pub(super) commands: Receiver<Arc<Command>>,
    pub(super) backoff: Backoff,
    /// Handed to an earlier connection and not acknowledged there.
    pub(super) unsure: HashSet<EventId>,
    bell: Arc<Notify>,
    news: Arc<AtomicBool>,
    acked: VecDeque<EventId>,
    /// The pictured alert that was first in line when connections were lost, and how many in a row.
    suspect: Option<(EventId, u32)>,
}

/// How serving a connection ended.
pub(super) enum Ended {
    /// As requested.
    Stopped,
    /// It could not be made, or was lost.
    Failed(NotifyError),
}

impl Publisher {
    /// A publisher for `cameras`, with the handles for the other threads. Nothing is connected yet.
    #[must_use]
    pub fn new(
        settings: Settings,
        timing: Timing,
        cameras: Vec<CameraId>,
        outbox: Box<dyn Outbox>,
        clock: Arc<dyn Clock>,
    ) -> (Self, Handles) {
        let (bell, news) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
        let counters = Arc::new(Counters::default());
        let states = States::new(&cameras, Arc::clone(&bell));
        let (link, commands) =
            LiveLink::new(Arc::clone(&counters), Arc::clone(&bell), Arc::clone(&clock), timing.command);
        let wake = Wake { bell: Arc::clone(&bell), news: Arc::clone(&news) };
        let handles = Handles { states: states.clone(), link, wake, counters: Arc::clone(&counters) };
        let seed = clock.now().mono_us() ^ u64::from(std::process::id()) << 32;
        let backoff = Backoff::new(timing.retry_first, timing.retry_max, seed);
        let (unsure, acked) = (HashSet::new(), VecDeque::new());
        let desk = Desk {
            settings,
            timing,
            cameras,
            outbox,
            clock,
            counters,
            states,
            commands,
            backoff,
            unsure,
            bell,
            news,
            acked,
            suspect: None,
        };
        (Self { desk }, handles)
    }

    /// Blocks until `stop` is requested, and then for at most [`Timing::farewell`] and a moment: rows in flight
    /// may still be acknowledged, `offline` is said, the connection is closed. Whatever the broker does, this
    /// goes on; what it could not deliver stays in the outbox.
    ///
    /// # Errors
    /// [`NotifyError::Runtime`] when the event loop cannot even be set up.
    pub fn run(mut self, stop: &Stop) -> Result<(), NotifyError> {
        let runtime = connection::runtime()?;
        runtime.block_on(self.serve(stop));
        // Does not wait for a name resolution that hangs.
        runtime.shutdown_background();
        Ok(())
    }

    async fn serve(&mut self, stop: &Stop) {
        let mut trouble = None;
        while !stop.is_requested() {
            let Ended::Failed(error) = self.connection(stop, &mut trouble).await else { break };
            let pause = self.desk.backoff.pause();
            self.report(&error, &mut trouble, pause);
            if self.desk.pause(pause, stop).await {
                break;
            }
        }
        self.desk.refuse_commands();
    }

    /// One connection from its first packet to its last.
    async fn connection(&mut self, stop: &Stop, trouble: &mut Option<String>) -> Ended {
        let desk = &mut self.desk;
        let (client, mut events) = match connection::client(&desk.settings, &desk.timing, desk.queue()) {
            Ok(pair) => pair,
            Err(error) => return Ended::Failed(error),
        };
        if let Err(ended) = greeting(desk, &mut events, stop).await {
            return ended;
        }
        let since = desk.clock.now();
        desk.counters.connections.add_one();
        info!("mqtt: connected to {}", desk.settings.broker());
        *trouble = None;
        let ended = Session::new(desk, client).serve(&mut events, stop).await;
        desk.counters.live.store(false, Ordering::Release);
        // A connection that is lost at once counts as another failed try.
        if desk.clock.now().since(since) >= desk.timing.answer {
            desk.backoff.reset();
        }
        ended
    }

    /// Says what is wrong when it is new, not each time it is tried again.
    fn report(&self, error: &NotifyError, trouble: &mut Option<String>, pause: Duration) {
        self.desk.counters.failures.add_one();
        let line = in_words(error);
        if trouble.as_ref() == Some(&line) {
            debug!("mqtt: still: {line}; next try in {} ms", pause.as_millis());
        } else {
            let most = self.desk.timing.retry_max.as_secs();
            warn!("mqtt: {line}. Alerts wait in the outbox; tried again at least every {most} s");
            *trouble = Some(line);
        }
    }
}

/// Waits for the broker's greeting.
async fn greeting(desk: &mut Desk, events: &mut EventLoop, stop: &Stop) -> Result<(), Ended> {
    let since = desk.clock.now();
    let mut poll = std::pin::pin!(events.poll());
    loop {
        tokio::select! {
            biased;
            result = &mut poll => {
                return match result {
                    Ok(_greeting) => Ok(()),
                    Err(error) => {
                        Err(Ended::Failed(NotifyError::from_connection(&desk.settings, error, false)))
                    }
                };
            }
            () = desk.nudge(TICK) => {}
        }
        let now = desk.idle_turn();
        if stop.is_requested() {
            return Err(Ended::Stopped);
        }
        if now.since(since) >= desk.timing.connect {
            let (broker, within) = (desk.settings.broker(), desk.timing.connect);
            return Err(Ended::Failed(NotifyError::NoAnswer { broker, within }));
        }
    }
}

impl Desk {
    /// Messages that may be handed over before the broker acknowledges one: the window, and twice everything that
    /// an announcement tells.
    fn queue(&self) -> u16 {
        u16::try_from(128 + 8 * self.cameras.len()).unwrap_or(u16::MAX)
    }

    /// Waits until somebody rings, for so long at most.
    pub(super) async fn nudge(&self, most: Duration) {
        // Either way it is time to look around.
        let _ = tokio::time::timeout(most, self.bell.notified()).await;
    }

    /// A turn of the loop without a connection.
    fn idle_turn(&self) -> Stamp {
        let now = self.clock.now();
        self.counters.beat(now);
        self.refuse_commands();
        now
    }

    /// Waits before the next try. Returns whether stopping was requested.
    async fn pause(&self, pause: Duration, stop: &Stop) -> bool {
        let since = self.clock.now();
        loop {
            let passed = self.idle_turn().since(since);
            if passed >= pause || stop.is_requested() {
                break;
            }
            self.nudge(REST.min(pause - passed)).await;
        }
        stop.is_requested()
    }

    /// No command waits for a connection.
    pub(super) fn refuse_commands(&self) {
        for command in self.commands.try_iter() {
            command.answer(Err(LinkDown::NotConnected));
        }
    }

    /// Whether somebody rang for new rows since this was asked last.
    pub(super) fn take_news(&self) -> bool {
        self.news.swap(false, Ordering::AcqRel)
    }

    /// The broker has this event.
    pub(super) fn remember_acked(&mut self, event: EventId) {
        self.counters.acked.add_one();
        self.unsure.remove(&event);
        if self.acked.len() == REMEMBERED {
            self.acked.pop_front();
        }
        self.acked.push_back(event);
    }

    pub(super) fn was_acked(&self, event: EventId) -> bool {
        self.acked.contains(&event)
    }

    /// A connection has ended with these books.
    pub(super) fn remember_unacked(&mut self, flight: &Flight) {
        self.unsure.extend(flight.events());
        self.suspect = flight.first_pictured().map(|event| match self.suspect {
            Some((same, times)) if same == event => (event, times + 1),
            _ => (event, 1),
        });
    }

    /// Whether this event's picture has cost too many connections.
    pub(super) fn refused_picture(&self, event: EventId) -> Option<LeftOut> {
        self.suspect.filter(|(id, times)| *id == event && *times >= SNAPSHOT_TRIES).map(|_| LeftOut::Refused)
    }
}
