//! A folder into which pictures come: what a camera uploads by FTP, what a phone's sync drops.
//!
//! The kernel tells (inotify) when a file that was open for writing is closed, or one is moved in; so a half-written
//! file is never read, and an idle folder costs nothing. Folders below are watched too, those that are made later
//! included: cameras like one a day. What another machine writes into a network mount is not told; mount it where the
//! writing happens.
//!
//! Pictures that come in a burst wait for their turn at the camera's rate, each with the stamp of its arrival. What was
//! there before is not looked at, and nothing is ever deleted.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

use super::decode::load_picture;
use super::{CaptureError, FrameSource, Grab, Settings, is_picture_name};
use crate::clock::Clock;
use crate::domain::Stamp;
use crate::shutdown::Stop;

/// How often a request to stop is noticed while nothing comes.
const TURN: Duration = Duration::from_millis(250);
/// Pictures that wait for their turn; beyond that the oldest go, counted.
const MOST_WAITING: usize = 256;
/// Folders that are watched, and how deep they lie below the first.
const MOST_FOLDERS: usize = 4096;
const DEEPEST: usize = 8;
/// Pictures found in new folders whose closing may still be told.
const MOST_FOUND: usize = 256;

/// Buffers of news taken in one go, so that a flood of them does not keep us from looking at pictures.
const MOST_ROUNDS: usize = 16;

/// A picture that waits for its turn.
struct Arrival {
    path: PathBuf,
    at: Stamp,
    /// It lay in a folder that is new, and may not be whole yet; then its closing will be told.
    found: bool,
}

/// A watched folder.
pub(super) struct Inbox {
    root: PathBuf,
    root_watch: i32,
    events: OwnedFd,
    /// By the number of their watch; the depth goes with the path.
    folders: HashMap<i32, (PathBuf, usize)>,
    waiting: VecDeque<Arrival>,
    /// Read before their closing was told.
    found: VecDeque<PathBuf>,
    /// Arrivals dropped since this was last reported.
    crowded_out: usize,
    period: Duration,
    due: Stamp,
    clock: Arc<dyn Clock>,
}

impl Inbox {
    /// Begins to watch; what comes from now on is seen.
    pub(super) fn open(
        root: &Path,
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CaptureError> {
        let failed = |errno: Errno| match errno {
            Errno::NOENT => CaptureError::Missing { path: root.to_owned() },
            errno => CaptureError::File { path: root.to_owned(), source: errno.into() },
        };
        let events = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(failed)?;
        let root_watch =
            add_watch(&events, root, watched() | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF)
                .map_err(failed)?;
        let mut inbox = Self {
            root: root.to_owned(),
            root_watch,
            events,
            folders: HashMap::from([(root_watch, (root.to_owned(), 0))]),
            waiting: VecDeque::new(),
            found: VecDeque::new(),
            crowded_out: 0,
            period: settings.period(),
            due: clock.now(),
            clock,
        };
        inbox.watch_below(root, 0, false);
        Ok(inbox)
    }

    /// Watches the folders below `folder`. In one that is new, the pictures that were quicker than us count.
    fn watch_below(&mut self, folder: &Path, depth: usize, is_new: bool) {
        let mut left = vec![(folder.to_owned(), depth)];
        while let Some((folder, depth)) = left.pop() {
            // It may be gone already.
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, kind) = (entry.path(), entry.file_type());
                if kind.as_ref().is_ok_and(std::fs::FileType::is_dir) {
                    if self.watch(&path, depth + 1) {
                        left.push((path, depth + 1));
                    }
                } else if is_new && kind.is_ok_and(|kind| kind.is_file()) {
                    self.arrived(path, true);
                }
            }
        }
    }

    fn watch(&mut self, folder: &Path, depth: usize) -> bool {
        if depth > DEEPEST || self.folders.len() >= MOST_FOLDERS {
            log::warn!(
                "{} is not watched: at most {MOST_FOLDERS} folders are, {DEEPEST} deep",
                folder.display()
            );
            return false;
        }
        match add_watch(&self.events, folder, watched() | WatchFlags::DONT_FOLLOW) {
            Ok(number) => self.folders.insert(number, (folder.to_owned(), depth)).is_none(),
            Err(Errno::NOENT | Errno::NOTDIR) => false,
            Err(error) => {
                log::warn!("{} cannot be watched: {error}", folder.display());
                false
            }
        }
    }

    /// Takes note of what the kernel has to tell. Never waits.
    fn listen(&mut self) -> Result<(), CaptureError> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        for _ in 0..MOST_ROUNDS {
            let mut told = Vec::new();
            let mut reader = Reader::new(self.events.as_fd(), &mut buffer);
            loop {
                match reader.next() {
                    Ok(event) => {
                        let name =
                            event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                        told.push((event.wd(), event.events(), name));
                    }
                    Err(Errno::AGAIN | Errno::INTR) => break,
                    Err(error) => {
                        return Err(CaptureError::File { path: self.root.clone(), source: error.into() });
                    }
                }
                if reader.is_buffer_empty() {
                    break;
                }
            }
            if told.is_empty() {
                break;
            }
            for (watch, events, name) in told {
                self.heard(watch, events, name.as_deref())?;
            }
        }
        Ok(())
    }

    fn heard(&mut self, watch: i32, events: ReadFlags, name: Option<&OsStr>) -> Result<(), CaptureError> {
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.crowded_out += 1;
            return Ok(());
        }
        let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
        if events.intersects(gone) {
            self.folders.remove(&watch);
            return match watch == self.root_watch {
                true => Err(CaptureError::Missing { path: self.root.clone() }),
                false => Ok(()),
            };
        }
        let Some(((folder, depth), name)) = self.folders.get(&watch).cloned().zip(name) else {
            return Ok(());
        };
        let path = folder.join(name);
        if !events.contains(ReadFlags::ISDIR) {
            if events.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_TO) {
                self.arrived(path, false);
            }
        } else if events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) && self.watch(&path, depth + 1) {
            self.watch_below(&path, depth + 1, true);
        }
        Ok(())
    }

    /// A file was closed or moved in, or found in a new folder.
    fn arrived(&mut self, path: PathBuf, found: bool) {
        let hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        if hidden || !is_picture_name(&path) {
            return;
        }
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.path == path) {
            waiting.found &= found;
            return;
        }
        if !found && let Some(index) = self.found.iter().position(|known| *known == path) {
            self.found.remove(index);
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
            self.crowded_out += 1;
        }
        self.waiting.push_back(Arrival { path, at: self.clock.now(), found });
    }

    /// The next picture whose turn has come.
    fn take(&mut self) -> Option<Grab> {
        if self.crowded_out > 0 {
            let lost = std::mem::take(&mut self.crowded_out);
            return Some(Grab::Damaged(CaptureError::Crowded { path: self.root.clone(), lost }));
        }
        let now = self.clock.now();
        while now >= self.due {
            let Arrival { path, at, found } = self.waiting.pop_front()?;
            let picture = match load_picture(&path) {
                Ok(picture) => picture,
                // Not whole yet: its closing will be told.
                Err(_) if found => continue,
                Err(error) => return Some(Grab::Damaged(error)),
            };
            if found {
                self.found.truncate(MOST_FOUND - 1);
                self.found.push_front(path);
            }
            self.due = now.plus(self.period);
            return Some(Grab::Waited(picture, at));
        }
        None
    }
}

/// What the kernel is to tell of a folder.
fn watched() -> WatchFlags {
    WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::CREATE | WatchFlags::ONLYDIR
}

impl FrameSource for Inbox {
    fn next(&mut self, deadline: Duration, stop: &Stop) -> Result<Grab, CaptureError> {
        let began = self.clock.now();
        loop {
            self.listen()?;
            if let Some(grab) = self.take() {
                return Ok(grab);
            }
            let now = self.clock.now();
            let passed = now.since(began);
            if passed >= deadline || stop.is_requested() {
                return Ok(Grab::Nothing);
            }
            let turn = if self.waiting.is_empty() { TURN } else { self.due.since(now).min(TURN) };
            let wait = turn.min(deadline - passed);
            let timeout = Timespec::try_from(wait).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match poll(&mut [PollFd::new(&self.events, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    return Err(CaptureError::File { path: self.root.clone(), source: error.into() });
                }
            }
        }
    }
}
