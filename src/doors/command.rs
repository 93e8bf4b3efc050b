//! A door that a program opens.
//!
//! The program gets no shell, no input and almost no environment, and leads its own process group. At its time
//! limit the group is asked to end (SIGTERM, so that a script can let go of a relay), and killed soon after.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Actuator, Grant, Started};
use crate::domain::{Outcome, RuleId, Stamp};

/// Between SIGTERM and SIGKILL.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The end of the program's standard error that is kept, in bytes.
const TAIL: usize = 1024;
/// At most so much is read from it in one turn, in bytes: a flood must not hold the loop.
const READ_PER_TURN: usize = 64 << 10;
/// Where programs are looked for when the daemon itself has no PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs one program per opening.
pub(super) struct CommandActuator {
    argv: Vec<String>,
    time_limit: Duration,
    running: Option<Running>,
}

impl CommandActuator {
    pub(super) fn new(argv: Vec<String>, time_limit: Duration) -> Self {
        Self { argv, time_limit, running: None }
    }
}

impl Actuator for CommandActuator {
    fn start(&mut self, grant: &Grant, now: Stamp) -> Started {
        match Running::start(&self.argv, grant, now) {
            Ok(running) => {
                self.running = Some(running);
                Started::Running
            }
            Err(error) => {
                let program = self.argv.first().map_or("", String::as_str);
                Started::Ended(Outcome::Failed(format!("{program} cannot be started: {error}")))
            }
        }
    }

    fn poll(&mut self, now: Stamp) -> Option<Outcome> {
        let outcome = self.running.as_mut()?.poll(self.time_limit, now)?;
        self.running = None;
        Some(outcome)
    }
}

/// A program under way.
struct Running {
    child: Child,
    stderr: Option<ChildStderr>,
    tail: Vec<u8>,
    started: Stamp,
    end: End,
}

/// How far its end has come.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It has time.
    Awaited,
    /// It was asked to end at this moment.
    Asked(Stamp),
    /// Its group was killed.
    Forced,
    /// It was waited for: its number may already be another's.
    Reaped,
}

impl Running {
    fn start(argv: &[String], grant: &Grant, now: Stamp) -> io::Result<Self> {
        let Some((program, arguments)) = argv.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| PATH.into()))
            .env("PORTERO_DOOR", grant.door.as_str())
            .env("PORTERO_EVENT", grant.event.to_string())
            .env("PORTERO_RULE", grant.rule.as_ref().map_or("", RuleId::as_str))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let stderr = child.stderr.take();
        let running = Self { child, stderr, tail: Vec::new(), started: now, end: End::Awaited };
        if let Some(stderr) = &running.stderr {
            // On failure `running` is dropped, and the program with it.
            fcntl_setfl(stderr, fcntl_getfl(stderr)? | OFlags::NONBLOCK)?;
        }
        Ok(running)
    }

    fn poll(&mut self, time_limit: Duration, now: Stamp) -> Option<Outcome> {
        self.read_stderr();
        match self.end {
            End::Awaited => {
                if let Some(outcome) = self.ended() {
                    return Some(outcome);
                }
                if now.since(self.started) >= time_limit {
                    self.signal(Signal::TERM);
                    self.end = End::Asked(now);
                }
                None
            }
            // Not waited for before its group is killed: until then the group's number cannot be another's.
            End::Asked(since) => {
                if now.since(since) >= LAST_WORDS {
                    self.signal(Signal::KILL);
                    self.end = End::Forced;
                }
                None
            }
            End::Forced => self.ended().map(|_| {
                Outcome::Failed(
                    self.with_last_words(format!("it took longer than {time_limit:.1?} and was ended")),
                )
            }),
            End::Reaped => None,
        }
    }

    /// The outcome, once the program has ended.
    fn ended(&mut self) -> Option<Outcome> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => {
                self.end = End::Reaped;
                self.read_stderr();
                Some(self.outcome(status))
            }
            Err(error) => Some(Outcome::Failed(format!("it cannot be waited for: {error}"))),
        }
    }

    fn outcome(&self, status: ExitStatus) -> Outcome {
        if status.success() {
            Outcome::Opened
        } else {
            Outcome::Failed(self.with_last_words(status.to_string()))
        }
    }

    fn with_last_words(&self, what: String) -> String {
        match last_line(&self.tail) {
            Some(line) => format!("{what}: {line}"),
            None => what,
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
                Err(_) => return, // nothing there now, or nothing ever again: the exit status tells
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // It may have ended in the meantime, which is what is wanted.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.end != End::Reaped {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// The last line with something on it, printable.
fn last_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).take(200).collect())
}
