//! How much a camera may send before a picture comes of it.
//!
//! The RTSP library holds a message, and a picture, until it is whole, however large that gets. So every byte that a camera sends
//! over TCP is counted here, where it passes: one that sends heads, bodies or fragments without an end is cut off. What the
//! camera says of lengths is believed only as far as it makes the limits tighter.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of one message, head and body.
const MOST_IN_MESSAGE: usize = 64 << 10;
/// Bytes since the last picture, whatever they are. A key picture of 4K has two million.
const MOST_BEFORE_PICTURE: usize = 16 << 20;

/// What one connection has brought.
#[derive(Debug, Default)]
pub(super) struct Intake {
    since_picture: AtomicUsize,
    refusal: OnceLock<&'static str>,
}

impl Intake {
    /// A picture came out: what was held for it is held no more.
    pub(super) fn gave_a_picture(&self) {
        self.since_picture.store(0, Relaxed);
    }

    /// Why the connection was cut off.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        self.refusal.get().copied()
    }
}

/// Where in a connection the next byte stands.
#[derive(Debug)]
enum At {
    /// Before a message or a packet.
    Between,
    /// In the head of a packet (RFC 2326, 10.12): `$`, channel, two bytes of length; so many of them were there.
    PacketHead(usize, u8),
    /// In a packet, or the body of a message, so many bytes before its end.
    Rest(usize),
    /// In the head of a message.
    Head,
}

/// Looks at what a camera sends.
#[derive(Debug)]
pub(super) struct Counter {
    at: At,
    head: Vec<u8>,
}

impl Counter {
    pub(super) fn new() -> Self {
        Self { at: At::Between, head: Vec::new() }
    }

    /// Whether these bytes may go on to the library; why not, if not.
    pub(super) fn admit(&mut self, bytes: &[u8], intake: &Intake) -> Result<(), &'static str> {
        let sum = intake.since_picture.fetch_add(bytes.len(), Relaxed).saturating_add(bytes.len());
        let verdict = if sum > MOST_BEFORE_PICTURE {
            Err("it sends 16 MiB without a picture in them")
        } else {
            self.walk(bytes)
        };
        if let Err(why) = verdict {
            let _ = intake.refusal.set(why);
        }
        verdict
    }

    fn walk(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while let Some((&first, rest)) = bytes.split_first() {
            match self.at {
                At::Rest(left) => {
                    let taken = left.min(bytes.len());
                    self.at = if taken == left { At::Between } else { At::Rest(left - taken) };
                    bytes = &bytes[taken..];
                    continue;
                }
                At::Between if first == b'$' => self.at = At::PacketHead(1, 0),
                At::Between if first == b'\r' || first == b'\n' => {}
                At::Between => {
                    self.head = vec![first];
                    self.at = At::Head;
                }
                At::PacketHead(1, _) => self.at = At::PacketHead(2, 0),
                At::PacketHead(2, _) => self.at = At::PacketHead(3, first),
                At::PacketHead(_, high) => {
                    let length = usize::from(u16::from_be_bytes([high, first]));
                    self.at = if length == 0 { At::Between } else { At::Rest(length) };
                }
                At::Head => self.in_head(first)?,
            }
            bytes = rest;
        }
        Ok(())
    }

    fn in_head(&mut self, byte: u8) -> Result<(), &'static str> {
        const TOO_LONG: &str = "it sends a message of more than 64 KiB";
        self.head.push(byte);
        if self.head.len() > MOST_IN_MESSAGE {
            return Err(TOO_LONG);
        }
        if !self.head.ends_with(b"\r\n\r\n") && !self.head.ends_with(b"\n\n") {
            return Ok(());
        }
        let body = length_of_body(&self.head);
        if body > MOST_IN_MESSAGE - self.head.len() {
            return Err(TOO_LONG);
        }
        self.at = if body == 0 { At::Between } else { At::Rest(body) };
        self.head = Vec::new();
        Ok(())
    }
}

/// The largest length that a head states; none is zero.
fn length_of_body(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head);
    let lengths = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap_or(usize::MAX))
    });
    lengths.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `bytes` in pieces, again and again, until they are refused; `None` after a hundred million.
    fn refused_after(bytes: &[u8], begin: &[u8]) -> Option<(usize, &'static str)> {
        let (mut counter, intake) = (Counter::new(), Intake::default());
        counter.admit(begin, &intake).unwrap();
        let mut sum = 0;
        while sum < 100_000_000 {
            sum += bytes.len();
            if let Err(why) = counter.admit(bytes, &intake) {
                assert_eq!(intake.refusal(), Some(why));
                return Some((sum, why));
            }
        }
        None
    }

    #[test]
    fn what_has_no_end_is_cut_off() {
        let packet = [&[b'$', 0, 4, 0][..], &[0xff; 1024]].concat();
        for (bytes, begin, most, words) in [
            (&b"X-More: and more\r\n"[..], &b"RTSP/1.0 200 OK\r\n"[..], 70_000, "64 KiB"),
            (b"x", b"RTSP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r", 70_000, "64 KiB"),
            (b"\n", b"RTSP/1.0 200 OK\r\nContent-Length: 1\r\ncontent-length : 70000\r\n\r", 2, "64 KiB"),
            (&packet, b"", 17 << 20, "without a picture"),
            (b"RTSP/1.0 200 OK\r\n\r\n", b"", 17 << 20, "without a picture"),
            (b"\r\n", b"", 17 << 20, "without a picture"),
        ] {
            let (after, why) = refused_after(bytes, begin).expect("it ends");
            assert!(after <= most && why.contains(words), "{after}: {why}");
        }
    }

    proptest! {
        #[test]
        fn what_gives_pictures_goes_on_however_it_is_cut(cuts in prop::collection::vec(1usize..5_000, 1..50)) {
            let answer = b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n$\x00\xff\xffa";
            let packet = [&[b'$', 0, 0xff, 0xff][..], &[b'R'; 0xffff]].concat();
            let stream = [&answer[..], &packet, &packet, answer].concat();
            let (mut counter, intake) = (Counter::new(), Intake::default());
            let mut cuts = cuts.into_iter().cycle();
            for _ in 0..200 {
                let mut rest = &stream[..];
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                    prop_assert_eq!(counter.admit(piece, &intake), Ok(()));
                    rest = after;
                }
                intake.gave_a_picture();
                prop_assert!(matches!(counter.at, At::Between));
            }
        }
    }
}
