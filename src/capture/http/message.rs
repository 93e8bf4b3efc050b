//! HTTP/1.1 as it comes (RFC 9112): the head of an answer, and where its body ends. Pure: bytes in, bytes out.
//!
//! httparse reads heads, leniently, because cameras' web servers are what they are. Limits: [`HEAD_BYTES`] for a head,
//! [`MOST_HEADERS`] headers, [`CHUNK_LINE_BYTES`] for the line before a chunk.

use std::io::{Error, ErrorKind};

/// Bytes of an answer's head.
pub(super) const HEAD_BYTES: usize = 32 << 10;
/// Headers of an answer.
const MOST_HEADERS: usize = 64;
/// Bytes of the line that states a chunk's length, and of one that follows the last chunk.
const CHUNK_LINE_BYTES: usize = 1024;

fn broken(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, why.into())
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// The status' words, as far as they are printable.
    pub(super) reason: String,
    headers: Vec<(String, String)>,
    /// HTTP/1.1, in which a connection stays open unless one side says otherwise.
    persists: bool,
}

impl Head {
    /// Reads a head from the beginning of `bytes`; with its length. `None` when it does not end there yet.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = httparse::ParserConfig::default()
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true)
            .ignore_invalid_headers_in_responses(true)
            .parse_response(&mut answer, bytes)
            .map_err(|error| broken(format!("it speaks no HTTP: {error}")))?;
        let httparse::Status::Complete(length) = parsed else {
            return match bytes.len() < HEAD_BYTES {
                true => Ok(None),
                false => Err(broken(format!("the head of its answer is longer than {HEAD_BYTES} bytes"))),
            };
        };
        let printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
        let reason = answer.reason.unwrap_or_default().chars().filter(printable).collect();
        let text = |header: &httparse::Header<'_>| {
            (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).trim().to_owned())
        };
        let head = Self {
            status: answer.code.unwrap_or_default(),
            reason,
            headers: answer.headers.iter().map(text).collect(),
            persists: answer.version == Some(1),
        };
        Ok(Some((head, length)))
    }

    /// The values of a header, whose name is given in lower case.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// Whether another request may follow on this connection, when the body was read to its end.
    pub(super) fn persists(&self) -> bool {
        self.persists && !self.has_token("connection", "close")
    }

    /// The media type in lower case, without its parameters; empty when none is stated.
    pub(super) fn media_type(&self) -> String {
        let text = self.get("content-type").unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// How the body ends (RFC 9112, 6.3).
    pub(super) fn body(&self) -> Result<Body, Error> {
        if self.status == 204 || self.status == 304 || (100..200).contains(&self.status) {
            return Ok(Body::Counted(0));
        }
        if self.has_token("transfer-encoding", "chunked") {
            return Ok(Body::Chunked(Chunk::Length(Vec::new())));
        }
        match self.get("content-length") {
            Some(length) => length.parse().map(Body::Counted).map_err(|_| broken("its length is no number")),
            None => Ok(Body::UntilClosed),
        }
    }
}

/// Where a body ends.
#[derive(Debug)]
pub(super) enum Body {
    /// After so many bytes.
    Counted(u64),
    /// With the connection.
    UntilClosed,
    /// After the last chunk.
    Chunked(Chunk),
}

/// Where a reader of chunks stands (RFC 9112, 7.1).
#[derive(Debug)]
pub(super) enum Chunk {
    /// In the line that states a chunk's length.
    Length(Vec<u8>),
    /// In a chunk, so many bytes before its end.
    Data(u64),
    /// In the line break after a chunk.
    Break,
    /// In a line after the last chunk, which is so long by now.
    Trailer(usize),
    /// Behind everything.
    Over,
}

impl Body {
    /// Whether it is at its end. One that ends with the connection never is.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Body::Counted(0) | Body::Chunked(Chunk::Over))
    }

    /// Takes bytes as they came, and gives what of them is content to `take`. Returns how many were taken: all of
    /// them, unless the body ends before.
    pub(super) fn digest(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<usize, Error> {
        match self {
            Body::UntilClosed => {
                take(bytes);
                Ok(bytes.len())
            }
            Body::Counted(left) => Ok(counted(left, bytes, take)),
            Body::Chunked(chunk) => {
                let mut at = 0;
                while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty())
                    && !matches!(chunk, Chunk::Over)
                {
                    at += chunk.digest(rest, take)?;
                }
                Ok(at)
            }
        }
    }
}

/// Takes at most `left` bytes.
fn counted(left: &mut u64, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> usize {
    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    take(&bytes[..n]);
    *left -= n as u64;
    n
}

impl Chunk {
    /// One step; `bytes` holds at least one. Returns how many were taken, at least one.
    fn digest(&mut self, bytes: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<usize, Error> {
        let mut taken = 1;
        let next = match self {
            Chunk::Length(line) if bytes[0] == b'\n' => match length(line)? {
                0 => Chunk::Trailer(0),
                length => Chunk::Data(length),
            },
            Chunk::Length(line) => {
                line.push(bytes[0]);
                if line.len() > CHUNK_LINE_BYTES {
                    return Err(broken("the line before a chunk does not end"));
                }
                return Ok(1);
            }
            Chunk::Data(left) => {
                taken = counted(left, bytes, take);
                if *left > 0 {
                    return Ok(taken);
                }
                Chunk::Break
            }
            Chunk::Break => match bytes[0] {
                b'\r' => return Ok(1),
                b'\n' => Chunk::Length(Vec::new()),
                _ => return Err(broken("a chunk is longer than it says")),
            },
            Chunk::Trailer(0) if bytes[0] == b'\n' => Chunk::Over,
            Chunk::Trailer(_) if bytes[0] == b'\n' => Chunk::Trailer(0),
            Chunk::Trailer(length) => {
                *length += usize::from(bytes[0] != b'\r');
                if *length > CHUNK_LINE_BYTES {
                    return Err(broken("the line after the last chunk does not end"));
                }
                return Ok(1);
            }
            Chunk::Over => return Ok(1),
        };
        *self = next;
        Ok(taken)
    }
}

/// The length in the line before a chunk: hexadecimal, up to a `;`.
fn length(line: &[u8]) -> Result<u64, Error> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let length = u64::from_str_radix(text, 16).ok().filter(|_| is_plain);
    length.ok_or_else(|| broken("the length of a chunk is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::read(text.as_bytes()).unwrap().unwrap().0
    }

    /// The content of a body that comes in pieces of `step`, and how many bytes were taken.
    fn content(mut body: Body, bytes: &[u8], step: usize) -> Result<(String, usize, bool), Error> {
        let (mut content, mut taken) = (Vec::new(), 0);
        for piece in bytes.chunks(step) {
            taken += body.digest(piece, &mut |bytes| content.extend_from_slice(bytes))?;
        }
        Ok((String::from_utf8(content).unwrap(), taken, body.is_over()))
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\n";
        let bytes = b"5;x=y\r\nhello\r\n1\r\n \r\nA\nwide world\r\n0\r\nTrailer: x\r\n\r\nHTTP/1.1 200";
        for step in [1, 2, 3, 7, 100] {
            let (text, taken, over) = content(head(chunked).body().unwrap(), bytes, step).unwrap();
            assert_eq!((text.as_str(), taken, over), ("hello wide world", bytes.len() - 12, true), "{step}");
        }
        let counted = head("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").body().unwrap();
        assert_eq!(content(counted, b"abcdef", 2).unwrap(), ("abc".to_owned(), 3, true));
        let open = head("HTTP/1.0 200 OK\r\n\r\n").body().unwrap();
        assert_eq!(content(open, b"abcdef", 2).unwrap(), ("abcdef".to_owned(), 6, false));
    }

    #[test]
    fn lies_about_chunks_are_noticed() {
        let long = [b"1".as_slice(), &[b'0'; 2000]].concat();
        for bytes in [
            b"x\r\n".as_slice(),
            b"-1\r\n",
            b"+5\r\n",
            b"\r\n",
            b"3\r\nabcd\r\n",
            b"fffffffffffffffff\r\n",
            &long,
        ] {
            let body = Body::Chunked(Chunk::Length(Vec::new()));
            assert!(content(body, bytes, 4).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
        assert!(head("HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n").body().is_err());
    }

    #[test]
    fn heads_of_careless_servers_are_read() {
        let odd =
            head("HTTP/1.0  200 \r\nContent-Type : Image/JPEG; q=1\r\nbad header\r\nServer: a\r\n b\r\n\r\n");
        assert_eq!((odd.status, odd.media_type().as_str(), odd.persists()), (200, "image/jpeg", false));
        assert!(head("HTTP/1.1 200 OK\r\n\r\n").persists());
        assert!(!head("HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\n").persists());
        assert!(Head::read(b"HTTP/1.1 200 OK\r\nServer: ").unwrap().is_none());
        assert!(Head::read(b"GARBAGE\r\n\r\n").is_err());
        assert!(Head::read(&[b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'x'; HEAD_BYTES]].concat()).is_err());
        assert!(Head::read(b"HTTP/1.1 404 Not\x1b[31m Found\r\n\r\n").is_err());
        assert_eq!(head("HTTP/1.1 404 Nicht gefunden\u{e4}\r\n\r\n").reason, "");
    }
}
