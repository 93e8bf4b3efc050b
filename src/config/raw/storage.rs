//! `[store]`: the database, and beside it the clips.

use std::time::Duration;

use crate::config::file::Place;
use crate::config::keys;
use crate::config::problem::Problem;
use crate::config::reader::Table;
use crate::config::units::show_bytes;
use crate::evidence;
use crate::store::{Keep, Retention, Settings};

const DAY: Duration = Duration::from_secs(86_400);
const DEFAULT_PATH: &str = "/var/lib/portero/portero.db";
const GIB: u64 = 1 << 30;

/// Default age in days, and default share in percent of what the outbox leaves, per verdict.
const KEEP_DEFAULTS: [(&str, u32, u64); 4] =
    [("authorize", 365, 15), ("deny", 90, 10), ("alert", 30, 50), ("log", 30, 25)];

/// Everything of the section.
pub(super) struct RawStorage {
    pub(super) store: Settings,
    pub(super) clips: evidence::Settings,
    /// Bytes a day; `None` is any number.
    pub(super) write_budget: Option<u64>,
}

pub(super) fn read(file: &Table<'_>, place: &Place) -> RawStorage {
    let table = file.get("store").and_then(|value| value.table(&keys::STORE));
    let store = database(file, table.as_ref(), place);
    let clips = clips(table.as_ref(), &store, place);
    let budget = table.as_ref().and_then(|table| table.get("write_budget_per_day"));
    let write_budget = budget.and_then(|value| value.bytes(1 << 20..=1 << 44));
    RawStorage { store, clips, write_budget }
}

/// Where clips lie: beside the database, unless another folder is named.
fn clips(table: Option<&Table<'_>>, store: &Settings, place: &Place) -> evidence::Settings {
    let get = |key| table.and_then(|table| table.get(key));
    let size = |key, range, default| get(key).and_then(|value| value.bytes(range)).unwrap_or(default);
    let ages = Duration::from_secs(60)..=DAY * 36_500;
    evidence::Settings {
        folder: match get("clips").and_then(|value| value.text().map(str::to_owned)) {
            Some(path) => place.path(&path),
            None => store.path.with_file_name("clips"),
        },
        max_bytes: size("clips_max", 1 << 20..=1 << 44, 4 * GIB),
        age: get("clips_age").and_then(|value| value.duration(ages)).unwrap_or(DAY * 14),
        memory: size("clips_memory", 1 << 20..=16 * GIB, 64 << 20),
        keep_free: store.keep_free,
    }
}

fn database(file: &Table<'_>, table: Option<&Table<'_>>, place: &Place) -> Settings {
    let get = |key| table.and_then(|table| table.get(key));
    let path = get("path")
        .and_then(|value| value.text().map(str::to_owned))
        .unwrap_or_else(|| DEFAULT_PATH.to_owned());
    let max_bytes = get("max_size").and_then(|value| value.bytes(16 << 20..=1 << 44)).unwrap_or(GIB);
    let outbox_percent = get("outbox_percent").and_then(|value| value.whole(1..=90)).unwrap_or(20) as u8;
    let retention = get("retention").and_then(|value| value.table(&keys::RETENTION));
    let keep_free = get("keep_free").and_then(|value| value.bytes(64 << 10..=1 << 44)).unwrap_or(256 << 20);
    let room = max_bytes / 100 * u64::from(100 - outbox_percent);
    let [authorise, deny, alert, log] = KEEP_DEFAULTS.map(|(key, days, percent)| {
        let default = Keep { age: DAY * days, bytes: room / 100 * percent };
        retention.as_ref().map_or(default, |table| keep(table, key, default))
    });
    let kept = [authorise, deny, alert, log].iter().map(|keep| keep.bytes).fold(0, u64::saturating_add);
    if kept > room
        && let Some(table) = &retention
    {
        file.report.add(
            Problem::warning(table.span.clone(), "the sizes to keep do not fit into the database")
                .label(format!(
                    "together {}, but max_size less the outbox is {}",
                    show_bytes(kept),
                    show_bytes(room)
                ))
                .help("the oldest events of all kinds go when max_size is reached"),
        );
    }
    Settings {
        path: place.path(&path),
        max_bytes,
        outbox_percent,
        keep_free,
        retention: Retention { authorise, deny, alert, log },
    }
}

fn keep(retention: &Table<'_>, key: &'static str, default: Keep) -> Keep {
    let Some(table) = retention.get(key).and_then(|value| value.table(&keys::KEEP)) else { return default };
    let ages = Duration::from_secs(60)..=DAY * 36_500;
    Keep {
        age: table.setting("age", default.age, |value| value.duration(ages)).value,
        bytes: table.setting("size", default.bytes, |value| value.bytes(64 << 10..=1 << 44)).value,
    }
}
