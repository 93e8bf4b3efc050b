//! `[schedule.NAME]`.

use std::ops::Range;

use jiff::civil::{Time, Weekday};

use crate::config::hint::bad_name;
use crate::config::keys;
use crate::config::reader::{Named, Table, Value, every};
use crate::config::units;
use crate::domain::ScheduleId;
use crate::rules::Schedule;

const WEEK: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// Words for several days, as ranges of [`WEEK`].
const SPANS: [(&str, (usize, usize)); 3] = [("daily", (0, 7)), ("weekdays", (0, 5)), ("weekend", (5, 7))];

/// `[schedule.NAME]`; `schedule` is `None` when it is wrong and was reported.
pub(in crate::config) struct RawSchedule {
    pub(in crate::config) id: Named<ScheduleId>,
    pub(in crate::config) header: Range<usize>,
    pub(in crate::config) schedule: Option<Schedule>,
}

pub(super) fn read(file: &Table<'_>) -> Vec<RawSchedule> {
    let tables = file.named_tables("schedule", &keys::SCHEDULE);
    let read_one = |(name, table): &(toml::Spanned<String>, Table<'_>)| {
        let id = ScheduleId::new(name.get_ref()).map_err(|e| file.report.add(bad_name(name.span(), &e))).ok();
        let id = Named { text: name.get_ref().clone(), span: name.span(), id };
        RawSchedule { id, header: table.span.clone(), schedule: schedule(table) }
    };
    tables.iter().map(read_one).collect()
}

fn schedule(table: &Table<'_>) -> Option<Schedule> {
    let days = match table.get("days") {
        Some(value) => days(&value),
        None => Some(WEEK.map(|(_, day)| day).to_vec()),
    };
    let from = table.required("from", "\"22:00\"").and_then(|value| time(&value));
    let to = table.required("to", "\"06:00\"").and_then(|value| time(&value));
    Some(Schedule { days: days?, from: from?, to: to? })
}

fn days(value: &Value<'_>) -> Option<Vec<Weekday>> {
    let Some(items) = value.as_list() else {
        let (start, end) = value.word(&SPANS)?;
        return Some(WEEK[start..end].iter().map(|(_, day)| *day).collect());
    };
    if items.is_empty() {
        let problem = value.error("a schedule without days is never open").label("no day");
        return value
            .reject(problem.help(
                "allowed: mon, tue, wed, thu, fri, sat, sun; or \"daily\", \"weekdays\", \"weekend\"",
            ));
    }
    let mut days = every(items.iter().map(|item| item.word(&WEEK)))?;
    days.sort_by_key(|day| day.to_monday_zero_offset());
    days.dedup();
    Some(days)
}

fn time(value: &Value<'_>) -> Option<Time> {
    let time = value.as_time_text().and_then(|text| units::time_of_day(&text));
    time.or_else(|| value.wrong("a time of day from \"00:00\" to \"24:00\""))
}
