//! Takes credentials out of text before it is logged or shown.
//!
//! Camera URLs carry them as `scheme://user:password@host` and as `password=…` in their query; programs repeat
//! the URL in their complaints.

const HIDDEN: &str = "***";

/// Keys whose value is hidden, in lower case; matched as the end of a key.
const SECRET_KEYS: [&str; 8] =
    ["password", "passwd", "passphrase", "pwd", "token", "secret", "apikey", "api_key"];

/// `text` without credentials.
#[must_use]
pub fn redact(text: &str) -> String {
    hide_values(&hide_userinfo(text))
}

fn hide_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let authority = after.find(ends_authority).unwrap_or(after.len());
        rest = match after[..authority].rfind('@') {
            Some(end) => {
                clean.push_str(HIDDEN);
                &after[end..]
            }
            None => after,
        };
    }
    clean.push_str(rest);
    clean
}

fn ends_authority(c: char) -> bool {
    c.is_whitespace() || c == '/'
}

fn hide_values(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, after) = rest.split_at(at + 1);
        clean.push_str(before);
        let key = before[..at].to_ascii_lowercase();
        let end = after.find(ends_value).unwrap_or(after.len());
        rest = after;
        if end > 0 && SECRET_KEYS.iter().any(|secret| key.ends_with(secret)) {
            clean.push_str(HIDDEN);
            rest = &after[end..];
        }
    }
    clean.push_str(rest);
    clean
}

fn ends_value(c: char) -> bool {
    c.is_whitespace() || matches!(c, '&' | ';' | '\'' | '"' | '`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_disappear_and_the_rest_stays() {
        for (text, clean) in [
            ("rtsp://admin:s3c@ret@10.0.0.7:554/live: refused", "rtsp://***@10.0.0.7:554/live: refused"),
            ("a http://u:p@h/x and rtsps://v:q@i", "a http://***@h/x and rtsps://***@i"),
            (
                "rtsp://10.0.0.7/user=admin&password=x&channel=1",
                "rtsp://10.0.0.7/user=admin&password=***&channel=1",
            ),
            ("http://h/cgi?loginPwd=abc&a=b", "http://h/cgi?loginPwd=***&a=b"),
            ("/media/clip@home.mp4: No such file", "/media/clip@home.mp4: No such file"),
            ("rtsp://h/a@b", "rtsp://h/a@b"),
            ("Impossible to open 'rtsp://u:it's@h/x'", "Impossible to open 'rtsp://***@h/x'"),
            ("", ""),
        ] {
            assert_eq!(redact(text), clean);
        }
    }
}
