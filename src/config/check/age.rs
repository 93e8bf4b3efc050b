//! What an active door needs of the frames that open it: their age must be known.

use super::names;
use crate::capture::{Pace, Source};
use crate::config::problem::Problem;
use crate::config::raw::{Raw, RawCamera, RawDoor, RawRule};
use crate::config::reader::Report;
use crate::doors::Mode;

/// Looks at every camera that `rule` listens to, if it opens an active door.
pub(super) fn check(rule: &RawRule, cameras: &[&RawCamera], raw: &Raw, report: &Report) {
    let door = raw.doors.iter().find(|door| names(rule.door.as_ref(), door.id.as_ref()));
    let Some(door) = door.filter(|door| door.mode == Mode::Active) else { return };
    for camera in cameras {
        fast(rule, camera, report);
        if !door.trust_arrival {
            undated(rule, camera, door, report);
        }
    }
}

/// A file played fast dates its frames ahead of the clock: `max_age` could refuse none of them.
fn fast(rule: &RawRule, camera: &RawCamera, report: &Report) {
    let (Some(door), Some(capture)) = (&rule.door, &camera.capture) else { return };
    if capture.effective_pace() != Pace::Fast {
        return;
    }
    let (name, door_name) = (camera.name(), door.get_ref());
    let message = format!(
        "rule `{}` opens door `{door_name}` on pictures of a file played fast",
        rule.id.as_ref().map_or("", |id| &id.text)
    );
    let mut problem = Problem::error(door.span(), message).label("the door is active").help(format!(
        "give camera `{name}` `pace = \"realtime\"`, or door `{door_name}` `mode = \"observe\"`"
    ));
    if let Some(id) = &camera.id {
        problem = problem.other(id.span.clone(), format!("camera `{name}` has `pace = \"fast\"`"));
    }
    report.add(problem);
}

/// A source that does not date its pictures opens no door that does not say that this will do.
fn undated(rule: &RawRule, camera: &RawCamera, door: &RawDoor, report: &Report) {
    let (Some(reference), Some(capture)) = (&rule.door, &camera.capture) else { return };
    if capture.source.dates_pictures() {
        return;
    }
    let (name, door_name) = (camera.name(), reference.get_ref());
    let message = match capture.source {
        Source::Http(_) => format!("door `{door_name}` stays shut unless camera `{name}` dates its pictures"),
        _ => format!("door `{door_name}` stays shut: camera `{name}` does not date its pictures"),
    };
    let mut problem = Problem::warning(reference.span(), message)
        .label("a picture that was held up on its way would look new")
        .help("give the door `trust_arrival = true` if the arrival of a picture may count as its time");
    if let Some(id) = &door.id {
        problem = problem.other(id.span.clone(), "this door");
    }
    report.add(problem);
}
