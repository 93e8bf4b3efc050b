//! The tracks before one camera, and the rules that follow them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::deed::{Doing, Happened, Step};
use super::reason;
use super::schedule::{Gate, Moment};
use super::view::{Context, words};
use super::watch::{Standing, Watch};
use super::window::{Digest, Tally, Window};
use super::{Rule, RuleSet, Trigger};
use crate::domain::{
    Answer, Decision, FrameSeq, Label, ModelId, NormRect, Observation, Prediction, Scene, Score, Stamp,
    Track, TrackId, TrackRef, Verdict,
};

/// A track that was not seen for longer is no longer counted, although it is not given up yet.
const FRESH: Duration = Duration::from_secs(1);

/// What is known of the things before one camera.
#[derive(Debug, Clone, Default)]
pub(super) struct Stage {
    /// One per rule that follows tracks here, in configuration order.
    watches: Vec<Watch>,
    lives: BTreeMap<TrackId, Life>,
    newest: Option<(u64, FrameSeq)>,
    /// The run of the camera's time that the tracks belong to.
    run: u32,
}

/// One track.
#[derive(Debug, Clone)]
struct Life {
    rect: NormRect,
    /// When it was last known to be there.
    seen: Stamp,
    window: Window,
    last: Option<Prediction>,
    /// One per watch.
    doings: Vec<Doing>,
}

impl Stage {
    /// Adds the rule at place `position` of the set.
    pub(super) fn add(&mut self, position: usize) {
        if self.watches.last().is_none_or(|watch| watch.rule != position) {
            self.watches.push(Watch { rule: position, ..Watch::default() });
        }
    }

    /// The rules that follow tracks here.
    pub(super) fn watches(&mut self) -> impl Iterator<Item = &mut Watch> {
        self.watches.iter_mut()
    }

    /// Forgets the tracks, as after an outage of the camera; cooldowns stay.
    pub(super) fn blink(&mut self) {
        self.lives.clear();
        self.watches.iter_mut().for_each(Watch::blink);
    }

    /// Takes in what a frame shows; `None` when it came too late to count.
    pub(super) fn step(&mut self, scene: &Scene, context: &mut Context<'_>) -> Option<Vec<Decision>> {
        let at = scene.frame.stamp;
        let key = (at.mono_us(), scene.frame.seq);
        if self.newest.is_some_and(|newest| key <= newest) {
            return None;
        }
        self.newest = Some(key);
        if std::mem::replace(&mut self.run, scene.frame.run) != scene.frame.run {
            self.blink();
        }
        let moment = Moment::new(context.rules, at.wall_us());
        let mut decisions = Vec::new();
        match &scene.tracks {
            Some(tracks) => {
                for track in &tracks.seen {
                    self.see(track, scene, &moment, context, &mut decisions);
                }
                for id in &tracks.gone {
                    self.lose(*id, scene, &moment, context, &mut decisions);
                }
            }
            None => self.lives.values_mut().for_each(|life| life.seen = at),
        }
        for index in 0..self.watches.len() {
            self.weigh(index, scene, &moment, context, &mut decisions);
        }
        Some(decisions)
    }

    /// Takes over the tracks of before, and of each rule that keeps its name what it knew of them.
    pub(super) fn carry(&mut self, old: Stage, rules: &RuleSet, old_rules: &RuleSet) {
        let place = |watch: &Watch| {
            let rule = &rules.rules[watch.rule];
            old.watches.iter().position(|old| old_rules.rules[old.rule].id == rule.id)
        };
        let places: Vec<Option<usize>> = self.watches.iter().map(place).collect();
        for (watch, place) in self.watches.iter_mut().zip(&places) {
            let Some(place) = *place else { continue };
            let (rule, old_rule) = (&rules.rules[watch.rule], &old_rules.rules[old.watches[place].rule]);
            watch.last_fired = old.watches[place].last_fired;
            if rule.zone == old_rule.zone && rule.trigger == old_rule.trigger {
                *watch = Watch { rule: watch.rule, ..old.watches[place].clone() };
            }
        }
        (self.newest, self.run) = (old.newest, old.run);
        for (id, life) in old.lives {
            let doing = |(watch, place): (&Watch, &Option<usize>)| {
                let place = (*place)?;
                let (rule, old_rule) = (&rules.rules[watch.rule], &old_rules.rules[old.watches[place].rule]);
                if rule.zone != old_rule.zone || rule.trigger != old_rule.trigger {
                    return None;
                }
                let mut doing = life.doings.get(place)?.clone();
                if rule.answers != old_rule.answers {
                    doing.doubt();
                }
                Some(doing)
            };
            let doings =
                self.watches.iter().zip(&places).map(|pair| doing(pair).unwrap_or_default()).collect();
            self.lives.insert(id, Life { doings, ..life });
        }
    }

    /// One track in the picture.
    fn see(
        &mut self,
        track: &Track,
        scene: &Scene,
        moment: &Moment<'_>,
        context: &mut Context<'_>,
        decisions: &mut Vec<Decision>,
    ) {
        let at = scene.frame.stamp;
        let before = self.lives.get(&track.id).map(|life| life.rect.foot());
        let watches = self.watches.len();
        let life = self.lives.entry(track.id).or_insert_with(|| Life {
            rect: track.rect,
            seen: at,
            window: Window::default(),
            last: None,
            doings: vec![Doing::default(); watches],
        });
        (life.rect, life.seen) = (track.rect, at);
        if let Some(prediction) = &track.prediction
            && life.window.push(prediction)
        {
            life.last = Some(prediction.clone());
        }
        let foot = life.rect.foot();
        for (index, watch) in self.watches.iter().enumerate() {
            let rule = &context.rules.rules[watch.rule];
            let Trigger::Track(deed) = &rule.trigger else { continue };
            let line = match deed {
                super::Deed::Crossed { line, .. } => {
                    context.rules.places.lines.get(&(scene.camera.clone(), line.clone()))
                }
                _ => None,
            };
            let is_inside = is_inside(rule, scene, foot, context.rules);
            let step = Step { at, before, foot, is_inside, is_meant: life.is_meant(rule), line };
            let happened = life.doings[index].step(deed, &step, rule.hold, rule.agree.within);
            if let Some(happened) = happened {
                tell(track.id, life, index, rule, watch, happened, scene, moment, context, decisions);
            }
        }
    }

    /// One track that was given up.
    fn lose(
        &mut self,
        id: TrackId,
        scene: &Scene,
        moment: &Moment<'_>,
        context: &mut Context<'_>,
        decisions: &mut Vec<Decision>,
    ) {
        let Some(mut life) = self.lives.remove(&id) else { return };
        for (index, watch) in self.watches.iter().enumerate() {
            let rule = &context.rules.rules[watch.rule];
            let Trigger::Track(deed) = &rule.trigger else { continue };
            if let Some(happened) = life.doings[index].end(deed, life.seen) {
                tell(id, &mut life, index, rule, watch, happened, scene, moment, context, decisions);
            }
        }
    }

    /// What a frame says as a whole: numbers and shares.
    fn weigh(
        &mut self,
        index: usize,
        scene: &Scene,
        moment: &Moment<'_>,
        context: &mut Context<'_>,
        decisions: &mut Vec<Decision>,
    ) {
        let at = scene.frame.stamp;
        let position = self.watches[index].rule;
        let rule = &context.rules.rules[position];
        let (holds, fact) = match &rule.trigger {
            Trigger::Count(count) => {
                let n = u32::try_from(self.counted(rule, scene, context.rules).count()).unwrap_or(u32::MAX);
                (count.holds(n), reason::Fact::Number(n))
            }
            Trigger::Covered(least) => {
                let Some((_, share)) = scene.covered.iter().find(|(zone, _)| *zone == rule.zone) else {
                    return;
                };
                (*share >= least.get(), reason::Fact::Share(*share))
            }
            _ => return,
        };
        let watch = &mut self.watches[index];
        watch.note(holds, at, context.rules.presence_gap);
        if watch.spent.is_some() || watch.standing(rule, at, moment) != Standing::Matches {
            return;
        }
        if !watch.fire(rule, &mut context.ledgers[position], at) {
            return;
        }
        let held = watch.agreed_since.map_or(Duration::ZERO, |since| at.since(since));
        let reason = reason::fact(rule, &fact, held);
        let witness = self.counted(rule, scene, context.rules).next();
        let seen = Seen { witness: witness.map(|(_, life)| life), track: None };
        decisions.extend(words(rule).map(|verdict| seen.decide(rule, verdict, &reason, scene, context.now)));
    }

    /// The tracks that a number is made of.
    fn counted<'a>(
        &'a self,
        rule: &'a Rule,
        scene: &'a Scene,
        rules: &'a RuleSet,
    ) -> impl Iterator<Item = (&'a TrackId, &'a Life)> {
        self.lives.iter().filter(move |(_, life)| {
            scene.frame.stamp.since(life.seen) <= FRESH
                && life.is_meant(rule)
                && is_inside(rule, scene, life.rect.foot(), rules)
        })
    }
}

impl Life {
    /// Whether enough of what was said of it agrees on one of the rule's answers.
    fn is_meant(&self, rule: &Rule) -> bool {
        rule.answers.is_empty() || self.window.agrees(self.register(rule), &rule.agree)
    }

    fn register(&self, rule: &Rule) -> u64 {
        self.window.register(|seen| rule.answers.is_empty() || seen.counts_for(rule))
    }
}

/// Whether something that stands at `foot` is in the rule's zone.
fn is_inside(rule: &Rule, scene: &Scene, foot: (f32, f32), rules: &RuleSet) -> bool {
    let Some(zone) = &rule.zone else { return true };
    let shape = rules.places.zones.get(&(scene.camera.clone(), zone.clone()));
    shape.is_some_and(|shape| shape.contains(foot.0, foot.1))
}

/// Fires `rule` at a track, unless its schedule, its cooldown for this track or its budget keep it.
#[expect(clippy::too_many_arguments, reason = "one deed, its rule, its track and the frame; all are needed")]
fn tell(
    id: TrackId,
    life: &mut Life,
    index: usize,
    rule: &Rule,
    watch: &Watch,
    happened: Happened,
    scene: &Scene,
    moment: &Moment<'_>,
    context: &mut Context<'_>,
    decisions: &mut Vec<Decision>,
) {
    if moment.gate(rule.during.as_ref()) != Gate::Open {
        return;
    }
    let at = scene.frame.stamp;
    let doing = &mut life.doings[index];
    doing.settle();
    // The watch itself knows of firings of an earlier run alone, whose tracks are gone.
    let position = watch.rule;
    let mut own = Watch { last_fired: doing.fired.max(watch.last_fired), ..Watch::default() };
    let fires = own.fire(rule, &mut context.ledgers[position], at);
    if fires {
        doing.fired = own.last_fired;
    }
    if !fires {
        return;
    }
    let seen = Seen { witness: Some(life), track: Some(TrackRef { id, rect: life.rect }) };
    let (tally, digest) = seen.smoothed(rule, scene);
    let reason = reason::deed(rule, id, happened, tally, &digest);
    decisions.extend(words(rule).map(|verdict| seen.decide(rule, verdict, &reason, scene, context.now)));
}

/// What a decision about tracks rests on.
struct Seen<'a> {
    witness: Option<&'a Life>,
    track: Option<TrackRef>,
}

impl Seen<'_> {
    /// What the window of the witness says; of what nobody was asked, that it moved.
    fn smoothed(&self, rule: &Rule, scene: &Scene) -> (Tally, Digest) {
        let said = self.witness.and_then(|life| {
            let register = life.register(rule);
            Some((life.window.tally(register, &rule.agree), life.window.digest(register, &rule.agree)?))
        });
        said.unwrap_or_else(|| {
            let answer = Label::new("motion").map_or(Answer::Unknown, Answer::Label);
            let (first, last) = (scene.frame.stamp, scene.frame.stamp);
            (Tally { agreed: 1, of: 1 }, Digest { answer, mean: Score::CERTAIN, first, last })
        })
    }

    fn decide(&self, rule: &Rule, verdict: Verdict, reason: &str, scene: &Scene, now: Stamp) -> Decision {
        let (tally, digest) = self.smoothed(rule, scene);
        let last = self.witness.and_then(|life| life.last.as_ref());
        Decision {
            rule: Some(rule.id.clone()),
            verdict,
            observation: Observation {
                camera: scene.camera.clone(),
                zone: rule.zone.clone(),
                answer: digest.answer,
                agreed: tally.agreed,
                of: tally.of,
                mean: digest.mean,
                first: digest.first,
                last: digest.last,
                track: self.track,
            },
            frame: scene.frame,
            model: last.map_or_else(ModelId::watch, |last| last.model.clone()),
            top: last.map(|last| last.top.clone()).unwrap_or_default(),
            reason: reason.to_owned(),
            at: now,
        }
    }
}
