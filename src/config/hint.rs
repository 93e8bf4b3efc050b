//! Words for names and keys that are wrong: what is allowed, and what was probably meant.

use std::fmt;
use std::ops::Range;

use toml::Spanned;

use super::keys::{self, Section};
use super::problem::Problem;
use crate::domain::BadName;

pub(super) fn bad_name(span: Range<usize>, error: &BadName) -> Problem {
    Problem::error(span, format!("{:?} is no valid {}", error.found, error.what))
        .help(format!("allowed: {}", error.allowed))
}

pub(super) fn unknown_key(section: &'static Section, span: Range<usize>, key: &str) -> Problem {
    let problem = Problem::error(span, format!("unknown key `{key}` in {}", section.title));
    let allowed = format!("allowed: {}", section.keys.join(", "));
    if let Some(hint) = did_you_mean(key, section.keys) {
        return problem.label(hint).help(allowed);
    }
    let home = keys::ALL.iter().find(|other| other.keys.contains(&key));
    match home {
        Some(home) => problem.label(format!("belongs to {}", home.title)).help(allowed),
        None => problem.help(allowed),
    }
}

pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}

/// The candidate that differs from `found` by a slip of the finger, if there is one.
pub(super) fn nearest<'c>(found: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let folded = found.to_lowercase();
    let distance = |c: &&str| strsim::damerau_levenshtein(&folded, &c.to_lowercase());
    let best = candidates.iter().copied().min_by_key(distance)?;
    let limit = (best.chars().count().max(found.chars().count()) / 3).max(1);
    (distance(&best) <= limit).then_some(best)
}

pub(super) fn did_you_mean(found: &str, candidates: &[&str]) -> Option<String> {
    nearest(found, candidates).map(|best| format!("did you mean `{best}`?"))
}

/// An error for a reference to something that is not defined.
pub(super) fn unknown_reference(
    what: impl fmt::Display,
    reference: &Spanned<String>,
    defined: &[&str],
) -> Problem {
    let problem = Problem::error(reference.span(), format!("there is no {what} `{}`", reference.get_ref()));
    let problem = match did_you_mean(reference.get_ref(), defined) {
        Some(hint) => problem.label(hint),
        None => problem,
    };
    if defined.is_empty() {
        problem.help("none is defined")
    } else {
        problem.help(format!("defined: {}", defined.join(", ")))
    }
}
