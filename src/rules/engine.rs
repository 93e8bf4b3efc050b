//! The engine: one input in, the decisions it leads to out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::alarm::Alarms;
use super::ledger::Ledger;
use super::scene::Stage;
use super::view::{Context, View, is_somebody};
use super::watch::Watch;
use super::{Input, Rule, RuleSet, Trigger};
use crate::domain::{CameraId, CameraState, Decision, DoorId, Prediction, RuleId, Scene, Stamp, ZoneId};

/// How long the limits of a rule that was taken out are remembered.
const HOUR: Duration = Duration::from_secs(3_600);

/// The state of all rules. See the [room's page](super) for what decides what.
#[derive(Debug, Clone)]
pub struct Engine {
    rules: Arc<RuleSet>,
    /// The cameras and zones that some rule watches; predictions of others are nobody's.
    views: BTreeMap<CameraId, BTreeMap<Option<ZoneId>, View>>,
    /// What was done to each camera, and who waits for it.
    alarms: BTreeMap<CameraId, Alarms>,
    /// The tracks before the cameras that some rule follows.
    stages: BTreeMap<CameraId, Stage>,
    /// One per rule, in configuration order.
    ledgers: Vec<Ledger>,
    /// What was last heard of each door that some rule opens.
    doors: BTreeMap<DoorId, DoorFacts>,
    mode: Option<String>,
    clock_trusted: bool,
    ignored: u64,
    /// The limits of rules that a reload has taken out, for an hour: the next may bring them back.
    gone: BTreeMap<RuleId, Gone>,
}

/// What is remembered of a rule that is no longer in force.
#[derive(Debug, Clone)]
struct Gone {
    /// When it was taken out.
    at: Stamp,
    ledger: Ledger,
    /// When it last fired at each camera.
    fired: Vec<(CameraId, Stamp)>,
}

/// What was last heard of a door. Recorded for conditions to come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct DoorFacts {
    /// The second factor last presented: its name, whether it was right, when the engine was told.
    factor: Option<(String, bool, Stamp)>,
    /// Whether it stands open.
    open: Option<bool>,
}

impl Engine {
    /// An engine that has seen nothing yet.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>) -> Self {
        let mut views: BTreeMap<CameraId, BTreeMap<Option<ZoneId>, View>> = BTreeMap::new();
        let mut alarms: BTreeMap<CameraId, Alarms> = BTreeMap::new();
        let mut stages: BTreeMap<CameraId, Stage> = BTreeMap::new();
        for (position, rule) in rules.rules.iter().enumerate() {
            for camera in &rule.cameras {
                match rule.trigger {
                    Trigger::Tamper(_) => alarms.entry(camera.clone()).or_default().add(position),
                    Trigger::Track(_) | Trigger::Count(_) | Trigger::Covered(_) => {
                        stages.entry(camera.clone()).or_default().add(position);
                    }
                    Trigger::Predictions => {
                        let zones = views.entry(camera.clone()).or_default();
                        zones.entry(rule.zone.clone()).or_default().add(position, rule);
                    }
                }
            }
        }
        let doors = rules.rules.iter().flat_map(Rule::doors);
        Self {
            views,
            alarms,
            stages,
            ledgers: vec![Ledger::default(); rules.rules.len()],
            doors: doors.map(|door| (door.clone(), DoorFacts::default())).collect(),
            mode: None,
            clock_trusted: true,
            ignored: 0,
            gone: BTreeMap::new(),
            rules,
        }
    }

    /// Takes in one input, told that it is `now`, and returns what is decided, in configuration order, a rule's
    /// grant before its other actions, denials last. Only what was seen in a frame ever leads to a decision; the frame's
    /// stamp is the time that counts, `now` is merely recorded in [`Decision::at`].
    #[must_use]
    pub fn step(&mut self, input: &Input, now: Stamp) -> Vec<Decision> {
        match input {
            Input::Prediction(prediction) => return self.predict(prediction, now),
            Input::Tamper { camera, tamper, frame } => {
                let mut context = Context {
                    rules: &self.rules,
                    ledgers: &mut self.ledgers,
                    clock_trusted: self.clock_trusted,
                    now,
                };
                let alarms = self.alarms.entry(camera.clone()).or_default();
                return alarms.step(camera, *tamper, *frame, &mut context);
            }
            Input::Scene(scene) => return self.follow(scene, now),
            Input::Tick => {}
            Input::CameraHealth { camera, state } => self.health(camera, *state),
            Input::Factor { door, factor, accepted } => {
                self.door(door, |facts| facts.factor = Some((factor.clone(), *accepted, now)));
            }
            Input::Contact { door, open } => self.door(door, |facts| facts.open = Some(*open)),
            Input::Mode(mode) => self.mode = Some(mode.clone()),
            Input::ClockSync(synchronised) => self.clock_trusted = *synchronised,
            Input::ConfigSwap(rules) => self.swap(Arc::clone(rules), now),
        }
        Vec::new()
    }

    /// Takes over that `rule` fired at `camera` before this engine was made, on a frame captured `at`: its cooldown there
    /// and its hourly budget go on. To be called before the first step, for each firing, oldest first. A rule about what
    /// tracks do counts it for every track, as none of before is known any more.
    pub fn remember(&mut self, rule: &RuleId, camera: &CameraId, at: Stamp) {
        let Some(place) = self.rules.rules.iter().position(|known| known.id == *rule) else { return };
        self.ledgers[place].enter(self.rules.rules[place].max_per_hour, at);
        for watch in self.watches(place, camera) {
            watch.last_fired = watch.last_fired.max(Some(at));
        }
    }

    /// The watches of the rule at `place` before `camera`.
    fn watches(&mut self, place: usize, camera: &CameraId) -> impl Iterator<Item = &mut Watch> {
        let views = self.views.get_mut(camera).into_iter().flat_map(BTreeMap::values_mut);
        let watches = views
            .flat_map(|view| &mut view.watches)
            .chain(self.stages.get_mut(camera).into_iter().flat_map(Stage::watches))
            .chain(self.alarms.get_mut(camera).into_iter().flat_map(|alarms| &mut alarms.watches));
        watches.filter(move |watch| watch.rule == place)
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// How many firings of a rule were suppressed by its cooldown or its hourly budget; 0 for an unknown rule.
    #[must_use]
    pub fn suppressed(&self, rule: &RuleId) -> u64 {
        self.suppressions().find(|(id, _)| *id == rule).map_or(0, |(_, count)| count)
    }

    /// Suppressed firings of every rule, in configuration order.
    pub fn suppressions(&self) -> impl Iterator<Item = (&RuleId, u64)> {
        self.rules.rules.iter().map(|rule| &rule.id).zip(self.ledgers.iter().map(|ledger| ledger.suppressed))
    }

    /// Predictions that were ignored because a newer one of the same camera and zone had been there before.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// The mode of the house, as last told.
    #[must_use]
    pub fn mode(&self) -> Option<&str> {
        self.mode.as_deref()
    }

    /// Whether a door stands open, as last told; `None` as well for a door that no rule opens.
    #[must_use]
    pub fn contact(&self, door: &DoorId) -> Option<bool> {
        self.doors.get(door)?.open
    }

    /// The second factor last presented at a door: its name, whether it was right, and when the engine was told.
    #[must_use]
    pub fn factor(&self, door: &DoorId) -> Option<(&str, bool, Stamp)> {
        let (name, accepted, at) = self.doors.get(door)?.factor.as_ref()?;
        Some((name, *accepted, *at))
    }

    fn predict(&mut self, prediction: &Prediction, now: Stamp) -> Vec<Decision> {
        let zones = self.views.get_mut(&prediction.camera);
        let Some(view) = zones.and_then(|zones| zones.get_mut(&prediction.zone)) else { return Vec::new() };
        let context = Context {
            rules: &self.rules,
            ledgers: &mut self.ledgers,
            clock_trusted: self.clock_trusted,
            now,
        };
        view.step(prediction, context).unwrap_or_else(|| {
            self.ignored += 1;
            Vec::new()
        })
    }

    fn follow(&mut self, scene: &Scene, now: Stamp) -> Vec<Decision> {
        let Some(stage) = self.stages.get_mut(&scene.camera) else { return Vec::new() };
        let mut context = Context {
            rules: &self.rules,
            ledgers: &mut self.ledgers,
            clock_trusted: self.clock_trusted,
            now,
        };
        stage.step(scene, &mut context).unwrap_or_else(|| {
            self.ignored += 1;
            Vec::new()
        })
    }

    fn health(&mut self, camera: &CameraId, state: CameraState) {
        if !matches!(state, CameraState::Stalled | CameraState::Offline) {
            return;
        }
        if let Some(zones) = self.views.get_mut(camera) {
            zones.values_mut().for_each(View::blink);
        }
        if let Some(stage) = self.stages.get_mut(camera) {
            stage.blink();
        }
    }

    fn door(&mut self, door: &DoorId, set: impl FnOnce(&mut DoorFacts)) {
        // Doors that no rule opens are not remembered, so memory stays bounded by the configuration.
        if let Some(facts) = self.doors.get_mut(door) {
            set(facts);
        }
    }

    /// Puts `rules` in force and carries over what belongs to those that keep their name.
    fn swap(&mut self, rules: Arc<RuleSet>, now: Stamp) {
        let mut old = std::mem::replace(self, Self::new(rules));
        self.gone = old.take_gone(&self.rules, now);
        self.mode = old.mode.take();
        self.clock_trusted = old.clock_trusted;
        self.ignored = old.ignored;
        for (door, facts) in &mut self.doors {
            *facts = old.doors.remove(door).unwrap_or_default();
        }
        let places: BTreeMap<&RuleId, usize> =
            old.rules.rules.iter().enumerate().map(|(i, rule)| (&rule.id, i)).collect();
        for (rule, ledger) in self.rules.rules.iter().zip(&mut self.ledgers) {
            if let Some(&place) = places.get(&rule.id) {
                *ledger = std::mem::take(&mut old.ledgers[place]);
            }
        }
        for (camera, old) in &old.alarms {
            let alarms = self.alarms.entry(camera.clone()).or_default();
            alarms.state = old.state;
            for watch in &mut alarms.watches {
                let place = places.get(&self.rules.rules[watch.rule].id);
                let known = old.watches.iter().find(|old| Some(&old.rule) == place);
                watch.last_fired = known.and_then(|old| old.last_fired);
            }
        }
        for (camera, stage) in &mut self.stages {
            if let Some(old_stage) = old.stages.remove(camera) {
                stage.carry(old_stage, &self.rules, &old.rules);
            }
        }
        for (camera, zones) in &mut self.views {
            let Some(old_zones) = old.views.get(camera) else { continue };
            for (zone, view) in zones {
                let old_view = old_zones.get(zone);
                carry_view(view, old_view, &self.rules);
                for watch in &mut view.watches {
                    let rule = &self.rules.rules[watch.rule];
                    let Some(&place) = places.get(&rule.id) else { continue };
                    let old_rule = &old.rules.rules[place];
                    let here = old_zones.get(&old_rule.zone);
                    let old_watch = here.and_then(|v| v.watches.iter().find(|w| w.rule == place));
                    if let Some(old_watch) = old_watch {
                        carry_watch(watch, rule, old_watch, old_rule);
                    }
                }
            }
        }
        self.bring_back();
    }

    /// What is to be remembered of the rules that `new` leaves out, and still is of others.
    fn take_gone(&mut self, new: &RuleSet, now: Stamp) -> BTreeMap<RuleId, Gone> {
        let mut gone = std::mem::take(&mut self.gone);
        gone.retain(|_, rule| now.since(rule.at) < HOUR);
        let rules = Arc::clone(&self.rules);
        let left_out = |rule: &Rule| !new.rules.iter().any(|other| other.id == rule.id);
        for (place, rule) in rules.rules.iter().enumerate().filter(|(_, rule)| left_out(rule)) {
            let mut fired = Vec::new();
            for camera in &rule.cameras {
                let last = self.watches(place, camera).filter_map(|watch| watch.last_fired).max();
                fired.extend(last.map(|at| (camera.clone(), at)));
            }
            let ledger = std::mem::take(&mut self.ledgers[place]);
            gone.insert(rule.id.clone(), Gone { at: now, ledger, fired });
        }
        gone
    }

    /// Gives the rules that have come back the limits that they had.
    fn bring_back(&mut self) {
        let rules = Arc::clone(&self.rules);
        for (place, rule) in rules.rules.iter().enumerate() {
            let Some(gone) = self.gone.remove(&rule.id) else { continue };
            self.ledgers[place] = gone.ledger;
            for (camera, at) in gone.fired {
                self.watches(place, &camera).for_each(|watch| watch.last_fired = Some(at));
            }
        }
    }
}

/// Takes over the window and the presences before the doors, and reads the window by the new rules.
fn carry_view(view: &mut View, old: Option<&View>, rules: &RuleSet) {
    let Some(old) = old else { return };
    view.window = old.window.clone();
    (view.run, view.withheld) = (old.run, old.withheld);
    view.somebody = view.window.register(|seen| is_somebody(seen, rules));
    for watch in &mut view.watches {
        let rule = &rules.rules[watch.rule];
        watch.register = view.window.register(|seen| seen.counts_for(rule));
        watch.proof = view.window.register(|seen| seen.proves(rule));
    }
    for doorway in &mut view.doorways {
        if let Some(old) = old.doorways.iter().find(|old| old.door == doorway.door) {
            doorway.presence = old.presence.clone();
        }
    }
}

/// Takes over cooldown and presence. A rule that now asks for other evidence starts its `hold` anew; one that
/// watches another zone now starts a new presence, but its cooldown runs on.
fn carry_watch(watch: &mut Watch, rule: &Rule, old: &Watch, old_rule: &Rule) {
    watch.last_fired = old.last_fired;
    if rule.zone != old_rule.zone {
        return;
    }
    watch.last_met = old.last_met;
    watch.spent = old.spent;
    watch.claim = old.claim;
    let same_evidence = rule.answers == old_rule.answers
        && rule.min_score == old_rule.min_score
        && rule.margin == old_rule.margin
        && rule.agree == old_rule.agree;
    if same_evidence {
        watch.agreed_since = old.agreed_since;
        watch.proven_since = old.proven_since;
    }
}
