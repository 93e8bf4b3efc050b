//! `[[camera]]` with its zones.

use std::time::Duration;

use super::source;
use crate::capture::{MAX_SIDE, Pace, Settings, Source};
use crate::config::file::Place;
use crate::config::keys;
use crate::config::problem::Problem;
use crate::config::reader::{Named, Setting, Table, Value, every};
use crate::config::units::show_duration;
use crate::domain::{CameraId, Line, LineId, NormRect, Polygon, Zone, ZoneError, ZoneId};
use crate::watch::{Crops, MotionSettings, TamperSettings};

/// `[[camera]]`; `capture` is `None` when it is wrong and was reported.
pub(in crate::config) struct RawCamera {
    pub(in crate::config) id: Option<Named<CameraId>>,
    pub(in crate::config) fps: f32,
    pub(in crate::config) capture: Option<Settings>,
    pub(in crate::config) announce_after: Duration,
    pub(in crate::config) copies: bool,
    pub(in crate::config) motion: Option<MotionSettings>,
    pub(in crate::config) crops: Crops,
    pub(in crate::config) tamper: Option<TamperSettings>,
    /// Wrong shapes were reported and are left out.
    pub(in crate::config) masks: Vec<Polygon>,
    pub(in crate::config) zones: Vec<RawZone>,
    pub(in crate::config) lines: Vec<RawLine>,
}

/// `[[camera.zone]]`; `zone` is `None` when it is wrong and was reported.
pub(in crate::config) struct RawZone {
    pub(in crate::config) id: Option<Named<ZoneId>>,
    pub(in crate::config) zone: Option<Zone>,
}

/// `[[camera.line]]`; `line` is `None` when it is wrong and was reported.
pub(in crate::config) struct RawLine {
    pub(in crate::config) id: Option<Named<LineId>>,
    pub(in crate::config) line: Option<Line>,
}

impl RawCamera {
    /// The names of its lines.
    pub(in crate::config) fn line_ids(&self) -> impl Iterator<Item = &Named<LineId>> {
        self.lines.iter().filter_map(|line| line.id.as_ref())
    }

    /// The names of its zones.
    pub(in crate::config) fn zone_ids(&self) -> impl Iterator<Item = &Named<ZoneId>> {
        self.zones.iter().filter_map(|zone| zone.id.as_ref())
    }

    /// The name as written, empty when it has none.
    pub(in crate::config) fn name(&self) -> &str {
        self.id.as_ref().map_or("", |id| &id.text)
    }
}

/// What clips of a camera are made of: whether its own stream is copied.
const CLIPS: [(&str, bool); 2] = [("copy", true), ("encode", false)];

pub(super) fn read(table: &Table<'_>, place: &Place) -> RawCamera {
    let id = table.required("id", "\"front\"").and_then(|value| value.name(CameraId::new));
    let fps = table.setting("fps", 5.0, |value| value.number(0.1..=60.0));
    let [width, height] = table.get("size").and_then(|value| size(&value)).unwrap_or([640, 480]);
    let stalls = Duration::from_secs(1)..=Duration::from_secs(3_600);
    let stall_after = table.setting("stall_after", Duration::from_secs(10), |value| value.duration(stalls));
    patient(table, &fps, &stall_after);
    let waits = Duration::ZERO..=Duration::from_secs(3_600);
    let announce_after =
        table.setting("announce_after", Duration::from_secs(3), |value| value.duration(waits.clone())).value;
    let copies = table.setting("clips", true, |value| value.word(&CLIPS)).value;
    let source = source::read(table, place, [width, height], fps.value);
    let (pace, looped) = playback(table, source.as_ref());
    // A file or folder has nothing to settle.
    let is_live = source.as_ref().is_none_or(Source::is_live);
    let settle = if is_live { Duration::from_secs(10) } else { Duration::ZERO };
    let settle = table.setting("settle", settle, |value| value.duration(waits.clone())).value;
    let zones: Vec<RawZone> = table.tables("zone", &keys::ZONE).iter().map(zone).collect();
    super::unique("zone", zones.iter().filter_map(|zone| zone.id.as_ref()), table.report);
    let lines: Vec<RawLine> = table.tables("line", &keys::LINE).iter().map(line).collect();
    super::unique("line", lines.iter().filter_map(|line| line.id.as_ref()), table.report);
    let camera = id.as_ref().and_then(|id| id.id.clone());
    let capture = camera.zip(source).map(|(camera, source)| Settings {
        camera,
        source,
        fps: fps.value,
        width,
        height,
        settle,
        stall_after: stall_after.value,
        pace,
        looped,
    });
    let masks = table.tables("mask", &keys::MASK);
    let masks = masks.iter().filter_map(|mask| shape(mask, "mask")).collect();
    let motion = motion(table);
    let crops = crops(table, motion.is_some());
    RawCamera {
        id,
        fps: fps.value,
        capture,
        announce_after,
        copies,
        motion,
        crops,
        tamper: tamper(table),
        masks,
        zones,
        lines,
    }
}

/// A camera must be given the time of two frames before it is called stalled.
fn patient(table: &Table<'_>, fps: &Setting<f32>, stall_after: &Setting<Duration>) {
    let frame = Duration::from_secs_f32(1.0 / fps.value);
    if frame * 2 <= stall_after.value {
        return;
    }
    let span = stall_after.span.clone().or(fps.span.clone()).unwrap_or_else(|| table.span.clone());
    table.report.add(Problem::error(span, "the camera would count as stalled between two frames").help(
        format!(
            "at {} frames a second, stall_after must be at least {}; it is {}",
            fps.value,
            show_duration(Duration::from_secs((frame * 2).as_secs_f32().ceil() as u64)),
            show_duration(stall_after.value),
        ),
    ));
}

fn size(value: &Value<'_>) -> Option<[u32; 2]> {
    let wanted = format!("[WIDTH, HEIGHT] in pixels, each from 16 to {MAX_SIDE}");
    let Some(items) = value.as_list().filter(|items| items.len() == 2) else { return value.wrong(&wanted) };
    every(items.iter().map(|item| item.whole_or(16..=MAX_SIDE, &wanted)))?.try_into().ok()
}

/// `pace` and `loop`, which only a file or a folder has.
fn playback(table: &Table<'_>, source: Option<&Source>) -> (Pace, bool) {
    let words = [("realtime", Pace::Realtime), ("fast", Pace::Fast)];
    let pace = table.setting("pace", Pace::Realtime, |value| value.word(&words)).value;
    let looped = table.setting("loop", false, Value::yes_no).value;
    if source.is_some_and(Source::is_live) {
        const WHY: &str = "the source is live; only a file or a folder has it";
        if pace == Pace::Fast {
            table.pointless("pace", WHY);
        }
        if looped {
            table.pointless("loop", WHY);
        }
    }
    (pace, looped)
}

fn tamper(table: &Table<'_>) -> Option<TamperSettings> {
    let default = TamperSettings::default();
    let value = table.get("tamper")?;
    match value.as_bool() {
        Some(on) => return on.then_some(default),
        None if !value.is_table() => return value.wrong("true, false or a table { after, frozen_after }"),
        None => {}
    }
    let tamper = value.table(&keys::TAMPER)?;
    let times = Duration::from_secs(1)..=Duration::from_secs(3_600);
    Some(TamperSettings {
        after: tamper.setting("after", default.after, |value| value.duration(times.clone())).value,
        frozen_after: tamper
            .setting("frozen_after", default.frozen_after, |value| value.duration(times))
            .value,
    })
}

fn motion(table: &Table<'_>) -> Option<MotionSettings> {
    let default = MotionSettings::default();
    let value = table.get("motion")?;
    match value.as_bool() {
        Some(on) => return on.then_some(default),
        None if !value.is_table() => {
            return value.wrong("true, false or a table { min_area, min_change, min_size, shadows, hold }");
        }
        None => {}
    }
    let gate = value.table(&keys::MOTION)?;
    let holds = Duration::ZERO..=Duration::from_secs(3_600);
    Some(MotionSettings {
        min_area: gate.setting("min_area", default.min_area, |value| value.number(0.0..=1.0)).value,
        min_change: gate
            .setting("min_change", default.min_change, |value| {
                value.whole(1..=255).and_then(|n| n.try_into().ok())
            })
            .value,
        min_size: gate.setting("min_size", default.min_size, |value| value.number(0.0..=1.0)).value,
        shadows: gate.setting("shadows", default.shadows, Value::yes_no).value,
        hold: gate.setting("hold", default.hold, |value| value.duration(holds)).value,
    })
}

/// What the classifier is shown, which without the gate is always the zone.
fn crops(table: &Table<'_>, gated: bool) -> Crops {
    let words = [("zone", Crops::Zone), ("motion", Crops::Motion)];
    let crops = table.setting("crops", Crops::Zone, |value| value.word(&words)).value;
    if crops == Crops::Motion && !gated {
        table.pointless("crops", "crops follow what moves, and the camera has no `motion`");
    }
    crops
}

fn zone(table: &Table<'_>) -> RawZone {
    let id = table.required("id", "\"door\"").and_then(|value| value.name(ZoneId::new));
    let name = id.as_ref().and_then(|id| id.id.clone());
    let zone = shape(table, "zone").and_then(|shape| Some(Zone::new(name?, shape)));
    RawZone { id, zone }
}

fn line(table: &Table<'_>) -> RawLine {
    const END: &str = "a point [x, y], each from 0.0 to 1.0";
    let id = table.required("id", "\"gate\"").and_then(|value| value.name(LineId::new));
    let [from, to] = [("from", "[0.2, 0.6]"), ("to", "[0.8, 0.6]")].map(|(key, example)| {
        let value = table.required(key, example)?;
        value.fractions(END).map(|[x, y]| (x, y))
    });
    let name = id.as_ref().and_then(|id| id.id.clone());
    let line = || match Line::new(name?, from?, to?) {
        Ok(line) => Some(line),
        Err(error) => {
            table.report.add(Problem::error(table.span.clone(), error.to_string()).help(SHAPE_HELP));
            None
        }
    };
    let line = line();
    RawLine { id, line }
}

const SHAPE_HELP: &str =
    "coordinates are fractions of the picture: 0.0 is left or top, 1.0 is right or bottom";

/// `polygon` or `box`, exactly one of them.
fn shape(table: &Table<'_>, what: &str) -> Option<Polygon> {
    match (table.get("polygon"), table.get("box")) {
        (Some(polygon), None) => self::polygon(&polygon),
        (None, Some(rect)) => self::rect(&rect),
        (Some(_), Some(value)) => value.reject(value.error("`polygon` and `box` exclude each other")),
        (None, None) => {
            table.report.add(
                Problem::error(table.span.clone(), format!("the {what} has no shape"))
                    .help("for example: box = [0.25, 0.1, 0.75, 0.9]  (left, top, right, bottom)")
                    .help("or: polygon = [[0.2, 0.1], [0.8, 0.1], [0.5, 0.9]]"),
            );
            None
        }
    }
}

fn polygon(value: &Value<'_>) -> Option<Polygon> {
    let items = value.items("a list of points, as in [[0.2, 0.1], [0.8, 0.1], [0.5, 0.9]]");
    let point = |item: &Value<'_>| item.fractions("a list of points [x, y], each from 0.0 to 1.0");
    let points: Option<Vec<(f32, f32)>> = items.iter().map(|item| point(item).map(|[x, y]| (x, y))).collect();
    let points = points?;
    if items.is_empty() && value.as_list().is_none() {
        return None;
    }
    Polygon::new(points).map_err(|error| report_shape(value, &error)).ok()
}

fn rect(value: &Value<'_>) -> Option<Polygon> {
    let [x0, y0, x1, y1] = value.fractions("[left, top, right, bottom], each from 0.0 to 1.0")?;
    let rect = NormRect::new(x0, y0, x1, y1).map_err(|error| report_shape(value, &error)).ok()?;
    Some(rect.into())
}

fn report_shape(value: &Value<'_>, error: &ZoneError) {
    value.report.add(value.error(error.to_string()).help(SHAPE_HELP));
}
