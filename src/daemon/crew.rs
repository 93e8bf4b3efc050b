//! The threads: born here, named, and joined with one deadline for all.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::DaemonError;
use crate::capture::Spawn;
use crate::clock::Clock;
use crate::domain::Stamp;

/// Threads of one stage of the pipeline. Each reports its end, so that a wait can have a deadline and name who
/// is late; a thread that never ends is left behind, it cannot hold the others.
pub(super) struct Crew {
    members: Vec<(String, Option<JoinHandle<()>>)>,
    report: Sender<usize>,
    ends: Receiver<usize>,
}

/// Reports the end of a thread, also when it panics.
struct Farewell(Sender<usize>, usize);

impl Drop for Farewell {
    fn drop(&mut self) {
        // Bounded by the number of threads a crew may have, so it never blocks; nobody may be listening.
        let _ = self.0.try_send(self.1);
    }
}

impl Crew {
    pub(super) fn new() -> Self {
        let (report, ends) = bounded(1024);
        Self { members: Vec::new(), report, ends }
    }

    /// Starts a thread called `name` (the kernel shows its first 15 bytes).
    pub(super) fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let farewell = Farewell(self.report.clone(), self.members.len());
        let handle = Builder::new().name(name.to_owned()).spawn(move || {
            let _farewell = farewell;
            work();
        })?;
        self.members.push((name.to_owned(), Some(handle)));
        Ok(())
    }

    /// Waits until all have ended or `deadline` has passed. Returns the names of those that have not.
    pub(super) fn join(&mut self, clock: &dyn Clock, deadline: Stamp) -> Vec<String> {
        while self.members.iter().any(|(_, handle)| handle.is_some()) {
            match self.ends.recv_timeout(deadline.since(clock.now())) {
                Ok(index) => self.bury(index),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        self.members.iter().filter(|(_, handle)| handle.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Whether every thread has ended. Never blocks.
    pub(super) fn is_done(&mut self) -> bool {
        while let Ok(index) = self.ends.try_recv() {
            self.bury(index);
        }
        self.members.iter().all(|(_, handle)| handle.is_none())
    }

    fn bury(&mut self, index: usize) {
        let Some((name, handle)) = self.members.get_mut(index) else { return };
        // It has said farewell: this join does not wait.
        if let Some(Err(_)) = handle.take().map(JoinHandle::join) {
            log::error!("thread {name} panicked");
        }
    }
}

/// Starts threads for rooms that need one of their own, such as the reader of a V4L2 device. They are not
/// joined: one that hangs in a driver is left behind.
#[must_use]
pub fn spawner() -> Spawn {
    Arc::new(|name, work| Builder::new().name(name.to_owned()).spawn(work))
}

/// Starts a thread of a crew.
pub(super) fn spawn(
    crew: &mut Crew,
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), DaemonError> {
    crew.spawn(name, work)
        .map_err(|source| DaemonError::System { what: format!("the thread {name}"), source })
}

/// The deadline `grace` from now.
pub(super) fn deadline(clock: &dyn Clock, grace: Duration) -> Stamp {
    clock.now().plus(grace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::shutdown::stop_pair;

    #[test]
    fn the_late_are_named_and_the_others_joined() {
        let (handle, stop) = stop_pair();
        let mut crew = Crew::new();
        crew.spawn("quick", || {}).unwrap();
        crew.spawn("slow", move || {
            let _ = stop.wait_for(Duration::from_secs(60));
        })
        .unwrap();
        let soon = deadline(&SystemClock, Duration::from_millis(200));
        assert_eq!(crew.join(&SystemClock, soon), ["slow"]);
        drop(handle);
        let later = deadline(&SystemClock, Duration::from_secs(10));
        assert_eq!(crew.join(&SystemClock, later), Vec::<String>::new());
        assert!(crew.is_done());
    }
}
