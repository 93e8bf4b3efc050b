//! `[site]`, `[model]` and `[presence]`.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use toml::Spanned;

use crate::config::file::Place;
use crate::config::hint::nearest;
use crate::config::keys;
use crate::config::problem::Problem;
use crate::config::reader::{Setting, Table, Value};

/// `[site]`.
pub(in crate::config) struct RawSite {
    pub(in crate::config) name: String,
    pub(in crate::config) timezone: TimeZone,
    /// The zone of the machine was asked for and could not be found out; where it was asked for.
    pub(in crate::config) zone_unknown: Option<Option<Range<usize>>>,
}

/// `[model]`.
pub(in crate::config) struct RawModel {
    pub(in crate::config) manifest: Spanned<PathBuf>,
    pub(in crate::config) workers: Option<usize>,
}

pub(super) fn site(file: &Table<'_>, place: &Place) -> RawSite {
    let table = file.get("site").and_then(|value| value.table(&keys::SITE));
    let get = |key| table.as_ref().and_then(|table| table.get(key));
    let name = get("name")
        .and_then(|value| value.text().map(str::to_owned))
        .unwrap_or_else(|| place.hostname.clone());
    let zone = get("timezone");
    let local = zone.as_ref().is_none_or(|value| value.as_text() == Some("local"));
    if !local {
        let timezone = zone.and_then(|value| named_timezone(&value)).unwrap_or(TimeZone::UTC);
        return RawSite { name, timezone, zone_unknown: None };
    }
    match TimeZone::try_system() {
        Ok(timezone) => RawSite { name, timezone, zone_unknown: None },
        Err(_) => RawSite { name, timezone: TimeZone::UTC, zone_unknown: Some(zone.map(|value| value.span)) },
    }
}

fn named_timezone(value: &Value<'_>) -> Option<TimeZone> {
    let text = value.text()?;
    if let Ok(timezone) = TimeZone::get(text) {
        return Some(timezone);
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let problem = value.error(format!("there is no time zone {text:?}"));
    let problem = match nearest(text, &known) {
        Some(best) => problem.label(format!("did you mean `{best}`?")),
        None => problem,
    };
    value.reject(problem.help("allowed: \"local\", or an IANA name such as \"Europe/Berlin\""))
}

pub(super) fn model(file: &Table<'_>, place: &Place) -> Option<RawModel> {
    let Some(value) = file.get("model") else {
        file.report.add(
            Problem::error(file.span.clone(), "the file has no [model]").help(
                "for example:\n[model]\nmanifest = \"/usr/local/share/portero/models/person-v3s.toml\"",
            ),
        );
        return None;
    };
    let table = value.table(&keys::MODEL)?;
    let workers = table.get("workers").and_then(|value| match value.as_text() {
        Some("auto") => None,
        Some(_) => value.wrong("\"auto\" or a whole number from 1 to 64"),
        None => value.whole(1..=64).map(|n| n as usize),
    });
    let manifest = table.required("manifest", "\"/usr/local/share/portero/models/person-v3s.toml\"")?;
    let manifest = Spanned::new(manifest.span.clone(), place.path(manifest.text()?));
    Some(RawModel { manifest, workers })
}

pub(super) fn presence_gap(file: &Table<'_>) -> Setting<Duration> {
    let default = Setting { value: Duration::from_secs(10), span: None };
    let Some(table) = file.get("presence").and_then(|value| value.table(&keys::PRESENCE)) else {
        return default;
    };
    let range = Duration::from_millis(100)..=Duration::from_secs(86_400);
    table.setting("gap", default.value, |value| value.duration(range))
}
