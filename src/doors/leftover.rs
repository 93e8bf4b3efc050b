//! Finds and ends what an opening has left running after its supervisor or the daemon has died.
//!
//! A door program carries the event of its opening in its environment (`PORTERO_EVENT`), and so does everything that it
//! starts. The event is in the record, so nothing else has to be remembered, and no number of a process that may have
//! become another's is ever trusted.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use super::supervisor::LAST_WORDS;
use crate::domain::EventId;

/// The variable that names the event.
pub(super) const EVENT: &str = "PORTERO_EVENT";
/// How long the end of what was killed is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks.
const NAP: Duration = Duration::from_millis(10);

/// Ends what the opening of `event` has left running: asks it to, kills it when it has not ended after [`LAST_WORDS`],
/// and waits until it is gone, some seconds at most. Says whether there was anything.
pub(super) fn end(event: EventId) -> bool {
    if signal(event, Signal::TERM) == 0 {
        return false;
    }
    let mut waited = Duration::ZERO;
    while waited < LAST_WORDS + PATIENCE {
        std::thread::sleep(NAP);
        waited += NAP;
        let left =
            if waited < LAST_WORDS { usize::from(is_alive(event)) } else { signal(event, Signal::KILL) };
        if left == 0 {
            return true;
        }
    }
    log::error!("what event {event} has started does not end");
    true
}

/// Whether anything of the opening of `event` still runs.
pub(super) fn is_alive(event: EventId) -> bool {
    let mark = mark(event);
    processes().any(|pid| bears(pid, &mark))
}

/// Sends `signal` to every process that bears the event; returns how many there were. Never blocks.
pub(super) fn signal(event: EventId, signal: Signal) -> usize {
    let mark = mark(event);
    let marked = processes().filter(|pid| bears(*pid, &mark));
    marked.filter(|pid| signal_if_marked(*pid, &mark, signal)).count()
}

/// Signals the process unless its number became another's since it was looked at.
fn signal_if_marked(pid: Pid, mark: &[u8], signal: Signal) -> bool {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    // Asked again: now the handle is fast, and names the process that bears the mark or none.
    let is_it = bears(pid, mark);
    if is_it && let Err(error) = pidfd_send_signal(&process, signal) {
        log::debug!("process {pid:?} cannot be ended: {error}");
    }
    is_it
}

fn mark(event: EventId) -> Vec<u8> {
    format!("{EVENT}={event}").into_bytes()
}

/// Whether the environment of the process has exactly this entry. A process that has ended has no environment.
fn bears(pid: Pid, mark: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry == mark)
}

/// All processes that can be seen, but this one.
pub(super) fn processes() -> impl Iterator<Item = Pid> {
    let own = getpid();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    pids.filter(move |pid| *pid != own)
}

/// The parent of a process; `None` when it is gone.
pub(super) fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name stands in brackets and may hold anything; behind it come the state and the parent.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    Pid::from_raw(parent)
}
