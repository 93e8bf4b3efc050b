//! What a grant does.
//!
//! A grant comes here only after it was committed, and is acted upon now or never: it is refused when its door
//! is unknown, its frame too old, dated ahead or of unknown age, its door busy, or the broker not there. In observe
//! mode it is judged alike, except for how its frame is dated, and then nothing is done.
//!
//! The deadline of a grant, the capture of its frame and `max_age`, goes with it to the actuator, which checks it as
//! the last thing before it acts. The interval between openings counts from the last one that was not refused, also
//! when that was before a restart ([`Doors::resume`]).
//!
//! This room must not queue a command, must not repeat one, and must not decide who may enter.
//!
//! | file | holds |
//! |---|---|
//! | `settings`, `grant` | what comes in |
//! | `door` | what keeps one door shut |
//! | `actuator` | the ways to open a door, as a trait |
//! | `mqtt` | a door that listens to the broker |
//! | `command` | a door that a program opens |
//! | `supervisor` | the process that ends such a program with all that it has started |
//! | `leftover` | finds and ends what an earlier run of the daemon has left running |

mod actuator;
mod command;
mod door;
mod grant;
mod leftover;
mod mqtt;
mod settings;
mod supervisor;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

pub use actuator::{Actuator, CommandLink, LinkDown, Started};
pub use command::search_path;
pub use grant::{Grant, Order};
pub use settings::{DEFAULT_MIN_INTERVAL, Kind, Mode, Settings};
pub use supervisor::{PROGRAM_COMMAND, supervise};

use crate::clock::Clock;
use crate::domain::{DoorId, EventId, Outcome, Stamp};
use door::Door;

/// How often a running command is looked after.
const POLL: Duration = Duration::from_millis(20);
/// The loop turns at least this often, for the watchdog.
const TURN: Duration = Duration::from_secs(1);

/// All doors.
pub struct Doors {
    doors: BTreeMap<DoorId, Door>,
    beat: Arc<AtomicU64>,
}

impl Doors {
    /// Doors by their settings. `link` carries the commands of the MQTT doors; `portero` is this program, which
    /// supervises the programs of the others as [`PROGRAM_COMMAND`].
    #[must_use]
    pub fn new(settings: Vec<Settings>, link: Box<dyn CommandLink>, portero: &Path) -> Self {
        let link: Arc<dyn CommandLink> = Arc::from(link);
        Self::with_actuators(settings.into_iter().map(|s| {
            let actuator = actuator::of(&s, &link, portero);
            (s, actuator)
        }))
    }

    /// Doors that are opened by what the caller gives: for fault injection.
    pub fn with_actuators(doors: impl IntoIterator<Item = (Settings, Box<dyn Actuator>)>) -> Self {
        let door =
            |(settings, actuator): (Settings, _)| (settings.door.clone(), Door::new(settings, actuator));
        Self { doors: doors.into_iter().map(door).collect(), beat: Arc::default() }
    }

    /// Grows with every turn of [`Doors::run`]; clone before it takes the doors.
    #[must_use]
    pub fn beat(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.beat)
    }

    /// Takes over the last opening of `door` by an earlier run of the daemon: the event that recorded it, and when it
    /// was granted. Its interval goes on, and what it left running is ended, which may take some seconds.
    pub fn resume(&mut self, door: &DoorId, event: EventId, at: Stamp, clock: &dyn Clock) {
        if let Some(door) = self.doors.get_mut(door) {
            door.resume(event, at, clock);
        } else {
            // The door is gone, and what opened it may not be.
            leftover::end(event);
        }
    }

    /// Judges the grant and starts to open its door. `None`: the opening is under way, [`Doors::poll`] will tell
    /// how it ended. Blocks only as long as a broker takes to confirm a command.
    pub fn act(&mut self, grant: &Grant, clock: &dyn Clock) -> Option<Outcome> {
        let Some(door) = self.doors.get_mut(&grant.door) else {
            return Some(Outcome::Refused(format!("there is no door {}", grant.door)));
        };
        door.act(grant, clock)
    }

    /// Ends of openings that were under way. Never blocks; to be called every some ten milliseconds.
    pub fn poll(&mut self, now: Stamp) -> Vec<(EventId, Outcome)> {
        self.doors.values_mut().filter_map(|door| door.poll(now)).collect()
    }

    /// Whether an opening is under way, or something that it left running.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.doors.values().any(Door::is_busy)
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
                    if let Some(outcome) = self.act(&grant, clock) {
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
