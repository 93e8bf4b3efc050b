//! Cuts a stream of MPEG-TS (ISO/IEC 13818-1) into its coded pictures. Pure: it knows nothing of pipes or clocks.
//!
//! ffmpeg writes it beside the pictures, of one video stream and nothing else. A picture begins with a packet that
//! says so, and ends before the next that does; whether it can be decoded by itself, and when it is to be shown, stands in
//! its first packet.

use crate::domain::Codec;

/// Bytes of a packet.
const PACKET: usize = 188;
/// Every packet begins with it.
const SYNC: u8 = 0x47;
/// The stream that lists the others.
const PROGRAMS: u16 = 0;
/// A coded picture larger than this is none.
const LARGEST: usize = 16 << 20;

/// One coded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// It can be decoded without those before it.
    pub(super) is_key: bool,
    /// When it is to be shown, in 1/90,000 s, modulo 2^33.
    pub(super) shown: Option<u64>,
    /// Its packets; before those of a key picture two that describe the stream.
    pub(super) bytes: Vec<u8>,
}

/// Why nothing more can come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is no such stream.
    Foreign,
    /// It is coded in something else; the number is that of the standard's table of stream types.
    Codec(u8),
    /// A picture has no end.
    Endless,
}

/// Holds the beginning of the next picture.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of a packet.
    rest: Vec<u8>,
    /// The last packet that lists the streams, and the last that describes ours.
    lists: [Vec<u8>; 2],
    /// The stream that describes ours.
    description: Option<u16>,
    video: Option<(u16, Codec)>,
    unit: Option<Unit>,
}

impl Splitter {
    /// Takes bytes in and gives the pictures that are whole.
    pub(super) fn feed(&mut self, bytes: &[u8], units: &mut Vec<Unit>) -> Result<(), Unfit> {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.len() / PACKET * PACKET;
        let packets: Vec<u8> = self.rest.drain(..whole).collect();
        packets.chunks_exact(PACKET).try_for_each(|packet| {
            units.extend(self.packet(packet)?);
            Ok(())
        })
    }

    /// The last picture, at the stream's end.
    pub(super) fn finish(&mut self) -> Option<Unit> {
        self.unit.take()
    }

    /// What the stream is coded in, once that is known.
    pub(super) fn codec(&self) -> Option<Codec> {
        self.video.map(|(_, codec)| codec)
    }

    /// The picture before this packet, if a new one begins with it.
    fn packet(&mut self, packet: &[u8]) -> Result<Option<Unit>, Unfit> {
        if packet[0] != SYNC {
            return Err(Unfit::Foreign);
        }
        let stream = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
        let begins = packet[1] & 0x40 != 0;
        if stream == PROGRAMS && begins {
            self.description = section(packet, 0).and_then(program).or(self.description);
            self.lists[0] = packet.to_vec();
        } else if Some(stream) == self.description && begins {
            if let Some((stream, kind)) = section(packet, 2).and_then(first_stream) {
                let codec = match kind {
                    0x1B => Codec::H264,
                    0x24 => Codec::Hevc,
                    other => return Err(Unfit::Codec(other)),
                };
                self.video = Some((stream, codec));
            }
            self.lists[1] = packet.to_vec();
        } else if self.video.is_some_and(|(video, _)| video == stream) {
            return self.picture(packet, begins);
        }
        Ok(None)
    }

    fn picture(&mut self, packet: &[u8], begins: bool) -> Result<Option<Unit>, Unfit> {
        let mut whole = None;
        if begins {
            let is_key = adaptation(packet).is_some_and(|field| field.first().is_some_and(|f| f & 0x40 != 0));
            let bytes = if is_key { self.lists.concat() } else { Vec::new() };
            whole = self.unit.replace(Unit { is_key, shown: payload(packet).and_then(shown), bytes });
        }
        // What comes before the first beginning belongs to nothing.
        if let Some(unit) = &mut self.unit {
            if unit.bytes.len() > LARGEST {
                return Err(Unfit::Endless);
            }
            unit.bytes.extend_from_slice(packet);
        }
        Ok(whole)
    }
}

/// The adaptation field without its length (2.4.3.4), where there is one.
fn adaptation(packet: &[u8]) -> Option<&[u8]> {
    (packet[3] & 0x20 != 0).then(|| packet.get(5..5 + usize::from(packet[4])))?
}

/// What comes after the header and the adaptation field, where something does.
fn payload(packet: &[u8]) -> Option<&[u8]> {
    let skipped = if packet[3] & 0x20 != 0 { 1 + usize::from(packet[4]) } else { 0 };
    (packet[3] & 0x10 != 0).then(|| packet.get(4 + skipped..))?
}

/// The table of this kind that begins in a packet, after its length (2.4.4). ffmpeg's fit into one packet.
fn section(packet: &[u8], kind: u8) -> Option<&[u8]> {
    let payload = payload(packet)?;
    let table = payload.get(1 + usize::from(*payload.first()?)..)?;
    let length = usize::from(u16::from_be_bytes([table.get(1)? & 0x0F, *table.get(2)?]));
    // Its last four bytes are a checksum, which a pipe makes needless.
    (*table.first()? == kind).then(|| table.get(3..(3 + length).checked_sub(4)?))?
}

/// The stream that describes the first program (2.4.4.3).
fn program(table: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([table.get(7)? & 0x1F, *table.get(8)?]))
}

/// The first stream of a program and its type (2.4.4.8).
fn first_stream(table: &[u8]) -> Option<(u16, u8)> {
    let words = usize::from(u16::from_be_bytes([table.get(7)? & 0x0F, *table.get(8)?]));
    let entry = table.get(9 + words..)?;
    Some((u16::from_be_bytes([entry.get(1)? & 0x1F, *entry.get(2)?]), *entry.first()?))
}

/// The time in the head of a packetised elementary stream (2.4.3.7): 33 bits in five bytes.
fn shown(head: &[u8]) -> Option<u64> {
    let has_time = head.starts_with(&[0, 0, 1]) && head.get(7)? & 0x80 != 0;
    let &[a, b, c, d, e] = head.get(9..14)? else { return None };
    let bits = |byte: u8, mask: u8| u64::from((byte & mask) >> 1);
    has_time.then(|| {
        bits(a, 0x0E) << 30 | u64::from(b) << 22 | bits(c, 0xFE) << 15 | u64::from(d) << 7 | bits(e, 0xFE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(stream: u16, begins: bool, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![SYNC, (stream >> 8) as u8 | if begins { 0x40 } else { 0 }, stream as u8, 0x10];
        packet.extend(body);
        packet.resize(PACKET, 0xFF);
        packet
    }

    fn lists(kind: u8) -> Vec<u8> {
        let programs = packet(0, true, &[0, 0, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0, 1, 2, 3, 4]);
        let table = [0, 2, 0xB0, 18, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0, kind, 0xE1, 0, 0xF0, 0, 1, 2, 3, 4];
        [programs, packet(0x1000, true, &table)].concat()
    }

    /// A picture of `packets` packets, shown at `at`.
    fn picture(at: u64, is_key: bool, packets: usize) -> Vec<u8> {
        let time = [
            0x21 | (at >> 29 & 0x0E) as u8,
            (at >> 22) as u8,
            1 | (at >> 14 & 0xFE) as u8,
            (at >> 7) as u8,
            1 | (at << 1 & 0xFE) as u8,
        ];
        let field: &[u8] = if is_key { &[1, 0x40] } else { &[1, 0] };
        let head = [field, &[0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5], &time].concat();
        let mut bytes = packet(0x100, true, &head);
        bytes[3] |= 0x20;
        (1..packets).for_each(|n| bytes.extend(packet(0x100, false, &[n as u8])));
        bytes
    }

    fn all(bytes: &[u8], step: usize) -> (Splitter, Result<Vec<Unit>, Unfit>) {
        let (mut splitter, mut units) = (Splitter::default(), Vec::new());
        for chunk in bytes.chunks(step) {
            if let Err(unfit) = splitter.feed(chunk, &mut units) {
                return (splitter, Err(unfit));
            }
        }
        units.extend(splitter.finish());
        (splitter, Ok(units))
    }

    #[test]
    fn pictures_come_whole_however_the_bytes_arrive_and_key_pictures_with_their_lists() {
        let times = [0, 3_600, 0x1_2345_6789, (1 << 33) - 1];
        let stream = [
            picture(7, false, 1),
            lists(0x1B),
            picture(times[0], true, 3),
            picture(times[1], false, 1),
            lists(0x1B),
            picture(times[2], false, 2),
            picture(times[3], true, 1),
        ]
        .concat();
        for step in [1, 100, 188, 189, 100_000] {
            let (splitter, units) = all(&stream, step);
            let units = units.unwrap();
            assert_eq!(splitter.codec(), Some(Codec::H264));
            let found: Vec<_> = units.iter().map(|unit| (unit.shown.unwrap(), unit.is_key)).collect();
            assert_eq!(found, [(times[0], true), (times[1], false), (times[2], false), (times[3], true)]);
            let packets: Vec<_> = units.iter().map(|unit| unit.bytes.len() / PACKET).collect();
            assert_eq!(packets, [5, 1, 2, 3], "two lists before each key picture, none elsewhere");
            assert_eq!(units[3].bytes, [lists(0x1B), picture(times[3], true, 1)].concat());
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_and_nothing_panics() {
        assert_eq!(all(&[lists(0x02), picture(0, true, 1)].concat(), 50).1, Err(Unfit::Codec(0x02)));
        assert_eq!(all(&[b'x'; 400], 400).1, Err(Unfit::Foreign));
        let hevc = [lists(0x24), picture(0, true, 1)].concat();
        assert_eq!(all(&hevc, 50).0.codec(), Some(Codec::Hevc));
        // Every byte in turn is something else: lengths that point beyond the packet among them.
        for at in (0..hevc.len()).filter(|at| at % PACKET != 0) {
            for value in [0, 0x3F, 0x7F, 0xFF] {
                let mut bytes = hevc.clone();
                bytes[at] = value;
                let _ = all(&bytes, 188);
            }
        }
        let endless = [lists(0x1B), picture(0, true, LARGEST / PACKET + 2)].concat();
        assert_eq!(all(&endless, 1 << 16).1, Err(Unfit::Endless));
    }
}
