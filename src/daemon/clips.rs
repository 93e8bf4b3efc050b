//! The two threads that make clips, and what joins them to the cameras, the recorder and the store.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, TrySendError, bounded};

use super::DaemonError;
use super::crew::{Crew, spawn};
use crate::budget::{WriteBudget, day_began};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::Stamp;
use crate::evidence::{self, Counters, Feed, Filer, Orders, Report, Ties};
use crate::shutdown::{StopHandle, stop_pair};
use crate::store::{Job, RecorderHealth, Store};
use crate::words::in_words;

/// The makers of clips, running.
pub(super) struct ClipMakers {
    pub(super) feed: Feed,
    pub(super) orders: Orders,
    pub(super) counters: Arc<Counters>,
    keeper: Crew,
    filer: Crew,
    /// Drop the first to finish what is gathered, the second to break off what is being made.
    finish: Option<StopHandle>,
    break_off: Option<StopHandle>,
}

impl ClipMakers {
    /// Starts both threads.
    pub(super) fn start(
        config: &Config,
        jobs: Sender<Job>,
        budget: Arc<WriteBudget>,
        health: Arc<RecorderHealth>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, DaemonError> {
        let counters = Arc::<Counters>::default();
        let kept = config.kept();
        // All cameras may finish a clip at the same time.
        let (films, made) = bounded(config.cameras.len() + 1);
        let (keeper, feed, orders) =
            evidence::keeper(kept, config.clips.memory, films, &counters, Arc::clone(clock));
        let ties = Ties {
            budget,
            is_pressed: Box::new(move || health.is_degraded()),
            report: Box::new(move |report| offer(&jobs, report)),
        };
        let filer = Filer::new(&config.clips, ties, &counters, Arc::clone(clock));
        let ((finish, finished), (break_off, broken_off)) = (stop_pair(), stop_pair());
        let mut makers = Self {
            feed,
            orders,
            counters,
            keeper: Crew::new(),
            filer: Crew::new(),
            finish: Some(finish),
            break_off: Some(break_off),
        };
        spawn(&mut makers.keeper, "clip-keeper", move || keeper.run(&finished))?;
        spawn(&mut makers.filer, "clip-filer", move || filer.run(&made, &broken_off))?;
        Ok(makers)
    }

    /// Which of the two has ended, if one has.
    pub(super) fn ended(&mut self) -> Option<&'static str> {
        [("clip keeper", &mut self.keeper), ("clip filer", &mut self.filer)]
            .into_iter()
            .find_map(|(name, crew)| crew.is_done().then_some(name))
    }

    /// Finishes what is gathered, at most until `end`; half of the time is for clips that are still being made. Returns
    /// the names of threads that are late.
    pub(super) fn stop(&mut self, clock: &dyn Clock, end: Stamp) -> Vec<String> {
        let patience = end.since(clock.now()) / 2;
        self.finish = None;
        let mut late = self.keeper.join(clock, clock.now().plus(patience));
        if !self.filer.join(clock, clock.now().plus(patience)).is_empty() {
            self.break_off = None;
            late.append(&mut self.filer.join(clock, end));
        }
        late
    }
}

/// Hands a report to the recorder, unless it is busy.
fn offer(jobs: &Sender<Job>, report: Report) -> Result<(), Report> {
    let job = match report {
        Report::Clip { events, state } => Job::Clip { events, state },
        Report::Gone { files, why } => Job::ClipsGone { files, why },
    };
    match jobs.try_send(job) {
        Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => match job {
            Job::Clip { events, state } => Err(Report::Clip { events, state }),
            Job::ClipsGone { files, why } => Err(Report::Gone { files, why }),
            _ => Ok(()),
        },
        Ok(()) => Ok(()),
    }
}

/// Compares the rows of clips with the files that are there, before anything is recorded, and counts what was written
/// today.
pub(super) fn prepare(
    store: &mut Store,
    config: &Config,
    clock: &dyn Clock,
) -> Result<Arc<WriteBudget>, DaemonError> {
    let folder = &config.clips.folder;
    match evidence::look(folder) {
        Ok(found) if folder.exists() || config.wishes.values().any(|wish| wish.clip.is_some()) => {
            let files: Vec<_> = found.into_iter().map(|clip| (clip.event, clip.name, clip.bytes)).collect();
            let left = store.settle_clips(&files).map_err(DaemonError::Store)?;
            if left > 0 {
                log::warn!(
                    "{left} clips were left open by the last run; their events say what became of them"
                );
            }
        }
        Ok(_) => {}
        // Without the folder nothing is known of the files: the rows stay as they are.
        Err(error) => log::error!("{}", in_words(&error)),
    }
    let now = clock.now();
    let written = store.written_since(day_began(now)).map_err(DaemonError::Store)?;
    let budget = Arc::new(WriteBudget::new(config.write_budget, written, now));
    store.set_budget(Arc::clone(&budget));
    Ok(budget)
}

/// How long a wait for the makers of clips may take when all files are played.
pub(super) const LAST_CLIPS: Duration = Duration::from_secs(60);
