//! The request to stop.
//!
//! Whoever holds the [`StopHandle`] keeps the daemon running; dropping it is the request. Every loop holds a
//! [`Stop`], asks it, sleeps on it, or selects on it beside its work.

use std::convert::Infallible;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// Keeps things running while it lives. Dropping it asks every [`Stop`] to stop.
#[derive(Debug)]
pub struct StopHandle(#[expect(dead_code, reason = "held for its drop")] Sender<Infallible>);

/// The other end: cloned into every loop.
#[derive(Debug, Clone)]
pub struct Stop(Receiver<Infallible>);

/// A handle and the end that hears of its drop.
#[must_use]
pub fn stop_pair() -> (StopHandle, Stop) {
    let (sender, receiver) = bounded(0);
    (StopHandle(sender), Stop(receiver))
}

impl Stop {
    /// Whether stopping was requested. Never blocks.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        matches!(self.0.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Sleeps for `time`, or until stopping is requested. Returns whether it was requested.
    #[must_use]
    pub fn wait_for(&self, time: Duration) -> bool {
        match self.0.recv_timeout(time) {
            Err(RecvTimeoutError::Disconnected) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Ok(never) => match never {},
        }
    }

    /// For `select!`: becomes ready (disconnected) when stopping is requested.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_the_handle_is_the_request() {
        let (handle, stop) = stop_pair();
        let other = stop.clone();
        assert!(!stop.is_requested());
        assert!(!stop.wait_for(Duration::from_millis(1)));
        drop(handle);
        assert!(stop.is_requested() && other.is_requested());
        assert!(other.wait_for(Duration::from_secs(3600)), "must not sleep on");
    }
}
