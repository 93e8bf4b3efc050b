//! Cuts a NUT stream (`nut.txt` of FFmpeg's and MPlayer's specification, version 3) with one raw video stream into its
//! pictures, each with its own moment. Pure: it knows nothing of pipes or clocks.
//!
//! ffmpeg writes it for everything that it decodes for us: of the formats that carry raw pictures through a pipe it is the one
//! that keeps their time stamps, in the time base of what was read.

const MAGIC: &[u8] = b"nut/multimedia container\0";
const MAIN: u64 = 0x4E4D_7A56_1F5F_04AD;
const STREAM: u64 = 0x4E53_1140_5BF2_F9DB;
const SYNCPOINT: u64 = 0x4E4B_E4AD_EECA_4569;
/// Every start code begins with this byte, and no frame does.
const START: u8 = b'N';
/// A packet's head is followed by a checksum of its own when the packet is larger than this.
const CHECKED: u64 = 4096;
/// No head of a stream with one video is larger, in bytes.
const LARGEST_HEAD: u64 = 1 << 16;
/// No head of a frame is larger, in bytes, nor has one more fields that mean nothing to us.
const LARGEST_FRAME_HEAD: usize = 512;
const MOST_RESERVED: u64 = 64;
/// Read at a time before the first picture, and between pictures, in bytes.
const FIRST_READ: usize = 512;
const READ: usize = 32;

// Flags of a frame (the specification's names).
const CODED_PTS: u64 = 8;
const STREAM_ID: u64 = 16;
const SIZE_MSB: u64 = 32;
const CHECKSUM: u64 = 64;
const RESERVED: u64 = 128;
const SM_DATA: u64 = 256;
const HEADER_IDX: u64 = 1024;
const MATCH_TIME: u64 = 2048;
const CODED: u64 = 4096;
const INVALID: u64 = 8192;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotNut(pub(super) String);

/// Why nothing was read: there is too little yet, or it is wrong.
enum Stop {
    Short,
    Wrong(NotNut),
}

fn wrong(what: &str) -> Stop {
    Stop::Wrong(NotNut(what.to_owned()))
}

/// A picture on its way.
#[derive(Debug)]
struct Frame {
    at_ns: i64,
    bytes: Vec<u8>,
}

/// Holds the beginning of the next picture.
#[derive(Debug)]
pub(super) struct Splitter {
    size: usize,
    begun: bool,
    /// What is not a picture's: heads, and what was read beyond a picture.
    head: Vec<u8>,
    frame: Option<Frame>,
    codes: Vec<Code>,
    bases: Vec<(u64, u64)>,
    /// Seconds of a tick, as a fraction.
    base: (u64, u64),
    shift: u32,
    last: i64,
}

/// What one byte at the beginning of a frame stands for.
#[derive(Debug, Clone, Copy, Default)]
struct Code {
    flags: u64,
    mul: u64,
    lsb: u64,
    delta: i64,
    reserved: u64,
}

/// What the next head is.
enum Head {
    /// Of a packet without a picture.
    Packet,
    /// Of a picture of this moment.
    Frame(i64),
}

impl Splitter {
    /// For pictures of `size` bytes, at least one.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size: size.max(1),
            begun: false,
            head: Vec::new(),
            frame: None,
            codes: Vec::new(),
            bases: Vec::new(),
            base: (0, 1),
            shift: 0,
            last: 0,
        }
    }

    /// Where to read to.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        match &mut self.frame {
            Some(frame) => {
                frame.bytes.reserve_exact(self.size.saturating_sub(frame.bytes.len()).max(1));
                &mut frame.bytes
            }
            None => {
                // Hardly beyond the head of a frame, so that few of its bytes need to be moved.
                self.head.reserve_exact(if self.codes.is_empty() { FIRST_READ } else { READ });
                &mut self.head
            }
        }
    }

    /// The next picture, if it is whole, with its moment in nanoseconds of the stream's time.
    ///
    /// # Errors
    /// [`NotNut`] when something is not what it must be; nothing more can come after that.
    pub(super) fn take(&mut self) -> Result<Option<(i64, Vec<u8>)>, NotNut> {
        loop {
            if let Some(frame) = &mut self.frame {
                if frame.bytes.len() < self.size {
                    return Ok(None);
                }
                self.head = frame.bytes.split_off(self.size);
                return Ok(self.frame.take().map(|frame| (frame.at_ns, frame.bytes)));
            }
            let mut cursor = Cursor { bytes: &self.head, at: 0 };
            let read = if self.begun { self.state_head(&mut cursor) } else { magic(&mut cursor) };
            let used = cursor.at;
            match read {
                Err(Stop::Short) if self.begun && self.has_long_frame_head() => {
                    return Err(NotNut("the head of a frame without an end".to_owned()));
                }
                Err(Stop::Short) => return Ok(None),
                Err(Stop::Wrong(why)) => return Err(why),
                Ok((Head::Packet, state)) => {
                    self.begun = true;
                    if let Some(state) = state {
                        self.adopt(state);
                    }
                    self.head.drain(..used);
                }
                Ok((Head::Frame(pts), _)) => {
                    self.last = pts;
                    let mut bytes = Vec::with_capacity(self.size);
                    bytes.extend_from_slice(&self.head[used..]);
                    self.head.clear();
                    self.frame = Some(Frame { at_ns: self.nanoseconds(pts), bytes });
                }
            }
        }
    }

    fn has_long_frame_head(&self) -> bool {
        self.head.len() > LARGEST_FRAME_HEAD && self.head[0] != START
    }

    /// Whether a picture has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.frame.is_some() || !self.head.is_empty()
    }

    fn nanoseconds(&self, pts: i64) -> i64 {
        let (above, below) = self.base;
        let ns = i128::from(pts) * i128::from(above) * 1_000_000_000 / i128::from(below.max(1));
        i64::try_from(ns).unwrap_or(i64::MAX)
    }

    fn adopt(&mut self, state: State) {
        match state {
            State::Main { codes, bases } => (self.codes, self.bases) = (codes, bases),
            State::Stream { base, shift } => (self.base, self.shift) = (base, shift),
            State::Time(last) => self.last = last,
        }
    }

    /// One head, and what it changes.
    fn state_head(&self, cursor: &mut Cursor<'_>) -> Result<(Head, Option<State>), Stop> {
        if cursor.peek()? != START {
            return Ok((Head::Frame(self.frame_head(cursor)?), None));
        }
        let code = cursor.long()?;
        let length = cursor.number()?;
        if length > LARGEST_HEAD {
            return Err(wrong("a head without an end"));
        }
        if length > CHECKED {
            cursor.bytes(4)?;
        }
        let mut body = Cursor { bytes: cursor.bytes(length as usize)?, at: 0 };
        // What is missing in a body that is whole will never come.
        let whole = |stop| if matches!(stop, Stop::Short) { wrong("a head that breaks off") } else { stop };
        let state = match code {
            MAIN => Some(main_head(&mut body).map_err(whole)?),
            STREAM => Some(self.stream_head(&mut body).map_err(whole)?),
            SYNCPOINT => Some(self.syncpoint(&mut body).map_err(whole)?),
            _ => None,
        };
        Ok((Head::Packet, state))
    }

    fn stream_head(&self, body: &mut Cursor<'_>) -> Result<State, Stop> {
        body.number()?;
        body.number()?;
        let name = body.number()?;
        body.bytes(usize::try_from(name).unwrap_or(usize::MAX))?;
        let base = usize::try_from(body.number()?).ok().and_then(|at| self.bases.get(at)).copied();
        let base = base.filter(|(above, below)| *above > 0 && *below > 0);
        let shift = u32::try_from(body.number()?).ok().filter(|shift| *shift < 32);
        match (base, shift) {
            (Some(base), Some(shift)) => Ok(State::Stream { base, shift }),
            _ => Err(wrong("a stream without a time base")),
        }
    }

    /// A moment in one of the time bases, in that of the stream.
    fn syncpoint(&self, body: &mut Cursor<'_>) -> Result<State, Stop> {
        let time = body.number()?;
        let count = self.bases.len().max(1) as u64;
        let (above, below) = self.bases.get((time % count) as usize).copied().unwrap_or((1, 1));
        let there = u128::from(time / count) * u128::from(above) * u128::from(self.base.1);
        let here = there / (u128::from(below.max(1)) * u128::from(self.base.0.max(1)));
        i64::try_from(here).map(State::Time).map_err(|_| wrong("a moment beyond all time"))
    }

    fn frame_head(&self, cursor: &mut Cursor<'_>) -> Result<i64, Stop> {
        let first = usize::from(cursor.byte()?);
        let code = self.codes.get(first).ok_or_else(|| wrong("a frame before the first head"))?;
        let mut flags = code.flags;
        if flags & INVALID != 0 {
            return Err(wrong("a frame of no known kind"));
        }
        if flags & CODED != 0 {
            flags ^= cursor.number()?;
        }
        if flags & STREAM_ID != 0 {
            cursor.number()?;
        }
        let pts = if flags & CODED_PTS == 0 {
            self.last.saturating_add(code.delta)
        } else {
            self.moment(cursor.number()?)
        };
        let mut size = code.lsb;
        if flags & SIZE_MSB != 0 {
            size = size.saturating_add(code.mul.saturating_mul(cursor.number()?));
        }
        if flags & MATCH_TIME != 0 {
            cursor.number()?;
        }
        if flags & HEADER_IDX != 0 && cursor.number()? != 0 {
            return Err(wrong("a frame without its beginning"));
        }
        let reserved = if flags & RESERVED != 0 { cursor.number()? } else { code.reserved };
        if reserved > MOST_RESERVED {
            return Err(wrong("a frame with too many fields"));
        }
        for _ in 0..reserved {
            cursor.number()?;
        }
        if flags & CHECKSUM != 0 {
            cursor.bytes(4)?;
        }
        if flags & SM_DATA != 0 || size != self.size as u64 {
            return Err(Stop::Wrong(NotNut(format!("a picture of {size} bytes instead of {}", self.size))));
        }
        Ok(pts)
    }

    /// A moment whose higher bits may be left out when they are those of the last.
    fn moment(&self, coded: u64) -> i64 {
        let coded = coded.cast_signed();
        let one = 1i64 << self.shift;
        if coded >= one {
            return coded - one;
        }
        let mask = one - 1;
        let delta = self.last.wrapping_sub(mask / 2);
        (coded.wrapping_sub(delta) & mask).wrapping_add(delta)
    }
}

/// What a head changes.
enum State {
    Main { codes: Vec<Code>, bases: Vec<(u64, u64)> },
    Stream { base: (u64, u64), shift: u32 },
    Time(i64),
}

fn magic(cursor: &mut Cursor<'_>) -> Result<(Head, Option<State>), Stop> {
    let found = cursor.bytes(MAGIC.len()).map_err(|stop| {
        let begins = MAGIC.starts_with(cursor.bytes);
        if begins { stop } else { foreign(cursor.bytes) }
    })?;
    if found == MAGIC { Ok((Head::Packet, None)) } else { Err(foreign(found)) }
}

fn foreign(bytes: &[u8]) -> Stop {
    Stop::Wrong(NotNut(format!("`{}` instead of a NUT stream", bytes[..bytes.len().min(25)].escape_ascii())))
}

fn main_head(body: &mut Cursor<'_>) -> Result<State, Stop> {
    if body.number()? > 3 {
        body.number()?;
    }
    body.number()?;
    body.number()?;
    let count = body.number()?;
    let bases = (0..count.min(256)).map(|_| Ok((body.number()?, body.number()?)));
    let bases = bases.collect::<Result<Vec<_>, Stop>>()?;
    let mut codes = vec![Code { flags: INVALID, ..Code::default() }; 256];
    let (mut delta, mut mul, mut at) = (0, 1, 0usize);
    while at < codes.len() {
        let (flags, fields) = (body.number()?, body.number()?);
        if fields > 0 {
            delta = body.signed()?;
        }
        if fields > 1 {
            mul = body.number()?;
        }
        if fields > 2 {
            body.number()?;
        }
        let size = if fields > 3 { body.number()? } else { 0 };
        let reserved = if fields > 4 { body.number()? } else { 0 };
        let count = if fields > 5 { body.number()? } else { mul.saturating_sub(size) };
        for _ in 6..fields.min(64) {
            body.number()?;
        }
        for lsb in (size..size.saturating_add(count)).take(codes.len()) {
            at += usize::from(at == usize::from(START));
            let Some(code) = codes.get_mut(at) else { break };
            *code = Code { flags, mul, lsb, delta, reserved };
            at += 1;
        }
        at += usize::from(at == usize::from(START));
        if count == 0 {
            return Err(wrong("a table of frames that says nothing"));
        }
    }
    Ok(State::Main { codes, bases })
}

/// Reads on in bytes that may be too few.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::Short)
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(count).ok_or(Stop::Short)?;
        let found = self.bytes.get(self.at..end).ok_or(Stop::Short)?;
        self.at = end;
        Ok(found)
    }

    fn long(&mut self) -> Result<u64, Stop> {
        Ok(self.bytes(8)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A number of seven bits a byte, the highest bit set in all but the last.
    fn number(&mut self) -> Result<u64, Stop> {
        let mut value = 0u64;
        for _ in 0..10 {
            let byte = self.byte()?;
            value = value << 7 | u64::from(byte & 127);
            if byte & 128 == 0 {
                return Ok(value);
            }
        }
        Err(wrong("a number without an end"))
    }

    fn signed(&mut self) -> Result<i64, Stop> {
        let value = self.number()?.wrapping_add(1);
        let half = (value >> 1).cast_signed();
        Ok(if value & 1 == 1 { -half } else { half })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What ffmpeg makes of 8 pictures of 16x16, a quarter of a second apart, the third of them left out.
    fn stream() -> Vec<u8> {
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=size=16x16:rate=4:duration=2"])
            .args(["-vf", "select='not(eq(n,2))'", "-pix_fmt", "yuv420p", "-c:v", "rawvideo"])
            .args([
                "-vsync",
                "passthrough",
                "-enc_time_base",
                "-1",
                "-write_index",
                "0",
                "-f",
                "nut",
                "pipe:1",
            ])
            .stdin(Stdio::null())
            .output()
            .expect("ffmpeg is not installed: apt-get install ffmpeg");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        made.stdout
    }

    type Timed = (i64, Vec<u8>);

    /// Feeds `bytes` in reads of at most `step`.
    fn all(bytes: &[u8], step: usize) -> Result<(Splitter, Vec<Timed>), NotNut> {
        let mut splitter = Splitter::new(16 * 16 * 3 / 2);
        let mut frames = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = splitter.room();
            let n = step.min(rest.len()).min(room.capacity() - room.len());
            assert!(n > 0, "there is always room");
            room.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            while let Some(frame) = splitter.take()? {
                frames.push(frame);
            }
        }
        Ok((splitter, frames))
    }

    #[test]
    fn pictures_keep_their_moments_however_the_bytes_arrive() {
        let stream = stream();
        let (splitter, whole) = all(&stream, 1 << 20).unwrap();
        assert!(!splitter.is_inside());
        let at: Vec<i64> = whole.iter().map(|(at, _)| at / 1_000_000).collect();
        assert_eq!(at, [0, 250, 750, 1000, 1250, 1500, 1750]);
        assert!(whole.windows(2).all(|two| two[0].1 != two[1].1), "each picture is another");
        for step in [1, 7, 33, 500] {
            assert_eq!(all(&stream, step).unwrap().1, whole, "in reads of {step}");
        }
    }

    #[test]
    fn the_head_of_a_frame_has_an_end() {
        let begun = |head: &[u8]| Splitter {
            begun: true,
            codes: vec![Code { flags: RESERVED, ..Code::default() }; 256],
            head: head.to_vec(),
            ..Splitter::new(384)
        };
        let many = begun(&[1, 0x81, 0]).take().unwrap_err();
        assert!(many.0.contains("too many fields"), "{many:?}");
        let mut long = begun(&[1]);
        long.codes[1].flags = CODED_PTS;
        long.head.extend([0x80; 5]);
        assert!(matches!(long.take(), Ok(None)), "it may go on");
        let table = [&[0x84, 0xff, 0xff, 0x7f][..]].concat();
        assert!(main_head(&mut Cursor { bytes: &table, at: 0 }).is_err());
    }

    #[test]
    fn half_a_picture_is_none_and_what_is_no_such_stream_is_said() {
        let stream = stream();
        let (splitter, frames) = all(&stream[..stream.len() - 100], 64).unwrap();
        assert!(splitter.is_inside() && frames.len() == 6);
        let error = all(b"YUV4MPEG2 W16 H16 F5:1 and so on and on", 5).unwrap_err();
        assert!(error.0.contains("instead of a NUT stream"), "{error:?}");
        let head = [MAGIC, &MAIN.to_be_bytes(), &[0x84, 0xff, 0x7f]].concat();
        assert!(all(&head, 3).is_err());
        for at in 25..stream.len().min(200) {
            let mut broken = stream.clone();
            broken[at] ^= 0x55;
            // Whatever comes of it: no panic, and no picture of another size.
            if let Ok((_, frames)) = all(&broken, 64) {
                assert!(frames.iter().all(|(_, bytes)| bytes.len() == 16 * 16 * 3 / 2));
            }
        }
    }
}
