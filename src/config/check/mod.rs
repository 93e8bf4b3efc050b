//! From the file as written to settings that cannot be wrong: every comparison across sections is made here.

mod age;
mod deed;
mod models;
mod rule;

use std::sync::Arc;

use toml::Spanned;

use super::problem::Problem;
use super::raw::{Raw, RawBroker, RawCamera, RawDoor, RawKind, RawRule};
use super::reader::{Named, Report};
use super::units::{show_bytes, show_duration};
use super::{CameraConfig, Config, may_copy};
use crate::domain::{Region, RuleId};
use crate::evidence::Wish;
use crate::rules::{RuleSet, Trigger};
use crate::watch::Watched;
use crate::{doors, infer, notify, watch};
pub(super) use models::{DetectorLabels, ModelLabels, Models};

/// Compares everything with everything. `None` when an error was recorded, by this or by a reader.
pub(super) fn config(raw: Raw, models: Models<'_>, sha256: Arc<str>, report: &Report) -> Option<Config> {
    if raw.cameras.is_empty() {
        report.add(
            Problem::error(0..0, "the file has no [[camera]]")
                .help("for example:\n[[camera]]\nid = \"front\"\nsource = \"/dev/video0\""),
        );
    }
    let rules: Vec<_> = raw.rules.iter().map(|rule| rule::check(rule, &raw, models, report)).collect();
    unheard(&raw, report);
    local_time(&raw, report);
    presences(&raw, report);
    let doors: Vec<_> = raw.doors.iter().map(|door| self::door(door, raw.broker.as_ref(), report)).collect();
    let cameras: Vec<_> = raw.cameras.iter().map(|camera| self::camera(camera, &raw)).collect();
    if report.has_errors() {
        return None;
    }
    unused(&raw, report);
    clip_memory(&raw, report);
    let wishes = raw.rules.iter().filter_map(wish).collect();
    let watched = raw.cameras.iter().filter(|camera| camera.tamper.is_some());
    let tamper = watched.filter_map(|camera| camera.id.as_ref()?.id.clone()).collect();
    let places = deed::places(&raw);
    let model = raw.model?;
    Some(Config {
        site: raw.site.name,
        model: infer::Settings { manifest: model.manifest.into_inner(), workers: model.workers },
        detector: match raw.detector {
            Some(detector) => Some(infer::DetectorSettings {
                manifest: detector.manifest.into_inner(),
                labels: models.detector?.labels.clone(),
            }),
            None => None,
        },
        cameras: cameras.into_iter().collect::<Option<_>>()?,
        rules: RuleSet {
            timezone: raw.site.timezone,
            schedules: raw
                .schedules
                .into_iter()
                .map(|schedule| Some((schedule.id.id?, schedule.schedule?)))
                .collect::<Option<_>>()?,
            rules: rules.into_iter().collect::<Option<_>>()?,
            background: models.classifier?.background.clone(),
            presence_gap: raw.presence_gap.value,
            places,
        },
        doors: doors.into_iter().collect::<Option<_>>()?,
        store: raw.store,
        clips: raw.clips,
        write_budget: raw.write_budget,
        wishes,
        notify: match raw.broker {
            Some(broker) => Some(notify::Settings { tamper, ..broker.settings? }),
            None => None,
        },
        sha256,
    })
}

fn wish(rule: &RawRule) -> Option<(RuleId, Wish)> {
    Some((rule.id.as_ref()?.id.clone()?, Wish { clip: rule.clip, boxes: rule.boxes }))
}

/// A pixel of a picture in memory takes about so many bytes.
const JPEG_BYTES_PER_PIXEL: f64 = 0.15;

/// Bytes a second of a camera's own stream, as far as one can guess: 2 Mbit/s.
const STREAM_BYTES: f64 = 2e6 / 8.0;

/// Warns when the memory will hardly hold what a clip is made of.
fn clip_memory(raw: &Raw, report: &Report) {
    let wants = |camera: &RawCamera| {
        let listening = raw.rules.iter().filter(|rule| rule.listens_to(camera));
        listening
            .filter_map(|rule| Some((rule.span.clone(), rule.clip?)))
            .max_by_key(|(_, clip)| clip.before + clip.after)
    };
    let wanting: Vec<_> = raw.cameras.iter().filter_map(|camera| Some((camera, wants(camera)?))).collect();
    let share = raw.clips.memory / wanting.len().max(1) as u64;
    for (camera, (span, clip)) in &wanting {
        let Some(capture) = &camera.capture else { continue };
        let pixels = f64::from(capture.width) * f64::from(capture.height);
        let is_copied = may_copy(camera.copies, &capture.source, &camera.masks);
        let a_second =
            if is_copied { STREAM_BYTES } else { f64::from(camera.fps) * pixels * JPEG_BYTES_PER_PIXEL };
        let needed = ((clip.before + clip.after).as_secs_f64() * a_second) as u64;
        if needed > share {
            let fact = format!(
                "about {} for camera `{}`, its share is {}",
                show_bytes(needed),
                camera.name(),
                show_bytes(share)
            );
            report.add(
                Problem::warning(span.clone(), "clips of this rule will hardly fit into the memory")
                    .label(fact)
                    .help("raise `clips_memory` of [store], or ask for shorter clips"),
            );
        }
    }
}

fn camera(camera: &RawCamera, raw: &Raw) -> Option<CameraConfig> {
    let rules = &raw.rules;
    let asks = |rule: &&RawRule| rule.listens_to(camera) && rule.trigger == Trigger::Predictions;
    let asking: Vec<&RawRule> = rules.iter().filter(asks).collect();
    let every = |asks: &dyn Fn(&RawRule) -> bool| {
        asking.iter().filter(|rule| asks(rule)).filter_map(|rule| rule.every.value).min()
    };
    let mut regions = Vec::new();
    for zone in &camera.zones {
        let asks = |rule: &RawRule| names(rule.zone.as_ref(), zone.id.as_ref());
        if asking.iter().any(|rule| asks(rule)) {
            let zone = zone.zone.as_ref()?;
            let region = Region { zone: Some(zone.id().clone()), rect: zone.bounds() };
            regions.push(Watched { region, shape: Some(zone.shape().clone()), every: every(&asks) });
        }
    }
    // Without any rule the picture is classified all the same, for what is told of persons.
    let unheard = !rules.iter().any(|rule| rule.listens_to(camera));
    if unheard || asking.iter().any(|rule| rule.zone.is_none()) {
        let every = every(&|rule| rule.zone.is_none());
        regions.push(Watched { every, ..Watched::picture() });
    }
    let (crops, masks) = (camera.crops, camera.masks.clone());
    let tracking = deed::tracking(camera, raw);
    let (motion, tamper) = (camera.motion, camera.tamper);
    let replay = rules.iter().any(|rule| rule.listens_to(camera) && rule.door.is_some());
    let watch = watch::Settings { regions, motion, crops, masks, tamper, tracking, replay };
    let announce_after = camera.announce_after;
    Some(CameraConfig { capture: camera.capture.clone()?, watch, announce_after, copies: camera.copies })
}

fn door(door: &RawDoor, broker: Option<&RawBroker>, report: &Report) -> Option<doors::Settings> {
    let name = door.id.as_ref()?;
    let kind = match door.kind.clone()? {
        RawKind::Log => doors::Kind::Log,
        RawKind::Command { argv, time_limit } => doors::Kind::Command { argv, time_limit },
        RawKind::Mqtt { at, topic, expires_after } => {
            let Some(broker) = broker else {
                let message = format!("door `{}` is opened over MQTT, but there is no [mqtt]", name.text);
                report.add(
                    Problem::error(at, message).help("for example:\n[mqtt]\nurl = \"mqtt://127.0.0.1:1883\""),
                );
                return None;
            };
            let topic = topic.unwrap_or_else(|| format!("{}/door/{}/command", broker.prefix, name.text));
            doors::Kind::Mqtt { topic, expires_after }
        }
    };
    Some(doors::Settings {
        door: name.id.clone()?,
        mode: door.mode,
        max_age: door.max_age,
        min_interval: door.min_interval,
        trust_arrival: door.trust_arrival,
        kind,
    })
}

/// Whether a reference is to this name.
fn names<T>(reference: Option<&Spanned<String>>, name: Option<&Named<T>>) -> bool {
    matches!((reference, name), (Some(reference), Some(name)) if *reference.get_ref() == name.text)
}

/// Warns of what is defined and never asked for. Not beside errors: an unused name is mostly the other half of a
/// misspelt reference.
fn unused(raw: &Raw, report: &Report) {
    let warn = |span, message, help| report.add(Problem::warning(span, message).help(help));
    for camera in &raw.cameras {
        let listening: Vec<&RawRule> = raw.rules.iter().filter(|rule| rule.listens_to(camera)).collect();
        if let Some(id) = &camera.id
            && listening.is_empty()
        {
            let message = format!("no rule listens to camera `{}`", id.text);
            warn(id.span.clone(), message, "its pictures are classified, but nothing is decided");
            continue;
        }
        for id in camera.zone_ids() {
            if !listening.iter().any(|rule| names(rule.zone.as_ref(), Some(id))) {
                warn(id.span.clone(), format!("no rule asks for zone `{}`", id.text), "it is not looked at");
            }
        }
    }
    deed::unused(raw, report);
    for schedule in &raw.schedules {
        let name = &schedule.id.text;
        let asks =
            |rule: &RawRule| rule.during.as_ref().is_some_and(|d| rule::schedule_name(d.get_ref()).0 == name);
        if !raw.rules.iter().any(asks) {
            warn(schedule.header.clone(), format!("no rule asks for schedule `{name}`"), "it has no effect");
        }
    }
    for id in raw.doors.iter().filter_map(|door| door.id.as_ref()) {
        if !raw.rules.iter().any(|rule| names(rule.door.as_ref(), Some(id))) {
            warn(id.span.clone(), format!("no rule authorises door `{}`", id.text), "it stays shut");
        }
    }
}

/// Warns, once, when there are alerts and nobody to tell them to.
fn unheard(raw: &Raw, report: &Report) {
    let first = raw.rules.iter().find_map(|rule| rule.alert.as_ref());
    if let Some((severity, _)) = first
        && raw.broker.is_none()
    {
        report.add(
            Problem::warning(severity.span(), "alerts reach nobody: there is no [mqtt]")
                .help("they are still recorded in the database"),
        );
    }
}

/// Schedules need to know the time of day.
fn local_time(raw: &Raw, report: &Report) {
    let Some(asked) = &raw.site.zone_unknown else { return };
    let Some(first) = raw.schedules.first() else { return };
    let span = asked.clone().unwrap_or_else(|| first.header.clone());
    report.add(
        Problem::warning(span, "this machine does not know its time zone; schedules are read in UTC")
            .help("for example:\n[site]\ntimezone = \"Europe/Berlin\""),
    );
}

/// A presence must outlast the time between two pictures, or each picture is a presence of its own.
fn presences(raw: &Raw, report: &Report) {
    let gap = &raw.presence_gap;
    let Some(slowest) = raw.cameras.iter().min_by(|a, b| a.fps.total_cmp(&b.fps)) else { return };
    if gap.value.as_secs_f32() * slowest.fps > 1.0 {
        return;
    }
    let message = format!("every picture of camera `{}` is a presence of its own", slowest.name());
    let span = gap.span.clone().or(slowest.id.as_ref().map(|id| id.span.clone())).unwrap_or(0..0);
    report.add(
        Problem::warning(span, message)
            .label(format!("the gap is {}, its `fps` is {}", show_duration(gap.value), slowest.fps))
            .help("raise `gap` of [presence] above the time between two pictures"),
    );
}
