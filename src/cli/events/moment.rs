//! Moments as people write and read them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

/// Reads a moment; see [`at`].
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    at(text, &ZonedDateTime::now())
}

/// `2h` before `now` (s, m, h, d of 24 hours, w), `today` and `yesterday`, a date (its first moment) or a date and
/// time in the zone of `now`, or a full RFC 3339 time.
fn at(text: &str, now: &ZonedDateTime) -> Result<Timestamp, String> {
    let zone = || now.time_zone().clone();
    let known = match text {
        "now" => Some(now.timestamp()),
        "today" => now.start_of_day().ok().map(|day| day.timestamp()),
        "yesterday" => now.yesterday().and_then(|day| day.start_of_day()).ok().map(|day| day.timestamp()),
        _ => ago(text).and_then(|ago| now.timestamp().checked_sub(ago).ok()),
    };
    known
        .or_else(|| text.parse::<Timestamp>().ok())
        .or_else(|| Some(text.parse::<Date>().ok()?.to_zoned_datetime(zone()).ok()?.timestamp()).filter(|_| text.len() == 10))
        .or_else(|| Some(text.parse::<DateTime>().ok()?.to_zoned_datetime(zone()).ok()?.timestamp()))
        .ok_or_else(|| {
            "allowed are `2h` (ago; s, m, h, d, w), `today`, `yesterday`, `2026-03-01`, `2026-03-01T08:00` and \
             RFC 3339, e.g. `2026-03-01T08:00:00Z`"
                .to_owned()
        })
}

/// `90m` and the like.
fn ago(text: &str) -> Option<SignedDuration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    let number: u32 = text[..text.len() - 1].parse().ok()?;
    Some(SignedDuration::from_secs(i64::from(number) * unit))
}

/// Local time in the form `form`; the bare number when it is no moment of the calendar.
pub(super) fn local(wall_us: i64, zone: &TimeZone, form: &str) -> String {
    Timestamp::from_microsecond(wall_us).map_or_else(
        |_| format!("{wall_us} us"),
        |time| time.to_zoned_datetime(zone.clone()).strftime(form).to_string(),
    )
}

/// RFC 3339 in UTC, microseconds; the bare number when it is no moment of the calendar.
pub(super) fn utc(wall_us: i64) -> String {
    Timestamp::from_microsecond(wall_us).map_or_else(|_| format!("{wall_us} us"), |time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let now = "2026-11-24T12:30:00Z".parse::<Timestamp>().unwrap().to_zoned_datetime(zone);
        let expected = [
            ("now", "2026-11-24T12:30:00Z"),
            ("90s", "2026-11-24T12:28:30Z"),
            ("5m", "2026-11-24T12:25:00Z"),
            ("2h", "2026-11-24T10:30:00Z"),
            ("1d", "2026-11-23T12:30:00Z"),
            ("2w", "2026-11-10T12:30:00Z"),
            ("today", "2026-11-23T23:00:00Z"),
            ("yesterday", "2026-11-22T23:00:00Z"),
            ("2026-07-01", "2026-06-30T22:00:00Z"),
            ("2026-07-01T08:00", "2026-07-01T06:00:00Z"),
            ("2026-07-01 08:00:30", "2026-07-01T06:00:30Z"),
            ("2026-07-01T08:00:00Z", "2026-07-01T08:00:00Z"),
            ("2026-07-01T08:00:00+02:00", "2026-07-01T06:00:00Z"),
        ];
        for (text, time) in expected {
            assert_eq!(at(text, &now).as_ref().map(ToString::to_string), Ok(time.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_the_forms() {
        let now = ZonedDateTime::now();
        for text in ["", "h", "2x", "-2h", "2026-13-01", "soon", "2026-02-30T00:00", "99999999999h", "ü"] {
            assert!(at(text, &now).unwrap_err().contains("`2h`"), "{text}");
        }
    }

    #[test]
    fn moments_outside_the_calendar_do_not_panic() {
        assert_eq!(utc(i64::MAX), format!("{} us", i64::MAX));
        assert_eq!(local(i64::MIN, &TimeZone::UTC, "%Y"), format!("{} us", i64::MIN));
        assert_eq!(utc(1_795_521_600_250_000), "2026-11-24T12:00:00.250000Z");
    }
}
