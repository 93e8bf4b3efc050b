//! The grounds of a decision, in words that a person can check.

use std::fmt::Write as _;
use std::time::Duration;

use super::deed::Happened;
use super::schedule::Gate;
use super::watch::{Spent, Standing, Watch};
use super::window::{Digest, Seen, Tally, Window, mean};
use super::{Deed, During, Rule, Trigger};
use crate::domain::{Tamper, TrackId, Withheld};

/// Why `rule` fired, e.g. `person 4 of 6, mean 0.97 ≥ 0.80, held 2.0 s, outside schedule workdays`.
pub(super) fn firing(rule: &Rule, tally: Tally, digest: &Digest, held: Duration) -> String {
    let mut text =
        format!("{} {} of {}, mean {:.2}", answers(rule), tally.agreed, tally.of, digest.mean.get());
    // With *unknown* among the answers the mean may well lie below the bar.
    if digest.mean >= rule.min_score {
        push(&mut text, format_args!(" ≥ {:.2}", rule.min_score.get()));
    }
    if !rule.hold.is_zero() {
        push(&mut text, format_args!(", held {}", seconds(held)));
    }
    side(&mut text, rule.during.as_ref());
    text
}

/// What befell a camera, e.g. `the camera is covered, outside schedule workdays`.
pub(super) fn tampered(tamper: Tamper, rule: Option<&Rule>) -> String {
    let mut text = format!("the camera is {}", tamper.as_str());
    side(&mut text, rule.and_then(|rule| rule.during.as_ref()));
    text
}

/// What one frame says as a whole.
pub(super) enum Fact {
    /// So many tracks.
    Number(u32),
    /// Such a share of the zone.
    Share(f32),
}

/// Why `rule` fired at a track, e.g. `track 7 entered zone yard: person 4 of 5, mean 0.91 ≥ 0.70`.
pub(super) fn deed(rule: &Rule, id: TrackId, happened: Happened, tally: Tally, digest: &Digest) -> String {
    let place = place(rule);
    let mut text = match (happened, &rule.trigger) {
        (Happened::Stays(time), Trigger::Track(Deed::Loitered(_))) => {
            format!("track {id} has been in {place} for {}", seconds(time))
        }
        (Happened::Stays(time), _) if !rule.hold.is_zero() => {
            format!("track {id} entered {place}, stayed {}", seconds(time))
        }
        (Happened::Stays(_), _) => format!("track {id} entered {place}"),
        (Happened::Left(time), _) => format!("track {id} left {place} after {}", seconds(time)),
        (Happened::Crossed(side), Trigger::Track(Deed::Crossed { line, .. })) => {
            format!("track {id} crossed line {line} to the {}", side.as_str())
        }
        (Happened::Crossed(side), _) => format!("track {id} crossed to the {}", side.as_str()),
    };
    if !rule.answers.is_empty() {
        push(
            &mut text,
            format_args!(
                ": {} {} of {}, mean {:.2}",
                answers(rule),
                tally.agreed,
                tally.of,
                digest.mean.get()
            ),
        );
        if digest.mean >= rule.min_score {
            push(&mut text, format_args!(" ≥ {:.2}", rule.min_score.get()));
        }
    }
    side(&mut text, rule.during.as_ref());
    text
}

/// Why `rule` fired at a number or a share, e.g. `3 person in zone yard, asked for at least 3, held 2.0 s`.
pub(super) fn fact(rule: &Rule, fact: &Fact, held: Duration) -> String {
    let (place, what) = (place(rule), answers(rule));
    let mut text = match (fact, &rule.trigger) {
        (Fact::Number(n), Trigger::Count(count)) => {
            let what = if what.is_empty() { String::new() } else { format!(" {what}") };
            format!("{n}{what} in {place}, asked for {count}")
        }
        (Fact::Share(share), Trigger::Covered(least)) => {
            format!("{:.0} % of {place} covered, asked for {:.0} %", share * 100.0, least.get() * 100.0)
        }
        (Fact::Number(n), _) => format!("{n} in {place}"),
        (Fact::Share(share), _) => format!("{:.0} % of {place} covered", share * 100.0),
    };
    if !rule.hold.is_zero() {
        push(&mut text, format_args!(", held {}", seconds(held)));
    }
    side(&mut text, rule.during.as_ref());
    text
}

fn place(rule: &Rule) -> String {
    rule.zone.as_ref().map_or_else(|| "the picture".to_owned(), |zone| format!("zone {zone}"))
}

/// Which side of its schedule a rule is on.
fn side(text: &mut String, during: Option<&During>) {
    if let Some(during) = during {
        let side = if during.negated { "outside" } else { "within" };
        push(text, format_args!(", {side} schedule {}", during.schedule));
    }
}

/// Why nobody was let in: what was there and what each rule of the door lacked.
pub(super) fn denial(stood: Duration, refusals: &[(&Rule, String)]) -> String {
    let mut text = format!("no grant in {}", seconds(stood));
    for (i, (rule, refusal)) in refusals.iter().enumerate() {
        let mark = if i == 0 { ": " } else { "; " };
        push(&mut text, format_args!("{mark}rule {}: {refusal}", rule.id));
    }
    text
}

/// Where a rule stands, and what keeps it from granting although it matches.
pub(super) struct Grounds {
    pub(super) standing: Standing,
    pub(super) clock_trusted: bool,
    /// Why the newest picture opens no door.
    pub(super) withheld: Option<Withheld>,
    /// Why an earlier one did not, where too few are left without it.
    pub(super) lacked: Option<Withheld>,
}

/// What a rule that opens the door lacked.
pub(super) fn refusal(rule: &Rule, watch: &Watch, window: &Window, grounds: &Grounds) -> String {
    let &Grounds { standing, clock_trusted, withheld, lacked } = grounds;
    match (standing, &rule.during) {
        (Standing::NotAgreed, _) => shortfall(rule, window),
        (Standing::Held(held), _) => format!("held {} of {}", seconds(held), seconds(rule.hold)),
        (Standing::Shut(gate), Some(during)) => shut(gate, during),
        (Standing::NewestDiffers, _) | (Standing::Shut(_), None) => {
            "the newest prediction does not count".into()
        }
        (Standing::Matches, _) if let Some(why) = withheld => why.to_string(),
        (Standing::Matches, _) if let Some(why) = lacked => {
            format!("too many of its pictures do not count: {why}")
        }
        (Standing::Matches, Some(during)) if !clock_trusted => {
            format!("the clock is not synchronised, so schedule {} grants nothing", during.schedule)
        }
        (Standing::Matches, _) => match (watch.spent, rule.max_per_hour) {
            (Some(Spent::Cooldown), _) => format!("in cooldown of {}", seconds(rule.cooldown)),
            (Some(Spent::Budget), Some(budget)) => format!("already {budget} times in 60 minutes"),
            (Some(_), _) => "fired already in this presence".into(),
            (None, _) => "another rule decides".into(),
        },
    }
}

fn shut(gate: Gate, during: &During) -> String {
    match (gate, during.negated) {
        (Gate::Unreadable, _) => format!("schedule {} cannot be read at this wall time", during.schedule),
        (_, true) => format!("schedule {} is open", during.schedule),
        (_, false) => format!("schedule {} is closed", during.schedule),
    }
}

/// Which of answer, score and margin keeps the predictions from agreeing.
fn shortfall(rule: &Rule, window: &Window) -> String {
    let needed = rule.agree.k.max(1);
    let answered = window.register(|seen| seen.is_answer_of(rule));
    let scored = window.register(|seen| seen.is_answer_of(rule) && seen.scores_for(rule));
    let counted = window.register(|seen| seen.counts_for(rule));
    if window.tally(answered, &rule.agree).agreed < needed {
        let tally = window.tally(answered, &rule.agree);
        return format!("{} {} of {}, needs {needed}", answers(rule), tally.agreed, tally.of);
    }
    let scores_fall_short = window.tally(scored, &rule.agree).agreed < needed;
    let (short, what, bar) = if scores_fall_short {
        (answered & !scored, "score", rule.min_score.get())
    } else {
        (scored & !counted, "margin", rule.margin)
    };
    let short = short & window.mask(&rule.agree);
    let fell_short = window.newest_first().filter(|(bit, _)| short & bit != 0).map(|(_, seen)| seen);
    let value = if scores_fall_short { mean(fell_short).map(|m| m.get()) } else { widest(fell_short) };
    // Rounded down, so that what is below the bar also reads so.
    format!("{what} {:.2} below {bar:.2}", (value.unwrap_or(0.0) * 100.0).floor() / 100.0)
}

fn widest<'a>(seen: impl Iterator<Item = &'a Seen>) -> Option<f32> {
    seen.map(|seen| seen.margin).reduce(f32::max)
}

fn answers(rule: &Rule) -> String {
    rule.answers.iter().map(|answer| answer.as_str()).collect::<Vec<_>>().join(" or ")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(more);
}
