//! The configuration file: TOML in, checked settings of every room out.
//!
//! [`load`] finds all problems in one pass and says of each where it is, what was found and what is allowed. A
//! [`Config`] cannot be wrong: every name in it exists, every value is within its bounds.
//!
//! This room must not open cameras, talk to a broker or run a model; it reads the file, the model's manifest
//! and the secrets the file points to, and nothing else.

mod check;
mod file;
mod hint;
mod keys;
mod masked;
mod problem;
mod raw;
mod reader;
mod units;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

pub use problem::{Grade, Problem, Problems};

use crate::domain::{CameraId, Polygon, RuleId};
use crate::{capture, doors, evidence, infer, notify, rules, store, watch};
use check::{DetectorLabels, ModelLabels, Models};
use file::{ConfigText, Place};
use reader::Report;

/// Where the daemon looks for its configuration unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/portero/portero.toml";

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The site's name.
    pub site: String,
    /// The model and its workers.
    pub model: infer::Settings,
    /// The detector, if there is one.
    pub detector: Option<infer::DetectorSettings>,
    /// The cameras, in the order of the file; at least one.
    pub cameras: Vec<CameraConfig>,
    /// The rules with their schedules.
    pub rules: rules::RuleSet,
    /// The doors.
    pub doors: Vec<doors::Settings>,
    /// The database.
    pub store: store::Settings,
    /// The clips.
    pub clips: evidence::Settings,
    /// Bytes that may be written in a day; `None` is any number.
    pub write_budget: Option<u64>,
    /// What each rule wants to be kept beside its events.
    pub wishes: BTreeMap<RuleId, evidence::Wish>,
    /// The broker, if there is one.
    pub notify: Option<notify::Settings>,
    /// SHA-256 of the file's bytes, hexadecimal.
    pub sha256: Arc<str>,
}

impl Config {
    /// Of each camera whose events are to have clips: how much of the time before an event is kept, and which way.
    #[must_use]
    pub fn kept(&self) -> BTreeMap<CameraId, evidence::Keep> {
        let mut kept = BTreeMap::new();
        for rule in &self.rules.rules {
            let Some(clip) = self.wishes.get(&rule.id).and_then(|wish| wish.clip) else { continue };
            for camera in &rule.cameras {
                let copied = self.cameras.iter().any(|c| c.capture.camera == *camera && c.may_copy());
                let before = clip.before;
                let keep = kept.entry(camera.clone()).or_insert(evidence::Keep { before, copied, masks: 0 });
                keep.before = keep.before.max(before);
            }
        }
        kept
    }
}

/// One camera: how it is read and what is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraConfig {
    /// How it is read.
    pub capture: capture::Settings,
    /// What is looked at.
    pub watch: watch::Settings,
    /// How long it must be in trouble before the broker and the log's readers are told.
    pub announce_after: Duration,
    /// Whether clips are copies of its own stream where that can be.
    pub copies: bool,
}

impl CameraConfig {
    /// Whether its own stream may be shown in clips: it is wanted, it has one, and nothing of it is masked.
    #[must_use]
    pub fn may_copy(&self) -> bool {
        may_copy(self.copies, &self.capture.source, &self.watch.masks)
    }
}

fn may_copy(wanted: bool, source: &capture::Source, masks: &[Polygon]) -> bool {
    let has_a_stream = matches!(source, capture::Source::Ffmpeg(_) | capture::Source::Rtsp(_));
    wanted && has_a_stream && masks.is_empty()
}

/// A configuration that can be used, with what should be said about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only; often empty.
    pub warnings: Problems,
}

/// Reads and checks a configuration file. Relative paths in it start at its folder. Blocks on the file system.
///
/// # Errors
/// [`Problems`] with at least one error, and all warnings: the file is missing, unreadable or open to
/// everybody, is no TOML, has unknown keys or wrong values, names what is not defined, or holds a rule that can
/// never fire.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let fail = |problem: Box<Problem>| Problems::new(path, "", vec![*problem]);
    let text = file::read_config(path).map_err(fail)?;
    check_text(path, text, &Place::of(path))
}

/// What the events, outbox and pictures of a configuration lie in, and its clips.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The database.
    pub store: store::Settings,
    /// The clips.
    pub clips: evidence::Settings,
}

/// Reads only the storage of a configuration file, whatever is wrong elsewhere in it: who looks into the record needs
/// neither the broker's password nor the model. Blocks on the file system.
///
/// # Errors
/// [`Problems`] when the file cannot be read, is open to everybody or no TOML, or its `[store]` is wrong.
pub fn load_storage(path: &Path) -> Result<Storage, Problems> {
    let fail = |problem: Box<Problem>| Problems::new(path, "", vec![*problem]);
    let text = file::read_config(path).map_err(fail)?.text;
    let report = Report::default();
    let (document, faults) = DeTable::parse_recoverable(&text);
    syntax_problems(&text, &faults, &report);
    let storage = (!report.has_errors()).then(|| raw::storage(&document, &Place::of(path), &report));
    match storage {
        Some(storage) if !report.has_errors() => Ok(storage),
        _ => Err(Problems::new(path, &text, report.into_list())),
    }
}

fn check_text(path: &Path, file: ConfigText, place: &Place) -> Result<Loaded, Problems> {
    let ConfigText { text, sha256, distrust } = file;
    let report = Report::default();
    if let Some(distrust) = distrust {
        report.distrust(None, "configuration", &distrust);
    }
    let config = checked(&text, sha256.into(), place, &report);
    let failed = report.has_errors();
    let problems = Problems::new(path, &text, report.into_list());
    match config {
        Some(config) if !failed => Ok(Loaded { config, warnings: problems }),
        _ => Err(problems),
    }
}

fn checked(text: &str, sha256: Arc<str>, place: &Place, report: &Report) -> Option<Config> {
    let (document, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        // What could be recovered is not looked at: its problems would mostly follow from these.
        syntax_problems(text, &faults, report);
        return None;
    }
    let raw = raw::read(&document, place, report);
    let labels = raw.model.as_ref().and_then(|model| ModelLabels::read(&model.manifest, report));
    let detector = raw.detector.as_ref().and_then(|detector| DetectorLabels::read(detector, report));
    report.settle_trust(raw.doors.iter().any(|door| door.mode == doors::Mode::Active));
    let models = Models { classifier: labels.as_ref(), detector: detector.as_ref() };
    check::config(raw, models, sha256, report)
}

fn syntax_problems(text: &str, faults: &[toml::de::Error], report: &Report) {
    let mut last_line = None;
    for fault in faults {
        let problem = syntax_problem(text, fault);
        let line = problem.span.as_ref().map(|span| text[..span.start].matches('\n').count());
        if line != last_line {
            report.add(problem);
        }
        last_line = line;
        // What is not closed swallows the lines that follow, and each would be reported.
        if ["inline table", "array", "key-value pairs"].iter().any(|what| fault.message().contains(what)) {
            break;
        }
    }
}

fn syntax_problem(text: &str, fault: &toml::de::Error) -> Problem {
    let span = fault.span().unwrap_or(0..0);
    let message = fault.message();
    let problem = Problem::error(
        span.start.min(text.len())..span.end.min(text.len()),
        format!("no valid TOML: {message}"),
    );
    if message.starts_with("string values must be quoted") {
        problem.help("texts and values with a unit stand in quotes, as in for = \"5s\"")
    } else if message.contains("inline table") {
        problem.help("a `{` before this place has no `}`")
    } else if message.contains("array") {
        problem.help("a `[` before this place has no `]`, or a comma is missing")
    } else {
        problem
    }
}

#[cfg(test)]
mod tests;
