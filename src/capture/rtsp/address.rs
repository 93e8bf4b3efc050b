//! What the url of an RTSP camera says, checked once.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::RtspError;
use crate::capture::redact;
use crate::domain::{Login, Secret};

/// The longest url that is taken, in bytes.
const LONGEST: usize = 2048;

/// The url of a camera: `rtsp` or `rtsps`, a host, no login.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspAddress {
    /// Errors carry it along.
    url: Arc<Url>,
}

impl RtspAddress {
    /// Reads a url, and takes the login that it may hold out of it. A login ends at the last `@`, so that its password may
    /// hold any character, written as it is or as `%XX`.
    ///
    /// # Errors
    /// [`RtspError::Url`] says what is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<(Self, Option<Login>), RtspError> {
        let wrong = |why: &str| RtspError::Url { why: why.to_owned() };
        if text.len() > LONGEST {
            return Err(wrong("it is longer than 2048 bytes"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong("blanks and control characters are written as %XX"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(wrong("it must begin with rtsp:// or rtsps://"));
        };
        if !["rtsp", "rtsps"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(wrong("it must begin with rtsp:// or rtsps://"));
        }
        let (login, place) = split_login(rest);
        let url = Url::parse(&format!("{scheme}://{place}")).map_err(|error| wrong(&error.to_string()))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("it names no host"));
        }
        Ok((Self { url: Arc::new(url) }, login.map(login_of).transpose().map_err(wrong)?))
    }

    /// Whether it is `rtsps`.
    pub(super) fn is_tls(&self) -> bool {
        self.url.scheme() == "rtsps"
    }

    /// The host, an IPv6 address without its brackets.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port of the url, or the usual one (RFC 2326: 554; rtsps: 322).
    pub(super) fn port(&self) -> u16 {
        self.url.port().unwrap_or(if self.is_tls() { 322 } else { 554 })
    }

    /// What is asked for: the whole url.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The same path, asked for in the clear on a port of this machine.
    pub(super) fn by_way_of(&self, port: u16) -> Option<Url> {
        let rest = &self.url[url::Position::BeforePath..];
        Url::parse(&format!("rtsp://127.0.0.1:{port}{rest}")).ok()
    }
}

/// The login at the beginning of what follows `://`, and the rest. A path may hold an `@` as well: then what stands before
/// it is a host, with or without a port.
fn split_login(rest: &str) -> (Option<&str>, &str) {
    let Some(at) = rest.rfind('@') else { return (None, rest) };
    let first = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if at > first {
        let (_, port) = rest[..first].split_once(':').unwrap_or((&rest[..first], "0"));
        if rest[..first].contains('@') {
            let at = rest[..first].rfind('@').unwrap_or(at);
            // `user:pass@host/path@x`, or a password with both characters in it: a host holds no further `@`.
            let looks_like_host =
                rest[at + 1..first].chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
            if looks_like_host && !rest[at + 1..first].is_empty() {
                return (Some(&rest[..at]), &rest[at + 1..]);
            }
        } else if port.bytes().all(|b| b.is_ascii_digit()) {
            return (None, rest);
        }
    }
    (Some(&rest[..at]), &rest[at + 1..])
}

fn login_of(text: &str) -> Result<Login, &'static str> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let plain = |part: &str| unescaped(part).ok_or("its login is no UTF-8 text");
    Ok(Login { user: plain(user)?, password: Secret::new(plain(password)?) })
}

/// `%XX` as the bytes that they stand for; a `%` that begins none stands for itself.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Scheme, host and path; what a query holds is nobody's business.
impl fmt::Display for RtspAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.url[..url::Position::AfterPath]))
    }
}

impl fmt::Debug for RtspAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_ends_at_the_last_at_and_is_not_part_of_the_url() {
        for (text, user, password, place) in [
            ("rtsp://admin:S3cret/Two@10.0.0.7:554/h264", "admin", "S3cret/Two", "rtsp://10.0.0.7:554/h264"),
            ("rtsp://admin:S3cret?Three@cam/h264", "admin", "S3cret?Three", "rtsp://cam/h264"),
            ("rtsp://admin:S3cret#Four@cam/h264", "admin", "S3cret#Four", "rtsp://cam/h264"),
            ("rtsp://u:p@ss@cam/x", "u", "p@ss", "rtsp://cam/x"),
            ("rtsp://u:p%40s%2Fs@cam/x", "u", "p@s/s", "rtsp://cam/x"),
            ("rtsp://u:a/b@c@cam", "u", "a/b@c", "rtsp://cam"),
            ("rtsp://u:p@cam/a@b", "u", "p", "rtsp://cam/a@b"),
            ("rtsps://u:100%@[::1]:322/x", "u", "100%", "rtsps://[::1]:322/x"),
        ] {
            let (address, login) = RtspAddress::parse(text).unwrap();
            let login = login.unwrap_or_else(|| panic!("{text} holds a login"));
            assert_eq!((login.user.as_str(), login.password.expose()), (user, password), "{text}");
            assert_eq!(address.to_string(), place, "{text}");
        }
        for text in ["rtsp://cam/a@b", "rtsp://10.0.0.7:554/live@home", "rtsp://cam"] {
            let (address, login) = RtspAddress::parse(text).unwrap();
            assert!(login.is_none(), "{text}");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_and_a_query_is_never_shown() {
        for bad in [
            "",
            "cam",
            "http://cam/x",
            "rtsp://",
            "rtsp:///x",
            "rtsp://u:geheim@",
            "rtsp://a b",
            "rtsp://c:x/",
        ] {
            let error = RtspAddress::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
        let (address, _) = RtspAddress::parse("rtsp://cam/live/ch0?auth=geheim&x=geheim").unwrap();
        assert_eq!(format!("{address} {address:?}"), "rtsp://cam/live/ch0 rtsp://cam/live/ch0");
        assert!(address.url().as_str().contains("auth=geheim"), "the camera is asked for it");
    }
}
