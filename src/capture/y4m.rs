//! Cuts a YUV4MPEG2 stream (yuv4mpeg(5) of the mjpegtools) into its frames. Pure: it knows nothing of pipes or clocks.
//!
//! ffmpeg writes it for files that are played at their own rate: its first line says what that rate is. A line of words, the
//! first of them `YUV4MPEG2`; then for each picture a line that begins with `FRAME`, and the planes.

/// A line longer than this is none.
const LONGEST_LINE: usize = 256;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotY4m(pub(super) String);

/// Holds the beginning of the next frame.
#[derive(Debug)]
pub(super) struct Splitter {
    size: usize,
    rate: Option<f64>,
    /// The line that is being read; `None` while a frame's bytes are.
    line: Option<Vec<u8>>,
    frame: Vec<u8>,
}

impl Splitter {
    /// For frames of `size` bytes, at least one.
    pub(super) fn new(size: usize) -> Self {
        Self { size: size.max(1), rate: None, line: Some(Vec::new()), frame: Vec::new() }
    }

    /// Where to read to.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        match &mut self.line {
            // Not beyond the marker of a frame, so that its bytes need not be moved.
            Some(line) => {
                line.reserve_exact(if self.rate.is_some() { "FRAME\n".len() } else { LONGEST_LINE });
                line
            }
            None => {
                self.frame.reserve_exact(self.size.saturating_sub(self.frame.len()).max(1));
                &mut self.frame
            }
        }
    }

    /// The next frame, if it is whole.
    ///
    /// # Errors
    /// [`NotY4m`] when a line is not what it must be; nothing more can come after that.
    pub(super) fn take(&mut self) -> Result<Option<Vec<u8>>, NotY4m> {
        loop {
            if let Some(line) = &mut self.line {
                // The same wherever a read ended: a line that is too long is refused, whether its end is there or not.
                let end = match line.iter().position(|&byte| byte == b'\n') {
                    Some(end) if end < LONGEST_LINE => end,
                    None if line.len() < LONGEST_LINE => return Ok(None),
                    _ => return Err(unexpected(line)),
                };
                let rest = line.split_off(end + 1);
                if self.rate.is_none() {
                    self.rate = Some(rate(line).ok_or_else(|| unexpected(line))?);
                    self.line = Some(rest);
                } else if line.starts_with(b"FRAME") {
                    (self.line, self.frame) = (None, rest);
                } else {
                    return Err(unexpected(line));
                }
            } else if self.frame.len() >= self.size {
                self.line = Some(self.frame.split_off(self.size));
                return Ok(Some(std::mem::take(&mut self.frame)));
            } else {
                return Ok(None);
            }
        }
    }

    /// Frames a second, once the first line is there.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        self.line.as_ref().is_none_or(|line| !line.is_empty())
    }
}

/// The rate in the first line: the word `Fnumerator:denominator`.
fn rate(line: &[u8]) -> Option<f64> {
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
    (words.next() == Some("YUV4MPEG2")).then_some(())?;
    let (above, below) = words.find_map(|word| word.strip_prefix('F'))?.split_once(':')?;
    let (above, below) = (above.parse::<u32>().ok()?, below.parse::<u32>().ok()?);
    (above > 0 && below > 0).then(|| f64::from(above) / f64::from(below))
}

fn unexpected(line: &[u8]) -> NotY4m {
    NotY4m(format!("`{}` instead of a YUV4MPEG2 line", line[..line.len().min(40)].escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"YUV4MPEG2 W2 H2 F25:2 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2\n";

    /// Feeds `bytes` in reads of at most `step`.
    fn all(bytes: &[u8], step: usize) -> (Splitter, Result<Vec<Vec<u8>>, NotY4m>) {
        let mut splitter = Splitter::new(6);
        let mut frames = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = splitter.room();
            let n = step.min(rest.len()).min(room.capacity() - room.len());
            assert!(n > 0, "there is always room");
            room.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            loop {
                match splitter.take() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (splitter, Err(error)),
                }
            }
        }
        (splitter, Ok(frames))
    }

    #[test]
    fn frames_come_whole_however_the_bytes_arrive() {
        let stream = [HEAD, b"FRAME\nabc\ndF", b"FRAME Ip\n\n\n\n\n\n\n", b"FRAME\nFRAME\n"].concat();
        for step in [1, 2, 5, 7, 64, 1000] {
            let (splitter, frames) = all(&stream, step);
            assert_eq!(frames.unwrap(), [&b"abc\ndF"[..], b"\n\n\n\n\n\n", b"FRAME\n"], "step {step}");
            assert_eq!(splitter.rate(), Some(12.5));
            assert!(!splitter.is_inside());
        }
    }

    #[test]
    fn half_a_frame_is_none() {
        let (splitter, frames) = all(&[HEAD, b"FRAME\nabc"].concat(), 9);
        assert_eq!(frames.unwrap(), Vec::<Vec<u8>>::new());
        assert!(splitter.is_inside());
    }

    #[test]
    fn what_is_no_such_stream_is_said() {
        let head = |rate: &str| format!("YUV4MPEG2 W2 H2 {rate}\n").into_bytes();
        for bad in [b"\xff\xd8 JFIF\n".to_vec(), head("F0:1"), head("F25"), head(""), vec![b'x'; 300]] {
            assert!(all(&bad, 1000).1.is_err(), "{}", bad.escape_ascii());
        }
        let long = [b"YUV4MPEG2 F25:1 ", &[b'x'; 300][..], b"\n"].concat();
        for step in [1, 100, 1000] {
            assert!(all(&long, step).1.is_err(), "a line that is too long, in reads of {step}");
        }
        let error = all(&[HEAD, b"FRAME\nabcdef", b"FRANE\n"].concat(), 64).1.unwrap_err();
        assert_eq!(error.0, "`FRANE\\n` instead of a YUV4MPEG2 line");
    }
}
