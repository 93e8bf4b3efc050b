//! The loop of the main thread: signals, readiness, the watchdog, the report every minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{error, info, warn};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::clips::LAST_CLIPS;
use super::topology::Topology;
use super::watchdog::Watchdog;
use super::{DaemonError, Options, reload};
use crate::clock::Clock;
use crate::domain::Stamp;

/// How often the loop turns: so long a signal waits at most. A turn of a thread that has slept costs 0.1 ms.
const TURN: Duration = Duration::from_millis(250);
/// How often it is looked whether the wall clock is synchronised.
const CLOCK_LOOK: Duration = Duration::from_secs(10);
/// With `exit_when_done`: how long the last alerts may take to the broker.
const LAST_ALERTS: Duration = Duration::from_secs(10);

/// The signals, as flags.
pub(super) struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    pub(super) fn register() -> Result<Self, DaemonError> {
        let refused = |source| DaemonError::System { what: "a signal handler".to_owned(), source };
        let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset, the second ends the process.
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop)).map_err(refused)?;
            flag::register(signal, Arc::clone(&stop)).map_err(refused)?;
        }
        flag::register(SIGHUP, Arc::clone(&reload)).map_err(refused)?;
        Ok(Self { stop, reload })
    }
}

/// Watches until it is time to stop. Returns the name of a part that ended early, if that is why.
pub(super) fn watch(
    topology: &mut Topology,
    signals: &Signals,
    options: &Options,
    clock: &Arc<dyn Clock>,
) -> Option<String> {
    let mut watchdog = Watchdog::new(sd_notify::watchdog_enabled(), clock.now());
    let mut next_report = clock.now().plus(options.report);
    let mut next_clock_look = clock.now();
    let mut done_since: Option<Stamp> = None;
    notify(&[NotifyState::Ready]);
    let ended = loop {
        let now = clock.now();
        if signals.stop.load(Ordering::Relaxed) {
            info!("stopping: asked by a signal");
            break None;
        }
        if signals.reload.swap(false, Ordering::Relaxed) {
            reload::reload(topology, &options.config_path);
        }
        topology.tell_again();
        topology.tell_record();
        if let Some(part) = topology.ended_early() {
            topology.tell_record();
            error!("stopping: the {part} has ended");
            break Some(part);
        }
        if options.exit_when_done && is_done(topology, &mut done_since, now) {
            info!("stopping: every camera has come to its end");
            break None;
        }
        if watchdog.is_due(now) && watchdog.look(topology.beats(), now) {
            notify(&[NotifyState::Watchdog]);
        }
        if now >= next_clock_look {
            topology.look_at_clock();
            next_clock_look = now.plus(CLOCK_LOOK);
        }
        if now >= next_report {
            info!("{}", topology.summary(clock.as_ref()).line());
            next_report = now.plus(options.report);
        }
        topology.pause(TURN);
    };
    notify(&[NotifyState::Stopping]);
    ended
}

/// All files played, and everything that came of them delivered, or given enough time.
fn is_done(topology: &Topology, since: &mut Option<Stamp>, now: Stamp) -> bool {
    if !topology.all_cameras_ended() {
        *since = None;
        return false;
    }
    let begun = *since.get_or_insert(now);
    let waiting = topology.alerts_waiting();
    let clips = topology.clips.counters.pending();
    if clips > 0 && now.since(begun) < LAST_CLIPS {
        return false;
    }
    if topology.is_quiet() && (waiting == 0 || now.since(begun) > LAST_ALERTS) {
        if waiting > 0 {
            warn!("{waiting} alerts could not be delivered yet; they stay in the outbox");
        }
        return true;
    }
    false
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("systemd could not be told: {error}");
    }
}
