//! The recorder's loop: jobs in, one commit for all that wait, and only then their consequences.
//!
//! Jobs that arrive while a commit is under way make the next one, so the group grows with the load and a lone
//! grant waits for nobody. While the disk is full or fails, jobs are kept and the same group is tried again:
//! nothing is acted upon, the channel fills up, and the pipeline in front of it has to wait.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::event::{Job, Recorded, Write};
use super::{PruneReport, Store, StoreError};
use crate::clock::{self, Clock};
use crate::domain::{Event, EventId, Outcome, RecordState, Stamp, Verdict};
use crate::shutdown::Stop;
use crate::words::in_words;

/// At most so many jobs are committed together.
const BATCH: usize = 256;
/// A group that is already more than one job waits this long for more, unless it holds a grant.
const LINGER: Duration = Duration::from_millis(5);
/// The loop turns at least this often, for the watchdog and for retention.
const TURN: Duration = Duration::from_secs(1);
/// Retention is looked after this often, ...
const PRUNE_EVERY: Duration = Duration::from_secs(120);
/// ... this often while steps find work, ...
const PRUNE_AGAIN: Duration = Duration::from_millis(200);
/// ... and this often while a bound is passed and nothing may go, because it all waits for the broker.
const PRUNE_IN_VAIN: Duration = Duration::from_secs(10);
/// Between the tries of a failing commit, first and longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Once stopping is requested, a failing commit is tried for so long before its jobs are given up.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// What others may know of the recorder; shared, never blocking.
#[derive(Debug, Default)]
pub struct RecorderHealth {
    beat: AtomicU64,
    degraded: AtomicBool,
    committed: AtomicU64,
    commits: AtomicU64,
    retries: AtomicU64,
    lost: AtomicU64,
    refused: [AtomicU64; 3],
    pruned: AtomicU64,
    trouble: Mutex<(RecordState, String)>,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(&self) -> u64 {
            self.$name.load(Ordering::Relaxed)
        }
    )*};
}

impl RecorderHealth {
    counters! {
        /// Grows with every turn of the loop: a watchdog sees that it does not hang.
        beat
        /// Events committed.
        committed
        /// Transactions committed.
        commits
        /// Commits that failed and were tried again.
        retries
        /// Jobs given up: rows that the database refused, or jobs left when stopping while the disk failed.
        lost
        /// Events deleted by retention.
        pruned
    }

    /// Whether the last commit failed and is being tried again.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Whether decisions can be recorded, and if not, why.
    #[must_use]
    pub fn state(&self) -> (RecordState, String) {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_state(&self, state: RecordState, why: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = (state, why);
    }

    /// Alerts refused because the outbox was full, per severity, least severe first.
    #[must_use]
    pub fn refused(&self) -> [u64; 3] {
        [0, 1, 2].map(|i| self.refused[i].load(Ordering::Relaxed))
    }
}

/// The writer's loop. Owns the store.
pub struct Recorder {
    store: Store,
    clock: Arc<dyn Clock>,
    health: Arc<RecorderHealth>,
    /// When the last step of retention was made, and what it did; `None` before the first.
    pruned: Option<(Stamp, PruneReport)>,
}

impl Recorder {
    /// Takes the store. `clock` dates deliveries and paces retention.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, health: Arc::default(), pruned: None }
    }

    /// The counters; clone before [`Recorder::run`] takes the recorder.
    #[must_use]
    pub fn health(&self) -> Arc<RecorderHealth> {
        Arc::clone(&self.health)
    }

    /// Commits jobs until all senders are gone and everything is written, then closes the store. Blocks.
    ///
    /// `after_commit` is called on this thread for each event once it is on the disk, grants without delay. It
    /// must not block and must not send to `jobs`; an outcome that it returns is recorded with the next commit
    /// (a door that was busy, say). `stop` does not end the loop: it only bounds how long a failing disk is waited for.
    ///
    /// # Errors
    /// [`StoreError`] when the database is damaged, or when the disk still failed a few seconds after `stop`.
    /// Then what was not committed was not acted upon either.
    pub fn run(
        mut self,
        jobs: &Receiver<Job>,
        stop: &Stop,
        after_commit: &mut dyn FnMut(&Recorded) -> Option<Outcome>,
    ) -> Result<(), StoreError> {
        match self.record(jobs, stop, after_commit) {
            Ok(()) => self.store.close(),
            Err(error) => {
                self.note(RecordState::Dead, in_words(&error));
                Err(error)
            }
        }
    }

    /// Tells whoever asks, and the file beside the database.
    fn note(&self, state: RecordState, why: String) {
        self.store.trouble.set(state, &why, self.clock.now());
        self.health.set_state(state, why);
    }

    fn record(
        &mut self,
        jobs: &Receiver<Job>,
        stop: &Stop,
        after_commit: &mut dyn FnMut(&Recorded) -> Option<Outcome>,
    ) -> Result<(), StoreError> {
        let mut own: Vec<Job> = Vec::new();
        loop {
            self.health.beat.fetch_add(1, Ordering::Relaxed);
            let batch = match gather(jobs, &mut own) {
                Ok(batch) => batch,
                Err(RecvTimeoutError::Timeout) => {
                    self.prune_if_due();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let writes: Vec<_> = batch.into_iter().map(|job| self.prepare(job)).collect();
            for recorded in self.write(&writes, stop)? {
                own.extend(self.announce(&recorded, after_commit));
            }
            self.prune_if_due();
        }
    }

    fn prepare(&self, job: Job) -> Write {
        match job {
            Job::Record(new) => self.store.prepare(new, self.clock.now()),
            Job::Outcome { event, outcome } => Write::Outcome { event, outcome },
            Job::Delivered(rows) => Write::Delivered(rows),
            Job::Clip { events, state } => Write::Clip { events, state },
            Job::ClipsGone { files, why } => Write::ClipsGone { files, why },
        }
    }

    /// Tells the world of one committed event; returns what is to be recorded of it.
    fn announce(
        &self,
        recorded: &Recorded,
        after_commit: &mut dyn FnMut(&Recorded) -> Option<Outcome>,
    ) -> Option<Job> {
        self.health.committed.fetch_add(1, Ordering::Relaxed);
        if let (Verdict::Alert { severity, .. }, true) =
            (&recorded.event.decision.verdict, recorded.alert_refused)
        {
            self.health.refused[*severity as usize].fetch_add(1, Ordering::Relaxed);
            log::warn!(
                "event {}: the {} alert is not sent, the outbox is full",
                recorded.event.id,
                severity.as_str()
            );
        }
        after_commit(recorded).map(|outcome| Job::Outcome { event: recorded.event.id, outcome })
    }

    /// Commits, as often as it takes. Rows that the database refuses for their own sake are counted as lost.
    fn write(&mut self, writes: &[Write], stop: &Stop) -> Result<Vec<Recorded>, StoreError> {
        match self.commit_patiently(writes, stop) {
            Err(error) if error.is_about_the_rows() => {
                let mut recorded = Vec::new();
                for write in writes {
                    recorded.extend(self.write_alone(write, stop)?);
                }
                Ok(recorded)
            }
            other => other,
        }
    }

    fn write_alone(&mut self, write: &Write, stop: &Stop) -> Result<Vec<Recorded>, StoreError> {
        match self.commit_patiently(std::slice::from_ref(write), stop) {
            Err(error) if error.is_about_the_rows() => {
                self.health.lost.fetch_add(1, Ordering::Relaxed);
                log::error!("{} cannot be recorded: {}", describe(write), in_words(&error));
                Ok(Vec::new())
            }
            other => other,
        }
    }

    fn commit_patiently(&mut self, writes: &[Write], stop: &Stop) -> Result<Vec<Recorded>, StoreError> {
        let mut pause = RETRY.0;
        let mut after_stop = Duration::ZERO;
        loop {
            let error = match self.store.commit(writes, self.clock.now()) {
                Ok(recorded) => {
                    self.recovered();
                    self.health.commits.fetch_add(1, Ordering::Relaxed);
                    return Ok(recorded);
                }
                Err(error) if error.is_transient() && after_stop < LAST_TRIES => error,
                Err(error) => {
                    if !error.is_about_the_rows() {
                        self.give_up(writes, &error);
                    }
                    return Err(error);
                }
            };
            self.failing(&error, writes.len());
            if stop.is_requested() {
                after_stop += RETRY.0;
                std::thread::sleep(RETRY.0);
            } else {
                let _ = stop.wait_for(pause);
                pause = (pause * 2).min(RETRY.1);
            }
            self.health.beat.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn failing(&self, error: &StoreError, waiting: usize) {
        self.health.retries.fetch_add(1, Ordering::Relaxed);
        if !self.health.degraded.swap(true, Ordering::Relaxed) {
            self.note(RecordState::Failing, in_words(error));
            let path = self.store.path().display();
            log::error!(
                "{path}: {}; {waiting} jobs wait, nothing is authorised until it can be written again",
                in_words(error)
            );
        }
    }

    fn recovered(&self) {
        if self.health.degraded.swap(false, Ordering::Relaxed) {
            self.note(RecordState::Ok, String::new());
            log::info!("{} can be written again", self.store.path().display());
        }
    }

    fn give_up(&self, writes: &[Write], error: &StoreError) {
        self.health.lost.fetch_add(writes.len() as u64, Ordering::Relaxed);
        for write in writes {
            log::error!("{} is not recorded: {}", describe(write), in_words(error));
        }
    }

    fn prune_if_due(&mut self) {
        let now = self.clock.now();
        if let Some((last, report)) = self.pruned
            && now.since(last) < self.prune_pause(report)
        {
            return;
        }
        // A clock that was never set, or was set wrongly, must not make a year of events look too old: then only
        // sizes count.
        let wall_us = if clock::is_synchronised() == Some(false) { i64::MIN } else { now.wall_us() };
        let report = self.store.prune(wall_us, now.mono_us()).unwrap_or_else(|error| {
            log::warn!("retention has to wait: {}", in_words(&error));
            PruneReport::default()
        });
        if report.pictures > 0 {
            let path = self.store.path().display();
            log::warn!(
                "the disk of {path} is nearly full: {} pictures of old events are gone",
                report.pictures
            );
        }
        self.health.pruned.fetch_add(report.deleted.iter().sum(), Ordering::Relaxed);
        self.pruned = Some((now, report));
    }

    fn prune_pause(&self, last: PruneReport) -> Duration {
        match (last.more, self.store.over_bounds(), last.bytes > 0) {
            (true, ..) | (false, true, true) => PRUNE_AGAIN,
            (false, true, false) => PRUNE_IN_VAIN,
            (false, false, _) => PRUNE_EVERY,
        }
    }
}

/// Waits for the first job and takes what else is there. `own` are jobs of the recorder itself.
fn gather(jobs: &Receiver<Job>, own: &mut Vec<Job>) -> Result<Vec<Job>, RecvTimeoutError> {
    let mut batch = std::mem::take(own);
    if batch.is_empty() {
        batch.push(jobs.recv_timeout(TURN)?);
    }
    let mut lingered = false;
    while batch.len() < BATCH && !batch.last().is_some_and(is_grant) {
        if let Ok(job) = jobs.try_recv() {
            batch.push(job);
        } else if batch.len() > 1 && !lingered {
            lingered = true;
            batch.extend(jobs.recv_timeout(LINGER));
        } else {
            break;
        }
    }
    Ok(batch)
}

fn is_grant(job: &Job) -> bool {
    matches!(job, Job::Record(new) if matches!(new.decision.verdict, Verdict::Authorise { .. }))
}

/// The job in words, for the log: what is lost in the file must at least stand there.
fn describe(write: &Write) -> String {
    match write {
        Write::Event { event: Event { id, decision, .. }, .. } => {
            format!("event {id} ({}: {})", decision.verdict, decision.reason)
        }
        Write::Outcome { event, outcome } => outcome_text(*event, outcome),
        Write::Delivered(rows) => format!("the delivery of {} alerts", rows.len()),
        Write::Clip { events, state } => format!("the {} clip of {} events", state.kind(), events.len()),
        Write::ClipsGone { files, .. } => format!("the end of {} clips", files.len()),
    }
}

fn outcome_text(event: EventId, outcome: &Outcome) -> String {
    match outcome.detail() {
        Some(why) => format!("outcome {} ({why}) of event {event}", outcome.kind()),
        None => format!("outcome {} of event {event}", outcome.kind()),
    }
}
