//! Typed readers over the parsed file. Each records what is wrong and goes on, so that one pass finds everything.
//!
//! A reader answers `None` both for what is absent and for what is wrong; for the latter an error was recorded,
//! and with an error no configuration is built, so a default used in its place does no harm.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::hint::{bad_name, did_you_mean, one_of, unknown_key};
use super::keys::Section;
use super::problem::{Grade, Problem};
use super::units;
use crate::domain::BadName;
use crate::trust::Distrust;

/// Where the problems are gathered.
#[derive(Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    /// Files that others may change. How bad that is depends on whether there is a door to open.
    distrusted: RefCell<Vec<Problem>>,
}

impl Report {
    pub(super) fn add(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Adds a file that others may change, which `what` calls by its part.
    pub(super) fn distrust(&self, span: Option<Range<usize>>, what: &str, found: &Distrust) {
        let message = format!("the {what} cannot be trusted: {found}");
        let problem = match span {
            Some(span) => Problem::error(span, message),
            None => Problem::of_file(message),
        };
        let problem = problem.help("who can change it decides who gets in");
        let problem = problem.help(format!("to mend it: {}", found.remedy));
        let mut distrusted = self.distrusted.borrow_mut();
        // One folder that is open to all is told once.
        if !distrusted.iter().any(|known| known.help == problem.help) {
            distrusted.push(problem);
        }
    }

    /// Makes errors of the files that others may change when there is a door that opens, else warnings.
    pub(super) fn settle_trust(&self, opens_doors: bool) {
        for mut problem in self.distrusted.take() {
            if !opens_doors {
                problem.grade = Grade::Warning;
            }
            self.add(problem);
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.problems.borrow().iter().any(|p| p.grade == Grade::Error)
    }

    pub(super) fn into_list(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// A value of the file, or its default, which stands nowhere.
#[derive(Debug, Clone)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) span: Option<Range<usize>>,
}

/// A name as written, and what it is checked into; `id` is `None` when an error was recorded.
#[derive(Debug, Clone)]
pub(super) struct Named<T> {
    pub(super) text: String,
    pub(super) span: Range<usize>,
    pub(super) id: Option<T>,
}

/// A table of a known kind.
#[derive(Clone)]
pub(super) struct Table<'a> {
    section: &'static Section,
    /// The header, or the braces of an inline table.
    pub(super) span: Range<usize>,
    /// A key was misspelt, so that a missing one is no surprise.
    pub(super) has_unknown_keys: bool,
    entries: &'a DeTable<'a>,
    pub(super) report: &'a Report,
}

/// A value with the key it stands under.
#[derive(Clone)]
pub(super) struct Value<'a> {
    key: &'a str,
    pub(super) span: Range<usize>,
    value: &'a DeValue<'a>,
    pub(super) report: &'a Report,
}

impl<'a> Table<'a> {
    /// Opens a table and records every key that does not belong there.
    pub(super) fn open(
        section: &'static Section,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
        report: &'a Report,
    ) -> Self {
        let mut table = Self::open_partly(section, span, entries, report);
        let known = |key: &str| section.keys.contains(&key);
        for (key, _) in entries.iter().filter(|(key, _)| !known(key.get_ref())) {
            table.has_unknown_keys = true;
            report.add(unknown_key(section, key.span(), key.get_ref()));
        }
        table
    }

    /// Opens a table of which only some keys are asked for.
    pub(super) fn open_partly(
        section: &'static Section,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
        report: &'a Report,
    ) -> Self {
        Self { section, span, has_unknown_keys: false, entries, report }
    }

    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        debug_assert!(self.section.keys.contains(&key), "{key} is missing from config/keys.rs");
        let (key, value) = self.entries.get_key_value(key)?;
        Some(Value { key: key.get_ref(), span: value.span(), value: value.get_ref(), report: self.report })
    }

    pub(super) fn required(&self, key: &'static str, example: &str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.report.add(
                Problem::error(self.span.clone(), format!("{} needs `{key}`", self.section.title))
                    .help(format!("for example: {key} = {example}")),
            );
        }
        value
    }

    /// Reads `key` with `read`, or takes the default.
    pub(super) fn setting<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Setting<T> {
        match self.get(key) {
            Some(value) => Setting { value: read(&value).unwrap_or(default), span: Some(value.span) },
            None => Setting { value: default, span: None },
        }
    }

    /// The tables of `[[key]]`, none when it is absent.
    pub(super) fn tables(&self, key: &'static str, section: &'static Section) -> Vec<Table<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        if let DeValue::Table(entries) = value.value {
            let title = section.title;
            self.report.add(
                Problem::error(value.span.clone(), format!("{title} is a list: it takes two brackets"))
                    .label(format!("write {title}")),
            );
            return vec![Table::open(section, value.span, entries, self.report)];
        }
        let items = value.items("a list of tables");
        items.iter().filter_map(|item| item.table(section)).collect()
    }

    /// The sub-tables under free names, as in `[schedule.NAME]`.
    pub(super) fn named_tables(
        &self,
        key: &'static str,
        section: &'static Section,
    ) -> Vec<(Spanned<String>, Table<'a>)> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let DeValue::Table(entries) = value.value else {
            value.wrong::<()>(&format!("tables with names, as in {}", section.title));
            return Vec::new();
        };
        let open = |(name, item): (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let at =
                Value { key: name.get_ref(), span: item.span(), value: item.get_ref(), report: self.report };
            Some((Spanned::new(name.span(), name.get_ref().to_string()), at.table(section)?))
        };
        entries.iter().filter_map(open).collect()
    }

    /// Records an error for a key that is known but means nothing beside the others.
    pub(super) fn pointless(&self, key: &'static str, why: &str) {
        if let Some((name, _)) = self.entries.get_key_value(key) {
            self.report.add(Problem::error(name.span(), format!("`{key}` has no meaning here")).label(why));
        }
    }
}

impl<'a> Value<'a> {
    /// Records that something else was expected here, and answers `None`.
    pub(super) fn wrong<T>(&self, expected: &str) -> Option<T> {
        self.reject(
            Problem::error(self.span.clone(), format!("`{}` must be {expected}", self.key))
                .label(self.found()),
        )
    }

    pub(super) fn reject<T>(&self, problem: Problem) -> Option<T> {
        self.report.add(problem);
        None
    }

    /// A problem of this value that the caller words.
    pub(super) fn error(&self, message: impl Into<String>) -> Problem {
        Problem::error(self.span.clone(), message)
    }

    fn found(&self) -> String {
        match self.value {
            DeValue::String(text) if text.is_empty() => "found an empty text".to_owned(),
            DeValue::String(text) if text.chars().count() <= 24 => format!("found the text {text:?}"),
            DeValue::String(_) => "found a text".to_owned(),
            DeValue::Integer(number) => format!("found {number}"),
            DeValue::Float(number) => format!("found {number}"),
            DeValue::Boolean(value) => format!("found {value}"),
            DeValue::Datetime(_) => "found a date or time".to_owned(),
            DeValue::Array(_) => "found a list".to_owned(),
            DeValue::Table(_) => "found a table".to_owned(),
        }
    }

    pub(super) fn as_text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    pub(super) fn as_list(&self) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(items) = self.value else { return None };
        let value = |item: &'a Spanned<DeValue<'a>>| Value {
            key: self.key,
            span: item.span(),
            value: item.get_ref(),
            report: self.report,
        };
        Some(items.iter().map(value).collect())
    }

    /// A text that is not empty.
    pub(super) fn text(&self) -> Option<&'a str> {
        self.as_text().filter(|text| !text.is_empty()).or_else(|| self.wrong("a text in quotes"))
    }

    pub(super) fn spanned_text(&self) -> Option<Spanned<String>> {
        self.text().map(|text| Spanned::new(self.span.clone(), text.to_owned()))
    }

    pub(super) fn yes_no(&self) -> Option<bool> {
        self.as_bool().or_else(|| self.wrong("true or false"))
    }

    /// A whole number within `range`.
    pub(super) fn whole(&self, range: RangeInclusive<u32>) -> Option<u32> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.whole_or(range, &expected)
    }

    /// A whole number within `range`, which is part of something described by `expected`.
    pub(super) fn whole_or(&self, range: RangeInclusive<u32>, expected: &str) -> Option<u32> {
        let value = match self.value {
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok(),
            _ => None,
        };
        let fits = value.and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
        fits.or_else(|| self.wrong(expected))
    }

    fn as_f32(&self) -> Option<f32> {
        match self.value {
            DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok().map(|n| n as f32),
            DeValue::Float(x) => x.as_str().parse().ok(),
            _ => None,
        }
    }

    /// A finite number within `range`.
    pub(super) fn number(&self, range: RangeInclusive<f32>) -> Option<f32> {
        let fits = self.as_f32().filter(|x| range.contains(x));
        fits.or_else(|| self.wrong(&format!("a number from {} to {}", range.start(), range.end())))
    }

    /// A list of any length; an error and no items when it is something else.
    pub(super) fn items(&self, expected: &str) -> Vec<Value<'a>> {
        self.as_list().or_else(|| self.wrong(expected)).unwrap_or_default()
    }

    /// A list of texts, each not empty; at least one.
    pub(super) fn texts(&self) -> Option<Vec<Spanned<String>>> {
        let items = self.items("a list of texts, like [\"a\", \"b\"]");
        if items.is_empty() && self.as_list().is_some() {
            return self.reject(self.error(format!("`{}` must not be empty", self.key)));
        }
        every(items.iter().map(Value::spanned_text))
    }

    /// A list of `N` numbers within 0..=1.
    pub(super) fn fractions<const N: usize>(&self, expected: &str) -> Option<[f32; N]> {
        let wrong = || self.wrong(expected);
        let Some(items) = self.as_list().filter(|items| items.len() == N) else { return wrong() };
        let fraction = |item: &Value<'a>| {
            let fits = item.as_f32().filter(|x| (0.0..=1.0).contains(x));
            fits.or_else(|| item.wrong(expected))
        };
        every(items.iter().map(fraction))?.try_into().ok()
    }

    /// One of a closed list of words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let Some(text) = self.as_text() else { return self.wrong(&one_of(&names)) };
        let hit = words.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        hit.or_else(|| {
            let problem = self.error(format!("`{}` must be {}", self.key, one_of(&names)));
            self.reject(problem.label(did_you_mean(text, &names).unwrap_or_else(|| self.found())))
        })
    }

    /// A duration within `range`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let shown = |d: &Duration| units::show_duration(*d);
        self.with_unit("duration", units::duration, &range, shown, units::DURATION_HELP)
    }

    /// A size in bytes within `range`.
    pub(super) fn bytes(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.with_unit("size", units::bytes, &range, |b| units::show_bytes(*b), units::SIZE_HELP)
    }

    fn with_unit<T: PartialOrd>(
        &self,
        what: &str,
        parse: fn(&str) -> Option<T>,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
        help: &str,
    ) -> Option<T> {
        let expected = format!("a {what} from \"{}\" to \"{}\"", show(range.start()), show(range.end()));
        let Some(value) = self.as_text().and_then(parse) else {
            let problem = self.error(format!("`{}` must be {expected}", self.key));
            return self.reject(problem.label(self.found()).help(help));
        };
        if range.contains(&value) { Some(value) } else { self.wrong(&expected) }
    }

    /// A name; the text is kept even when it is not allowed, so that references to it are not reported as well.
    pub(super) fn name<T>(&self, check: fn(&str) -> Result<T, BadName>) -> Option<Named<T>> {
        let text = self.text()?;
        let id = check(text).map_err(|error| self.report.add(bad_name(self.span.clone(), &error))).ok();
        Some(Named { text: text.to_owned(), span: self.span.clone(), id })
    }

    pub(super) fn table(&self, section: &'static Section) -> Option<Table<'a>> {
        match self.value {
            DeValue::Table(entries) => Some(Table::open(section, self.span.clone(), entries, self.report)),
            _ => self.wrong(&format!("a table, as in {}", section.title)),
        }
    }

    /// Native TOML times such as `22:00` are taken like the text `"22:00"`.
    pub(super) fn as_time_text(&self) -> Option<String> {
        match self.value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Datetime(value) if value.date.is_none() && value.offset.is_none() => {
                let time =
                    value.time.filter(|t| t.second.unwrap_or(0) == 0 && t.nanosecond.unwrap_or(0) == 0)?;
                Some(format!("{:02}:{:02}", time.hour, time.minute))
            }
            _ => None,
        }
    }
}

/// All values, or `None` when one is missing. Unlike `collect` it reads on after the first that is missing.
pub(super) fn every<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let all: Vec<Option<T>> = values.collect();
    all.into_iter().collect()
}
