//! When a picture was taken, where a web server says so beside it.
//!
//! Servers of Motion JPEG write a few headers before each picture. `X-Timestamp` holds seconds since 1970 with a fraction
//! (mjpg-streamer, ESP32 cameras); `Date` and `Last-Modified` hold whole seconds (RFC 9110, 5.6.7).
//!
//! The head of an answer with a single picture may hold them too. There `Date` says only when the answer was made.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::message::Head;
use crate::capture::MediaTime;
use crate::domain::{FrameClock, Stamp};

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
                    return Some(MediaTime::fine(us));
                }
            }
            "date" | "last-modified" => coarse = coarse.or_else(|| date(value)),
            _ => {}
        }
    }
    coarse.map(|us| MediaTime { step: SECOND, ..MediaTime::fine(us) })
}

/// The moment of the first picture of an answer with this head, which was asked for at `asked`. Where the head holds none, it is
/// taken for no older than the question. Nobody says so: the camera may have had it ready.
pub(super) fn of_answer(head: &Head, asked: Stamp) -> MediaTime {
    let fine = ["x-timestamp", "timestamp"].into_iter().find_map(|name| head.get(name).and_then(seconds));
    let coarse = || head.get("last-modified").and_then(date);
    match fine {
        Some(us) => MediaTime::fine(us),
        None => match coarse() {
            Some(us) => MediaTime { step: SECOND, ..MediaTime::fine(us) },
            None => MediaTime {
                clock: FrameClock::Arrival,
                ..MediaTime::fine(i64::try_from(asked.mono_us()).unwrap_or(i64::MAX))
            },
        },
    }
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
    fn a_picture_that_the_server_had_ready_is_as_old_as_its_head_says() {
        let asked = Stamp::new(77, 0);
        for (headers, expected) in [
            (
                "X-Timestamp: 1234.5\r\nLast-Modified: Thu, 01 Jan 1970 00:00:05 GMT\r\n",
                (1_234_500_000, 1, FrameClock::Media),
            ),
            ("Last-Modified: Thu, 01 Jan 1970 00:00:05 GMT\r\n", (5 * SECOND, SECOND, FrameClock::Media)),
            ("Date: Thu, 01 Jan 1970 00:00:05 GMT\r\n", (77, 1, FrameClock::Arrival)),
            ("Content-Length: 17\r\n", (77, 1, FrameClock::Arrival)),
        ] {
            let (head, _) =
                Head::read(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes()).unwrap().unwrap();
            let at = of_answer(&head, asked);
            assert_eq!((at.us, at.step, at.clock), expected, "{headers}");
        }
    }

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
