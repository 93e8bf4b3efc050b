//! One camera and zone: its window, the rules that watch it and the doors they open.

use std::time::Duration;

use super::doorway::Doorway;
use super::ledger::Ledger;
use super::reason;
use super::schedule::Moment;
use super::watch::{Claim, Standing, Watch};
use super::window::{Digest, Seen, Tally, Window};
use super::{Action, Rule, RuleSet};
use crate::domain::{Answer, Decision, DoorId, Observation, Prediction, RuleId, Stamp, Verdict, Withheld};

/// What a step is given beside the prediction.
pub(super) struct Context<'a> {
    pub(super) rules: &'a RuleSet,
    /// One per rule.
    pub(super) ledgers: &'a mut [Ledger],
    /// Whether schedules may grant.
    pub(super) clock_trusted: bool,
    pub(super) now: Stamp,
}

/// The state of one camera and zone.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub(super) window: Window,
    /// The run of the camera's time that all of this belongs to.
    pub(super) run: u32,
    /// Why the last picture that opened no door did not.
    pub(super) withheld: Option<Withheld>,
    /// Which predictions were somebody rather than background, as a register.
    pub(super) somebody: u64,
    /// One per rule that watches here, in configuration order.
    pub(super) watches: Vec<Watch>,
    pub(super) doorways: Vec<Doorway>,
}

/// Whether a prediction is a presence: any answer but the background labels, *unknown* included.
pub(super) fn is_somebody(seen: &Seen, rules: &RuleSet) -> bool {
    match &seen.answer {
        Answer::Label(label) => !rules.background.contains(label),
        Answer::Unknown => true,
    }
}

impl View {
    /// Adds the rule at place `position` of the set as the next watch.
    pub(super) fn add(&mut self, position: usize, rule: &Rule) {
        if self.watches.last().is_some_and(|watch| watch.rule == position) {
            return;
        }
        let watch = self.watches.len();
        self.watches.push(Watch { rule: position, ..Watch::default() });
        for door in rule.doors() {
            let place = self.doorways.iter().position(|doorway| doorway.door == *door).unwrap_or_else(|| {
                self.doorways.push(Doorway::new(door.clone()));
                self.doorways.len() - 1
            });
            self.doorways[place].add(watch, rule);
        }
    }

    /// Forgets what was seen, as after an outage of the camera; cooldowns stay.
    pub(super) fn blink(&mut self) {
        self.window.clear();
        self.somebody = 0;
        self.watches.iter_mut().for_each(Watch::blink);
    }

    /// Takes in a prediction. `None` when it came too late to count.
    pub(super) fn step(
        &mut self,
        prediction: &Prediction,
        mut context: Context<'_>,
    ) -> Option<Vec<Decision>> {
        if !self.window.admits(prediction) {
            return None;
        }
        if std::mem::replace(&mut self.run, prediction.frame.run) != prediction.frame.run {
            self.blink();
        }
        self.window.push(prediction);
        self.withheld = prediction.withheld.or(self.withheld);
        self.observe(context.rules);
        let moment = Moment::new(context.rules, prediction.frame.stamp.wall_us());
        let mut decisions = Vec::new();
        for watch in 0..self.watches.len() {
            self.judge(watch, prediction, &moment, &mut context, &mut decisions);
        }
        self.deny(prediction, &moment, &context, &mut decisions);
        Some(decisions)
    }

    /// Brings every watch and every doorway up to the newest prediction.
    fn observe(&mut self, rules: &RuleSet) {
        let Some(newest) = self.window.last() else { return };
        self.somebody = self.somebody << 1 | u64::from(is_somebody(newest, rules));
        for watch in &mut self.watches {
            watch.observe(&rules.rules[watch.rule], &self.window, rules.presence_gap);
        }
        for doorway in &mut self.doorways {
            let watches = || doorway.watches.iter().map(|&i| &self.watches[i]);
            // A rule may wait for a background label; what it agrees on is a presence too, but is never denied.
            let agreed = watches().any(|watch| {
                let agree = &rules.rules[watch.rule].agree;
                watch.agreed_since.is_some() || self.window.agrees(self.somebody, agree)
            });
            let newest_agrees = self.somebody & 1 == 1 || watches().any(|watch| watch.register & 1 == 1);
            doorway.observe(agreed, newest_agrees, newest.at, rules.presence_gap);
        }
    }

    /// Lets one rule speak: nothing, a suppressed firing, or its decisions, grants first.
    fn judge(
        &mut self,
        index: usize,
        prediction: &Prediction,
        moment: &Moment<'_>,
        context: &mut Context<'_>,
        decisions: &mut Vec<Decision>,
    ) {
        let at = prediction.frame.stamp;
        let watch = &self.watches[index];
        let position = watch.rule;
        let rules = context.rules;
        let rule = &rules.rules[position];
        if watch.standing(rule, at, moment) != Standing::Matches {
            return;
        }
        let may_grant = (context.clock_trusted || rule.during.is_none()) && watch.is_proven(rule, at);
        let grants: Vec<&DoorId> = if may_grant && watch.spent.is_none() {
            rule.doors().filter(|door| !self.is_taken(index, door, rules)).collect()
        } else {
            Vec::new()
        };
        let watch = &mut self.watches[index];
        if may_grant {
            watch.claim(Claim::Decides);
        }
        if watch.spent.is_some() || (grants.is_empty() && !rule.speaks()) {
            return;
        }
        if !watch.fire(rule, &mut context.ledgers[position], at) {
            return;
        }
        if !grants.is_empty() {
            watch.claim(Claim::Granted);
        }
        self.fire(index, &grants, prediction, context, decisions);
    }

    /// Whether another rule's match keeps the rule of watch `index` from opening `door`.
    fn is_taken(&self, index: usize, door: &DoorId, rules: &RuleSet) -> bool {
        self.watches.iter().enumerate().any(|(i, other)| {
            let keeps = match other.claim {
                Claim::None => false,
                Claim::Decides => i < index,
                Claim::Granted => i != index,
            };
            keeps && rules.rules[other.rule].opens(door)
        })
    }

    fn fire(
        &mut self,
        index: usize,
        grants: &[&DoorId],
        prediction: &Prediction,
        context: &Context<'_>,
        decisions: &mut Vec<Decision>,
    ) {
        let watch = &self.watches[index];
        let rule = &context.rules.rules[watch.rule];
        // A rule that matches has at least one prediction that counts.
        // A grant is recorded with what it rests on.
        let (register, since) = match grants {
            [] => (watch.register, watch.agreed_since),
            _ => (watch.proof, watch.proven_since),
        };
        let Some(digest) = self.window.digest(register, &rule.agree) else { return };
        let tally = self.window.tally(register, &rule.agree);
        let held = since.map_or(Duration::ZERO, |since| prediction.frame.stamp.since(since));
        let reason = reason::firing(rule, tally, &digest, held);
        let observation = observation(prediction, tally, digest);
        let grants = grants.iter().map(|door| Verdict::Authorise { door: (*door).clone() });
        for verdict in grants.chain(words(rule)) {
            if let Verdict::Authorise { door } = &verdict {
                self.doorways.iter_mut().filter(|d| d.door == *door).for_each(|d| d.presence.granted = true);
            }
            let (observation, reason) = (observation.clone(), reason.clone());
            decisions.push(decide(
                Some(rule.id.clone()),
                verdict,
                observation,
                reason,
                prediction,
                context.now,
            ));
        }
    }

    /// Denies whoever has stood long enough before a door that no rule opened.
    fn deny(
        &mut self,
        prediction: &Prediction,
        moment: &Moment<'_>,
        context: &Context<'_>,
        decisions: &mut Vec<Decision>,
    ) {
        if self.somebody & 1 == 0 {
            return;
        }
        let at = prediction.frame.stamp;
        let rules = &context.rules.rules;
        for doorway in &mut self.doorways {
            let mut agreements = doorway.watches.iter().map(|&i| &rules[self.watches[i].rule].agree);
            let witness = agreements.find(|agree| self.window.agrees(self.somebody, agree));
            let Some(agree) = witness else { continue };
            let Some(stood) = doorway.deny(at) else { continue };
            let Some(digest) = self.window.digest(self.somebody, agree) else { continue };
            let refusals: Vec<(&Rule, String)> = doorway
                .watches
                .iter()
                .map(|&i| {
                    let watch = &self.watches[i];
                    let rule = &rules[watch.rule];
                    let standing = watch.standing(rule, at, moment);
                    let grounds = reason::Grounds {
                        standing,
                        clock_trusted: context.clock_trusted,
                        withheld: prediction.withheld,
                        lacked: self.withheld.filter(|_| !watch.is_proven(rule, at)),
                    };
                    (rule, reason::refusal(rule, watch, &self.window, &grounds))
                })
                .collect();
            let reason = reason::denial(stood, &refusals);
            let observation = observation(prediction, self.window.tally(self.somebody, agree), digest);
            let verdict = Verdict::Deny { door: doorway.door.clone() };
            decisions.push(decide(None, verdict, observation, reason, prediction, context.now));
        }
    }
}

/// The verdicts of a rule's actions other than opening doors.
pub(super) fn words(rule: &Rule) -> impl Iterator<Item = Verdict> {
    rule.actions.iter().filter_map(|action| match action {
        Action::Authorise(_) => None,
        Action::Alert { severity, snapshot } => {
            Some(Verdict::Alert { severity: *severity, snapshot: *snapshot })
        }
        Action::Log => Some(Verdict::Log),
    })
}

fn observation(prediction: &Prediction, tally: Tally, digest: Digest) -> Observation {
    Observation {
        camera: prediction.camera.clone(),
        zone: prediction.zone.clone(),
        answer: digest.answer,
        agreed: tally.agreed,
        of: tally.of,
        mean: digest.mean,
        first: digest.first,
        last: digest.last,
        track: None,
    }
}

fn decide(
    rule: Option<RuleId>,
    verdict: Verdict,
    observation: Observation,
    reason: String,
    prediction: &Prediction,
    at: Stamp,
) -> Decision {
    Decision {
        rule,
        verdict,
        observation,
        frame: prediction.frame,
        model: prediction.model.clone(),
        top: prediction.top.clone(),
        reason,
        at,
    }
}
