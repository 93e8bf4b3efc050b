//! Values with a unit: `"500ms"`, `"2GiB"`, `"4 of 6"`, `"22:00"`.

use std::time::Duration;

use jiff::civil::Time;

pub(super) const DURATION_HELP: &str =
    "a duration is a whole number and ms, s, m, h or d, like \"500ms\" or \"5m\"";
pub(super) const SIZE_HELP: &str = "a size is a whole number and KiB, MiB, GiB or TiB, like \"512MiB\"";

/// Unit and its length in milliseconds, longest first.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start_matches(' ')))
}

fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

/// Reads `"500ms"`, `"2s"`, `"5m"`, `"8h"`, `"30d"`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    in_units(text, &TIME_UNITS).map(Duration::from_millis)
}

/// Reads `"64KiB"`, `"512MiB"`, `"2GiB"`, `"1TiB"` into bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    in_units(text, &SIZE_UNITS)
}

fn shortest(value: u64, units: &[(&str, u64)]) -> Option<String> {
    let (unit, factor) = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor))?;
    Some(format!("{}{unit}", value / factor))
}

/// Writes a duration as [`duration`] reads it, in the largest unit that fits; zero is `0s`.
pub(super) fn show_duration(value: Duration) -> String {
    let ms = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    shortest(ms, &TIME_UNITS).unwrap_or_else(|| "0s".to_owned())
}

/// Writes a size as [`bytes`] reads it, in the largest unit of which it has at least ten or a whole number,
/// rounded down.
pub(super) fn show_bytes(value: u64) -> String {
    let fits =
        |(_, factor): &&(&str, u64)| value >= 10 * factor || (value != 0 && value.is_multiple_of(*factor));
    let (unit, factor) = SIZE_UNITS.iter().find(fits).unwrap_or(&("KiB", 1 << 10));
    format!("{}{unit}", value / factor)
}

/// Reads `"4 of 6"` into `(4, 6)`.
pub(super) fn agreement(text: &str) -> Option<(u32, u32)> {
    let (k, n) = text.split_once(" of ")?;
    Some((k.trim().parse().ok()?, n.trim().parse().ok()?))
}

/// Reads `"22:00"`; `"24:00"` is midnight.
pub(super) fn time_of_day(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    if minute.len() != 2 || !(1..=2).contains(&hour.len()) {
        return None;
    }
    let (hour, minute) = (hour.parse::<i8>().ok()?, minute.parse::<i8>().ok()?);
    if (hour, minute) == (24, 0) {
        return Some(Time::midnight());
    }
    Time::new(hour, minute, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read_and_written() {
        for (text, ms) in
            [("500ms", 500), ("2s", 2_000), ("5m", 300_000), ("8h", 28_800_000), ("30d", 2_592_000_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(ms)), text);
        }
        assert_eq!(duration("90s").map(show_duration).as_deref(), Some("90s"));
        assert_eq!(show_duration(Duration::ZERO), "0s");
        for (text, size) in [("512MiB", 512 << 20), ("2GiB", 2 << 30), ("1KiB", 1024)] {
            assert_eq!(bytes(text), Some(size));
            assert_eq!(show_bytes(size), text);
        }
    }

    #[test]
    fn what_is_no_value_with_a_unit_is_refused() {
        for bad in
            ["", "5", "s", "-5s", "5 minutes", "1.5s", "5S", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(duration(bad), None, "{bad}");
        }
        for bad in ["5", "5MB", "5mib", "18446744073709551615TiB"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
        for bad in ["4", "4/6", "4of6", "a of b", "-1 of 3", "4 of 6 of 8"] {
            assert_eq!(agreement(bad), None, "{bad}");
        }
        for bad in ["22", "22:0", "25:00", "24:01", "22:60", "-1:00", "022:00", "22:00:00"] {
            assert_eq!(time_of_day(bad), None, "{bad}");
        }
    }

    #[test]
    fn agreements_and_times_are_read() {
        assert_eq!(agreement("4 of 6"), Some((4, 6)));
        assert_eq!(time_of_day("7:30"), Time::new(7, 30, 0, 0).ok());
        assert_eq!(time_of_day("24:00"), Some(Time::midnight()));
    }
}
