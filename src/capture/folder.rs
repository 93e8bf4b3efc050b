//! A folder of pictures, played in the order of their names.
//!
//! The list is taken when the folder is opened and again at each turn of a loop. A picture that cannot be read is
//! reported and passed over; a turn without a single good one is an error, so that a looped folder of garbage
//! does not spin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::decode::load_picture;
use super::schedule::Schedule;
use super::timeline::Timing;
use super::{CaptureError, FrameSource, Grab, Pace, Settings};
use crate::clock::Clock;
use crate::shutdown::Stop;

const EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

/// The pictures of a folder, one a period in real time, or one a call when played fast.
pub(super) struct FolderSource {
    path: PathBuf,
    files: std::vec::IntoIter<PathBuf>,
    listed: usize,
    good: bool,
    looped: bool,
    /// In real time only.
    schedule: Option<Schedule>,
}

impl FolderSource {
    pub(super) fn open(
        path: &Path,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CaptureError> {
        let files = list(path)?;
        let schedule =
            (settings.effective_pace() == Pace::Realtime).then(|| Schedule::new(clock, settings.period()));
        Ok(Self {
            path: path.to_owned(),
            listed: files.len(),
            files: files.into_iter(),
            good: false,
            looped: settings.looped,
            schedule,
        })
    }

    /// The next file; starts again when looped. `None` at the end.
    fn next_file(&mut self) -> Result<Option<PathBuf>, CaptureError> {
        if let Some(file) = self.files.next() {
            return Ok(Some(file));
        }
        if !self.good {
            return Err(CaptureError::NoneInFolder { path: self.path.clone(), files: self.listed });
        }
        if !self.looped {
            return Ok(None);
        }
        let files = list(&self.path)?;
        (self.listed, self.good) = (files.len(), false);
        self.files = files.into_iter();
        Ok(self.files.next())
    }
}

impl FrameSource for FolderSource {
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError> {
        if stop.is_requested() || self.schedule.as_ref().is_some_and(|s| !s.is_due(deadline, stop)) {
            return Ok(Grab::Nothing);
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.advance();
        }
        let Some(file) = self.next_file()? else { return Ok(Grab::End) };
        match load_picture(&file) {
            Ok(picture) => {
                self.good = true;
                Ok(Grab::Picture(picture, Timing::NOW))
            }
            Err(error) => Ok(Grab::Damaged(error)),
        }
    }
}

/// The picture files of a folder, by name.
fn list(path: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => CaptureError::Missing { path: path.to_owned() },
        _ => CaptureError::File { path: path.to_owned(), source },
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if is_picture_name(&file) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(CaptureError::NoneInFolder { path: path.to_owned(), files: 0 });
    }
    files.sort();
    Ok(files)
}

/// Whether the file's name ends like a picture's.
#[must_use]
pub fn is_picture_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
}
