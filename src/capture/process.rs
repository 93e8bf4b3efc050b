//! A program that writes to a pipe or a socket: started without a shell, watched, and always got rid of.
//!
//! The child runs in its own process group, which is killed as a whole, and it dies with the thread that started
//! it (`setpriv --pdeathsig KILL`, where util-linux has it), so keep it on one thread. Nothing here needs a
//! thread: standard output and standard error are polled together. A child that writes faster than it is read is
//! held by its pipe.
//!
//! A frame costs a quarter less CPU on its way through a socket than through a pipe, which takes a page at a time. But only ffmpeg is
//! known to write to what it finds open; other programs may open `/dev/stdout` by its name, which a socket does not bear.
//!
//! A child may have a second output: then its standard input is a socket that leads both ways. Both outputs are read in the
//! same turn, so that a child which waits for room in one of them cannot keep us waiting for the other.
//!
//! Limits: no core file for any child; others for ffmpeg only, because camera stacks map more memory than they use.
//! CPU time is not limited: a camera runs for months.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitId, WaitIdOptions};

use super::{CaptureError, Masker, ffmpeg};
use crate::domain::Secret;

const SETPRIV: &str = "/usr/bin/setpriv";
/// A larger pipe means fewer turns between us and the child; this is what the kernel grants without privileges.
const PIPE_BYTES: usize = 1 << 20;
/// The same for a socket. The kernel doubles it, and cuts it to what it grants (`net.core.wmem_max`).
const SOCKET_BYTES: usize = 1 << 19;
/// How much of a child's complaints is kept.
const KEPT_WORDS: usize = 2048;
/// How long a child may take to end when asked to.
const POLITENESS: Duration = Duration::from_millis(500);
/// How long a killed child may take to disappear; only the kernel can be slower.
const REAPING: Duration = Duration::from_secs(2);
const NAP: Duration = Duration::from_millis(5);
/// Read from the second output in one turn.
const SIDE_BYTES: usize = 256 << 10;

/// What a program may take, in bytes and numbers; `None` leaves it as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Limits {
    pub(super) address_space: Option<u64>,
    pub(super) file_size: Option<u64>,
    pub(super) files: Option<u64>,
}

/// Where a program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlet {
    /// Into a pipe.
    Pipe,
    /// Into a socket.
    Socket,
    /// Into a socket, and a second output over its standard input.
    SocketAndSide,
    /// Into a socket, and its standard input is a socket that we write to for as long as it lives.
    Fed,
}

/// A running program.
pub(super) struct Process {
    name: String,
    child: Child,
    stdout: Option<OwnedFd>,
    stderr: Option<ChildStderr>,
    /// The second output, and what was read from it.
    side: Option<UnixStream>,
    aside: Vec<u8>,
    words: VecDeque<u8>,
    /// Its first words were passed over.
    is_cut: bool,
    /// Hides the secrets it was given in what it says.
    masker: Masker,
    reaped: bool,
}

/// What waiting for output gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Bytes were appended.
    Bytes,
    /// Standard output is closed.
    End,
    /// Nothing within the time.
    Nothing,
}

impl Process {
    /// Starts `program` with `args`. `input`, at most 4 KiB, is what it finds on its standard input.
    pub(super) fn start(
        program: &str,
        args: &[String],
        input: Option<&Secret>,
        outlet: Outlet,
        limits: Limits,
    ) -> Result<Self, CaptureError> {
        let path = find_program(program)?;
        let failed = |source| CaptureError::Start { program: program.to_owned(), source };
        let mut command = tied_command(path);
        let (stdin, side) = match outlet {
            Outlet::SocketAndSide | Outlet::Fed => {
                let (ours, theirs) = UnixStream::pair().map_err(failed)?;
                (OwnedFd::from(theirs).into(), Some(ours))
            }
            _ if input.is_some() => (Stdio::piped(), None),
            _ => (Stdio::null(), None),
        };
        let (theirs, stdout) = output(outlet).map_err(failed)?;
        command.args(args).stdin(stdin).stdout(theirs).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn().map_err(failed)?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        // The command holds the child's ends, which must not outlive the child.
        drop(command);
        // From here on dropping it kills it.
        let process = Self {
            name: program.to_owned(),
            child,
            stdout: Some(stdout),
            stderr,
            side,
            aside: Vec::new(),
            words: VecDeque::new(),
            is_cut: false,
            masker: Masker::default(),
            reaped: false,
        };
        process.limit(Resource::Core, 0);
        let Limits { address_space, file_size, files } = limits;
        for (resource, value) in
            [(Resource::As, address_space), (Resource::Fsize, file_size), (Resource::Nofile, files)]
        {
            if let Some(value) = value {
                process.limit(resource, value);
            }
        }
        process.prepare_pipes().map_err(|errno| failed(errno.into()))?;
        // It fits into the pipe, so this does not wait for the child, and the pipe's end is the input's.
        let input = input.map_or("", Secret::expose).as_bytes();
        if let Some(mut stdin) = stdin {
            stdin.write_all(input).map_err(failed)?;
        }
        if outlet == Outlet::Fed {
            return Ok(process);
        }
        if let Some(mut side) = process.side.as_ref() {
            side.write_all(input).and_then(|()| side.shutdown(Shutdown::Write)).map_err(failed)?;
        }
        Ok(process)
    }

    /// The same, whose words are shown without these secrets.
    pub(super) fn hiding(mut self, masker: Masker) -> Self {
        self.masker = masker;
        self
    }

    /// What it said, or wrote, as it may be shown: without credentials, and without what would move a terminal's cursor.
    pub(super) fn masked(&self, said: &str) -> String {
        let printable: String = said.chars().filter(|c| !c.is_control()).collect();
        self.masker.mask(&printable)
    }

    /// Our ends of the input and the output of a program that is [`Outlet::Fed`], both non-blocking; once.
    pub(super) fn take_ends(&mut self) -> Option<(UnixStream, UnixStream)> {
        let output = self.stdout.take()?;
        Some((self.side.take()?, UnixStream::from(output)))
    }

    /// The program's name, as configured.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn prepare_pipes(&self) -> rustix::io::Result<()> {
        let (stdout, stderr) = (self.stdout.as_ref(), self.stderr.as_ref());
        let ends = [stdout.map(AsFd::as_fd), stderr.map(AsFd::as_fd), self.side.as_ref().map(AsFd::as_fd)];
        for pipe in ends.into_iter().flatten() {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(())
    }

    fn limit(&self, resource: Resource, value: u64) {
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        if let Err(error) = rustix::process::prlimit(Some(self.pid()), resource, limit) {
            log::debug!("`{}`: the limit {resource:?} could not be set: {error}", self.name);
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits at most `wait` for output and appends it to `into`, up to its free capacity (at least one byte must
    /// be free). Complaints on standard error and the second output are kept aside.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, wait: Duration) -> io::Result<Output> {
        let Some(stdout) = &self.stdout else { return Ok(Output::End) };
        let timeout = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut fds = vec![PollFd::new(stdout, PollFlags::IN)];
        fds.extend(self.stderr.as_ref().map(|stderr| PollFd::new(stderr, PollFlags::IN)));
        let side_at = fds.len();
        fds.extend(self.side.as_ref().map(|side| PollFd::new(side, PollFlags::IN)));
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Output::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let output_waits = !fds[0].revents().is_empty();
        let side_waits = fds.get(side_at).is_some_and(|fd| !fd.revents().is_empty());
        if side_at == 2 && !fds[1].revents().is_empty() {
            self.listen();
        }
        if side_waits {
            self.read_side();
        }
        match &self.stdout {
            Some(stdout) if output_waits => match rustix::io::read(stdout, spare_capacity(into)) {
                Ok(0) => Ok(Output::End),
                Ok(_) => Ok(Output::Bytes),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(Output::Nothing),
                Err(error) => Err(error.into()),
            },
            _ => Ok(Output::Nothing),
        }
    }

    /// What has come on the second output since the last call.
    pub(super) fn take_side(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.aside)
    }

    fn read_side(&mut self) {
        let Some(side) = &self.side else { return };
        self.aside.reserve(SIDE_BYTES);
        match rustix::io::read(side, spare_capacity(&mut self.aside)) {
            Ok(0) => self.side = None,
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.side = None,
        }
    }

    /// Standard error, for whoever does not [`read`](Self::read): a child whose complaints nobody takes stands still. What
    /// comes there is to be handed to [`said`](Self::said).
    pub(super) fn complaints(&self) -> io::Result<Option<OwnedFd>> {
        self.stderr.as_ref().map(|stderr| stderr.as_fd().try_clone_to_owned()).transpose()
    }

    /// Takes what waits on standard error, one bufferful at most, so that a child that only complains cannot
    /// keep us here.
    fn listen(&mut self) {
        let Some(stderr) = &self.stderr else { return };
        let mut buffer = [0; 4096];
        match rustix::io::read(stderr, &mut buffer) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => self.stderr = None,
            Ok(n) => self.said(&buffer[..n]),
        }
    }

    /// Keeps the last of what it said.
    pub(super) fn said(&mut self, words: &[u8]) {
        self.words.extend(words);
        let surplus = self.words.len().saturating_sub(KEPT_WORDS);
        self.words.drain(..surplus);
        self.is_cut |= surplus > 0;
    }

    /// How it ended: its status, and what it said last, explained where it is ffmpeg. `more` is added to that.
    pub(super) fn exited(&mut self, status: Option<ExitStatus>, frames: u64, more: &str) -> CaptureError {
        let status = status.map_or_else(|| "no exit status".to_owned(), |status| status.to_string());
        let mut said = self.last_words();
        if !said.is_empty() {
            said.insert_str(0, ": ");
        }
        ffmpeg::heed(&said);
        if self.name == "ffmpeg" {
            said.push_str(&ffmpeg::explained(&said));
        }
        said.push_str(more);
        CaptureError::Exited { program: self.name.clone(), status, frames, said }
    }

    /// The last lines of what it said, without credentials; empty when it said nothing.
    fn last_words(&mut self) -> String {
        for _ in 0..16 {
            self.listen();
        }
        let bytes: Vec<u8> = self.words.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        // Half a secret is not known for one.
        let whole = if self.is_cut {
            text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest)
        } else {
            &text
        };
        let lines = whole.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<&str> = lines.collect();
        self.masked(&lines[lines.len().saturating_sub(3)..].join("; "))
    }

    /// Gets rid of it: closes its output, gives it `patience` to end on its own, asks it, then kills its whole
    /// group, and reaps it. `None` when the kernel does not let go of it.
    pub(super) fn finish(&mut self, patience: Duration) -> Option<ExitStatus> {
        (self.stdout, self.side) = (None, None);
        if self.reaped {
            return self.child.try_wait().ok().flatten();
        }
        if !self.ends_within(patience) {
            self.signal(Signal::TERM);
            self.ends_within(POLITENESS);
        }
        // Even when the child itself has gone: its own children may be left. It is not reaped yet, so that the
        // number of its group still means this group.
        self.signal(Signal::KILL);
        if !self.ends_within(REAPING) {
            log::warn!("`{}` (process {}) does not die", self.name, self.child.id());
            return None;
        }
        self.reaped = true;
        self.child.wait().ok()
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = rustix::process::kill_process_group(self.pid(), signal) {
            log::debug!("`{}`: signalling its group failed: {error}", self.name);
        }
    }

    /// Whether it has ended, without reaping it; looks again until `patience` has passed.
    fn ends_within(&self, patience: Duration) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let mut waited = Duration::ZERO;
        loop {
            match rustix::process::waitid(WaitId::Pid(self.pid()), options) {
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Ok(Some(_)) | Err(_) => return true,
            }
            if waited >= patience {
                return false;
            }
            std::thread::sleep(NAP);
            waited += NAP;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.finish(Duration::ZERO);
        }
    }
}

/// Both ends of a program's standard output: its own and ours. That of a large pipe or socket; where the kernel
/// does not grant it, it works with more turns.
fn output(outlet: Outlet) -> io::Result<(Stdio, OwnedFd)> {
    if outlet == Outlet::Pipe {
        let (ours, theirs) = io::pipe()?;
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&ours, PIPE_BYTES) {
            log::debug!("a child's pipe stays small: {error}");
        }
        return Ok((theirs.into(), ours.into()));
    }
    let (ours, theirs) = UnixStream::pair()?;
    ours.shutdown(Shutdown::Write)?;
    if let Err(error) = rustix::net::sockopt::set_socket_send_buffer_size(&theirs, SOCKET_BYTES) {
        log::debug!("a child's socket stays small: {error}");
    }
    Ok((OwnedFd::from(theirs).into(), ours.into()))
}

/// A command that runs `program` and, where possible, dies with this thread.
fn tied_command(program: PathBuf) -> Command {
    static USABLE: OnceLock<bool> = OnceLock::new();
    let tied = || {
        let mut command = Command::new(SETPRIV);
        command.args(["--pdeathsig", "KILL", "--"]);
        command
    };
    let usable = *USABLE.get_or_init(|| {
        let mut trial = tied();
        trial.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        trial.status().is_ok_and(|status| status.success())
    });
    if usable {
        let mut command = tied();
        command.arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// Where `program` lies: itself when it holds a slash, else the first match on `PATH`.
fn find_program(program: &str) -> Result<PathBuf, CaptureError> {
    let runs =
        |path: &Path| path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    let found = if program.contains('/') {
        Some(PathBuf::from(program)).filter(|path| runs(path))
    } else {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| runs(path))
    };
    found.ok_or_else(|| {
        let hint = match program {
            "ffmpeg" => ": apt-get install ffmpeg",
            "rpicam-vid" => ": apt-get install rpicam-apps",
            "gst-launch-1.0" => ": apt-get install gstreamer1.0-tools",
            _ => "",
        };
        CaptureError::NotInstalled { program: program.to_owned(), hint }
    })
}
