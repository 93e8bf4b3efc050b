//! The topology: build all, wire, spawn, watch, join. The only place where threads are born.
//!
//! ```text
//! cam-ID ──Look──▶ slots ──▶ infer-N ──Seen──▶ rules ──Job──▶ recorder ──Grant──▶ doors
//!    ├────────────── health ───────────────────▶┘                ├──wake──▶ publisher
//!    └──Frame──▶ clip-keeper ──Film──▶ clip-filer              └──event──▶ clip-keeper
//! ```
//! Everything is built before anything runs, so a wrong model or a locked database ends the start and not the
//! night. Stopping goes the way of a frame: cameras, workers, rules, doors, publisher, clips, recorder; the store
//! closes last. One deadline for all, and whoever misses it is named.

mod adapters;
mod blips;
mod camera;
mod clips;
mod copies;
mod crew;
mod judge;
mod load;
mod rate;
mod reload;
mod snapshot;
mod summary;
mod supervisor;
mod topology;
mod watchdog;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use crew::spawner;
pub use summary::{CameraSummary, Summary};

use crate::capture;
use crate::clock::{Clock, SystemClock};
use crate::config::Loaded;
use crate::domain::{CameraId, Frame, FrameRef, FrameSeq};
use crate::infer::{Cause, InferError};
use crate::store::StoreError;

/// How the daemon is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration file, read again on SIGHUP.
    pub config_path: PathBuf,
    /// End by itself when every camera was a file or folder that came to its end.
    pub exit_when_done: bool,
    /// How often the counters are logged.
    pub report: Duration,
    /// After a signal, everything must have ended within this time.
    pub grace: Duration,
}

/// Why the daemon did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The model cannot be used: mend the manifest or fetch the file again.
    #[error("the model cannot be used")]
    Model(#[source] InferError),
    /// The database cannot be used.
    #[error("the database cannot be used")]
    Store(#[source] StoreError),
    /// The system gave no thread or no signal handler.
    #[error("the system refused {what}")]
    System {
        /// What was asked for.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A part was to be started while the daemon is being stopped.
    #[error("the daemon is being stopped")]
    Stopping,
    /// A part that nothing works without ended while the daemon was running.
    #[error("the {0} ended early; see the log")]
    Died(String),
}

/// Runs until a signal, or until all files were played when `exit_when_done`. Blocks. A second signal ends the
/// process at once with exit code 130.
///
/// # Errors
/// [`DaemonError`] when something cannot be built, or a part that nothing works without ends early.
pub fn run(loaded: Loaded, options: &Options) -> Result<Summary, DaemonError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let signals = supervisor::Signals::register()?;
    let mut topology = topology::Topology::start(loaded.config, &clock)?;
    let died = supervisor::watch(&mut topology, &signals, options, &clock);
    let summary = topology.stop(options.grace, &clock);
    match died {
        Some(part) => {
            log::info!("stopped: {}", summary.line());
            Err(DaemonError::Died(part))
        }
        None => Ok(summary),
    }
}

/// A picture file (JPEG, PNG, BMP or WebP) as a frame of its own: golden pictures, and what people ask about.
///
/// # Errors
/// The file cannot be read, is no picture, or is beyond the limits of [`capture::load_picture`].
pub fn read_picture(path: &Path) -> Result<Frame, Cause> {
    let picture = capture::load_picture(path)?;
    let at = FrameRef::new(FrameSeq(0), SystemClock.now());
    Ok(Frame::new(CameraId::new("picture")?, at, picture.width, picture.height, picture.pixels)?)
}
