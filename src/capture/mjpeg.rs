//! Finds JPEG pictures in a stream of bytes.
//!
//! A JPEG picture is a chain of markers (ITU-T T.81, annex B): `FF D8`, segments that state their length, scans
//! whose data hides every `FF` as `FF 00` or a restart marker, and `FF D9` at its end. The walk follows that
//! chain, so a thumbnail inside a segment does not end its picture. What stands between two pictures (multipart
//! headers, garbage) is skipped. Only the frame of a picture is looked at here, never its content.

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DHT: u8 = 0xc4;
/// So much of what stands before a picture is kept, in bytes.
const BEFORE: usize = 1024;

/// Where a walk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a picture.
    Gap,
    /// At the first byte of a marker.
    Marker,
    /// In the data of a scan.
    Scan,
}

/// What a stream gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole picture, from `FF D8` to `FF D9`.
    Picture(Vec<u8>),
    /// A picture broke off: another began, or it grew beyond the limit of this many bytes.
    Broken(&'static str),
    /// This many bytes passed without a picture in them.
    Nothing(usize),
    /// More bytes are needed.
    More,
}

/// Cuts a stream into pictures. It holds at most `limit` bytes plus what one [`Splitter::feed`] brought.
#[derive(Debug)]
pub(super) struct Splitter {
    held: Vec<u8>,
    /// So much at the beginning of `held` is dropped. It is not moved away each time: that would take a time that grows with the
    /// square of what is held.
    gone: usize,
    walk: Walk,
    limit: usize,
    /// Bytes dropped since the last picture.
    dropped: usize,
    /// The last of them: what stood before the picture.
    before: Vec<u8>,
    /// They belong to the picture before.
    before_is_old: bool,
}

#[derive(Debug, Clone, Copy)]
struct Walk {
    pos: usize,
    at: At,
}

enum Step {
    Go,
    End,
    Restart,
    Lost,
    More,
}

impl Walk {
    /// One step inside a picture. `Lost`: what should be a marker is none.
    fn step(&mut self, bytes: &[u8]) -> Step {
        if self.at == At::Scan {
            let Some(offset) = bytes.get(self.pos..).and_then(find_ff) else {
                self.pos = bytes.len();
                return Step::More;
            };
            self.pos += offset;
            self.at = At::Marker;
            return match bytes.get(self.pos + 1) {
                None => {
                    self.at = At::Scan;
                    Step::More
                }
                Some(0x00 | 0xd0..=0xd7) => {
                    self.at = At::Scan;
                    self.pos += 2;
                    Step::Go
                }
                Some(_) => Step::Go,
            };
        }
        let Some(&[first, code]) = bytes.get(self.pos..self.pos + 2) else { return Step::More };
        match (first, code) {
            (0xff, 0xff) => self.pos += 1,
            (0xff, SOI) => return Step::Restart,
            (0xff, EOI) => {
                self.pos += 2;
                return Step::End;
            }
            (0xff, 0x01 | 0xd0..=0xd7) => self.pos += 2,
            (0xff, 0xc0..) => {
                let Some(&[high, low]) = bytes.get(self.pos + 2..self.pos + 4) else { return Step::More };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    return Step::Lost;
                }
                if bytes.len() < self.pos + 2 + length {
                    return Step::More;
                }
                self.pos += 2 + length;
                self.at = if code == SOS { At::Scan } else { At::Marker };
            }
            _ => return Step::Lost,
        }
        Step::Go
    }
}

fn find_ff(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&b| b == 0xff)
}

fn find_start(bytes: &[u8], from: usize) -> Option<usize> {
    let tail = bytes.get(from..)?;
    tail.windows(3).position(|w| w == [0xff, SOI, 0xff]).map(|at| from + at)
}

impl Splitter {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            held: Vec::new(),
            gone: 0,
            walk: Walk { pos: 0, at: At::Gap },
            limit,
            dropped: 0,
            before: Vec::new(),
            before_is_old: false,
        }
    }

    /// Adds bytes as they came.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next thing found in what was fed.
    pub(super) fn next(&mut self) -> Found {
        loop {
            if self.walk.at == At::Gap && !self.enter() {
                if self.dropped > self.limit {
                    return Found::Nothing(std::mem::take(&mut self.dropped));
                }
                return Found::More;
            }
            match self.walk.step(&self.held[self.gone..]) {
                Step::Go => {}
                Step::End => return Found::Picture(self.take(self.walk.pos)),
                Step::Restart => {
                    self.drop_front(self.walk.pos);
                    return Found::Broken("another picture began before it ended");
                }
                Step::Lost => {
                    self.drop_front(2);
                    return Found::Broken("its chain of markers is broken");
                }
                Step::More if self.held_bytes() > self.limit => {
                    self.drop_front(self.held_bytes());
                    return Found::Broken("it does not end within the limit");
                }
                Step::More => return Found::More,
            }
        }
    }

    /// The last bytes that stood before the picture that was found last, at most [`BEFORE`].
    pub(super) fn before(&self) -> &[u8] {
        &self.before
    }

    fn held_bytes(&self) -> usize {
        self.held.len() - self.gone
    }

    /// Lets the first bytes go; moves what is left when that is the smaller part.
    fn forget(&mut self, bytes: usize) {
        self.gone += bytes;
        if self.gone > self.held.len() / 2 {
            self.held.drain(..self.gone);
            self.gone = 0;
        }
    }

    fn drop_from_gap(&mut self, count: usize) {
        if std::mem::take(&mut self.before_is_old) {
            self.before.clear();
        }
        let end = self.gone + count;
        self.before.extend_from_slice(&self.held[self.gone.max(end.saturating_sub(BEFORE))..end]);
        self.forget(count);
        let surplus = self.before.len().saturating_sub(BEFORE);
        self.before.drain(..surplus);
        self.dropped += count;
    }

    /// Whether bytes of an unfinished picture are held.
    pub(super) fn is_inside(&self) -> bool {
        self.walk.at != At::Gap
    }

    /// Moves to the start of the next picture; drops what stands before it.
    fn enter(&mut self) -> bool {
        match find_start(&self.held[self.gone..], 0) {
            Some(start) => {
                self.drop_from_gap(start);
                self.walk = Walk { pos: 2, at: At::Marker };
                true
            }
            None => {
                self.drop_from_gap(self.held_bytes().saturating_sub(2));
                false
            }
        }
    }

    fn take(&mut self, end: usize) -> Vec<u8> {
        let picture = self.held[self.gone..][..end].to_vec();
        self.forget(end);
        self.walk.at = At::Gap;
        self.dropped = 0;
        self.before_is_old = true;
        picture
    }

    fn drop_front(&mut self, bytes: usize) {
        self.dropped += bytes;
        self.forget(bytes);
        self.walk.at = At::Gap;
    }
}

/// The picture at the start of `bytes`, without what follows its end: drivers hand out their whole buffer.
/// `None` when it does not start with a picture or the picture does not end.
pub(super) fn trim(bytes: &[u8]) -> Option<&[u8]> {
    if !bytes.starts_with(&[0xff, SOI]) {
        return None;
    }
    let mut walk = Walk { pos: 2, at: At::Marker };
    loop {
        match walk.step(bytes) {
            Step::Go => {}
            Step::End => return bytes.get(..walk.pos),
            Step::Restart | Step::Lost | Step::More => return None,
        }
    }
}

/// Whether the picture brings its Huffman tables. Many webcams leave them out, as AVI's Motion JPEG does.
pub(super) fn has_tables(picture: &[u8]) -> bool {
    let mut walk = Walk { pos: 2, at: At::Marker };
    while walk.at == At::Marker {
        if picture.get(walk.pos..walk.pos + 2) == Some(&[0xff, DHT]) {
            return true;
        }
        if !matches!(walk.step(picture), Step::Go) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of markers as T.81 has it, with a thumbnail in a segment, stuffing and a restart marker.
    fn picture() -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 10, 0xff, 0xd8, 0xff, 0xd9, 1, 2, 3, 4];
        bytes.extend([0xff, 0xc4, 0, 3, 9, 0xff, 0xda, 0, 4, 7, 7]);
        bytes.extend([1, 2, 0xff, 0x00, 3, 0xff, 0xd3, 4, 0xff, 0xff, 0xd9]);
        bytes
    }

    fn all(splitter: &mut Splitter) -> Vec<Found> {
        std::iter::from_fn(|| match splitter.next() {
            Found::More => None,
            found => Some(found),
        })
        .collect()
    }

    #[test]
    fn pictures_are_found_however_the_stream_is_cut() {
        let mut stream = b"--boundary\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
        stream.extend(picture());
        stream.extend(b"\r\n--boundary\r\n\r\n\xff\xff");
        stream.extend(picture());
        for step in [1, 2, 3, 7, stream.len()] {
            let mut splitter = Splitter::new(1000);
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                splitter.feed(piece);
                found.extend(all(&mut splitter));
            }
            assert_eq!(found, [Found::Picture(picture()), Found::Picture(picture())], "step {step}");
            assert!(!splitter.is_inside());
        }
    }

    #[test]
    fn a_picture_that_breaks_off_does_not_take_the_next_with_it() {
        let mut splitter = Splitter::new(1000);
        splitter.feed(&picture()[..27]);
        splitter.feed(&picture());
        let found = all(&mut splitter);
        assert!(matches!(&found[..], [Found::Broken(_), Found::Picture(p)] if *p == picture()), "{found:?}");
    }

    #[test]
    fn beginnings_that_lead_nowhere_do_not_keep_us_for_ever() {
        // Each would move all that is held behind it: a minute for two megabytes.
        let mut splitter = Splitter::new(1 << 22);
        splitter.feed(&[0xff, 0xd8, 0xff, 0].repeat(1 << 19));
        splitter.feed(&picture());
        let found = all(&mut splitter);
        assert_eq!(found.len(), (1 << 19) + 1);
        assert_eq!(found.last(), Some(&Found::Picture(picture())));
    }

    #[test]
    fn an_endless_picture_and_endless_garbage_are_given_up() {
        let mut splitter = Splitter::new(1000);
        splitter.feed(&picture()[..27]);
        splitter.feed(&[7; 2000]);
        assert!(matches!(&all(&mut splitter)[..], [Found::Broken(_), Found::Nothing(_)]));
        splitter.feed(&[7; 2000]);
        assert!(matches!(&all(&mut splitter)[..], [Found::Nothing(n)] if *n >= 1990));
        assert!(splitter.held_bytes() < 3);
        splitter.feed(&picture());
        assert_eq!(all(&mut splitter), [Found::Picture(picture())]);
    }

    #[test]
    fn a_drivers_buffer_is_cut_at_the_end_of_its_picture() {
        let mut buffer = picture();
        buffer.resize(5000, 0);
        assert_eq!(trim(&buffer), Some(&picture()[..]));
        assert_eq!(trim(&picture()[..30]), None);
        assert_eq!(trim(b"GIF89a"), None);
        assert_eq!(trim(&[]), None);
    }

    #[test]
    fn missing_huffman_tables_are_noticed() {
        assert!(has_tables(&picture()));
        assert!(!has_tables(&[0xff, 0xd8, 0xff, 0xda, 0, 2, 1, 2, 0xff, 0xd9]));
        assert!(!has_tables(&[]));
    }
}
