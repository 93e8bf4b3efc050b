//! The login that a url may hold, and the two ways to write its characters.
//!
//! People write passwords into urls as they are, with `/`, `?`, `#` and `@` in them. So a login ends at the last `@`, and
//! not at the first character that could end a host.

use std::net::IpAddr;

/// The login at the beginning of what follows `://`, and the rest. A path may hold an `@` as well: then what stands before
/// it is a host, with or without a port.
pub(super) fn split_login(rest: &str) -> (Option<&str>, &str) {
    let Some(at) = rest.rfind('@') else { return (None, rest) };
    let split = |at: usize| (Some(&rest[..at]), &rest[at + 1..]);
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if at < authority.len() {
        return split(at);
    }
    // `user:password@host/path@x`, or a password with all of these characters in it: a host holds no `@`.
    if let Some(inner) = authority.rfind('@') {
        return if is_host_and_port(&authority[inner + 1..]) { split(inner) } else { split(at) };
    }
    // What holds a `=` is a query rather than a password.
    let between = &rest[authority.len()..at];
    let is_login = is_user_and_number(authority) && is_reachable(&rest[at + 1..]) && !between.contains('=');
    if !is_host_and_port(authority) || is_login {
        return split(at);
    }
    (None, rest)
}

/// Whether it could be a host, with or without a port.
fn is_host_and_port(text: &str) -> bool {
    let end = text.find(']').filter(|_| text.starts_with('[')).map_or(0, |end| end + 1);
    let (host, port) = text[end..].split_once(':').unwrap_or((&text[end..], "0"));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_named = end > 0 || (!host.is_empty() && host.chars().all(fits));
    is_named && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit())
}

/// Whether it is rather a user with a password of digits than a host with a port.
fn is_user_and_number(authority: &str) -> bool {
    let (name, number) = authority.rsplit_once(':').unwrap_or((authority, ""));
    !number.is_empty() && !name.contains(['.', ':', ']']) && !name.eq_ignore_ascii_case("localhost")
}

/// Whether it begins with what can be nothing but a host: an address, a name with a dot, or one with a port.
fn is_reachable(place: &str) -> bool {
    let authority = &place[..place.find(['/', '?', '#']).unwrap_or(place.len())];
    let host = authority.split(':').next().unwrap_or_default();
    is_host_and_port(authority)
        && (authority.contains([':', '.']) || host.parse::<IpAddr>().is_ok() || place.len() > authority.len())
}

/// `%XX` as the bytes that they stand for; a `%` that begins none stands for itself. `None` when that is no text.
pub(super) fn unescaped(text: &str) -> Option<String> {
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

/// Everything but RFC 3986's unreserved characters as `%XX`.
pub(super) fn escaped(text: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let one = |b: u8| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_ends_at_the_last_at() {
        for (text, login, place) in [
            ("admin:S3cret/Two@10.0.0.7:554/h264", Some("admin:S3cret/Two"), "10.0.0.7:554/h264"),
            ("admin:S3cret?Three@cam/h264", Some("admin:S3cret?Three"), "cam/h264"),
            ("admin:S3:]/Two@10.0.0.7/h264", Some("admin:S3:]/Two"), "10.0.0.7/h264"),
            ("admin:1234/x@10.0.0.7/h264", Some("admin:1234/x"), "10.0.0.7/h264"),
            ("admin:123456/x@cam", Some("admin:123456/x"), "cam"),
            ("u:a/b@c@cam", Some("u:a/b@c"), "cam"),
            ("u:p@cam/a@b", Some("u:p"), "cam/a@b"),
            ("cam/a@b", None, "cam/a@b"),
            ("10.0.0.7:554/live@home", None, "10.0.0.7:554/live@home"),
            ("[::1]:554/live@home", None, "[::1]:554/live@home"),
            ("cam:81/snap?p=a@b.c", None, "cam:81/snap?p=a@b.c"),
            ("cam", None, "cam"),
        ] {
            assert_eq!(split_login(text), (login, place), "{text}");
        }
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["p@ss:w/'rd?%", "ä ö", "100%", "%zz"] {
            assert_eq!(unescaped(&escaped(text)).unwrap(), text);
        }
        assert_eq!(unescaped("100%").unwrap(), "100%");
        assert_eq!(unescaped("%ff"), None);
    }
}
