//! Where moments come from.
//!
//! Only this room reads the machine's clocks. Whoever needs the time is given a [`Clock`]; the rules engine is
//! not even given that, it is told `now`.

use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::domain::Stamp;

/// A source of moments. A trait because tests and replay set the time by hand.
pub trait Clock: Send + Sync {
    /// This moment on both clocks. Never blocks.
    fn now(&self) -> Stamp;
}

/// The machine's own clocks: `CLOCK_MONOTONIC` and `CLOCK_REALTIME`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Stamp {
        let mono = clock_gettime(ClockId::Monotonic);
        let wall = clock_gettime(ClockId::Realtime);
        let mono_us =
            u64::try_from(mono.tv_sec).unwrap_or(0) * 1_000_000 + nanos_to_us(mono.tv_nsec).unsigned_abs();
        Stamp::new(mono_us, wall.tv_sec * 1_000_000 + nanos_to_us(wall.tv_nsec))
    }
}

fn nanos_to_us(nanos: i64) -> i64 {
    nanos / 1_000
}

/// Whether the wall clock is synchronised, as systemd-timesyncd says; `None` where it does not run, because
/// then nobody here knows.
#[must_use]
pub fn is_synchronised() -> Option<bool> {
    let folder = Path::new("/run/systemd/timesync");
    folder.is_dir().then(|| folder.join("synchronized").exists())
}

/// The kernel's name for this boot of the machine, a UUID: moments of one boot may be compared by their monotonic
/// part. `None` where the kernel does not say. Read once.
#[must_use]
pub fn boot_id() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    BOOT.get_or_init(|| read().ok().map(|id| id.trim().to_owned())).as_deref()
}

/// CPU time of the calling thread, user and system.
#[must_use]
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Stamp>);

impl ManualClock {
    /// Starts at `at`.
    #[must_use]
    pub fn new(at: Stamp) -> Self {
        Self(Mutex::new(at))
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = now.plus(by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Stamp {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_moves_forward() {
        let clock = SystemClock;
        let (a, b) = (clock.now(), clock.now());
        assert!(b.mono_us() >= a.mono_us());
        assert!(a.wall_us() > 1_600_000_000_000_000, "after 2020: {}", a.wall_us());
    }

    #[test]
    fn a_manual_clock_obeys() {
        let clock = ManualClock::new(Stamp::new(5, 7));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Stamp::new(1_000_005, 1_000_007));
    }
}
