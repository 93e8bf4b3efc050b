//! A second reading of the rules, for tests: from the start of the story at every step, slowly and without any of
//! the engine's parts.

use std::time::Duration;

use jiff::civil::{Weekday, time};

use super::scripts::{secs, set};
use super::*;
use crate::domain::*;

/// 2026-03-02T00:00:00Z, a Monday.
pub(super) const MONDAY_US: i64 = 1_772_409_600_000_000;

/// Whether `rule` may take the prediction as evidence.
pub(super) fn counts(rule: &Rule, p: &Prediction) -> bool {
    match p.answer() {
        Answer::Unknown => rule.answers.contains(&Answer::Unknown),
        answer => {
            rule.answers.contains(&answer) && p.score() >= rule.min_score.get() && p.margin() >= rule.margin
        }
    }
}

/// The predictions of one camera and zone up to and with input `upto`, each with whether the camera was lost
/// since the one before.
pub(super) fn history<'a>(
    story: &'a [(Stamp, Input)],
    upto: usize,
    of: &Prediction,
) -> Vec<(bool, &'a Prediction)> {
    let mut lost = false;
    let mut history = Vec::new();
    for (_, input) in &story[..=upto] {
        match input {
            Input::Prediction(p) if p.camera == of.camera && p.zone == of.zone => {
                history.push((std::mem::take(&mut lost), p));
            }
            Input::CameraHealth { camera, state: CameraState::Offline | CameraState::Stalled } => {
                lost |= *camera == of.camera;
            }
            _ => {}
        }
    }
    history
}

/// For each prediction of a history, whether `rule`'s agreement is met there.
pub(super) fn agreed(rule: &Rule, history: &[(bool, &Prediction)], gap: Duration) -> Vec<bool> {
    let agreed = |end: usize| {
        let newest = history[end].1.frame.stamp.mono_us();
        let mut counted = 0;
        for back in 0..usize::try_from(rule.agree.n).unwrap() {
            let Some(i) = end.checked_sub(back) else { break };
            let age_us = newest - history[i].1.frame.stamp.mono_us();
            if u128::from(age_us) > rule.agree.within.as_micros() {
                break;
            }
            counted += u32::from(counts(rule, history[i].1));
            if history[i].0 {
                break; // everything before was forgotten
            }
        }
        counted >= rule.agree.k
    };
    let mut met: Vec<bool> = Vec::new();
    for i in 0..history.len() {
        // It begins on a prediction that counts and goes on while the agreement lasts.
        let goes_on = i > 0 && met[i - 1] && !history[i].0 && {
            let apart = history[i].1.frame.stamp.since(history[i - 1].1.frame.stamp);
            apart < gap
        };
        met.push(agreed(i) && (goes_on || counts(rule, history[i].1)));
    }
    met
}

/// Whether `rule` matches on the last prediction of a history.
pub(super) fn matches(rule: &Rule, history: &[(bool, &Prediction)], gap: Duration) -> bool {
    let agreed = agreed(rule, history, gap);
    let at = |i: usize| history[i].1.frame.stamp;
    let last = history.len() - 1;
    if !agreed[last] || !counts(rule, history[last].1) {
        return false;
    }
    let mut since = last;
    while since > 0 && agreed[since - 1] && !history[since].0 && at(since).since(at(since - 1)) < gap {
        since -= 1;
    }
    at(last).since(at(since)) >= rule.hold && open(rule, at(last).wall_us())
}

/// The same by the pictures alone that are not withheld: the others are there, and show nobody.
pub(super) fn matches_openly(rule: &Rule, history: &[(bool, &Prediction)], gap: Duration) -> bool {
    let nobody = |p: &Prediction| Prediction {
        top: vec![(Label::new("nobody").unwrap(), Score::new(p.score()).unwrap())],
        rejected: false,
        ..p.clone()
    };
    let open: Vec<(bool, Prediction)> = history
        .iter()
        .map(|(lost, p)| (*lost, if p.withheld.is_some() { nobody(p) } else { (*p).clone() }))
        .collect();
    let open: Vec<(bool, &Prediction)> = open.iter().map(|(lost, p)| (*lost, p)).collect();
    matches(rule, history, gap) && matches(rule, &open, gap)
}

/// `workdays` by arithmetic on days since a Monday.
pub(super) fn open(rule: &Rule, wall_us: i64) -> bool {
    let Some(during) = &rule.during else { return true };
    let hours = (wall_us - MONDAY_US).div_euclid(3_600_000_000);
    let (day, hour) = (hours.div_euclid(24).rem_euclid(7), hours.rem_euclid(24));
    (day < 5 && (8..18).contains(&hour)) != during.negated
}

pub(super) fn trusted(story: &[(Stamp, Input)], upto: usize) -> bool {
    let told = |(_, input): &(Stamp, Input)| match input {
        Input::ClockSync(synchronised) => Some(*synchronised),
        _ => None,
    };
    story[..=upto].iter().rev().find_map(told).unwrap_or(true)
}

pub(super) fn may_grant(
    rule: &Rule,
    door: &DoorId,
    story: &[(Stamp, Input)],
    upto: usize,
    p: &Prediction,
) -> bool {
    rule.actions.contains(&Action::Authorise(door.clone()))
        && rule.cameras.contains(&p.camera)
        && rule.zone == p.zone
        && (rule.during.is_none() || trusted(story, upto))
        && matches_openly(rule, &history(story, upto, p), secs(3.0))
}

#[test]
fn the_oracle_knows_the_schedule() {
    let workdays = &set(&[]).schedules[&ScheduleId::new("workdays").unwrap()];
    assert_eq!((workdays.from, workdays.to), (time(8, 0, 0, 0), time(18, 0, 0, 0)));
    assert_eq!(workdays.days.first(), Some(&Weekday::Monday));
}
