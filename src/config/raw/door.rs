//! `[[door]]`.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::broker::{bad_topic, topic_fault};
use crate::config::problem::Problem;
use crate::config::reader::{Named, Report, Table, Value};
use crate::domain::DoorId;
use crate::doors::{DEFAULT_MIN_INTERVAL, Mode, search_path};
use crate::trust;

/// `[[door]]`.
pub(in crate::config) struct RawDoor {
    pub(in crate::config) id: Option<Named<DoorId>>,
    pub(in crate::config) mode: Mode,
    pub(in crate::config) max_age: Duration,
    pub(in crate::config) min_interval: Duration,
    pub(in crate::config) trust_arrival: bool,
    pub(in crate::config) kind: Option<RawKind>,
}

/// `kind`, with the keys that belong to it.
#[derive(Clone)]
pub(in crate::config) enum RawKind {
    Log,
    Mqtt {
        /// The `kind` itself, to point at when there is no broker.
        at: Range<usize>,
        topic: Option<String>,
        expires_after: Duration,
    },
    Command {
        argv: Vec<String>,
        time_limit: Duration,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum KindWord {
    Log,
    Mqtt,
    Command,
}

pub(super) fn read(table: &Table<'_>) -> RawDoor {
    let modes = [("observe", Mode::Observe), ("active", Mode::Active)];
    let ages = Duration::from_millis(100)..=Duration::from_secs(60);
    let intervals = Duration::ZERO..=Duration::from_secs(3_600);
    let mode = table.setting("mode", Mode::Observe, |value| value.word(&modes)).value;
    RawDoor {
        id: table.required("id", "\"front\"").and_then(|value| value.name(DoorId::new)),
        mode,
        max_age: table.setting("max_age", Duration::from_secs(3), |value| value.duration(ages)).value,
        min_interval: table
            .setting("min_interval", DEFAULT_MIN_INTERVAL, |value| value.duration(intervals))
            .value,
        trust_arrival: table.setting("trust_arrival", false, Value::yes_no).value,
        kind: kind(table, mode),
    }
}

fn kind(table: &Table<'_>, mode: Mode) -> Option<RawKind> {
    let words = [("log", KindWord::Log), ("mqtt", KindWord::Mqtt), ("command", KindWord::Command)];
    let value = table.required("kind", "\"mqtt\"")?;
    let word = value.word(&words)?;
    if word != KindWord::Mqtt {
        for key in ["topic", "expires_after"] {
            table.pointless(key, "only a door of kind \"mqtt\" has it");
        }
    }
    if word != KindWord::Command {
        for key in ["argv", "time_limit"] {
            table.pointless(key, "only a door of kind \"command\" has it");
        }
    }
    let limits = Duration::from_millis(100)..=Duration::from_secs(60);
    let limit =
        |key| table.setting(key, Duration::from_secs(5), |value| value.duration(limits.clone())).value;
    match word {
        KindWord::Log => Some(RawKind::Log),
        KindWord::Mqtt => {
            let topic = table.get("topic").and_then(|value| value.spanned_text());
            if let Some((topic, fault)) = topic.as_ref().and_then(|t| Some((t, topic_fault(t.get_ref())?))) {
                table.report.add(bad_topic(topic.span(), topic.get_ref(), fault));
            }
            Some(RawKind::Mqtt {
                at: value.span,
                topic: topic.map(Spanned::into_inner),
                expires_after: limit("expires_after"),
            })
        }
        KindWord::Command => {
            let value = table.required("argv", "[\"/usr/local/bin/open-door\", \"front\"]")?;
            let argv = value.texts()?;
            examine(&argv, mode, table.report);
            let argv = argv.into_iter().map(Spanned::into_inner).collect();
            Some(RawKind::Command { argv, time_limit: limit("time_limit") })
        }
    }
}

/// Whether the program, and every file that it is given, can be trusted. Where the door opens in earnest, what cannot be
/// examined is not trusted either.
fn examine(argv: &[Spanned<String>], mode: Mode, report: &Report) {
    for (n, argument) in argv.iter().enumerate() {
        let text = argument.get_ref();
        let (what, found) = match n {
            0 => ("program of the door", trust::examine_program(text, &search_path())),
            _ => ("file that the door's program is given", trust::examine_argument(text)),
        };
        match found {
            Ok(None) => {}
            Ok(Some(distrust)) => report.distrust(Some(argument.span()), what, &distrust),
            Err(error) if mode == Mode::Active => {
                let problem =
                    Problem::error(argument.span(), format!("the {what} cannot be examined: {error}"));
                report.add(problem.help("a door opens by a program that is there and may be run"));
            }
            Err(_) => {}
        }
    }
}
