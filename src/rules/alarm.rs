//! Cameras that somebody has laid hands on.
//!
//! Each change to a tampered state is a decision: by the rules that wait for it, or, where a camera has none, by
//! nobody, so that it is remembered in any case. Such a rule opens no door, and a schedule, its cooldown and its
//! budget hold as for any other.

use super::ledger::Ledger;
use super::reason;
use super::schedule::{Gate, Moment};
use super::view::{Context, words};
use super::watch::Watch;
use super::{Rule, Trigger};
use crate::domain::{
    Answer, CameraId, Decision, FrameRef, Label, ModelId, Observation, RuleId, Score, Stamp, Tamper, Verdict,
};

/// What is known of one camera, and the rules that wait for its being tampered with.
#[derive(Debug, Clone, Default)]
pub(super) struct Alarms {
    pub(super) state: Option<Tamper>,
    pub(super) watches: Vec<Watch>,
}

impl Alarms {
    /// Adds the rule at place `position` of the set.
    pub(super) fn add(&mut self, position: usize) {
        if self.watches.last().is_none_or(|watch| watch.rule != position) {
            self.watches.push(Watch { rule: position, ..Watch::default() });
        }
    }

    /// Takes in what is known now; only a change to a tampered state leads to decisions.
    pub(super) fn step(
        &mut self,
        camera: &CameraId,
        tamper: Option<Tamper>,
        frame: FrameRef,
        context: &mut Context<'_>,
    ) -> Vec<Decision> {
        let before = std::mem::replace(&mut self.state, tamper);
        let (Some(tamper), true) = (tamper, before != tamper) else { return Vec::new() };
        let told = |rule: Option<&Rule>, verdict: Verdict, now: Stamp| {
            let id = rule.map(|rule| rule.id.clone());
            decision(id, verdict, camera, tamper, frame, reason::tampered(tamper, rule), now)
        };
        if self.watches.is_empty() {
            return vec![told(None, Verdict::Log, context.now)];
        }
        let moment = Moment::new(context.rules, frame.stamp.wall_us());
        let mut decisions = Vec::new();
        for watch in &mut self.watches {
            let rule = &context.rules.rules[watch.rule];
            let waits = matches!(&rule.trigger, Trigger::Tamper(kinds) if kinds.contains(&tamper));
            if !waits || moment.gate(rule.during.as_ref()) != Gate::Open {
                continue;
            }
            let ledger: &mut Ledger = &mut context.ledgers[watch.rule];
            if watch.fire(rule, ledger, frame.stamp) {
                decisions.extend(words(rule).map(|verdict| told(Some(rule), verdict, context.now)));
            }
        }
        decisions
    }
}

fn decision(
    rule: Option<RuleId>,
    verdict: Verdict,
    camera: &CameraId,
    tamper: Tamper,
    frame: FrameRef,
    reason: String,
    at: Stamp,
) -> Decision {
    let answer = Label::new(tamper.as_str()).map_or(Answer::Unknown, Answer::Label);
    let observation = Observation {
        camera: camera.clone(),
        zone: None,
        answer,
        agreed: 1,
        of: 1,
        mean: Score::CERTAIN,
        first: frame.stamp,
        last: frame.stamp,
        track: None,
    };
    Decision { rule, verdict, observation, frame, model: ModelId::watch(), top: Vec::new(), reason, at }
}
