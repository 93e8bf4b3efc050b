//! A word beside the database for when the database itself cannot take one: that decisions could not be recorded.
//!
//! The file is as long as it will ever be from the start, so that it can be written on a full disk. On a file system that
//! was made read-only it cannot; then the topic and the log tell alone. It is read by people's commands and by the next
//! start, and never decides anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::lock::{beside, no_link};
use crate::domain::{RecordState, Stamp};

/// Length of the file, in bytes.
const LENGTH: usize = 1024;

/// The open file; writing to it is best effort.
#[derive(Debug)]
pub(super) struct Note(Option<File>);

impl Note {
    /// Opens the file beside the database at `path`, and says in the log what the last run has left in it.
    pub(super) fn open(path: &Path) -> Self {
        if let Some(trouble) = read(path) {
            log::warn!("{}: the last run could not record everything: {trouble}", path.display());
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o640).custom_flags(no_link());
        let opened = options.open(beside(path, "trouble"));
        let note = Self(opened.ok().filter(|file| file.metadata().is_ok_and(|found| found.is_file())));
        note.write("");
        note
    }

    /// Notes the state, with its reason.
    pub(super) fn set(&self, state: RecordState, why: &str, now: Stamp) {
        let since = jiff::Timestamp::from_microsecond(now.wall_us()).map(|time| format!("{time:.0}"));
        let since = since.unwrap_or_default();
        match state {
            RecordState::Ok => self.write(""),
            RecordState::Failing => {
                self.write(&format!("since {since} the database cannot be written: {why}"));
            }
            RecordState::Dead => {
                self.write(&format!("at {since} the recorder gave up: {why}"));
            }
        }
    }

    fn write(&self, text: &str) {
        let Some(file) = &self.0 else { return };
        let mut bytes: Vec<u8> = text.replace(['\n', '\0'], " ").into_bytes();
        bytes.resize(LENGTH, b' ');
        if let Err(error) = file.write_all_at(&bytes, 0) {
            log::debug!("the trouble with the database cannot be noted beside it: {error}");
        }
    }
}

/// What a daemon could not record to the database at `path`, in words; `None` when all is well, as far as is known.
#[must_use]
pub fn read(path: &Path) -> Option<String> {
    // Somebody else may have put a link, a pipe or a flood there.
    let file = OpenOptions::new().read(true).custom_flags(no_link()).open(beside(path, "trouble")).ok()?;
    let mut bytes = Vec::with_capacity(LENGTH);
    file.metadata().ok().filter(Metadata::is_file)?;
    file.take(LENGTH as u64).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    (!text.is_empty()).then_some(text)
}
