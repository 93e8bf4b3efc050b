//! The real daemon in a folder of its own: its configuration, its database, its log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use portero::domain::Event;
use portero::store::{Filter, Order, Reader};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wait_until;

/// The root of the sources.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The street clip that lies in the repository: 20 s, 768x576, 10 fps, people all the time.
pub(crate) fn street() -> PathBuf {
    root().join("tests/data/street.mp4")
}

#[expect(clippy::print_stderr, reason = "a test that is left out says why")]
/// Material beside the repository; `None`, with a printed reason, where it is not there.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let found = root().join("../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("skipped: {} is not there", found.display());
    None
}

/// `portero` with these arguments, run to its end.
pub(crate) fn portero(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portero")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Standard error as text.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a configuration and what the daemon makes of it.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// A site with this configuration; version, site, model and store are put before it.
    pub(crate) fn new(rest: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        site.configure(rest);
        site
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, rest: &str) {
        let manifest = root().join("models/person-v3s.toml");
        let head = format!(
            "version = 1\n[site]\nname = \"test\"\ntimezone = \"UTC\"\n[model]\nmanifest = {manifest:?}\n[store]\npath = \"portero.db\"\n"
        );
        fs::write(self.config(), head + rest).unwrap();
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("portero.toml")
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The database.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("portero.db")
    }

    /// All events, oldest first.
    pub(crate) fn events(&self) -> Vec<Event> {
        let reader = Reader::open(&self.database()).unwrap();
        let stored = reader.events(&Filter::default(), 1_000_000, Order::OldestFirst).unwrap();
        stored.into_iter().map(|stored| stored.event).collect()
    }

    /// SQLite's own verdict on the file.
    #[track_caller]
    pub(crate) fn assert_intact(&self) {
        let output = Command::new("sqlite3").arg(self.database()).arg("PRAGMA integrity_check").output();
        let output = output.expect("sqlite3 is needed by the tests: apt-get install sqlite3");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ok", "{}", stderr(&output));
    }

    /// Starts the daemon; its log goes to a file.
    pub(crate) fn start(&self, arguments: &[&str]) -> Daemon {
        self.start_with(arguments, |_| {})
    }

    /// The same, with a word to its command before.
    pub(crate) fn start_with(&self, arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Daemon {
        let log = self.folder.path().join("log");
        let file = fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portero"));
        command.arg("run").arg("--config").arg(self.config()).args(arguments).stdin(Stdio::null());
        command.stdout(file.try_clone().unwrap()).stderr(file);
        prepare(&mut command);
        Daemon { child: command.spawn().unwrap(), log, status: None }
    }

    /// Runs the daemon until all files are played and returns its log; panics when it does not end well.
    #[track_caller]
    pub(crate) fn play(&self) -> String {
        let mut daemon = self.start(&["--exit-when-done"]);
        let status = daemon.wait(Duration::from_secs(240));
        assert!(status.success(), "{status}\n{}", daemon.log());
        daemon.log()
    }
}

/// A running daemon. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Daemon {
    /// Its log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the log has `text`.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, text: &str, deadline: Duration) {
        let path = self.log.clone();
        wait_until(&format!("the log says {text:?}"), deadline, || {
            fs::read_to_string(&path).unwrap().contains(text)
        });
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let (child, log) = (&mut self.child, &self.log);
        let mut status = None;
        let what = format!("portero ends; see {}", log.display());
        wait_until(&what, deadline, || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        self.status = status;
        status.unwrap()
    }

    /// Asks it to stop and waits.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(Duration::from_secs(30))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
