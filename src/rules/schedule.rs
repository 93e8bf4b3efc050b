//! When a schedule is open, by the wall clock of the place.
//!
//! Windows are compared in local time, as a person reads them off a clock. So in the night when clocks go back, a
//! window over the repeated hour is open in both; in the night when they go forward, a window that lies wholly in
//! the skipped hour does not occur.

use std::cell::OnceCell;

use jiff::Timestamp;
use jiff::civil::DateTime;

use super::{During, RuleSet, Schedule};

impl Schedule {
    /// Whether it is open at `local`. With `from == to` each of its days has a window of 24 hours from `from` on.
    #[must_use]
    pub fn is_open(&self, local: DateTime) -> bool {
        let (today, time) = (local.weekday(), local.time());
        let starts_today = self.days.contains(&today);
        if self.from < self.to {
            return starts_today && self.from <= time && time < self.to;
        }
        (starts_today && self.from <= time) || (self.days.contains(&today.previous()) && time < self.to)
    }
}

/// What a rule's schedule says of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// The rule has no schedule, or it lets the rule through.
    Open,
    /// It does not let the rule through.
    Closed,
    /// The wall stamp is no date, or the schedule does not exist: nobody gets through, `!` or not.
    Unreadable,
}

/// The wall time of one frame, converted to local time at most once, and only if a rule asks.
pub(super) struct Moment<'a> {
    rules: &'a RuleSet,
    wall_us: i64,
    local: OnceCell<Option<DateTime>>,
}

impl<'a> Moment<'a> {
    pub(super) fn new(rules: &'a RuleSet, wall_us: i64) -> Self {
        Self { rules, wall_us, local: OnceCell::new() }
    }

    fn local(&self) -> Option<DateTime> {
        *self.local.get_or_init(|| {
            let instant = Timestamp::from_microsecond(self.wall_us).ok()?;
            Some(self.rules.timezone.to_datetime(instant))
        })
    }

    /// Whether `during` lets a rule through at this moment.
    pub(super) fn gate(&self, during: Option<&During>) -> Gate {
        let Some(during) = during else { return Gate::Open };
        let schedule = self.rules.schedules.get(&during.schedule);
        match (schedule, self.local()) {
            (Some(schedule), Some(local)) if schedule.is_open(local) != during.negated => Gate::Open,
            (Some(_), Some(_)) => Gate::Closed,
            _ => Gate::Unreadable,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Time, Weekday, time};
    use jiff::tz::TimeZone;

    use super::*;
    use crate::domain::ScheduleId;

    const WORKDAYS: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

    fn open(days: &[Weekday], from: Time, to: Time, local: &str) -> bool {
        Schedule { days: days.to_vec(), from, to }.is_open(local.parse().unwrap())
    }

    #[test]
    fn a_window_within_a_day_includes_its_start_and_excludes_its_end() {
        let workday = |local| open(&WORKDAYS, time(8, 0, 0, 0), time(18, 0, 0, 0), local);
        // 2026-03-02 is a Monday.
        assert!(!workday("2026-03-02T07:59:59"));
        assert!(workday("2026-03-02T08:00:00"));
        assert!(workday("2026-03-06T17:59:59"));
        assert!(!workday("2026-03-06T18:00:00"));
        assert!(!workday("2026-03-07T12:00:00"), "a Saturday");
    }

    #[test]
    fn past_midnight_belongs_to_the_day_on_which_the_window_starts() {
        let friday_night = |local| open(&[Weekday::Friday], time(22, 0, 0, 0), time(6, 0, 0, 0), local);
        assert!(!friday_night("2026-03-06T05:00:00"), "Friday morning is Thursday's night");
        assert!(friday_night("2026-03-06T22:00:00"));
        assert!(friday_night("2026-03-07T05:59:59"), "Saturday morning is Friday's night");
        assert!(!friday_night("2026-03-07T06:00:00"));
        assert!(!friday_night("2026-03-07T23:00:00"));
    }

    #[test]
    fn until_midnight_ends_at_midnight() {
        let evening = |local| open(&[Weekday::Friday], time(20, 0, 0, 0), time(0, 0, 0, 0), local);
        assert!(evening("2026-03-06T23:59:59"));
        assert!(!evening("2026-03-07T00:00:00"));
    }

    #[test]
    fn equal_ends_are_a_whole_day() {
        let from_six = |local| open(&[Weekday::Sunday], time(6, 0, 0, 0), time(6, 0, 0, 0), local);
        assert!(!from_six("2026-03-08T05:59:59"));
        assert!(from_six("2026-03-08T06:00:00"));
        assert!(from_six("2026-03-09T05:59:59"));
        assert!(!from_six("2026-03-09T06:00:00"));
        let all_sunday = |local| open(&[Weekday::Sunday], time(0, 0, 0, 0), time(0, 0, 0, 0), local);
        assert!(all_sunday("2026-03-08T00:00:00") && all_sunday("2026-03-08T23:59:59"));
        assert!(!all_sunday("2026-03-09T00:00:00") && !all_sunday("2026-03-07T23:59:59"));
    }

    /// Zürich, `days` every day, asked at a UTC time.
    fn zurich(from: Time, to: Time, negated: bool, utc: &str) -> Gate {
        let name = ScheduleId::new("s").unwrap();
        let days = Weekday::Monday.cycle_forward().take(7).collect();
        let rules = RuleSet {
            timezone: TimeZone::get("Europe/Zurich").unwrap(),
            schedules: [(name.clone(), Schedule { days, from, to })].into(),
            rules: Vec::new(),
            background: [].into(),
            presence_gap: std::time::Duration::from_secs(5),
            places: Default::default(),
        };
        let wall_us = utc.parse::<Timestamp>().unwrap().as_microsecond();
        Moment::new(&rules, wall_us).gate(Some(&During { schedule: name, negated }))
    }

    #[test]
    fn office_hours_follow_the_clock_on_the_wall_through_both_changes() {
        let office = |utc| zurich(time(8, 0, 0, 0), time(18, 0, 0, 0), false, utc);
        // Winter: UTC+1. Summer, from 2026-03-29T01:00Z to 2026-10-25T01:00Z: UTC+2.
        assert_eq!(office("2026-03-28T06:59:59Z"), Gate::Closed);
        assert_eq!(office("2026-03-28T07:00:00Z"), Gate::Open);
        assert_eq!(office("2026-03-29T05:59:59Z"), Gate::Closed);
        assert_eq!(office("2026-03-29T06:00:00Z"), Gate::Open);
        assert_eq!(office("2026-10-25T06:00:00Z"), Gate::Closed);
        assert_eq!(office("2026-10-25T07:00:00Z"), Gate::Open);
    }

    #[test]
    fn a_night_watch_spans_the_short_and_the_long_night() {
        let night = |utc| zurich(time(22, 0, 0, 0), time(6, 0, 0, 0), false, utc);
        for inside in
            ["2026-03-28T21:00:00Z", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T03:59:59Z"]
        {
            assert_eq!(night(inside), Gate::Open, "{inside}");
        }
        assert_eq!(night("2026-03-29T04:00:00Z"), Gate::Closed, "06:00 summer time");
        for inside in
            ["2026-10-24T20:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T04:59:59Z"]
        {
            assert_eq!(night(inside), Gate::Open, "{inside}");
        }
        assert_eq!(night("2026-10-25T05:00:00Z"), Gate::Closed, "06:00 winter time");
    }

    #[test]
    fn the_skipped_hour_does_not_occur_and_the_repeated_one_does_twice() {
        let two_to_three = |utc| zurich(time(2, 0, 0, 0), time(3, 0, 0, 0), false, utc);
        assert_eq!(two_to_three("2026-03-29T00:59:59Z"), Gate::Closed, "01:59:59");
        assert_eq!(two_to_three("2026-03-29T01:00:00Z"), Gate::Closed, "03:00:00");
        assert_eq!(two_to_three("2026-10-25T00:30:00Z"), Gate::Open, "02:30 summer time");
        assert_eq!(two_to_three("2026-10-25T01:30:00Z"), Gate::Open, "02:30 winter time");
        assert_eq!(two_to_three("2026-10-25T02:00:00Z"), Gate::Closed, "03:00");
    }

    #[test]
    fn what_cannot_be_read_lets_nobody_through() {
        let (from, to) = (time(8, 0, 0, 0), time(18, 0, 0, 0));
        assert_eq!(zurich(from, to, false, "2026-03-02T12:00:00Z"), Gate::Open);
        assert_eq!(zurich(from, to, true, "2026-03-02T12:00:00Z"), Gate::Closed);
        assert_eq!(zurich(from, to, true, "2026-03-02T20:00:00Z"), Gate::Open);
        let rules = RuleSet {
            timezone: TimeZone::UTC,
            schedules: [].into(),
            rules: Vec::new(),
            background: [].into(),
            presence_gap: std::time::Duration::from_secs(5),
            places: Default::default(),
        };
        for negated in [false, true] {
            let during = During { schedule: ScheduleId::new("gone").unwrap(), negated };
            assert_eq!(Moment::new(&rules, 0).gate(Some(&during)), Gate::Unreadable);
            assert_eq!(Moment::new(&rules, i64::MAX).gate(Some(&during)), Gate::Unreadable);
        }
    }
}
