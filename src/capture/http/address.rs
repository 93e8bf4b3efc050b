//! What a camera's url says, checked once.

use std::fmt;

use super::HttpError;
use crate::capture::userinfo::split_login;
use crate::capture::{Masker, shown_url};
use crate::domain::Login;

/// The longest url that is taken, in bytes.
const LONGEST: usize = 2048;

/// The url of a camera: `http` or `https`, a host, no login.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    tls: bool,
    /// An IPv6 address stands in brackets.
    host: String,
    port: u16,
    /// Path and query.
    target: String,
}

impl Address {
    /// Reads a url.
    ///
    /// # Errors
    /// [`HttpError::Url`] says what is wrong with it, without repeating a login that it may hold.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        let wrong = |why: &'static str| HttpError::Url { url: shown_url(text), why };
        if text.len() > LONGEST {
            return Err(wrong("it is longer than 2048 bytes"));
        }
        // What goes into a request must not be able to end its line.
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong("blanks and characters beyond ASCII are written as %XX"));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("it must begin with http:// or https://")),
        };
        if split_login(rest).0.is_some() {
            return Err(wrong("it holds a login: write `user` and `password_file` instead"));
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let end = authority.find(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[end..].rfind(':') {
            Some(colon) => (&authority[..end + colon], Some(&authority[end + colon + 1..])),
            None => (authority, None),
        };
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_v6 = is_v6.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
        if host.is_empty() || !(is_v6 || host.bytes().all(fits)) {
            return Err(wrong("it names no host"));
        }
        let port = match port {
            None => usual_port(tls),
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| wrong("its port is none"))?
            }
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { tls, host: host.to_owned(), port, target: format!("{slash}{target}") })
    }

    /// Whether it is `https`.
    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host, an IPv6 address without its brackets.
    pub(in crate::capture) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What the request's `Host` header holds: the port only where it is not the usual one.
    pub(in crate::capture) fn host_header(&self) -> String {
        if self.port == usual_port(self.tls) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Path and query.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Whether both lead to the same server: scheme, host and port.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.tls == other.tls && self.port == other.port && self.same_host(other)
    }

    /// What hides the secrets of the url, and of the login that goes along with it.
    pub(super) fn masker(&self, login: Option<&Login>) -> Masker {
        Masker::of_url(&format!("{}://{}{}", self.scheme(), self.host_header(), self.target), login)
    }

    /// Whether both lead to the same host, whatever the port.
    pub(super) fn same_host(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host)
    }

    /// Where a redirect's `location` leads from here: a whole url, or a path.
    pub(super) fn join(&self, location: &str) -> Result<Self, HttpError> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let base = format!("{}://{}", self.scheme(), self.host_header());
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme()));
        }
        if location.starts_with('/') {
            return Self::parse(&format!("{base}{location}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
        Self::parse(&format!("{base}{folder}{location}"))
    }
}

fn usual_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// Scheme, host and path; what a query holds is nobody's business.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown_url(&format!("{}://{}{}", self.scheme(), self.host_header(), self.target)))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_scheme_host_port_and_target() {
        for (text, host, port, header, target) in [
            ("http://cam", "cam", 80, "cam", "/"),
            ("https://10.0.0.7/a?b=c", "10.0.0.7", 443, "10.0.0.7", "/a?b=c"),
            ("http://cam:8080/video.mjpg", "cam", 8080, "cam:8080", "/video.mjpg"),
            ("http://[::1]:81/x", "::1", 81, "[::1]:81", "/x"),
        ] {
            let address = Address::parse(text).unwrap();
            let found = (address.host(), address.port(), address.host_header(), address.target());
            assert_eq!(found, (host, port, header.to_owned(), target), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_a_camera_is_refused_without_showing_a_login() {
        for bad in [
            "",
            "cam",
            "ftp://cam/x",
            "http://",
            "http:///x",
            "/video",
            "http://u:geheim@cam/x",
            "http://u:geheim/x@cam/x",
            "http://u:12345/geheim@cam.lan/x",
            "http://cam:0",
            "http://cam:x",
            "http://[cam]",
            "http://a b",
            "http://cam/\r\nX: y",
        ] {
            let error = Address::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
        assert!(Address::parse(&format!("http://cam/{}", "x".repeat(3000))).is_err());
        let shown = Address::parse("http://cam/cgi?usr=a&pwd=geheim").unwrap().to_string();
        assert_eq!(shown, "http://cam/cgi");
    }

    #[test]
    fn a_redirect_leads_from_where_it_stands() {
        let here = Address::parse("http://cam:8080/cgi/video?x=1").unwrap();
        for (location, there) in [
            ("/mjpg", "http://cam:8080/mjpg"),
            ("mjpg?y=2", "http://cam:8080/cgi/mjpg"),
            ("https://cam/z", "https://cam/z"),
            ("//other/z", "http://other/z"),
        ] {
            assert_eq!(here.join(location).unwrap().to_string(), there, "{location}");
        }
        assert!(here.join("file:///etc/passwd").is_err());
    }
}
