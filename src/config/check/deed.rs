//! Rules about tracks and covered zones against what they need: boxes, a motion gate, zones and lines.

use toml::Spanned;

use super::{Models, names};
use crate::config::hint::{did_you_mean, unknown_reference};
use crate::config::problem::Problem;
use crate::config::raw::{Raw, RawCamera, RawRule};
use crate::config::reader::Report;
use crate::domain::{Answer, Score};
use crate::rules::{Places, Trigger};
use crate::watch::{Area, Follow, Tracking};

/// Of so many moving things of a picture the classifier says what they are.
const CROPS: usize = 8;

/// What a rule about tracks or a covered zone needs of its cameras.
pub(super) fn check(rule: &RawRule, cameras: &[&RawCamera], raw: &Raw, report: &Report) {
    line(rule, cameras, report);
    let covers = matches!(rule.trigger, Trigger::Covered(_));
    if !covers && (!rule.follows() || raw.detector.is_some()) {
        return;
    }
    for camera in cameras.iter().filter(|camera| camera.motion.is_none()) {
        let (what, help) = if covers {
            ("tells how much of a zone is covered", "set `motion = true`")
        } else {
            ("follows tracks", "set `motion = true` or add a `[detector]`")
        };
        let message = format!("camera `{}` has nothing that {what}", camera.name());
        report.add(Problem::error(rule.span.clone(), message).label("the rule cannot fire").help(help));
    }
}

/// Every camera must have the line that the rule waits at.
fn line(rule: &RawRule, cameras: &[&RawCamera], report: &Report) {
    let Some(reference) = &rule.crossed else { return };
    let has_it = |camera: &&&RawCamera| !camera.line_ids().any(|id| names(Some(reference), Some(id)));
    for camera in cameras.iter().filter(has_it) {
        let lines: Vec<&str> = camera.line_ids().map(|id| id.text.as_str()).collect();
        let what = format!("line of camera `{}` named", camera.name());
        report.add(unknown_reference(what, reference, &lines));
    }
}

/// The answers of a rule that the detector serves.
pub(super) fn answers(rule: &RawRule, models: Models<'_>, report: &Report) -> Option<Vec<Answer>> {
    let detector = models.detector?;
    let known: Vec<&str> = detector.labels.iter().map(|label| label.as_str()).collect();
    let answer = |reference: &Spanned<String>| {
        let text = reference.get_ref();
        let found = detector.labels.iter().find(|label| label.as_str() == text);
        if found.is_none() {
            let message = format!("the detector tells of no `{text}`");
            let problem = Problem::error(reference.span(), message);
            let problem = problem.label(did_you_mean(text, &known).unwrap_or_default());
            report.add(problem.help(format!("it tells of: {}", known.join(", "))));
        }
        found.cloned().map(Answer::Label)
    };
    let mut answers: Vec<Answer> = Vec::new();
    for answer in rule.labels.iter().filter_map(answer) {
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    Some(answers)
}

/// From which score on a prediction counts for a rule that does not say: what a detector is sure of counts.
pub(super) fn min_score(rule: &RawRule, models: Models<'_>) -> Option<Score> {
    let stated = rule.min_score.span.is_some();
    let detector = models.detector.filter(|_| rule.follows() && !stated);
    Score::new(detector.map_or(rule.min_score.value, |detector| detector.score))
}

/// What is told of a camera's frames for the rules that follow tracks or wait for a covered zone.
pub(super) fn tracking(camera: &RawCamera, raw: &Raw) -> Option<Tracking> {
    let rules = || raw.rules.iter().filter(|rule| rule.listens_to(camera));
    let following: Vec<&RawRule> = rules().filter(|rule| rule.follows()).collect();
    let follow = if following.is_empty() {
        Follow::Nothing
    } else if raw.detector.is_some() {
        Follow::Detector { every: following.iter().filter_map(|rule| rule.every.value).min() }
    } else {
        let asks = following.iter().any(|rule| !rule.labels.is_empty());
        Follow::Motion { crops: if asks { CROPS } else { 0 } }
    };
    let mut areas: Vec<Area> = Vec::new();
    for rule in rules().filter(|rule| matches!(rule.trigger, Trigger::Covered(_))) {
        let zone = camera.zones.iter().find(|zone| names(rule.zone.as_ref(), zone.id.as_ref()));
        let zone = zone.and_then(|zone| zone.zone.as_ref());
        let area =
            Area { zone: zone.map(|zone| zone.id().clone()), shape: zone.map(|zone| zone.shape().clone()) };
        if !areas.contains(&area) {
            areas.push(area);
        }
    }
    (follow != Follow::Nothing || !areas.is_empty()).then_some(Tracking { follow, areas })
}

/// Where all zones and lines are.
pub(super) fn places(raw: &Raw) -> Places {
    let mut places = Places::default();
    for camera in &raw.cameras {
        let Some(id) = camera.id.as_ref().and_then(|id| id.id.clone()) else { continue };
        let zones = camera.zones.iter().filter_map(|zone| zone.zone.as_ref());
        places.zones.extend(zones.map(|zone| ((id.clone(), zone.id().clone()), zone.shape().clone())));
        let lines = camera.lines.iter().filter_map(|line| line.line.as_ref());
        places.lines.extend(lines.map(|line| ((id.clone(), line.id().clone()), line.clone())));
    }
    places
}

/// Warns of lines and of a detector that no rule asks for.
pub(super) fn unused(raw: &Raw, report: &Report) {
    for camera in &raw.cameras {
        for id in camera.line_ids() {
            let asks = |rule: &RawRule| rule.listens_to(camera) && names(rule.crossed.as_ref(), Some(id));
            if !raw.rules.iter().any(asks) {
                let problem =
                    Problem::warning(id.span.clone(), format!("no rule asks for line `{}`", id.text));
                report.add(problem.help("nobody is told who crosses it"));
            }
        }
    }
    if let Some(detector) = &raw.detector
        && !raw.rules.iter().any(RawRule::follows)
    {
        let problem =
            Problem::warning(detector.manifest.span(), "no rule asks for tracks: the detector does nothing");
        report
            .add(problem.help("tracks are asked for by `entered`, `left`, `loiters`, `crossed` and `count`"));
    }
}
