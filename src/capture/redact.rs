//! Takes credentials out of text before it is logged or shown.
//!
//! Of a url only scheme, host and path are shown: no login, no query, and of a path no value that a key such as `password`
//! stands before, because some cameras want it there. Programs and servers repeat urls in their complaints, so this works
//! on any text. What it cannot know is the business of [`super::Masker`].

use std::ops::Range;

use super::userinfo::split_login;

const HIDDEN: &str = "***";

/// Keys whose value is hidden, in lower case; matched as the end of a key.
const SECRET_KEYS: [&str; 19] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pass",
    "pas",
    "pwd",
    "psw",
    "pw",
    "token",
    "secret",
    "key",
    "auth",
    "authorization",
    "credential",
    "credentials",
    "signature",
    "sig",
    "session",
];

/// `text` without credentials.
#[must_use]
pub fn redact(text: &str) -> String {
    replaced(text, &secrets(text, Extent::Word), |_| HIDDEN.to_owned())
}

/// What is shown of a url: scheme, host and path. Also right for a text that should have been a url.
#[must_use]
pub fn shown_url(url: &str) -> String {
    let clean = replaced(url, &secrets(url, Extent::Whole), |_| HIDDEN.to_owned());
    let end = if clean.contains("://") { clean.find(['?', '#']) } else { None };
    clean[..end.unwrap_or(clean.len())].to_owned()
}

/// Whether what bears this name is a secret: `password`, `api-key`, `-psw`.
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|secret| key.ends_with(secret))
}

/// How far a url reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// To the next blank or double quote: it stands within a sentence.
    Word,
    /// To the end of the text: whatever stands in it belongs to it.
    Whole,
}

/// The bytes of `text` that nobody may see, in order, none touching another.
#[must_use]
pub fn secrets(text: &str, extent: Extent) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("://") {
        in_url(text, at + mark.len(), extent, &mut found);
    }
    in_values(text, extent, &mut found);
    in_words(text, extent, &mut found);
    found.retain(|span: &Range<usize>| !span.is_empty());
    found.sort_by_key(|span| (span.start, span.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for span in found {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// `text` with each span put another way.
fn replaced(text: &str, spans: &[Range<usize>], put: impl Fn(&str) -> String) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        clean.push_str(&text[done..span.start]);
        clean.push_str(&put(&text[span.clone()]));
        done = span.end;
    }
    clean.push_str(&text[done..]);
    clean
}

/// Login, query and fragment of the url whose host begins at `start`; what should be a port and is none, too.
fn in_url(text: &str, start: usize, extent: Extent, found: &mut Vec<Range<usize>>) {
    let rest = &text[start..];
    let mut end = rest.len();
    if extent == Extent::Word {
        end = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '`' | '<' | '>')).unwrap_or(end);
        // What a sentence puts behind a url.
        end = rest[..end].trim_end_matches(['\'', ',', ':', ';', '.', ')', ']']).len();
    }
    let (login, place) = split_login(&rest[..end]);
    if let Some(login) = login {
        found.push(start..start + login.len());
    }
    let from = start + end - place.len();
    let authority = place.find(['/', '?', '#']).unwrap_or(place.len());
    if let Some(colon) = place[..authority].rfind(':')
        && !(place.starts_with('[') && place[..authority].ends_with(']'))
        && !place[colon + 1..authority].bytes().all(|b| b.is_ascii_digit())
    {
        found.push(from + colon + 1..from + authority);
    }
    if let Some(mark) = place.find(['?', '#']) {
        found.push(from + mark + 1..start + end);
    }
}

/// What stands behind `password=` and its like, with blanks around the `=` or none. In a sentence a quote ends it, and with
/// the whole of a text no quote does.
fn in_values(text: &str, extent: Extent, found: &mut Vec<Range<usize>>) {
    for (at, _) in text.match_indices('=') {
        if !is_secret_key(text[..at].trim_end()) {
            continue;
        }
        let mut value = text.len() - text[at + 1..].trim_start().len();
        let is_quote = |c: &char| extent == Extent::Word && matches!(c, '"' | '\'' | '`');
        let quote = text[value..].chars().next().filter(is_quote);
        value += quote.map_or(0, char::len_utf8);
        let is_end = |c: char| quote.map_or_else(|| ends_value(c, extent), |quote| c == quote);
        found.push(value..text[value..].find(is_end).map_or(text.len(), |end| value + end));
    }
}

fn ends_value(c: char, extent: Extent) -> bool {
    match c {
        '&' | ';' => true,
        '\'' | '"' | '`' => extent == Extent::Word,
        c => extent == Extent::Word && c.is_whitespace(),
    }
}

/// `user:password@host` without a scheme, or with one that is written wrongly.
fn in_words(text: &str, extent: Extent, found: &mut Vec<Range<usize>>) {
    let mut start = 0;
    let ends_word = |c: char| extent == Extent::Word && c.is_whitespace();
    for word in text.split_inclusive(ends_word) {
        if let Some(at) = word.rfind('@').filter(|_| !word.contains("://"))
            && let Some(colon) = word[..at].find(':')
        {
            // The user is part of it.
            let before = &word[..colon];
            let user = before.rfind(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | '-' | '_' | '%'));
            found.push(start + user.map_or(0, |end| end + 1)..start + at);
        }
        start += word.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_disappear_and_the_rest_stays() {
        for (text, clean) in [
            ("rtsp://admin:s3c@ret@10.0.0.7:554/live: refused", "rtsp://***@10.0.0.7:554/live: refused"),
            ("rtsp://admin:S3cret/Two@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
            ("a http://u:p@h/x and rtsps://v:q@i", "a http://***@h/x and rtsps://***@i"),
            (
                "rtsp://10.0.0.7/user=admin&password=x&channel=1",
                "rtsp://10.0.0.7/user=admin&password=***&channel=1",
            ),
            (
                "rtsp://10.0.0.7/user=admin_password=S3cret_One_channel=1_stream=0.sdp",
                "rtsp://10.0.0.7/user=admin_password=***",
            ),
            ("http://h/cgi?loginPwd=abc&a=b: 404", "http://h/cgi?***: 404"),
            ("'http://h/cgi?a=b' is gone", "'http://h/cgi?***' is gone"),
            ("GET /cgi?-usr=admin&-psw=abc HTTP/1.1", "GET /cgi?-usr=admin&-psw=*** HTTP/1.1"),
            ("loginpas=abc auth=abc key=abc pass=abc", "loginpas=*** auth=*** key=*** pass=***"),
            ("password = geheim, token = 'zei chen'", "password = *** token = '***'"),
            ("rtsp://admin:geheim]/live/1", "rtsp://admin:***/live/1"),
            ("rtsp://[::1]/live", "rtsp://[::1]/live"),
            ("rtsp://admin:geheim/live", "rtsp://admin:***/live"),
            ("/cfg/admin:geheim@10.0.0.7/live does not exist", "/cfg/***@10.0.0.7/live does not exist"),
            ("rtsp:/admin:geheim@h/live", "***@h/live"),
            ("/media/clip@home.mp4: No such file", "/media/clip@home.mp4: No such file"),
            ("rtsp://h/a@b", "rtsp://h/a@b"),
            ("rtsp://[::1]:554/a", "rtsp://[::1]:554/a"),
            ("Impossible to open 'rtsp://u:it's@h/x'", "Impossible to open 'rtsp://***@h/x'"),
            ("[rtsp @ 0x5581] method OPTIONS failed: 401", "[rtsp @ 0x5581] method OPTIONS failed: 401"),
            ("", ""),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

    #[test]
    fn of_a_url_only_scheme_host_and_path_are_shown() {
        for (url, shown) in [
            ("http://cam:81/snap?user=a&pass=b c", "http://cam:81/snap"),
            ("rtsp://u:a b@cam/live#x", "rtsp://***@cam/live"),
            ("/media/a?b.mp4", "/media/a?b.mp4"),
            ("/cfg/admin:a b@cam/live", "/cfg/***@cam/live"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }
}
