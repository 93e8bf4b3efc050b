//! What a grant does.
//!
//! A grant comes here only after it was committed, and is acted upon now or never: it is refused when its door
//! is unknown, its frame too old, its door busy, or the broker not there. In observe mode all of this is judged
//! the same way, and then nothing is done.
//!
//! This room must not queue a command, must not repeat one, and must not decide who may enter.

mod actuator;
mod command;
mod mqtt;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

pub use actuator::{Actuator, CommandLink, LinkDown, Started};

use crate::clock::Clock;
use crate::domain::{DoorId, Event, EventId, Outcome, RuleId, Stamp, Verdict};

/// A door and how it is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Its name.
    pub door: DoorId,
    /// Whether grants are acted upon.
    pub mode: Mode,
    /// A grant whose frame is older than this is refused as stale.
    pub max_age: Duration,
    /// After an opening has ended, the next is refused for this long.
    pub min_interval: Duration,
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
        /// It is killed, with its process group, when it takes longer.
        time_limit: Duration,
    },
}

/// A committed grant on its way to its door.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The event that records it.
    pub event: EventId,
    /// The door to open.
    pub door: DoorId,
    /// The rule that granted it.
    pub rule: Option<RuleId>,
    /// Capture of the frame that tipped the decision.
    pub frame: Stamp,
}

impl Grant {
    /// The grant that `event` records, if it is one.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let Verdict::Authorise { door } = &event.decision.verdict else { return None };
        Some(Self {
            event: event.id,
            door: door.clone(),
            rule: event.decision.rule.clone(),
            frame: event.decision.frame.stamp,
        })
    }

    /// Hands the grant to the thread that runs the doors, or says at once why not. `grants` has capacity 1.
    /// Never blocks.
    #[must_use]
    pub fn hand_over(self, grants: &Sender<Grant>) -> Option<Outcome> {
        match grants.try_send(self) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => {
                Some(Outcome::Refused("busy: the doors have other grants in hand".into()))
            }
            Err(TrySendError::Disconnected(_)) => {
                Some(Outcome::Refused("the doors are no longer served".into()))
            }
        }
    }
}

/// How often a running command is looked after.
const POLL: Duration = Duration::from_millis(20);
/// The loop turns at least this often, for the watchdog.
const TURN: Duration = Duration::from_secs(1);

/// All doors.
pub struct Doors {
    doors: BTreeMap<DoorId, Door>,
    beat: Arc<AtomicU64>,
}

struct Door {
    settings: Settings,
    actuator: Box<dyn Actuator>,
    /// The event whose opening is under way.
    running: Option<EventId>,
    /// End of the last opening.
    last: Option<Stamp>,
}

impl Doors {
    /// Doors by their settings. `link` carries the commands of the MQTT doors.
    #[must_use]
    pub fn new(settings: Vec<Settings>, link: Box<dyn CommandLink>) -> Self {
        let link: Arc<dyn CommandLink> = Arc::from(link);
        Self::with_actuators(settings.into_iter().map(|s| {
            let actuator = actuator::of(&s, &link);
            (s, actuator)
        }))
    }

    /// Doors that are opened by what the caller gives: for fault injection.
    pub fn with_actuators(doors: impl IntoIterator<Item = (Settings, Box<dyn Actuator>)>) -> Self {
        let door = |(settings, actuator): (Settings, _)| {
            (settings.door.clone(), Door { settings, actuator, running: None, last: None })
        };
        Self { doors: doors.into_iter().map(door).collect(), beat: Arc::default() }
    }

    /// Grows with every turn of [`Doors::run`]; clone before it takes the doors.
    #[must_use]
    pub fn beat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.beat)
    }

    /// Judges the grant and starts to open its door. `None`: the opening is under way, [`Doors::poll`] will tell
    /// how it ended. Blocks only as long as a broker takes to confirm a command.
    pub fn act(&mut self, grant: &Grant, now: Stamp) -> Option<Outcome> {
        let Some(door) = self.doors.get_mut(&grant.door) else {
            return Some(Outcome::Refused(format!("there is no door {}", grant.door)));
        };
        door.act(grant, now)
    }

    /// Ends of openings that were under way. Never blocks; to be called every some ten milliseconds.
    pub fn poll(&mut self, now: Stamp) -> Vec<(EventId, Outcome)> {
        self.doors.values_mut().filter_map(|door| door.poll(now)).collect()
    }

    /// Whether an opening is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.doors.values().any(|door| door.running.is_some())
    }

    /// Acts on grants until the channel is closed, sees running commands to their end, and reports each outcome.
    /// Blocks.
    pub fn run(
        mut self,
        grants: &Receiver<Grant>,
        clock: &dyn Clock,
        report: &mut dyn FnMut(EventId, Outcome),
    ) {
        let mut report = |event: EventId, outcome: Outcome| {
            match outcome.detail() {
                Some(why) => log::warn!("event {event}: {}: {why}", outcome.kind()),
                None => log::info!("event {event}: {}", outcome.kind()),
            }
            report(event, outcome);
        };
        let mut open = true;
        while open || self.is_busy() {
            self.beat.fetch_add(1, Ordering::Relaxed);
            let wait = if self.is_busy() { POLL } else { TURN };
            match grants.recv_timeout(wait) {
                Ok(grant) => {
                    if let Some(outcome) = self.act(&grant, clock.now()) {
                        report(grant.event, outcome);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if open => open = false,
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
            }
            for (event, outcome) in self.poll(clock.now()) {
                report(event, outcome);
            }
        }
    }
}

impl Door {
    fn act(&mut self, grant: &Grant, now: Stamp) -> Option<Outcome> {
        if let Some(why) = self.refusal(grant, now) {
            return Some(Outcome::Refused(why));
        }
        if self.settings.mode == Mode::Observe {
            self.last = Some(now);
            return Some(Outcome::Observed);
        }
        match self.actuator.start(grant, now) {
            Started::Running => {
                self.running = Some(grant.event);
                None
            }
            Started::Ended(outcome) => {
                if outcome == Outcome::Opened {
                    self.last = Some(now);
                }
                Some(outcome)
            }
        }
    }

    fn refusal(&self, grant: &Grant, now: Stamp) -> Option<String> {
        let (age, max_age) = (now.since(grant.frame), self.settings.max_age);
        if age > max_age {
            return Some(format!("stale: the frame is {age:.1?} old, at most {max_age:.1?} is allowed"));
        }
        if self.running.is_some() {
            return Some("busy: the door is just being opened".to_owned());
        }
        let since = now.since(self.last?);
        (since < self.settings.min_interval).then(|| {
            format!(
                "busy: the door was opened {since:.1?} ago, allowed is every {:.1?}",
                self.settings.min_interval
            )
        })
    }

    fn poll(&mut self, now: Stamp) -> Option<(EventId, Outcome)> {
        let event = self.running?;
        let outcome = self.actuator.poll(now)?;
        self.running = None;
        // Also after a failure: nobody knows how far it came.
        self.last = Some(now);
        Some((event, outcome))
    }
}
