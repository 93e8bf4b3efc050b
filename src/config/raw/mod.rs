//! The file as written: every section read with its defaults and its places, nothing compared across sections.
//!
//! serde stops at its first error; walking the parsed tables with the typed readers finds them all.

mod broker;
mod camera;
mod deed;
mod detector;
mod door;
mod general;
mod login;
mod rule;
mod schedule;
mod source;
mod storage;

use std::time::Duration;

use toml::Spanned;
use toml::de::DeTable;

pub(super) use broker::RawBroker;
pub(super) use camera::RawCamera;
pub(super) use detector::RawDetector;
pub(super) use door::{RawDoor, RawKind};
pub(super) use general::{RawModel, RawSite};
pub(super) use rule::RawRule;
pub(super) use schedule::RawSchedule;

use super::Storage;
use super::file::Place;
use super::keys;
use super::problem::Problem;
use super::reader::{Named, Report, Setting, Table};
use crate::{evidence, store};

/// All sections. `None` stands for a section that is absent, or that is wrong and was reported.
pub(super) struct Raw {
    pub(super) site: RawSite,
    pub(super) model: Option<RawModel>,
    pub(super) detector: Option<RawDetector>,
    pub(super) broker: Option<RawBroker>,
    pub(super) store: store::Settings,
    pub(super) clips: evidence::Settings,
    /// Bytes a day.
    pub(super) write_budget: Option<u64>,
    pub(super) presence_gap: Setting<Duration>,
    pub(super) cameras: Vec<RawCamera>,
    pub(super) schedules: Vec<RawSchedule>,
    pub(super) rules: Vec<RawRule>,
    pub(super) doors: Vec<RawDoor>,
}

/// Reads every section.
pub(super) fn read(document: &Spanned<DeTable<'_>>, place: &Place, report: &Report) -> Raw {
    let file = Table::open(&keys::FILE, 0..0, document.get_ref(), report);
    version(&file);
    let site = general::site(&file, place);
    let cameras: Vec<RawCamera> =
        file.tables("camera", &keys::CAMERA).iter().map(|table| camera::read(table, place)).collect();
    let rules: Vec<RawRule> = file.tables("rule", &keys::RULE).iter().map(rule::read).collect();
    let doors: Vec<RawDoor> = file.tables("door", &keys::DOOR).iter().map(door::read).collect();
    unique("camera", cameras.iter().filter_map(|c| c.id.as_ref()), report);
    unique("rule", rules.iter().filter_map(|r| r.id.as_ref()), report);
    unique("door", doors.iter().filter_map(|d| d.id.as_ref()), report);
    let storage::RawStorage { store, clips, write_budget } = storage::read(&file, place);
    Raw {
        model: general::model(&file, place),
        detector: detector::read(&file, place),
        broker: broker::read(&file, &site, place),
        store,
        clips,
        write_budget,
        presence_gap: general::presence_gap(&file),
        schedules: schedule::read(&file),
        site,
        cameras,
        rules,
        doors,
    }
}

/// Reads the section about the database and the clips, and reports on no other.
pub(super) fn storage(document: &Spanned<DeTable<'_>>, place: &Place, report: &Report) -> Storage {
    let file = Table::open_partly(&keys::FILE, 0..0, document.get_ref(), report);
    let storage::RawStorage { store, clips, .. } = storage::read(&file, place);
    Storage { store, clips }
}

fn version(file: &Table<'_>) {
    let Some(version) = file.get("version") else {
        let problem = Problem::error(0..0, "the file does not say its version");
        return file.report.add(problem.label("write here: version = 1"));
    };
    if let Some(number) = version.whole(0..=u32::MAX)
        && number != 1
    {
        file.report.add(
            version
                .error(format!("version {number} of the configuration is unknown"))
                .label("this release reads version 1"),
        );
    }
}

/// Records every name that was used before.
fn unique<'n, T: 'n>(what: &str, names: impl Iterator<Item = &'n Named<T>>, report: &Report) {
    let mut seen: Vec<&Named<T>> = Vec::new();
    for name in names {
        match seen.iter().find(|earlier| earlier.text == name.text) {
            Some(earlier) => report.add(
                Problem::error(name.span.clone(), format!("{what} `{}` is defined twice", name.text))
                    .label("again")
                    .other(earlier.span.clone(), "first"),
            ),
            None => seen.push(name),
        }
    }
}
