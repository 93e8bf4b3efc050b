//! Progress on standard error: a line that is rewritten on a terminal, a line per epoch elsewhere.

use std::io::{IsTerminal, Write};

use portero_core::clock::{Clock, SystemClock};
use portero_core::domain::Stamp;

const BAR: usize = 24;
/// A terminal is not written to more often.
const REWRITE_MS: u128 = 200;

/// Counts steps of a known total and says how long the rest takes.
pub(crate) struct Progress {
    total: usize,
    /// Steps that an earlier process did.
    before: usize,
    begun: Stamp,
    written: Option<Stamp>,
    terminal: bool,
    /// A bar stands on the line that is written to next.
    open: bool,
}

impl Progress {
    /// For `total` steps, `before` of which are done already.
    pub(crate) fn new(total: usize, before: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { total, before, begun: SystemClock.now(), written: None, terminal, open: false }
    }

    /// Time until all is done, at the pace so far; `None` before the first step.
    fn left_s(&self, done: usize, now: Stamp) -> Option<f64> {
        let mine = done.checked_sub(self.before).filter(|n| *n > 0)?;
        Some(now.since(self.begun).as_secs_f64() / mine as f64 * (self.total.saturating_sub(done)) as f64)
    }

    /// After step `done` of all.
    pub(crate) fn step(&mut self, done: usize, what: &str) {
        let now = SystemClock.now();
        let due = self.written.is_none_or(|then| now.since(then).as_millis() >= REWRITE_MS);
        if self.terminal && due {
            (self.written, self.open) = (Some(now), true);
            let filled = BAR * done / self.total.max(1);
            let bar: String = (0..BAR).map(|i| if i < filled { '█' } else { '░' }).collect();
            let left = self.left_s(done, now).map_or(String::new(), |s| format!(", {} left", duration(s)));
            // A terminal that is gone does not stop a training.
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K{bar} {what}{left}");
        }
    }

    /// A line that stays.
    pub(crate) fn line(&mut self, done: usize, text: &str) {
        let left = self.left_s(done, SystemClock.now()).filter(|_| done < self.total);
        let left = left.map_or(String::new(), |s| format!(", {} left", duration(s)));
        self.open = false;
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let _ = writeln!(std::io::stderr().lock(), "{clear}{text}{left}");
    }
}

impl Drop for Progress {
    /// Makes room for what others write.
    fn drop(&mut self) {
        if self.open {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// `75.4` → `1 min 15 s`.
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_counts_only_what_this_process_did() {
        let progress = Progress::new(100, 60);
        let now = progress.begun.plus(std::time::Duration::from_secs(10));
        assert_eq!(progress.left_s(60, now), None);
        assert_eq!(progress.left_s(80, now), Some(10.0));
        assert_eq!(duration(75.4), "1 min 15 s");
        assert_eq!(duration(3725.0), "1 h 2 min");
    }
}
