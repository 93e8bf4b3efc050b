//! What a rule waits for when it waits for something other than predictions: `tamper`, what tracks do, how many there
//! are, how much of a zone is covered.

use std::time::Duration;

use toml::Spanned;

use crate::config::reader::{Table, Value, every};
use crate::domain::{LineId, Score, Side, Tamper};
use crate::rules::{Count, Deed, Trigger};

/// The keys that say what a rule waits for; a rule has one of them at most.
const TRIGGERS: [&str; 7] = ["tamper", "entered", "left", "loiters", "crossed", "count", "covered"];
/// Keys that speak of how predictions are weighed.
const WEIGHING: [&str; 4] = ["min_score", "margin", "agree", "within"];

const OF_TAMPER: &str = "the rule waits for a camera that was tampered with";
const OF_DOORS: &str = "a rule about tracks opens no door";
const OF_TIME: &str = "the rule waits for a moment, which lasts for no time";
const OF_COVER: &str = "the rule waits for a covered zone, whatever covers it";

/// What the rule waits for, and the line that it names.
pub(super) fn trigger(table: &Table<'_>) -> (Trigger, Option<Spanned<String>>) {
    let mut found = TRIGGERS.iter().filter_map(|key| Some((*key, table.get(key)?)));
    let Some((key, value)) = found.next() else {
        table.pointless("direction", "it belongs to `crossed`");
        return (Trigger::Predictions, None);
    };
    for (other, value) in found {
        let problem = value.error(format!("`{key}` and `{other}` exclude each other"));
        table.report.add(problem.help("a rule waits for one thing; write a second rule for the other"));
    }
    meaningless(table, key);
    let crossed = (key == "crossed").then(|| value.spanned_text()).flatten();
    // Where a reader found something wrong it has said so, and no configuration comes of it.
    let trigger = match key {
        "tamper" => Trigger::Tamper(tampers(&value).unwrap_or_default()),
        "entered" => yes(&value, Deed::Entered),
        "left" => yes(&value, Deed::Left),
        "loiters" => {
            let times = Duration::from_millis(100)..=Duration::from_secs(86_400);
            Trigger::Track(Deed::Loitered(value.duration(times).unwrap_or_default()))
        }
        "crossed" => crossed.as_ref().and_then(|line| line_of(table, line)).unwrap_or(Trigger::Predictions),
        "count" => Trigger::Count(count(&value).unwrap_or(Count::AtLeast(1))),
        _ => Trigger::Covered(value.number(0.01..=1.0).and_then(Score::new).unwrap_or(Score::CERTAIN)),
    };
    (trigger, crossed)
}

/// Records the keys that mean nothing beside `key`.
fn meaningless(table: &Table<'_>, key: &str) {
    let say = |keys: &[&'static str], why: &str| keys.iter().for_each(|key| table.pointless(key, why));
    match key {
        "tamper" => {
            say(&["label", "labels", "zone", "every", "for", "authorize"], OF_TAMPER);
            say(&WEIGHING, OF_TAMPER);
        }
        "covered" => {
            say(&["label", "labels", "every"], OF_COVER);
            say(&WEIGHING, OF_COVER);
            say(&["authorize"], "a rule about a covered zone opens no door");
        }
        _ => {
            say(&["authorize"], OF_DOORS);
            if matches!(key, "left" | "loiters" | "crossed") {
                say(&["for"], if key == "loiters" { "the time stands in `loiters`" } else { OF_TIME });
            }
            if key == "crossed" {
                say(&["zone"], "the rule waits at a line");
            }
            if table.get("label").is_none() && table.get("labels").is_none() {
                say(&WEIGHING, "every track counts: the rule names no label");
            }
        }
    }
    if key != "crossed" {
        say(&["direction"], "it belongs to `crossed`");
    }
}

/// `entered = true`.
fn yes(value: &Value<'_>, deed: Deed) -> Trigger {
    if value.as_bool() != Some(true) {
        value.wrong::<()>("true; a rule that does not wait for it leaves the key out");
    }
    Trigger::Track(deed)
}

fn line_of(table: &Table<'_>, line: &Spanned<String>) -> Option<Trigger> {
    let words = [("any", None), ("left", Some(Side::Left)), ("right", Some(Side::Right))];
    let to = table.setting("direction", None, |value| value.word(&words)).value;
    // A name that is none of a line's is reported with those that are.
    let line = LineId::new(line.get_ref()).ok()?;
    Some(Trigger::Track(Deed::Crossed { line, to }))
}

/// `3`, or `">= 3"`, `"<= 3"`, `"> 3"`, `"< 3"`, `"= 3"`.
fn count(value: &Value<'_>) -> Option<Count> {
    const WANTED: &str = "a whole number, or \">= N\", \"<= N\" or \"= N\" with N at most 100";
    let Some(text) = value.as_text() else { return value.whole_or(0..=100, WANTED).map(Count::Exactly) };
    let text = text.trim();
    let (sign, number) = text.split_at(text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len()));
    let number = number.parse::<u32>().ok().filter(|n| *n <= 100);
    let count = match (sign.trim(), number) {
        (">=" | "≥", Some(n)) => Count::AtLeast(n),
        ("<=" | "≤", Some(n)) => Count::AtMost(n),
        (">", Some(n)) => Count::AtLeast(n + 1),
        ("<", Some(n)) if n > 0 => Count::AtMost(n - 1),
        ("=" | "", Some(n)) => Count::Exactly(n),
        _ => return value.wrong(WANTED),
    };
    if count == Count::AtLeast(0) {
        return value.reject(value.error("there are always at least 0: the rule says nothing"));
    }
    Some(count)
}

/// `true` or `"any"` for every kind, a kind, or a list of kinds.
fn tampers(value: &Value<'_>) -> Option<Vec<Tamper>> {
    if value.as_bool() == Some(true) || value.as_text() == Some("any") {
        return Some(Tamper::ALL.to_vec());
    }
    let kinds = Tamper::ALL.map(|tamper| (tamper.as_str(), tamper));
    match value.as_list() {
        Some(items) if !items.is_empty() => every(items.iter().map(|item| item.word(&kinds))),
        None if value.as_text().is_some_and(|text| kinds.iter().any(|(name, _)| *name == text)) => {
            Some(vec![value.word(&kinds)?])
        }
        _ => {
            let names = kinds.map(|(name, _)| format!("\"{name}\"")).join(", ");
            value.wrong(&format!("true, \"any\", or one or a list of {names}"))
        }
    }
}
