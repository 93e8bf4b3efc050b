//! All parts of the running daemon, how they are joined, and how they are taken apart again.

mod gauges;
mod telling;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use log::{info, warn};

use super::DaemonError;
use super::adapters::{DoorLink, StoreOutbox};
use super::blips::Blips;
use super::camera::{self, Desk};
use super::clips::{self, ClipMakers};
use super::crew::{Crew, deadline, spawn, spawner};
use super::judge::{Judge, JudgeHealth, ToRules};
use super::summary::Summary;
use crate::budget::WriteBudget;
use crate::capture::{self, Camera};
use crate::clock::{self, Clock};
use crate::config::{CameraConfig, Config};
use crate::domain::{Outcome, Stamp, Verdict};
use crate::doors::{Doors, Grant};
use crate::infer::{Detector, DetectorModel, InferError, Model};
use crate::notify::{self, Publisher};
use crate::pool::{Eyes, PoolCounts, Seen, run_worker};
use crate::rules::Engine;
use crate::shutdown::{Stop, StopHandle, stop_pair};
use crate::slots::Slots;
use crate::store::{Firing, Job, Opening, Recorded, Recorder, RecorderHealth, Store};
use crate::track;
use crate::words::in_words;
use telling::Telling;

/// Looks waiting for the rules, beyond the one that each worker holds.
const SEEN_QUEUE: usize = 16;
/// This program as it runs, also when its file was replaced since.
const OURSELVES: &str = "/proc/self/exe";
/// Decisions waiting for the recorder.
const JOB_QUEUE: usize = 256;

/// So long the main thread waits for rules that are behind, before it tries again later.
const PATIENCE: Duration = Duration::from_secs(5);

/// The grants' way to the doors; taken away when stopping, after which grants are refused.
type DoorGate = Arc<Mutex<Option<Sender<Grant>>>>;

/// One stage: its threads, and the handle whose drop asks them to stop.
struct Stage {
    crew: Crew,
    stop: Option<StopHandle>,
}

impl Stage {
    fn new() -> (Self, Stop) {
        let (handle, stop) = stop_pair();
        (Self { crew: Crew::new(), stop: Some(handle) }, stop)
    }
}

/// The running daemon.
pub(super) struct Topology {
    pub(super) config: Config,
    model: Arc<Model>,
    detector: Option<Arc<DetectorModel>>,
    started: Stamp,
    desks: Vec<Arc<Desk>>,
    captured: Vec<Arc<capture::Counters>>,
    slots: Slots,
    pool: Arc<PoolCounts>,
    judged: Arc<JudgeHealth>,
    recorded: Arc<RecorderHealth>,
    notified: Option<notify::Handles>,
    pub(super) clips: ClipMakers,
    budget: Arc<WriteBudget>,
    to_rules: Option<Sender<ToRules>>,
    jobs: Option<Sender<Job>>,
    gate: DoorGate,
    telling: Telling,
    cameras: Stage,
    workers: Crew,
    rules: Stage,
    doors: Crew,
    door_beat: Arc<AtomicU64>,
    publisher: Stage,
    recorder: Stage,
    /// Sleeps the supervisor; nobody ever asks it to stop.
    rest: (StopHandle, Stop),
}

impl Topology {
    /// Builds everything, then starts every thread.
    pub(super) fn start(config: Config, clock: &Arc<dyn Clock>) -> Result<Self, DaemonError> {
        let model = load_model(&config)?;
        let detector = load_detector(&config)?;
        let mut store = Store::open(&config.store).map_err(DaemonError::Store)?;
        if store.left_open() > 0 {
            warn!("{} events were left open by a crash: marked unknown, never run again", store.left_open());
        }
        let history = store.history(clock.now()).map_err(DaemonError::Store)?;
        let budget = clips::prepare(&mut store, &config, clock.as_ref())?;
        let recorder = Recorder::new(store, Arc::clone(clock));
        let (to_rules, inbox) = bounded::<ToRules>(SEEN_QUEUE);
        let (jobs, job_queue) = bounded::<Job>(JOB_QUEUE);
        let (grants, grant_queue) = bounded::<Grant>(1);
        let makers = ClipMakers::start(&config, jobs.clone(), Arc::clone(&budget), recorder.health(), clock)?;
        let (cameras, cameras_stop) = Stage::new();
        let (rules, rules_stop) = Stage::new();
        let (publisher, publisher_stop) = Stage::new();
        let (recorder_stage, recorder_stop) = Stage::new();
        let mut topology = Self {
            desks: Vec::new(),
            captured: Vec::new(),
            slots: Slots::new(config.cameras.len()),
            pool: Arc::default(),
            judged: Arc::default(),
            recorded: recorder.health(),
            notified: None,
            clips: makers,
            budget,
            to_rules: Some(to_rules),
            jobs: Some(jobs),
            gate: Arc::new(Mutex::new(Some(grants))),
            telling: Telling::default(),
            started: clock.now(),
            model,
            detector,
            config,
            cameras,
            workers: Crew::new(),
            rules,
            doors: Crew::new(),
            door_beat: Arc::default(),
            publisher,
            recorder: recorder_stage,
            rest: stop_pair(),
        };
        topology.start_publisher(clock, publisher_stop)?;
        topology.start_recorder(recorder, job_queue, recorder_stop)?;
        topology.start_doors(clock, grant_queue, history.openings)?;
        topology.start_rules(clock, inbox, history.firings, rules_stop)?;
        topology.start_workers(clock)?;
        topology.start_cameras(clock, &cameras_stop)?;
        Ok(topology)
    }

    fn start_publisher(&mut self, clock: &Arc<dyn Clock>, stop: Stop) -> Result<(), DaemonError> {
        let Some(settings) = self.config.notify.clone() else { return Ok(()) };
        let cameras = self.config.cameras.iter().map(|c| c.capture.camera.clone()).collect();
        let outbox = StoreOutbox::new(&self.config.store.path, self.job_sender()?);
        let timing = notify::Timing::default();
        let (publisher, handles) =
            Publisher::new(settings, timing, cameras, Box::new(outbox), Arc::clone(clock));
        self.notified = Some(handles);
        spawn(&mut self.publisher.crew, "publisher", move || {
            if let Err(error) = publisher.run(&stop) {
                log::error!("the publisher has ended: {}", in_words(&error));
            }
        })
    }

    fn start_recorder(
        &mut self,
        recorder: Recorder,
        jobs: Receiver<Job>,
        stop: Stop,
    ) -> Result<(), DaemonError> {
        let gate = Arc::clone(&self.gate);
        let wake = self.notified.as_ref().map(|handles| handles.wake.clone());
        let orders = self.clips.orders.clone();
        let mut after_commit = move |recorded: &Recorded| {
            if let Some(wish) = recorded.clip {
                let decision = &recorded.event.decision;
                orders.clip(recorded.event.id, &decision.observation.camera, decision.frame.stamp, wish);
            }
            if let (Verdict::Alert { .. }, Some(wake)) = (&recorded.event.decision.verdict, &wake) {
                wake.ring();
            }
            pass_grant(&gate, recorded)
        };
        spawn(&mut self.recorder.crew, "recorder", move || {
            if let Err(error) = recorder.run(&jobs, &stop, &mut after_commit) {
                log::error!("the recorder has ended: {}", in_words(&error));
            }
        })
    }

    /// What the last run left open is ended before anything else is: this may take some seconds.
    fn start_doors(
        &mut self,
        clock: &Arc<dyn Clock>,
        grants: Receiver<Grant>,
        openings: Vec<Opening>,
    ) -> Result<(), DaemonError> {
        let link = DoorLink(self.notified.as_ref().map(|handles| handles.link.clone()));
        let mut doors = Doors::new(self.config.doors.clone(), Box::new(link), Path::new(OURSELVES));
        for Opening { door, event, at } in openings {
            doors.resume(&door, event, at, clock.as_ref());
        }
        self.door_beat = doors.beat();
        let (jobs, clock) = (self.job_sender()?, Arc::clone(clock));
        spawn(&mut self.doors, "doors", move || {
            doors.run(&grants, clock.as_ref(), &mut |event, outcome| {
                // The recorder outlives the doors and never waits for them: this send ends.
                if jobs.send(Job::Outcome { event, outcome }).is_err() {
                    log::error!("the outcome of event {event} could not be recorded: the recorder has ended");
                }
            });
        })
    }

    fn start_rules(
        &mut self,
        clock: &Arc<dyn Clock>,
        inbox: Receiver<ToRules>,
        firings: Vec<Firing>,
        stop: Stop,
    ) -> Result<(), DaemonError> {
        let patience = self.config.cameras.iter().map(|c| (c.capture.camera.clone(), c.announce_after));
        let detector = self.detector.as_ref().map(|detector| detector.manifest());
        let default = track::Settings::default();
        let tracking = track::Settings { sure: detector.map_or(default.sure, |d| d.score), ..default };
        let mut engine = Engine::new(Arc::new(self.config.rules.clone()));
        for Firing { rule, camera, at } in firings {
            engine.remember(&rule, &camera, at);
        }
        let judge = Judge {
            engine,
            clock: Arc::clone(clock),
            jobs: self.job_sender()?,
            states: self.notified.as_ref().map(|handles| handles.states.clone()),
            health: Arc::clone(&self.judged),
            model_sha256: self.model.manifest().sha256.as_str().into(),
            detector: detector.map(|d| (d.id.clone(), d.sha256.as_str().into())),
            tracking,
            trackers: BTreeMap::new(),
            runs: BTreeMap::new(),
            config_sha256: Arc::clone(&self.config.sha256),
            persons: BTreeMap::new(),
            blips: Blips::new(patience),
            wishes: Arc::new(self.config.wishes.clone()),
        };
        spawn(&mut self.rules.crew, "rules", move || judge.run(&inbox, &stop))
    }

    fn start_workers(&mut self, clock: &Arc<dyn Clock>) -> Result<(), DaemonError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = self.config.model.worker_count(cores);
        for number in 0..count {
            let eyes = self.eyes().map_err(DaemonError::Model)?;
            let (slots, clock, counts) = (self.slots.clone(), Arc::clone(clock), Arc::clone(&self.pool));
            let rules = self.rules_sender()?;
            spawn(&mut self.workers, &format!("infer-{number}"), move || {
                let mut out = |seen: Seen| rules.send(ToRules::Seen(seen)).is_ok();
                run_worker(&slots, eyes, clock.as_ref(), &counts, &mut out);
            })?;
        }
        info!("{count} inference workers, model {}", self.model.manifest().id);
        Ok(())
    }

    /// What one worker looks with.
    fn eyes(&self) -> Result<Eyes, InferError> {
        let detector = match &self.detector {
            Some(detector) => {
                let finder: Box<dyn Detector> = Box::new(detector.finder()?);
                Some((finder, detector.manifest().id.clone()))
            }
            None => None,
        };
        let model = self.model.manifest().id.clone();
        Ok(Eyes { classifier: Box::new(self.model.worker()?), model, detector })
    }

    fn start_cameras(&mut self, clock: &Arc<dyn Clock>, stop: &Stop) -> Result<(), DaemonError> {
        let kept = self.config.kept();
        for (index, CameraConfig { capture, watch, .. }) in self.config.cameras.iter().enumerate() {
            let id = &capture.camera;
            let camera = Camera::new(capture.clone(), Arc::clone(clock), spawner());
            let (pace, copying) = (capture.effective_pace(), camera.copying());
            let desk = Arc::new(Desk::new(id.clone(), index, pace, watch.clone(), copying));
            desk.keep_for_clips(kept.get(id));
            desk.need(self.config.rules.needed_rate(id));
            self.desks.push(Arc::clone(&desk));
            self.captured.push(camera.counters());
            let (slots, stop, feed) = (self.slots.clone(), stop.clone(), self.clips.feed.clone());
            let (rules, clock) = (self.rules_sender()?, Arc::clone(clock));
            spawn(&mut self.cameras.crew, &format!("cam-{id}"), move || {
                camera::run(camera, &desk, &slots, &camera::Ways { rules, feed }, clock.as_ref(), &stop);
            })?;
        }
        Ok(())
    }

    /// A way to the recorder, for a thread that is being started; an error once the daemon is being stopped.
    fn job_sender(&self) -> Result<Sender<Job>, DaemonError> {
        self.jobs.clone().ok_or(DaemonError::Stopping)
    }

    /// A way to the rules, likewise.
    fn rules_sender(&self) -> Result<Sender<ToRules>, DaemonError> {
        self.to_rules.clone().ok_or(DaemonError::Stopping)
    }

    /// Sleeps the supervisor's loop.
    pub(super) fn pause(&self, time: Duration) {
        let _ = self.rest.1.wait_for(time);
    }

    /// Tells the broker whether decisions can be recorded.
    pub(super) fn tell_record(&self) {
        if let Some(handles) = &self.notified {
            let (state, why) = self.recorded.state();
            handles.states.set_record(state, &why);
        }
    }

    /// The name of a part that nothing works without and that has ended.
    pub(super) fn ended_early(&mut self) -> Option<String> {
        let parts = [
            ("recorder", Some(&mut self.recorder.crew)),
            ("rules", Some(&mut self.rules.crew)),
            ("workers", Some(&mut self.workers)),
            ("doors", Some(&mut self.doors)),
            // There is none without a broker.
            ("publisher", self.notified.is_some().then_some(&mut self.publisher.crew)),
        ];
        let mut parts = parts.into_iter().filter_map(|(name, crew)| Some((name, crew?)));
        let ended = parts.find_map(|(name, crew)| crew.is_done().then_some(name));
        ended.or_else(|| self.clips.ended()).map(str::to_owned)
    }

    /// Hands new rules to the rules thread. Whether it has taken them: else they are kept, and [`Topology::tell_again`]
    /// hands them over.
    pub(super) fn swap(&mut self, config: Config) -> bool {
        let mut kept = config.kept();
        for (desk, camera) in self.desks.iter().zip(&config.cameras) {
            let masks = desk.replace_watch(camera.watch.clone());
            kept.entry(desk.camera.clone()).and_modify(|keep| keep.masks = masks);
            desk.keep_for_clips(kept.get(&desk.camera));
            desk.need(config.rules.needed_rate(&desk.camera));
        }
        // Before the rules hear of it: none of their events may have a clip that shows what is masked now.
        self.clips.orders.keep(kept);
        self.telling.keep(config);
        self.tell_config(PATIENCE)
    }

    /// Tells the rules of a reload that they were too far behind to be told of.
    pub(super) fn tell_again(&mut self) {
        if self.tell_config(Duration::ZERO) {
            info!("the rules have caught up: {} rules in force", self.config.rules.rules.len());
        }
    }

    /// Whether the rules have been told just now of a reload. Only then it is what runs.
    fn tell_config(&mut self, patience: Duration) -> bool {
        let Some(config) = self.telling.config(self.to_rules.as_ref(), patience) else { return false };
        self.config.wishes = config.wishes;
        self.config.rules = config.rules;
        self.config.sha256 = config.sha256;
        for (running, new) in self.config.cameras.iter_mut().zip(config.cameras) {
            (running.watch, running.copies) = (new.watch, new.copies);
        }
        true
    }

    /// Looks whether the wall clock is synchronised, and tells the rules when that has changed.
    pub(super) fn look_at_clock(&mut self) {
        let Some(synchronised) = clock::is_synchronised() else { return };
        if self.telling.clock(synchronised, self.to_rules.as_ref(), PATIENCE) {
            info!("the wall clock is {}synchronised", if synchronised { "" } else { "not " });
        }
    }

    /// Takes everything apart in the order of a frame's way. Waits at most `grace`.
    pub(super) fn stop(mut self, grace: Duration, clock: &Arc<dyn Clock>) -> Summary {
        let clock = clock.as_ref();
        let end = deadline(clock, grace);
        // A camera that blocks in its driver must not take the others' time.
        let soon = deadline(clock, grace / 3);
        let mut late = Vec::new();
        self.cameras.stop = None;
        late.append(&mut self.cameras.crew.join(clock, soon));
        self.slots.close();
        late.append(&mut self.workers.join(clock, end));
        self.to_rules = None;
        self.rules.stop = None;
        late.append(&mut self.rules.crew.join(clock, end));
        while self.jobs.as_ref().is_some_and(|jobs| !jobs.is_empty()) && clock.now() < end {
            self.pause(Duration::from_millis(5));
        }
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        late.append(&mut self.doors.join(clock, end));
        self.publisher.stop = None;
        if let Some(handles) = &self.notified {
            handles.wake.ring();
        }
        late.append(&mut self.publisher.crew.join(clock, end));
        late.append(&mut self.clips.stop(clock, end));
        self.recorder.stop = None;
        self.jobs = None;
        late.append(&mut self.recorder.crew.join(clock, end));
        for name in &late {
            warn!("thread {name} did not end within {} s", grace.as_secs());
        }
        Summary { late, ..self.summary(clock) }
    }
}

fn load_model(config: &Config) -> Result<Arc<Model>, DaemonError> {
    let model = Arc::new(Model::load(&config.model.manifest).map_err(DaemonError::Model)?);
    model.verify(&super::read_picture).map_err(DaemonError::Model)?;
    info!("model {} loaded, {} golden pictures verified", model.manifest().id, model.manifest().golden.len());
    Ok(model)
}

fn load_detector(config: &Config) -> Result<Option<Arc<DetectorModel>>, DaemonError> {
    let Some(settings) = &config.detector else { return Ok(None) };
    let detector = DetectorModel::load(settings).map_err(DaemonError::Model)?;
    info!("detector {} loaded", detector.manifest().id);
    Ok(Some(Arc::new(detector)))
}

/// Passes a committed grant on to the doors. They hold one at a time: what does not fit is refused, not queued.
fn pass_grant(gate: &DoorGate, recorded: &Recorded) -> Option<Outcome> {
    let grant = Grant::of(&recorded.event)?;
    match gate.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
        Some(doors) => grant.hand_over(doors),
        None => Some(Outcome::Refused("the daemon is stopping".to_owned())),
    }
}
