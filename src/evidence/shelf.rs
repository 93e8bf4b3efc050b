//! The folder of clips: whole files under telling names, the oldest of which go when there is no room.
//!
//! A clip is written under a name that begins with a dot, brought to the disk, and only then renamed: under its own
//! name there is a whole clip or none. What a crash leaves behind is removed when the folder is opened.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::EvidenceError;
use crate::disk::free_bytes;
use crate::domain::{CameraId, EventId};

/// Before a name while the file is not whole.
const PARTIAL: &str = ".partial-";
/// The daemon's user and group may look at clips, nobody else.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;
/// Length of an event's id as text.
const ID_LENGTH: usize = 36;

/// A clip that lies in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The event that it was begun for.
    pub event: EventId,
    /// Its size.
    pub bytes: u64,
}

/// How much may lie in the folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes: u64,
    pub(super) age: Duration,
    /// Bytes that stay free on the disk.
    pub(super) keep_free: u64,
}

/// The folder, and what it holds.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    bounds: Bounds,
    /// Name and size, by the time and the id of the event, so the oldest first.
    clips: BTreeMap<EventId, (String, u64)>,
    bytes: u64,
}

/// The clips in the folder, oldest first, none when it does not exist. What a crash left unfinished is removed.
///
/// # Errors
/// [`EvidenceError::Folder`]
pub fn look(folder: &Path) -> Result<Vec<Found>, EvidenceError> {
    let failed = |source| EvidenceError::Folder { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(PARTIAL) {
            log::info!("{}: a clip that a crash left unfinished is removed", entry.path().display());
            fs::remove_file(entry.path()).map_err(failed)?;
        } else if let Some(event) = event_of(&name) {
            let bytes = entry.metadata().map_err(failed)?.len();
            found.push(Found { name, event, bytes });
        }
    }
    found.sort_by_key(|clip| clip.event);
    Ok(found)
}

/// The name of a clip: camera, time in UTC, id of the event that it was begun for.
pub(super) fn name_of(camera: &CameraId, event: EventId, extension: &str) -> String {
    let time = Timestamp::from_millisecond(began_ms(event)).unwrap_or_default();
    format!("{camera}-{}-{event}.{extension}", time.strftime("%Y%m%dT%H%M%SZ"))
}

/// The event of a clip's name; `None` for any other file.
fn event_of(name: &str) -> Option<EventId> {
    let stem = ["mp4", "webm", "mkv"].iter().find_map(|end| name.strip_suffix(end)?.strip_suffix('.'))?;
    EventId::parse(stem.get(stem.len().checked_sub(ID_LENGTH)?..)?)
}

/// When an event was decided: the first 48 bits of its id (RFC 9562, version 7), milliseconds since 1970-01-01 UTC.
fn began_ms(event: EventId) -> i64 {
    (event.as_u128() >> 80) as i64
}

impl Shelf {
    /// Opens the folder; it is made when it does not exist.
    pub(super) fn open(folder: &Path, bounds: Bounds) -> Result<Self, EvidenceError> {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(|source| EvidenceError::Folder { path: folder.to_owned(), source })?;
        let found = look(folder)?;
        let bytes = found.iter().map(|clip| clip.bytes).sum();
        let clips = found.into_iter().map(|clip| (clip.event, (clip.name, clip.bytes))).collect();
        Ok(Self { folder: folder.to_owned(), bounds, clips, bytes })
    }

    /// Puts a clip into the folder: when this returns, it is on the disk, whole.
    pub(super) fn put(&mut self, name: &str, event: EventId, clip: &[u8]) -> Result<(), EvidenceError> {
        let (partial, path) = (self.folder.join(format!("{PARTIAL}{name}")), self.folder.join(name));
        let written = write_whole(&partial, clip).and_then(|()| {
            fs::rename(&partial, &path)?;
            File::open(&self.folder)?.sync_all()
        });
        if let Err(source) = written {
            // Also the whole one, when only the folder could not be brought to the disk.
            let _ = (fs::remove_file(&partial), fs::remove_file(&path));
            return Err(EvidenceError::Write { path, source });
        }
        self.bytes += clip.len() as u64;
        self.clips.insert(event, (name.to_owned(), clip.len() as u64));
        Ok(())
    }

    /// Whether a clip of `bytes` fits within the bounds now.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.bounds.bytes
            && self.free() >= self.bounds.keep_free.saturating_add(bytes)
    }

    /// Bytes that are free on the disk; any number where the system does not say.
    pub(super) fn free(&self) -> u64 {
        free_bytes(&self.folder).unwrap_or(u64::MAX)
    }

    /// Removes the oldest clips until one of `bytes` fits; returns the names of those that are gone. When it does not
    /// fit without any clip at all, it still does not.
    pub(super) fn make_room(&mut self, bytes: u64) -> Vec<String> {
        let mut gone = Vec::new();
        while !self.has_room(bytes)
            && let Some(name) = self.remove_oldest()
        {
            gone.push(name);
        }
        gone
    }

    /// Removes the clips that are too old at `now_wall_us`, microseconds since 1970-01-01 UTC.
    pub(super) fn expire(&mut self, now_wall_us: i64) -> Vec<String> {
        let age_ms = i64::try_from(self.bounds.age.as_millis()).unwrap_or(i64::MAX);
        let limit_ms = (now_wall_us / 1000).saturating_sub(age_ms);
        let mut gone = Vec::new();
        while self.clips.keys().next().is_some_and(|event| began_ms(*event) < limit_ms)
            && let Some(name) = self.remove_oldest()
        {
            gone.push(name);
        }
        gone
    }

    /// Removes the oldest clip and returns its name; `None` when there is none. One that somebody has taken away is gone
    /// too; one that cannot be removed is no longer counted.
    pub(super) fn remove_oldest(&mut self) -> Option<String> {
        let (_, (name, bytes)) = self.clips.pop_first()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        let path = self.folder.join(&name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                log::warn!("{} cannot be removed: {error}", path.display());
            }
            _ => {}
        }
        Some(name)
    }
}

/// Writes a new file and brings it to the disk.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: u64) -> EventId {
        EventId::from_u128(
            u128::from(1_790_000_000_000 + second * 1000) << 80 | 0x7000_8000_0000_0000_0000 | 5,
        )
    }

    fn shelf(folder: &Path, bytes: u64, age: Duration) -> Shelf {
        Shelf::open(folder, Bounds { bytes, age, keep_free: 0 }).unwrap()
    }

    fn put(shelf: &mut Shelf, second: u64, bytes: usize) -> String {
        let name = name_of(&CameraId::new("front-door").unwrap(), event(second), "mp4");
        shelf.put(&name, event(second), &vec![7; bytes]).unwrap();
        name
    }

    #[test]
    fn a_name_tells_camera_time_and_event() {
        let name = name_of(&CameraId::new("front-door").unwrap(), event(0), "mp4");
        assert_eq!(name, format!("front-door-20260921T141320Z-{}.mp4", event(0)));
        assert_eq!(event_of(&name), Some(event(0)));
        for other in ["notes.txt", "x.mp4", "holiday-2026.mp4", &name[..name.len() - 1]] {
            assert_eq!(event_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_oldest_go_first_when_there_is_too_much_or_it_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = shelf(&folder.path().join("deep/clips"), 1000, Duration::from_secs(50));
        let names: Vec<String> = [30, 10, 20].map(|second| put(&mut shelf, second, 300)).to_vec();
        assert!(!shelf.has_room(300));
        assert_eq!(shelf.make_room(300), [names[1].clone()]);
        assert_eq!(shelf.make_room(5000), [names[2].clone(), names[0].clone()], "too large for any folder");
        assert_eq!(shelf.bytes, 0);
        let old = put(&mut shelf, 10, 10);
        put(&mut shelf, 11, 10);
        assert_eq!(shelf.expire((1_790_000_000 + 61) * 1_000_000 - 1), [old]);
    }

    #[test]
    fn leftovers_are_removed_and_foreign_files_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = shelf(folder.path(), 10_000, Duration::MAX);
        let name = put(&mut first, 1, 100);
        let partial = folder.path().join(format!("{PARTIAL}{name}"));
        let foreign = folder.path().join("README");
        fs::write(&partial, "half").unwrap();
        fs::write(&foreign, "mine").unwrap();
        let mut again = shelf(folder.path(), 10_000, Duration::MAX);
        assert!(!partial.exists() && foreign.exists());
        assert_eq!(again.bytes, 100);
        assert_eq!(again.make_room(u64::MAX), [name]);
        assert!(foreign.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bounds = Bounds { bytes: 1, age: Duration::MAX, keep_free: 0 };
        let error = Shelf::open(&file.path().join("clips"), bounds).unwrap_err();
        assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
    }
}
