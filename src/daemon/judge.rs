//! The rules thread: inputs in, decisions to the recorder.
//!
//! It gives the engine its `now`, keeps what Home Assistant is told of persons, and hands every decision to the
//! recorder. It blocks while the recorder is behind: decisions are never dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender};
use log::{info, warn};

use super::blips::{Blips, Change};
use super::snapshot;
use crate::clock::Clock;
use crate::domain::{
    Answer, CameraId, CameraState, Decision, Frame, ModelId, NormRect, Prediction, RuleId, Scene, Stamp,
    Tamper, Verdict,
};
use crate::evidence::Wish;
use crate::notify::States;
use crate::pool::{Seen, Sighted};
use crate::rules::{Engine, Input, RuleSet};
use crate::shutdown::Stop;
use crate::store::{Job, NewEvent, Picture};
use crate::track::{self, Tracker};

/// How often the engine is told that time passes.
const TICK: Duration = Duration::from_millis(250);

/// What each rule wants to be kept beside its events.
pub(super) type Wishes = BTreeMap<RuleId, Wish>;

/// What reaches the rules thread.
pub(super) enum ToRules {
    /// Predictions of one look.
    Seen(Seen),
    /// A camera changed its state, and why.
    Health(CameraId, CameraState, String),
    /// What was done to a camera, with the frame that made it certain; `None` when all is well again.
    Tamper(Option<Tamper>, Arc<Frame>),
    /// New rules, with what each wants to be kept, and the hash of the configuration they come from.
    Swap(Arc<RuleSet>, Arc<Wishes>, Arc<str>),
    /// Whether the wall clock is synchronised.
    ClockSync(bool),
}

/// Counters and heartbeat of the rules thread.
#[derive(Debug, Default)]
pub(super) struct JudgeHealth {
    /// Grows with every turn of the loop.
    pub(super) beat: AtomicU64,
    /// Predictions the engine was told.
    pub(super) predictions: AtomicU64,
    /// Tracks begun, over all cameras.
    pub(super) tracks: AtomicU64,
    /// Decisions by verdict: authorise, deny, alert, log.
    pub(super) decisions: [AtomicU64; 4],
    /// Decisions that could not be handed over because the recorder had ended.
    pub(super) lost: AtomicU64,
}

pub(super) struct Judge {
    pub(super) engine: Engine,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) jobs: Sender<Job>,
    pub(super) states: Option<States>,
    pub(super) health: Arc<JudgeHealth>,
    pub(super) model_sha256: Arc<str>,
    /// The detector's name and hash, where there is one.
    pub(super) detector: Option<(ModelId, Arc<str>)>,
    /// How boxes become tracks, and those of each camera.
    pub(super) tracking: track::Settings,
    pub(super) trackers: BTreeMap<CameraId, Tracker>,
    /// The run of each camera's time that its tracks belong to.
    pub(super) runs: BTreeMap<CameraId, u32>,
    pub(super) config_sha256: Arc<str>,
    pub(super) persons: BTreeMap<CameraId, Persons>,
    pub(super) blips: Blips,
    pub(super) wishes: Arc<Wishes>,
}

/// Whether a camera sees somebody: on when two of the last three looks agree, off after the presence gap.
#[derive(Default)]
pub(super) struct Persons {
    recent: [bool; 3],
    looks: usize,
    last: Option<Stamp>,
    shown: bool,
}

impl Judge {
    /// Runs until every sender is gone and the channel is empty; once `stop` is requested an empty channel is
    /// enough, so that a camera thread that hangs in its driver cannot keep the rules, and with them the store, open.
    pub(super) fn run(mut self, inbox: &Receiver<ToRules>, stop: &Stop) {
        let mut ticked = self.clock.now();
        loop {
            self.health.beat.fetch_add(1, Ordering::Relaxed);
            // Not only when the inbox is empty: a busy camera must not hide what became of another.
            let now = self.clock.now();
            if now.since(ticked) >= TICK {
                ticked = now;
                self.tick();
            }
            match inbox.recv_timeout(TICK) {
                Ok(ToRules::Seen(seen)) => self.see(&seen),
                Ok(ToRules::Health(camera, state, why)) => self.health_changed(camera, state, &why),
                Ok(ToRules::Tamper(tamper, frame)) => self.tampered(tamper, &frame),
                Ok(ToRules::Swap(rules, wishes, sha256)) => {
                    self.config_sha256 = sha256;
                    self.wishes = wishes;
                    self.step(&Input::ConfigSwap(rules), None);
                }
                Ok(ToRules::ClockSync(synchronised)) => self.step(&Input::ClockSync(synchronised), None),
                Err(RecvTimeoutError::Timeout) if stop.is_requested() => return,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn see(&mut self, seen: &Seen) {
        for (prediction, rect) in seen.predictions.iter().zip(&seen.rects) {
            self.health.predictions.fetch_add(1, Ordering::Relaxed);
            self.step(&Input::Prediction(prediction.clone()), Some((&seen.frame, Some(*rect))));
        }
        let mut said: Vec<Prediction> = seen.predictions.clone();
        if let Some(sighted) = &seen.sighted {
            said.extend(self.follow(sighted, &seen.frame));
        }
        if !said.is_empty() {
            self.note_persons(&said, seen.frame.camera(), seen.frame.at().stamp);
        }
    }

    /// Makes tracks of what was found of things, and tells the engine. Returns what was said of persons.
    fn follow(&mut self, sighted: &Sighted, frame: &Arc<Frame>) -> Vec<Prediction> {
        let (camera, at) = (frame.camera().clone(), frame.at());
        let settings = self.tracking;
        let tracker = self.trackers.entry(camera.clone()).or_insert_with(|| Tracker::new(settings));
        if self.runs.insert(camera.clone(), at.run).is_some_and(|run| run != at.run) {
            // The camera's time broke: whatever is there now is seen for the first time.
            let _ = tracker.forget();
        }
        let begun = tracker.begun();
        let tracks = match &sighted.things {
            Some(things) => Some(tracker.step(at.stamp, things.clone())),
            None => {
                tracker.rest(at.stamp);
                None
            }
        };
        self.health.tracks.fetch_add(tracker.begun() - begun, Ordering::Relaxed);
        let seen = tracks.iter().flat_map(|tracks| &tracks.seen);
        let detector = self.detector.as_ref().map(|(id, _)| id);
        // A detector may tell of cars as well; what Home Assistant is told of are persons.
        let person = |p: &&Prediction| Some(&p.model) != detector || p.answer().as_str() == "person";
        let persons = seen.filter_map(|track| track.prediction.as_ref()).filter(person).cloned().collect();
        let covered = sighted.covered.clone();
        self.step(&Input::Scene(Scene { camera, frame: at, tracks, covered }), Some((frame, None)));
        persons
    }

    fn health_changed(&mut self, camera: CameraId, state: CameraState, why: &str) {
        if let Some(change) = self.blips.heard(&camera, state, why, self.clock.now()) {
            self.tell(&change);
        }
        if matches!(state, CameraState::Stalled | CameraState::Offline)
            && let Some(tracker) = self.trackers.get_mut(&camera)
        {
            // The engine forgets them as well.
            let _ = tracker.forget();
        }
        self.step(&Input::CameraHealth { camera, state }, None);
    }

    fn tampered(&mut self, tamper: Option<Tamper>, frame: &Arc<Frame>) {
        let camera = frame.camera().clone();
        if let Some(states) = &self.states {
            states.set_tamper(&camera, tamper);
        }
        self.step(&Input::Tamper { camera, tamper, frame: frame.at() }, Some((frame, None)));
    }

    /// Tells the log and the broker of a camera's state.
    fn tell(&self, change: &Change) {
        let Change { camera, state, why } = change;
        let reason = if why.is_empty() { String::new() } else { format!(": {why}") };
        match state {
            CameraState::Offline | CameraState::Stalled | CameraState::Degraded => {
                warn!("camera {camera}: {}{reason}", state.as_str());
            }
            _ => info!("camera {camera}: {}{reason}", state.as_str()),
        }
        if let Some(states) = &self.states {
            states.set_camera(camera, *state, why);
        }
    }

    fn tick(&mut self) {
        for change in self.blips.due(self.clock.now()) {
            self.tell(&change);
        }
        self.step(&Input::Tick, None);
        let (now, gap) = (self.clock.now(), self.engine.rules().presence_gap);
        for (camera, persons) in &mut self.persons {
            if persons.shown && persons.last.is_none_or(|last| now.since(last) > gap) {
                persons.shown = false;
                if let Some(states) = &self.states {
                    states.set_person(camera, false);
                }
            }
        }
    }

    fn note_persons(&mut self, predictions: &[Prediction], camera: &CameraId, at: Stamp) {
        let background = &self.engine.rules().background;
        let somebody = predictions
            .iter()
            .any(|p| matches!(p.answer(), Answer::Label(label) if !background.contains(&label)));
        let persons = self.persons.entry(camera.clone()).or_default();
        persons.recent[persons.looks % 3] = somebody;
        persons.looks += 1;
        if somebody {
            persons.last = Some(at);
        }
        let agreed = persons.recent.iter().filter(|seen| **seen).count() >= 2;
        if agreed && !persons.shown {
            persons.shown = true;
            if let Some(states) = &self.states {
                states.set_person(camera, true);
            }
        }
    }

    /// `seen` is the frame that the input is of, with what was looked at in it.
    fn step(&mut self, input: &Input, seen: Option<(&Arc<Frame>, Option<NormRect>)>) {
        // A file played faster than life stamps its frames ahead of the clock; the engine's time never runs
        // behind the frame it is told of.
        let clock_now = self.clock.now();
        let now = seen.map_or(clock_now, |(frame, _)| frame.at().stamp.max(clock_now));
        for decision in self.engine.step(input, now) {
            self.announce(&decision);
            let pictured = matches!(decision.verdict, Verdict::Alert { snapshot: true, .. });
            let wish = decision.rule.as_ref().and_then(|rule| self.wishes.get(rule));
            let boxed = wish.is_none_or(|wish| wish.boxes);
            let picture = seen.filter(|_| pictured).map_or(Picture::None, |(frame, rect)| {
                let followed = decision.observation.track.map(|track| track.rect);
                let rect = rect.or(followed).filter(|_| boxed);
                snapshot::of(frame, rect.map(|rect| snapshot::mark(&decision, rect)).into_iter().collect())
            });
            let clip = wish.and_then(|wish| wish.clip);
            let detector = self.detector.as_ref().filter(|(id, _)| *id == decision.model);
            let model_sha256 = detector.map_or(&self.model_sha256, |(_, sha256)| sha256);
            self.record(NewEvent {
                model_sha256: Arc::clone(model_sha256),
                decision,
                config_sha256: Arc::clone(&self.config_sha256),
                picture,
                clip,
            });
        }
    }

    fn announce(&self, decision: &Decision) {
        let kind = match decision.verdict {
            Verdict::Authorise { .. } => 0,
            Verdict::Deny { .. } => 1,
            Verdict::Alert { .. } => 2,
            Verdict::Log => 3,
        };
        self.health.decisions[kind].fetch_add(1, Ordering::Relaxed);
        let seen = &decision.observation;
        let place = match &seen.zone {
            Some(zone) => format!("{}/{zone}", seen.camera),
            None => seen.camera.to_string(),
        };
        let rule = decision.rule.as_ref().map_or("no rule matched".to_owned(), |r| format!("rule {r}"));
        info!("{place} frame {}: {} by {rule}: {}", decision.frame.seq, decision.verdict, decision.reason);
    }

    /// Blocks while the recorder is behind, with a beating heart.
    fn record(&self, event: NewEvent) {
        let mut job = Job::Record(event);
        loop {
            match self.jobs.send_timeout(job, TICK) {
                Ok(()) => return,
                Err(SendTimeoutError::Timeout(back)) => job = back,
                Err(SendTimeoutError::Disconnected(_)) => {
                    self.health.lost.fetch_add(1, Ordering::Relaxed);
                    warn!("a decision could not be recorded: the recorder has ended");
                    return;
                }
            }
            self.health.beat.fetch_add(1, Ordering::Relaxed);
        }
    }
}
