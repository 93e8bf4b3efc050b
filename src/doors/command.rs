//! A door that a program opens.
//!
//! The program gets no shell, no input and almost no environment. It runs under a [supervisor](super::supervisor), a
//! process that ends it with all that it has started: at its time limit, when the daemon lets go of it, and when the
//! daemon dies. The outcome is told when the program itself has ended; the door stays busy until the supervisor has
//! ended, too, because then nothing is left.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::Signal;

use super::leftover;
use super::supervisor::{ENDED, LAST_WORDS, LATE, NOT_STARTED, PROGRAM_COMMAND, TIMEOUT};
use super::{Actuator, Order, Started};
use crate::domain::{EventId, Outcome, RuleId, Stamp};

/// A supervisor that takes so much longer than it should is given up.
const GRACE: Duration = Duration::from_secs(3);
/// Between two looks whether a supervisor that was let go has ended.
const NAP: Duration = Duration::from_millis(5);
/// The end of the program's standard error that is kept, in bytes.
const TAIL: usize = 1024;
/// At most so much is read from it in one turn, in bytes: a flood must not hold the loop.
const READ_PER_TURN: usize = 64 << 10;
/// Where they are looked for when the daemon itself has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The folders in which the programs of doors are looked for.
#[must_use]
pub fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| PATH.into())
}

/// Runs one program per opening.
pub(super) struct CommandActuator {
    argv: Vec<String>,
    time_limit: Duration,
    /// This program, which supervises the other.
    portero: PathBuf,
    running: Option<Running>,
    /// The opening of an earlier run of the daemon of which something does not end.
    leftover: Option<EventId>,
}

impl CommandActuator {
    pub(super) fn new(argv: Vec<String>, time_limit: Duration, portero: PathBuf) -> Self {
        Self { argv, time_limit, portero, running: None, leftover: None }
    }

    fn program(&self) -> &str {
        self.argv.first().map_or("", String::as_str)
    }

    /// The supervisor's command.
    fn supervised(&self, order: &Order<'_>) -> Command {
        let grant = order.grant;
        let mut command = Command::new(&self.portero);
        command
            .arg(PROGRAM_COMMAND)
            .arg(format!("--time-limit-us={}", self.time_limit.as_micros()))
            .arg(format!("--deadline-us={}", order.deadline.mono_us()))
            .arg("--")
            .args(&self.argv)
            .env_clear()
            .env("PATH", search_path())
            .env("PORTERO_DOOR", grant.door.as_str())
            .env(leftover::EVENT, grant.event.to_string())
            .env("PORTERO_RULE", grant.rule.as_ref().map_or("", RuleId::as_str))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

impl Actuator for CommandActuator {
    fn start(&mut self, order: &Order<'_>) -> Started {
        if self.leftover.is_some_and(leftover::is_alive) {
            let why = "busy: a program from an earlier run is still running";
            return Started::Ended(Outcome::Refused(why.to_owned()));
        }
        self.leftover = None;
        let mut command = self.supervised(order);
        if let Some(why) = order.refusal() {
            return Started::Ended(Outcome::Refused(why));
        }
        match Running::start(&mut command, order) {
            Ok(running) => {
                self.running = Some(running);
                Started::Running
            }
            Err(error) => {
                Started::Ended(Outcome::Failed(format!("{} cannot be started: {error}", self.program())))
            }
        }
    }

    fn poll(&mut self, now: Stamp) -> Option<Outcome> {
        let (time_limit, program) = (self.time_limit, self.program().to_owned());
        self.running.as_mut()?.poll(time_limit, &program, now)
    }

    fn is_busy(&mut self, now: Stamp) -> bool {
        let Some(running) = &mut self.running else { return false };
        // Nobody wants its words any more, but a full pipe would hold it up.
        running.read_stderr();
        let is_over = running.is_over(self.time_limit, now);
        if is_over {
            self.running = None;
        }
        !is_over
    }

    fn longest(&self) -> Duration {
        self.time_limit + LAST_WORDS + GRACE
    }

    fn end_leftover(&mut self, event: EventId) -> bool {
        let found = leftover::end(event);
        self.leftover = Some(event).filter(|event| leftover::is_alive(*event));
        found
    }
}

/// A program under way.
struct Running {
    event: EventId,
    supervisor: Child,
    /// Closed, it makes the supervisor end everything.
    leash: Option<ChildStdin>,
    report: ChildStdout,
    /// What the supervisor has said so far.
    said: Vec<u8>,
    stderr: Option<ChildStderr>,
    tail: Vec<u8>,
    started: Stamp,
    max_age: Duration,
    /// Since when what the supervisor has left undone is being ended.
    ending: Option<Stamp>,
    is_over: bool,
}

impl Running {
    fn start(command: &mut Command, order: &Order<'_>) -> io::Result<Self> {
        let mut supervisor = command.spawn()?;
        let leash = supervisor.stdin.take();
        let stderr = supervisor.stderr.take();
        let Some(report) = supervisor.stdout.take() else {
            return Err(io::Error::other("the supervisor has no output"));
        };
        let running = Self {
            event: order.grant.event,
            supervisor,
            leash,
            report,
            said: Vec::new(),
            stderr,
            tail: Vec::new(),
            started: order.clock.now(),
            max_age: order.max_age,
            ending: None,
            is_over: false,
        };
        // On failure `running` is dropped, and the program with it.
        unblock(&running.report)?;
        running.stderr.as_ref().map(unblock).transpose()?;
        Ok(running)
    }

    fn poll(&mut self, time_limit: Duration, program: &str, now: Stamp) -> Option<Outcome> {
        self.read_stderr();
        // Asked before the report is read: what ends after this has not said its last word yet.
        let has_no_more_words = self.is_over(time_limit, now) || self.ending.is_some();
        self.read_report();
        let line = self.said.split(|byte| *byte == b'\n').next().map(String::from_utf8_lossy);
        let line = line.filter(|_| self.said.contains(&b'\n')).map(|line| line.into_owned());
        match line {
            Some(line) => Some(self.outcome(&line, time_limit, program)),
            None if has_no_more_words => {
                Some(Outcome::Failed(self.with_last_words("its supervisor ended early".to_owned())))
            }
            None => None,
        }
    }

    fn outcome(&mut self, line: &str, time_limit: Duration, program: &str) -> Outcome {
        self.read_stderr();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            LATE => Outcome::Refused(format!(
                "stale: the frame passed {:.1?} of age before {program} was started",
                self.max_age
            )),
            NOT_STARTED => Outcome::Failed(format!("{program} cannot be started: {rest}")),
            TIMEOUT => Outcome::Failed(
                self.with_last_words(format!("it took longer than {time_limit:.1?} and was ended")),
            ),
            ENDED => match rest.parse().map(ExitStatus::from_raw) {
                Ok(status) if status.success() => Outcome::Opened,
                Ok(status) => Outcome::Failed(self.with_last_words(status.to_string())),
                Err(_) => Outcome::Failed(self.with_last_words(format!("it ended with {rest:?}"))),
            },
            _ => Outcome::Failed(self.with_last_words(format!("its supervisor said {line:?}"))),
        }
    }

    /// Whether everything has ended. A supervisor that does not end in time, or that was killed, is made up for. Never
    /// blocks: what does not end, as it hangs in a driver, keeps this door busy and no other.
    fn is_over(&mut self, time_limit: Duration, now: Stamp) -> bool {
        if self.is_over {
            return true;
        }
        let status = self.supervisor.try_wait();
        if let Some(since) = self.ending {
            // A supervisor that cannot be waited for bears the mark, like all that it has started.
            self.is_over = !matches!(status, Ok(None)) && self.is_ended(since, now);
            return self.is_over;
        }
        match status {
            Ok(Some(status)) if status.success() => self.is_over = true,
            Ok(Some(_)) => self.give_up(now),
            Ok(None) if now.since(self.started) > time_limit + LAST_WORDS + GRACE => {
                log::error!("event {}: the supervisor of the door's program does not end", self.event);
                self.give_up(now);
            }
            Ok(None) => {}
            Err(error) => {
                log::error!("event {}: its supervisor cannot be waited for: {error}", self.event);
                self.give_up(now);
            }
        }
        self.is_over
    }

    /// Kills the supervisor and asks everything that bears the event to end.
    fn give_up(&mut self, now: Stamp) {
        self.ending = Some(now);
        // It may have ended in the meantime, which is what is wanted.
        let _ = self.supervisor.kill();
        let left = leftover::signal(self.event, Signal::TERM);
        self.is_over = left == 0 && !matches!(self.supervisor.try_wait(), Ok(None));
    }

    /// Whether nothing bears the event any more; kills what does when it was asked long enough ago.
    fn is_ended(&self, since: Stamp, now: Stamp) -> bool {
        if now.since(since) < LAST_WORDS {
            return !leftover::is_alive(self.event);
        }
        leftover::signal(self.event, Signal::KILL) == 0
    }

    fn with_last_words(&self, what: String) -> String {
        match last_line(&self.tail) {
            Some(line) => format!("{what}: {line}"),
            None => what,
        }
    }

    fn read_report(&mut self) {
        let mut buffer = [0; 512];
        // Some bytes at most; an error says that nothing is there now.
        while self.said.len() < buffer.len()
            && let Ok(n @ 1..) = self.report.read(&mut buffer)
        {
            self.said.extend_from_slice(&buffer[..n]);
        }
    }

    fn read_stderr(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        let mut buffer = [0; 4096];
        for _ in 0..READ_PER_TURN / buffer.len() {
            match stderr.read(&mut buffer) {
                Ok(0) => {
                    self.stderr = None;
                    return;
                }
                Ok(n) => {
                    self.tail.extend_from_slice(&buffer[..n]);
                    let surplus = self.tail.len().saturating_sub(TAIL);
                    self.tail.drain(..surplus);
                }
                Err(_) => return, // nothing there now, or nothing ever again: the report tells
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.leash = None;
        let mut waited = Duration::ZERO;
        while !self.is_over && waited < LAST_WORDS + GRACE {
            match self.supervisor.try_wait() {
                Ok(None) => std::thread::sleep(NAP),
                _ => self.is_over = true,
            }
            waited += NAP;
        }
        if !self.is_over {
            let _ = self.supervisor.kill();
            leftover::end(self.event);
            let _ = self.supervisor.try_wait();
        }
    }
}

/// From now on reading it does not wait.
fn unblock(pipe: &impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?)
}

/// The last line with something on it, printable.
fn last_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(200).collect())
}
