//! One rule against everything it names, and against itself: can it ever fire?

use toml::Spanned;

use super::{ModelLabels, Models, age, deed};
use crate::config::hint::{did_you_mean, unknown_reference};
use crate::config::problem::Problem;
use crate::config::raw::{Raw, RawCamera, RawRule};
use crate::config::reader::Report;
use crate::config::units::show_duration;
use crate::domain::{Answer, DoorId};
use crate::doors::Mode;
use crate::rules::{Action, Agreement, During, Rule, Trigger};

const UNKNOWN: &str = "unknown";
/// Below this score a grant without a schedule deserves a word.
const CAREFUL_SCORE: f32 = 0.8;

/// Looks up every name and checks that the rule can fire. `None` when an error was recorded.
pub(super) fn check(rule: &RawRule, raw: &Raw, models: Models<'_>, report: &Report) -> Option<Rule> {
    let cameras = cameras(rule, raw, report);
    zone(rule, &cameras, raw, report);
    let answers = if rule.follows() && raw.detector.is_some() {
        deed::answers(rule, models, report)
    } else {
        models.classifier.map(|labels| answers(rule, labels, report))
    };
    watched(rule, &cameras, report);
    deed::check(rule, &cameras, raw, report);
    let during = rule.during.as_ref().map(|reference| during(reference, raw, report));
    let door = rule.door.as_ref().map(|reference| door(reference, raw, report));
    grant(rule, raw, report);
    age::check(rule, &cameras, raw, report);
    if rule.trigger == Trigger::Predictions {
        times(rule, report);
    }
    if !rule.labels.is_empty() {
        collectable(rule, &cameras, report);
    }
    idle_interval(rule, &cameras, raw, report);
    if report.has_errors() {
        return None;
    }
    let zone_of = |camera: &&RawCamera| {
        let reference = rule.zone.as_ref();
        let id = camera.zone_ids().find(|id| super::names(reference, Some(id)))?;
        id.id.clone()
    };
    Some(Rule {
        id: rule.id.as_ref()?.id.clone()?,
        zone: cameras.iter().find_map(zone_of),
        cameras: cameras.iter().map(|camera| camera.id.as_ref()?.id.clone()).collect::<Option<_>>()?,
        trigger: rule.trigger.clone(),
        answers: answers?,
        min_score: deed::min_score(rule, models)?,
        margin: rule.margin,
        agree: Agreement { k: rule.agree.value.0, n: rule.agree.value.1, within: rule.within.value },
        hold: rule.hold.value,
        during: match during {
            Some(during) => Some(during?),
            None => None,
        },
        cooldown: rule.cooldown.value,
        max_per_hour: rule.max_per_hour,
        actions: actions(rule, door.flatten()),
    })
}

fn actions(rule: &RawRule, door: Option<DoorId>) -> Vec<Action> {
    let alert = rule.alert.as_ref();
    let alert = alert
        .map(|(severity, snapshot)| Action::Alert { severity: *severity.get_ref(), snapshot: *snapshot });
    door.map(Action::Authorise).into_iter().chain(alert).chain(rule.log.then_some(Action::Log)).collect()
}

/// `night` or `!night`: the name, and whether it is negated.
pub(super) fn schedule_name(text: &str) -> (&str, bool) {
    text.strip_prefix('!').map_or((text, false), |name| (name, true))
}

fn cameras<'r>(rule: &RawRule, raw: &'r Raw, report: &Report) -> Vec<&'r RawCamera> {
    let defined: Vec<&str> = raw.cameras.iter().map(RawCamera::name).collect();
    let mut found: Vec<&RawCamera> = Vec::new();
    for reference in &rule.cameras {
        let name = reference.get_ref();
        match raw.cameras.iter().find(|camera| camera.name() == name) {
            None => report.add(unknown_reference("camera", reference, &defined)),
            Some(camera) if found.iter().any(|known| known.name() == name) => {
                let again = format!("camera `{}` stands here twice", camera.name());
                report.add(Problem::error(reference.span(), again));
            }
            Some(camera) => found.push(camera),
        }
    }
    found
}

fn zone(rule: &RawRule, cameras: &[&RawCamera], raw: &Raw, report: &Report) {
    let Some(reference) = &rule.zone else { return };
    let has_it = |camera: &&RawCamera| camera.zone_ids().any(|id| super::names(Some(reference), Some(id)));
    for camera in cameras.iter().filter(|camera| !has_it(camera)) {
        let zones: Vec<&str> = camera.zone_ids().map(|id| id.text.as_str()).collect();
        let what = format!("zone of camera `{}` named", camera.name());
        let mut problem = unknown_reference(what, reference, &zones);
        if let Some(owner) = raw.cameras.iter().find(has_it)
            && problem.label.is_empty()
        {
            problem = problem.label(format!("camera `{}` has one", owner.name()));
        }
        report.add(problem);
    }
}

fn answers(rule: &RawRule, model: &ModelLabels, report: &Report) -> Vec<Answer> {
    let mut known: Vec<&str> = model.labels.iter().map(|label| label.as_str()).collect();
    known.push(UNKNOWN);
    let mut answers = Vec::new();
    for reference in &rule.labels {
        let text = reference.get_ref().as_str();
        let answer = match model.labels.iter().find(|label| label.as_str() == text) {
            Some(label) => Answer::Label(label.clone()),
            None if text == UNKNOWN => Answer::Unknown,
            None => {
                let problem = Problem::error(reference.span(), format!("the model knows no label `{text}`"));
                let problem = problem.label(did_you_mean(text, &known).unwrap_or_default());
                report.add(problem.help(format!("its labels: {}", known.join(", "))));
                continue;
            }
        };
        if matches!(&answer, Answer::Label(label) if model.background.contains(label)) {
            background(rule, reference, report);
        }
        if !answers.contains(&answer) {
            answers.push(answer);
        }
    }
    never_unknown(rule, model, report);
    needless_score(rule, model, report);
    answers
}

/// A rule that waits for what the model never says.
fn never_unknown(rule: &RawRule, model: &ModelLabels, report: &Report) {
    let [label] = rule.labels.as_slice() else { return };
    if label.get_ref() == UNKNOWN && model.reject_below.get() <= model.fair_share() {
        let message = format!("this model never says `{UNKNOWN}`: the rule cannot fire");
        let why = format!("its reject_below is {}", model.reject_below.get());
        report.add(Problem::error(label.span(), message).label(why));
    }
}

/// Warns of a bar that every answer clears; 0 says that this is meant.
fn needless_score(rule: &RawRule, model: &ModelLabels, report: &Report) {
    let Some(span) = &rule.min_score.span else { return };
    let fair_share = model.fair_share();
    let least = fair_share.max(model.reject_below.get());
    if !(f32::EPSILON..least).contains(&rule.min_score.value) {
        return;
    }
    let why = if fair_share < least {
        format!("below {least:.2} the model says `{UNKNOWN}`")
    } else {
        format!("the best of {} labels has at least {least:.2}", model.labels.len())
    };
    report.add(Problem::warning(span.clone(), "this `min_score` is always reached").label(why));
}

fn background(rule: &RawRule, reference: &Spanned<String>, report: &Report) {
    let message = format!("the model says `{}` when nothing is there", reference.get_ref());
    report.add(match rule.door {
        Some(_) => Problem::error(reference.span(), message).label("this would open the door to nobody"),
        None => Problem::warning(reference.span(), message).label("the rule waits for nothing to be there"),
    });
}

fn during(reference: &Spanned<String>, raw: &Raw, report: &Report) -> Option<During> {
    let (name, negated) = schedule_name(reference.get_ref());
    let Some(schedule) = raw.schedules.iter().find(|schedule| schedule.id.text == name) else {
        let defined: Vec<&str> = raw.schedules.iter().map(|schedule| schedule.id.text.as_str()).collect();
        report.add(unknown_reference("schedule", &Spanned::new(reference.span(), name.to_owned()), &defined));
        return None;
    };
    let always = schedule.schedule.as_ref().is_some_and(|s| s.days.len() == 7 && s.from == s.to);
    if negated && always {
        report.add(
            Problem::error(reference.span(), format!("there is no time outside of schedule `{name}`"))
                .label("the rule can never fire")
                .other(schedule.header.clone(), "open all day, every day"),
        );
    }
    Some(During { schedule: schedule.id.id.clone()?, negated })
}

fn door(reference: &Spanned<String>, raw: &Raw, report: &Report) -> Option<DoorId> {
    let ids = || raw.doors.iter().filter_map(|door| door.id.as_ref());
    match ids().find(|id| super::names(Some(reference), Some(id))) {
        Some(id) => id.id.clone(),
        None => {
            let defined: Vec<&str> = ids().map(|id| id.text.as_str()).collect();
            report.add(unknown_reference("door", reference, &defined));
            None
        }
    }
}

/// What deserves care when a door is at stake.
fn grant(rule: &RawRule, raw: &Raw, report: &Report) {
    let Some(reference) = &rule.door else { return };
    if let Some(label) = rule.labels.iter().find(|label| label.get_ref() == UNKNOWN) {
        report.add(
            Problem::error(label.span(), "`unknown` must not open a door")
                .label("the model did not recognise anything")
                .other(reference.span(), "this door"),
        );
    }
    let door = raw.doors.iter().find(|door| super::names(Some(reference), door.id.as_ref()));
    let active = door.is_some_and(|door| door.mode == Mode::Active);
    if active && rule.during.is_none() && rule.min_score.value < CAREFUL_SCORE {
        let span = rule.min_score.span.clone().unwrap_or_else(|| reference.span());
        report.add(
            Problem::warning(
                span,
                format!("door `{}` opens at any hour on little evidence", reference.get_ref()),
            )
            .label(format!("min_score is {}", rule.min_score.value))
            .help(format!("raise `min_score` to {CAREFUL_SCORE} or more, or say when with `during`")),
        );
    }
}

/// `for` against `cooldown`.
fn times(rule: &RawRule, report: &Report) {
    if rule.hold.value < rule.cooldown.value {
        return;
    }
    let cooldown = format!("the cooldown is {}", show_duration(rule.cooldown.value));
    let span = rule.hold.span.clone().or(rule.cooldown.span.clone()).unwrap_or_else(|| rule.span.clone());
    let problem = Problem::error(span, "`for` must be shorter than `cooldown`");
    let problem = match &rule.cooldown.span {
        Some(cooldown_at) if rule.hold.span.is_some() => problem.other(cooldown_at.clone(), cooldown),
        _ => problem.label(format!("{cooldown} by default")),
    };
    report.add(problem.help("otherwise the rule is ready again before it could have fired"));
}

/// A camera must be watched for what a rule waits for.
fn watched(rule: &RawRule, cameras: &[&RawCamera], report: &Report) {
    if !matches!(rule.trigger, Trigger::Tamper(_)) {
        return;
    }
    for camera in cameras.iter().filter(|camera| camera.tamper.is_none()) {
        let message = format!("camera `{}` is not watched for tampering", camera.name());
        report.add(
            Problem::error(rule.span.clone(), message)
                .label("the rule cannot fire")
                .help("give the camera `tamper = true`"),
        );
    }
}

/// `every` asks for looks beside those at motion; a camera without the gate looks all the time.
fn idle_interval(rule: &RawRule, cameras: &[&RawCamera], raw: &Raw, report: &Report) {
    let Some(span) = &rule.every.span else { return };
    if rule.follows() && raw.detector.is_none() {
        let message = "`every` has no meaning for tracks of what moves";
        let problem =
            Problem::error(span.clone(), message).label("they are looked for in each picture anyway");
        return report
            .add(problem.help("with a [detector] it says how often to look although nothing moves"));
    }
    let Some(camera) = cameras.iter().find(|camera| camera.motion.is_none()) else { return };
    let message = format!("`every` has no meaning for camera `{}`", camera.name());
    report.add(
        Problem::error(span.clone(), message)
            .label("each of its pictures is looked at anyway")
            .help("give the camera `motion = true`, or take `every` away"),
    );
}

/// Whether the slowest camera delivers enough pictures within `within`.
fn collectable(rule: &RawRule, cameras: &[&RawCamera], report: &Report) {
    let Some(camera) = cameras.iter().min_by(|a, b| a.fps.total_cmp(&b.fps)) else { return };
    let (k, n) = rule.agree.value;
    let within = rule.within.value;
    // The first picture opens the window, each further one takes one interval.
    let most = (within.as_secs_f64() * f64::from(camera.fps) + 1e-6) as u32 + 1;
    if n <= most {
        return;
    }
    let span = rule.agree.span.clone().or(rule.within.span.clone()).unwrap_or_else(|| rule.span.clone());
    let window = show_duration(within);
    let problem = if k > most {
        Problem::error(span, format!("{k} of {n} can never agree within {window}: the rule cannot fire"))
    } else {
        Problem::warning(span, format!("{n} pictures never fall within {window}"))
    };
    let plural = if most == 1 { "" } else { "s" };
    let fact = format!("camera `{}` gives at most {most} picture{plural} within {window}", camera.name());
    report.add(
        problem
            .label(fact)
            .help(format!("lower `agree`, raise `within` or the camera's `fps` ({})", camera.fps)),
    );
}
