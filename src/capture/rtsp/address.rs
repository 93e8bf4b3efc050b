//! What the url of an RTSP camera says, checked once.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::RtspError;
use crate::capture::userinfo::{split_login, unescaped};
use crate::capture::{Masker, redact};
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

    /// What hides the secrets of the url, and of the login that goes along with it.
    pub(super) fn masker(&self, login: Option<&Login>) -> Masker {
        Masker::of_url(self.url.as_str(), login)
    }

    /// The same path, asked for in the clear on a port of this machine.
    pub(super) fn by_way_of(&self, port: u16) -> Option<Url> {
        let rest = &self.url[url::Position::BeforePath..];
        Url::parse(&format!("rtsp://127.0.0.1:{port}{rest}")).ok()
    }
}

fn login_of(text: &str) -> Result<Login, &'static str> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let plain = |part: &str| unescaped(part).ok_or("its login is no UTF-8 text");
    Ok(Login { user: plain(user)?, password: Secret::new(plain(password)?) })
}

/// Scheme, host and path. The query is left out: it may hold a secret.
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
