//! The thread that makes clips of what was gathered, and keeps order in their folder.
//!
//! One clip at a time, behind everything that decides. What becomes of each is reported to the store; the folder is kept
//! within its bounds, and gives way when the disk runs full: the record of events matters more than any film.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::counters::Counters;
use super::film::{self, Form};
use super::ring::Kept;
use super::shelf::{Bounds, Shelf, name_of};
use super::{EvidenceError, Film, Footage, Settings};
use crate::budget::{Extra, WriteBudget};
use crate::clock::{self, Clock};
use crate::domain::{CameraId, ClipFile, ClipState, EventId};
use crate::shutdown::Stop;
use crate::words::in_words;

/// How often the folder is looked after.
const TURN: Duration = Duration::from_secs(1);
/// When stopping, how long reports are offered to a store that is busy.
const LAST_REPORTS: Duration = Duration::from_secs(3);
const NAP: Duration = Duration::from_millis(20);

/// What the store is to know.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// What became of the clip of these events.
    Clip {
        /// The events.
        events: Vec<EventId>,
        /// Its state.
        state: ClipState,
    },
    /// These files are gone.
    Gone {
        /// Their names.
        files: Vec<String>,
        /// Why.
        why: String,
    },
}

/// How the filer is joined to the others.
pub struct Ties {
    /// Shared by all that write.
    pub budget: Arc<WriteBudget>,
    /// Whether the database cannot be written because the disk is full: then clips go, one after the other.
    pub is_pressed: Box<dyn Fn() -> bool + Send>,
    /// Takes a report, or gives it back when the store is busy: it is offered again.
    pub report: Box<dyn FnMut(Report) -> Result<(), Report> + Send>,
}

/// The filer; run it on a thread of its own.
pub struct Filer {
    folder: PathBuf,
    bounds: Bounds,
    form: Form,
    shelf: Option<Shelf>,
    ties: Ties,
    reports: VecDeque<Report>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

impl Filer {
    /// A filer for the folder of `settings`. Does no I/O yet.
    #[must_use]
    pub fn new(settings: &Settings, ties: Ties, counters: &Arc<Counters>, clock: Arc<dyn Clock>) -> Self {
        let Settings { folder, max_bytes, age, keep_free, .. } = settings.clone();
        Self {
            folder,
            bounds: Bounds { bytes: max_bytes, age, keep_free },
            form: Form::Mjpeg,
            shelf: None,
            ties,
            reports: VecDeque::new(),
            counters: Arc::clone(counters),
            clock,
        }
    }

    /// Runs until all senders of `films` are gone and all is written. `stop` breaks off the clip that is being made, and
    /// those that wait: their events say so.
    pub fn run(mut self, films: &Receiver<Film>, stop: &Stop) {
        self.form = Form::find().unwrap_or_else(|error| {
            log::warn!("clips are Motion JPEG, which browsers do not play: {}", in_words(&error));
            Form::Mjpeg
        });
        loop {
            Counters::add(&self.counters.filer_turns, 1);
            match films.recv_timeout(TURN) {
                Ok(film) => self.file(&film, stop),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.tidy();
            self.deliver();
        }
        let mut waited = Duration::ZERO;
        while !self.deliver() && waited < LAST_REPORTS {
            std::thread::sleep(NAP);
            waited += NAP;
        }
        if !self.reports.is_empty() {
            log::warn!(
                "{} reports on clips could not be recorded; the next start finds out",
                self.reports.len()
            );
        }
    }

    /// Makes one clip and reports what became of it.
    fn file(&mut self, film: &Film, stop: &Stop) {
        let state = self.make(film, stop);
        let counter = match &state {
            ClipState::Written(file) => {
                let is_copy = matches!(film.footage, Footage::Stream(_));
                let how = if is_copy { "copied" } else { "encoded" };
                Counters::add(&self.counters.bytes, file.bytes);
                Counters::add(&self.counters.copied, u64::from(is_copy));
                log::info!("camera {}: clip {} ({} KiB, {how})", film.camera, file.name, file.bytes >> 10);
                &self.counters.written
            }
            ClipState::Refused(_) => &self.counters.refused,
            _ => &self.counters.failed,
        };
        Counters::add(counter, 1);
        if let Some(why) = state.detail() {
            let events: Vec<String> = film.events.iter().map(ToString::to_string).collect();
            log::warn!("camera {}: clip {} ({}): {why}", film.camera, state.kind(), events.join(", "));
        }
        self.reports.push_back(Report::Clip { events: film.events.clone(), state });
    }

    fn make(&mut self, film: &Film, stop: &Stop) -> ClipState {
        let (Some((first, last)), Some(event)) = (film.footage.span(), film.events.first()) else {
            return ClipState::Refused("no picture of this time was kept".to_owned());
        };
        let (from_wall_us, until_wall_us) = (first.wall_us(), last.wall_us());
        if self.ties.budget.left(Extra::Clip, self.clock.now()) == Some(0) {
            self.ties.budget.admit(Extra::Clip, 1, self.clock.now());
            return ClipState::Refused(self.ties.budget.reason());
        }
        let made = match &film.footage {
            Footage::Pictures(frames) => self.encode(&film.camera, frames, stop),
            Footage::Stream(parts) => film::copy(parts, stop).map(|clip| (clip, "mp4")),
        };
        let (clip, extension) = match made {
            Ok(made) => made,
            Err(error) => return ClipState::Failed(in_words(&error)),
        };
        let name = name_of(&film.camera, *event, extension);
        let bytes = clip.len() as u64;
        match self.put(&name, *event, &clip) {
            Ok(None) => ClipState::Written(ClipFile { name, bytes, from_wall_us, until_wall_us }),
            Ok(Some(refusal)) => ClipState::Refused(refusal),
            Err(error) => ClipState::Failed(in_words(&error)),
        }
    }

    /// The clip in the best form that works, and how its name ends.
    fn encode(
        &self,
        camera: &CameraId,
        frames: &[Kept],
        stop: &Stop,
    ) -> Result<(Vec<u8>, &'static str), EvidenceError> {
        match film::encode(frames, self.form, stop) {
            Ok(clip) => Ok((clip, self.form.extension())),
            Err(error @ EvidenceError::Stopped) => Err(error),
            Err(error) if self.form == Form::Mjpeg => Err(error),
            Err(error) => {
                log::warn!("camera {camera}: a clip stays Motion JPEG: {}", in_words(&error));
                Ok((film::encode(frames, Form::Mjpeg, stop)?, Form::Mjpeg.extension()))
            }
        }
    }

    /// Writes the clip, or says why it is left out. Older clips go when they take the room.
    fn put(&mut self, name: &str, event: EventId, clip: &[u8]) -> Result<Option<String>, EvidenceError> {
        let bytes = clip.len() as u64;
        self.shelf()?;
        let Some(shelf) = &mut self.shelf else { return Ok(None) };
        let mut gone = shelf.make_room(bytes);
        if !shelf.has_room(bytes) {
            let free = shelf.free() >> 20;
            self.pruned(gone, "it was the oldest, and the room was needed");
            let keep = self.bounds.keep_free >> 20;
            return Ok(Some(format!("there is no room for it: {free} MiB are free, {keep} MiB stay free")));
        }
        if !self.ties.budget.admit(Extra::Clip, bytes, self.clock.now()) {
            self.pruned(gone, "it was the oldest, and the room was needed");
            return Ok(Some(self.ties.budget.reason()));
        }
        // Somebody else may have taken the room meanwhile.
        let written = loop {
            match shelf.put(name, event, clip) {
                Err(error) if error.is_about_room() => match shelf.remove_oldest() {
                    Some(oldest) => gone.push(oldest),
                    None => break Err(error),
                },
                other => break other,
            }
        };
        self.pruned(gone, "it was the oldest, and the room was needed");
        written.map(|()| None)
    }

    /// Opens the folder, unless it is.
    fn shelf(&mut self) -> Result<(), EvidenceError> {
        if self.shelf.is_none() {
            self.shelf = Some(Shelf::open(&self.folder, self.bounds)?);
        }
        Ok(())
    }

    /// Removes what is too old or too much, and gives way when the disk is full.
    fn tidy(&mut self) {
        // A folder that cannot be used is told of when a clip is to be written.
        if self.shelf.is_none() && (!self.folder.exists() || self.shelf().is_err()) {
            return;
        }
        let Some(shelf) = &mut self.shelf else { return };
        // A clock that was never set must not make all clips look too old.
        let old = match clock::is_synchronised() {
            Some(false) => Vec::new(),
            _ => shelf.expire(self.clock.now().wall_us()),
        };
        let surplus = shelf.make_room(0);
        let pressed = if (self.ties.is_pressed)() { shelf.remove_oldest() } else { None };
        self.pruned(old, "it was too old");
        self.pruned(surplus, "it was the oldest, and the room was needed");
        self.pruned(pressed.into_iter().collect(), "it was the oldest, and the disk was full");
    }

    fn pruned(&mut self, files: Vec<String>, why: &str) {
        if files.is_empty() {
            return;
        }
        Counters::add(&self.counters.pruned, files.len() as u64);
        log::info!("{} clips are gone, the oldest {}: {why}", files.len(), files[0]);
        self.reports.push_back(Report::Gone { files, why: why.to_owned() });
    }

    /// Hands reports to the store; whether all are taken.
    fn deliver(&mut self) -> bool {
        while let Some(report) = self.reports.pop_front() {
            let settled = match &report {
                Report::Clip { events, .. } => events.len(),
                Report::Gone { .. } => 0,
            };
            if let Err(back) = (self.ties.report)(report) {
                self.reports.push_front(back);
                return false;
            }
            self.counters.settle(settled);
        }
        true
    }
}

impl Drop for Filer {
    fn drop(&mut self) {
        log::debug!("{} clips written", self.counters.written.load(Ordering::Relaxed));
    }
}
