//! ffmpeg as a child that makes one clip: it reads a file in memory and leaves another, and never writes to the disk, so the
//! size of a clip is known before anything of it is. It has a low priority and limits.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Resource, Rlimit};

use super::EvidenceError;
use crate::shutdown::Stop;

/// An encoder gets no longer than this: a clip of two minutes in full HD takes a small board a minute.
const TIME_LIMIT: Duration = Duration::from_secs(180);
const NAP: Duration = Duration::from_millis(20);
/// What ffmpeg may take: memory for a picture in 4K many times over, a clip of 512 MiB, few files.
const LIMITS: [(Resource, u64); 4] =
    [(Resource::As, 2 << 30), (Resource::Fsize, 512 << 20), (Resource::Nofile, 64), (Resource::Core, 0)];
/// Priority of the encoder, 0 to 19: behind everything that decides.
const NICE: i32 = 5;

/// The bytes that ffmpeg makes of `input`, which is of the format `form`, by these options. Blocks until it has ended, or
/// until `stop` is requested.
///
/// # Errors
/// [`EvidenceError`] except for those of files.
pub(super) fn convert<'a>(
    input: impl IntoIterator<Item = &'a [u8]>,
    form: &str,
    options: &[&str],
    stop: &Stop,
) -> Result<Vec<u8>, EvidenceError> {
    let mut film = in_memory("portero-film")?;
    input.into_iter().try_for_each(|piece| film.write_all(piece)).map_err(EvidenceError::Memory)?;
    film.rewind().map_err(EvidenceError::Memory)?;
    let (mut output, mut words) = (in_memory("portero-clip")?, in_memory("portero-words")?);
    let share = |file: &File| file.try_clone().map(Stdio::from).map_err(EvidenceError::Memory);
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file"]);
    command.args(["-f", form, "-i", "file:/proc/self/fd/0", "-an", "-sn", "-dn"]);
    command.args(options).args(["-y", "file:/proc/self/fd/1"]);
    command.stdin(share(&film)?).stdout(share(&output)?).stderr(share(&words)?);
    // A Ctrl-C at the terminal is for the daemon, which finishes its clips.
    let mut child = command.process_group(0).spawn().map_err(EvidenceError::NoFfmpeg)?;
    restrain(&child);
    let ended = wait(&mut child, stop);
    // A child that has ended by itself is not hurt by this.
    let _ = child.kill();
    let _ = child.wait();
    if !ended? {
        return Err(EvidenceError::Ffmpeg(last_line(&mut words)));
    }
    let mut clip = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut clip)).map_err(EvidenceError::Memory)?;
    if clip.is_empty() { Err(EvidenceError::Ffmpeg(last_line(&mut words))) } else { Ok(clip) }
}

fn in_memory(name: &str) -> Result<File, EvidenceError> {
    let memory = memfd_create(name, MemfdFlags::CLOEXEC);
    memory.map(File::from).map_err(|errno| EvidenceError::Memory(errno.into()))
}

/// Limits and a low priority; without them it works all the same.
fn restrain(child: &Child) {
    let pid = Pid::from_child(child);
    for (resource, value) in LIMITS {
        let limit = Rlimit { current: Some(value), maximum: Some(value) };
        if let Err(error) = rustix::process::prlimit(Some(pid), resource, limit) {
            log::debug!("the encoder's limit {resource:?} could not be set: {error}");
        }
    }
    if let Err(error) = rustix::process::setpriority_process(Some(pid), NICE) {
        log::debug!("the encoder's priority could not be set: {error}");
    }
}

/// Whether it ended well.
fn wait(child: &mut Child, stop: &Stop) -> Result<bool, EvidenceError> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait().map_err(EvidenceError::NoFfmpeg)? {
            return Ok(status.success());
        }
        if waited >= TIME_LIMIT {
            return Err(EvidenceError::Ffmpeg(format!("it took more than {} s", TIME_LIMIT.as_secs())));
        }
        if stop.wait_for(NAP) {
            return Err(EvidenceError::Stopped);
        }
        waited += NAP;
    }
}

/// The end of what it said.
fn last_line(words: &mut File) -> String {
    let mut text = Vec::new();
    let _ = words.rewind().and_then(|()| words.take(64 << 10).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        "it said nothing".to_owned()
    } else {
        lines[lines.len().saturating_sub(3)..].join("; ")
    }
}
