//! `[[rule]]`.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::camera::RawCamera;
use super::deed;
use crate::config::keys;
use crate::config::problem::Problem;
use crate::config::reader::{Named, Setting, Table, Value};
use crate::config::units;
use crate::domain::{ClipWish, RuleId, Severity};
use crate::rules::Trigger;

/// `[[rule]]`; names are not yet looked up.
pub(in crate::config) struct RawRule {
    pub(in crate::config) span: Range<usize>,
    pub(in crate::config) id: Option<Named<RuleId>>,
    pub(in crate::config) cameras: Vec<Spanned<String>>,
    pub(in crate::config) zone: Option<Spanned<String>>,
    pub(in crate::config) trigger: Trigger,
    /// The line it waits at.
    pub(in crate::config) crossed: Option<Spanned<String>>,
    /// Empty when it does not ask what anything is.
    pub(in crate::config) labels: Vec<Spanned<String>>,
    pub(in crate::config) min_score: Setting<f32>,
    pub(in crate::config) margin: f32,
    /// `k` of `n`.
    pub(in crate::config) agree: Setting<(u32, u32)>,
    pub(in crate::config) within: Setting<Duration>,
    pub(in crate::config) hold: Setting<Duration>,
    pub(in crate::config) during: Option<Spanned<String>>,
    /// Looked at this often although nothing moves.
    pub(in crate::config) every: Setting<Option<Duration>>,
    pub(in crate::config) cooldown: Setting<Duration>,
    pub(in crate::config) max_per_hour: Option<u32>,
    pub(in crate::config) door: Option<Spanned<String>>,
    /// Severity, and whether the picture goes with it.
    pub(in crate::config) alert: Option<(Spanned<Severity>, bool)>,
    pub(in crate::config) log: bool,
    /// Whether the picture shows where something was seen.
    pub(in crate::config) boxes: bool,
    /// The film around its events.
    pub(in crate::config) clip: Option<ClipWish>,
}

impl RawRule {
    /// Whether the rule names this camera.
    pub(in crate::config) fn listens_to(&self, camera: &RawCamera) -> bool {
        self.cameras.iter().any(|name| name.get_ref() == camera.name())
    }

    /// Whether it needs to know which thing is which.
    pub(in crate::config) fn follows(&self) -> bool {
        matches!(self.trigger, Trigger::Track(_) | Trigger::Count(_))
    }
}

pub(super) fn read(table: &Table<'_>) -> RawRule {
    let ms = Duration::from_millis;
    let hour = Duration::from_secs(3_600);
    let id = table.required("id", "\"night_visitor\"").and_then(|value| value.name(RuleId::new));
    let cameras = one_or_more(table, "camera", "cameras", "\"front\"");
    let (trigger, crossed) = deed::trigger(table);
    let named = ["label", "labels"].iter().any(|key| table.get(key).is_some());
    let labels = match trigger {
        Trigger::Track(_) | Trigger::Count(_) if !named => Vec::new(),
        Trigger::Predictions | Trigger::Track(_) | Trigger::Count(_) => {
            one_or_more(table, "label", "labels", "\"person\"")
        }
        Trigger::Tamper(_) | Trigger::Covered(_) => Vec::new(),
    };
    let rule = RawRule {
        trigger,
        crossed,
        labels,
        span: table.span.clone(),
        id,
        cameras,
        zone: table.get("zone").and_then(|value| value.spanned_text()),
        min_score: table.setting("min_score", 0.7, |value| value.number(0.0..=1.0)),
        margin: table.setting("margin", 0.0, |value| value.number(0.0..=1.0)).value,
        agree: table.setting("agree", (3, 5), agreement),
        within: table.setting("within", ms(5_000), |value| value.duration(ms(100)..=hour)),
        hold: table.setting("for", Duration::ZERO, |value| value.duration(Duration::ZERO..=hour)),
        during: table.get("during").and_then(|value| value.spanned_text()),
        every: table.setting("every", None, |value| value.duration(ms(100)..=hour * 24).map(Some)),
        cooldown: table.setting("cooldown", ms(30_000), |value| value.duration(ms(100)..=hour * 168)),
        max_per_hour: table.get("max_per_hour").and_then(|value| max_per_hour(&value)),
        door: table.get("authorize").and_then(|value| value.spanned_text()),
        alert: alert(table),
        log: table.setting("log", false, Value::yes_no).value,
        boxes: table.setting("boxes", true, Value::yes_no).value,
        clip: table.get("clip").and_then(|value| clip(&value)),
    };
    let acts = ["authorize", "alert", "log"]
        .iter()
        .any(|key| table.get(key).is_some_and(|v| v.as_bool() != Some(false)));
    if !acts && !table.has_unknown_keys {
        table.report.add(Problem::error(table.span.clone(), "the rule does nothing").help(
            "give it one or more of: authorize = \"DOOR\", alert = \"info|warning|critical\", log = true",
        ));
    }
    rule
}

/// `one = "a"` or `many = ["a", "b"]`, exactly one of them.
fn one_or_more(
    table: &Table<'_>,
    one: &'static str,
    many: &'static str,
    example: &str,
) -> Vec<Spanned<String>> {
    match (table.get(one), table.get(many)) {
        (Some(one), None) => one.spanned_text().into_iter().collect(),
        (None, Some(many)) => many.texts().unwrap_or_default(),
        (Some(_), Some(value)) => {
            let problem = value.error(format!("`{one}` and `{many}` exclude each other"));
            table.report.add(problem.help(format!("put all of them into `{many}`")));
            Vec::new()
        }
        (None, None) => {
            table.required(one, example);
            Vec::new()
        }
    }
}

fn agreement(value: &Value<'_>) -> Option<(u32, u32)> {
    const WANTED: &str = "\"K of N\", as in \"4 of 6\", with N at most 64";
    let Some((k, n)) = value.as_text().and_then(units::agreement) else { return value.wrong(WANTED) };
    let fault = match (k, n) {
        (_, 65..) => format!("{n} is more than 64"),
        (0, _) => "at least 1 must agree".to_owned(),
        _ if k > n => format!("{k} of {n} can never agree"),
        _ => return Some((k, n)),
    };
    value.reject(value.error(format!("`agree` must be {WANTED}")).label(fault))
}

/// `true`, or how much of the time before and after.
fn clip(value: &Value<'_>) -> Option<ClipWish> {
    let second = Duration::from_secs(1);
    let default = ClipWish { before: second * 5, after: second * 10 };
    match value.as_bool() {
        Some(true) => return Some(default),
        Some(false) => return None,
        None if !value.is_table() => {
            return value.wrong("true, false or a table, as in { before = \"5s\", after = \"10s\" }");
        }
        None => {}
    }
    let table = value.table(&keys::CLIP)?;
    let range = |most: u32| Duration::ZERO..=second * most;
    Some(ClipWish {
        before: table.setting("before", default.before, |value| value.duration(range(30))).value,
        after: table.setting("after", default.after, |value| value.duration(range(60))).value,
    })
}

fn max_per_hour(value: &Value<'_>) -> Option<u32> {
    let n = value.whole(0..=36_000)?;
    if n == 0 {
        let problem = value.error("with `max_per_hour = 0` the rule can never fire").label("at least 1");
        return value.reject(problem.help("to switch a rule off, remove it or comment it out"));
    }
    Some(n)
}

fn alert(table: &Table<'_>) -> Option<(Spanned<Severity>, bool)> {
    let Some(value) = table.get("alert") else {
        table.pointless("snapshot", "the picture goes with an alert, and there is no `alert`");
        table.pointless("boxes", "they are drawn into the picture of an alert, and there is no `alert`");
        return None;
    };
    let words = Severity::ALL.map(|severity| (severity.as_str(), severity));
    let snapshot = table.setting("snapshot", false, Value::yes_no).value;
    let severity = value.word(&words)?;
    Some((Spanned::new(value.span, severity), snapshot))
}
