//! The supervisor of a door program: a process of its own, this program under another command.
//!
//! It runs the program in a process group and outlives neither its work nor the daemon. The daemon holds the other end
//! of its standard input; when that closes, because the daemon let go or was killed, everything is ended. What the
//! program leaves behind is adopted (`PR_SET_CHILD_SUBREAPER`), also when it has left the group, and ended at the time
//! limit. Ended means: asked (SIGTERM, so that a script can let go of a relay), and killed soon after.
//!
//! The supervisor says on its standard output what became of the program, in one line, and ends when nothing that the
//! program has started is left.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, kill_process_group,
    set_child_subreaper, waitid, waitpid,
};

use super::leftover::{parent, processes};
use crate::clock::Clock;
use crate::domain::Stamp;

/// The hidden command of `portero` under which it supervises a door program.
pub const PROGRAM_COMMAND: &str = "supervise-door-program";

/// Between SIGTERM and SIGKILL.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often it looks.
const NAP: Duration = Duration::from_millis(20);

/// The words of a report.
pub(super) const LATE: &str = "late";
pub(super) const NOT_STARTED: &str = "not-started";
pub(super) const TIMEOUT: &str = "timeout";
pub(super) const ENDED: &str = "ended";

/// Runs the program `argv` and everything that it starts to its end. `leash` hangs up when the daemon is gone;
/// `deadline` is the last moment at which the program may be started. Blocks until all of it has ended.
///
/// # Errors
/// The report cannot be written: nobody is interested any more; everything has been ended all the same.
pub fn supervise(
    argv: &[String],
    time_limit: Duration,
    deadline: Stamp,
    leash: BorrowedFd<'_>,
    report: &mut dyn Write,
    clock: &dyn Clock,
) -> io::Result<()> {
    // Without it (no known kernel) what leaves the group would escape.
    let _ = set_child_subreaper(Some(getpid()));
    let Some((program, arguments)) = argv.split_first() else {
        return writeln!(report, "{NOT_STARTED} the command is empty");
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    if has_hung_up(leash, Duration::ZERO) {
        return Ok(());
    }
    // The last thing before the deed.
    if clock.now().is_after(deadline) {
        return writeln!(report, "{LATE}");
    }
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return writeln!(report, "{NOT_STARTED} {error}"),
    };
    let mut family = Family { leader: Pid::from_child(&child), status: None };
    let told = family.see_to_its_end(time_limit, leash, report, clock);
    drop(child);
    told
}

/// The program and what it has started.
struct Family {
    /// The program. It is waited for last: until then the number of its group cannot be another's.
    leader: Pid,
    /// How it ended, as the kernel's wait status.
    status: Option<i32>,
}

/// How far the end has come.
enum End {
    /// There is time.
    Awaited,
    /// All were asked to end at this moment.
    Asked(Stamp),
}

impl Family {
    fn see_to_its_end(
        &mut self,
        time_limit: Duration,
        leash: BorrowedFd<'_>,
        report: &mut dyn Write,
        clock: &dyn Clock,
    ) -> io::Result<()> {
        let started = clock.now();
        let (mut end, mut is_told, mut told) = (End::Awaited, false, Ok(()));
        loop {
            let is_abandoned = has_hung_up(leash, NAP);
            let now = clock.now();
            self.look();
            if let (Some(status), false) = (self.status, is_told) {
                is_told = true;
                told = match end {
                    End::Awaited => writeln!(report, "{ENDED} {status}"),
                    End::Asked(_) => writeln!(report, "{TIMEOUT}"),
                }
                .and_then(|()| report.flush());
            }
            if self.status.is_some() && self.others().next().is_none() {
                let _ = waitpid(Some(self.leader), WaitOptions::NOHANG);
                return told;
            }
            match end {
                End::Awaited if is_abandoned || now.since(started) >= time_limit => {
                    self.signal(Signal::TERM);
                    end = End::Asked(now);
                }
                End::Asked(since) if now.since(since) >= LAST_WORDS => self.signal(Signal::KILL),
                _ => {}
            }
            if is_abandoned {
                // The poll above no longer waits.
                std::thread::sleep(NAP);
            }
        }
    }

    /// Looks whether the program has ended, without waiting for it, and waits for adopted processes that have.
    fn look(&mut self) {
        if self.status.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            if let Ok(Some(status)) = waitid(WaitId::Pid(self.leader), options) {
                let code = status.exit_status().map(|code| code << 8);
                self.status = Some(code.or(status.terminating_signal()).unwrap_or_default());
            }
        }
        if self.status.is_some() {
            for pid in self.others() {
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }

    /// The children of this process but the program itself: what it left behind.
    fn others(&self) -> impl Iterator<Item = Pid> {
        let (own, leader) = (getpid(), self.leader);
        processes().filter(move |pid| *pid != leader && parent(*pid) == Some(own))
    }

    /// What has ended in the meantime has done what is wanted.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.leader, signal);
        for pid in self.others() {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Whether the other end has closed; waits for it at most `patience`.
fn has_hung_up(leash: BorrowedFd<'_>, patience: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(leash.as_fd(), PollFlags::empty())];
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) => false,
        Ok(_) => fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL),
        // Interrupted: the next look tells.
        Err(_) => false,
    }
}
