//! When a picture was taken, where a web server says so beside it.
//!
//! Servers of Motion JPEG write a few headers before each picture. `X-Timestamp` holds seconds since 1970 with a fraction
//! (mjpg-streamer, ESP32 cameras); `Date` and `Last-Modified` hold whole seconds (RFC 9110, 5.6.7).

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::capture::MediaTime;

const SECOND: i64 = 1_000_000;

/// The moment in what stood before a picture; the last of several counts. `None` where there is none, or where it is no date.
pub(super) fn moment(before: &[u8]) -> Option<MediaTime> {
    let text = String::from_utf8_lossy(before);
    let mut coarse = None;
    for line in text.lines().rev() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "x-timestamp" | "timestamp" => {
                if let Some(us) = seconds(value) {
                    return Some(MediaTime { us, step: 1 });
                }
            }
            "date" | "last-modified" => coarse = coarse.or_else(|| date(value)),
            _ => {}
        }
    }
    coarse.map(|us| MediaTime { us, step: SECOND })
}

/// Seconds with or without a fraction, in microseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 12 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some(whole.parse::<i64>().ok()? * SECOND + fraction.parse::<i64>().ok()?)
}

fn date(text: &str) -> Option<i64> {
    let zoned = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text);
    zoned.ok().map(Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_a_part_is_read_as_finely_as_it_is_written() {
        for (text, expected) in [
            ("--b\r\nContent-Type: image/jpeg\r\nX-Timestamp: 1234.567890\r\n\r\n", Some((1_234_567_890, 1))),
            ("X-Timestamp: 7.25\n", Some((7_250_000, 1))),
            ("Date: Thu, 01 Jan 1970 00:01:00 GMT\r\n", Some((60 * SECOND, SECOND))),
            ("Last-Modified: Thu, 01 Jan 1970 00:00:05 GMT\r\nX-Timestamp: 5.5\r\n", Some((5_500_000, 1))),
            ("Content-Length: 17\r\n\r\n", None),
            ("X-Timestamp: soon\r\n", None),
            ("Date: yesterday\r\n", None),
            ("", None),
        ] {
            let found = moment(text.as_bytes()).map(|at| (at.us, at.step));
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
