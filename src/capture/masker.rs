//! The secrets of one camera, taken out of whatever a program or a server says about it.
//!
//! [`super::redact`] finds credentials by where they stand. A server may repeat a password anywhere, so here the secrets
//! themselves are known: the login, in all ways in which it is written, and the values of the url's query.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::redact::{Extent, is_secret_key, redact, secrets};
use super::userinfo::{escaped, split_login, unescaped};
use crate::domain::Login;

/// Shorter passwords stand in too many innocent words.
const SHORTEST_PASSWORD: usize = 3;
/// Shorter values of a query are numbers of channels and the like.
const SHORTEST_VALUE: usize = 4;
const HIDDEN: &str = "***";

/// Hides the secrets of one camera. Shows none of them when it is printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Masker {
    /// The longest first, so that none is left in part.
    parts: Vec<String>,
}

impl Masker {
    /// The secrets of a url, and of the login that goes along with it.
    #[must_use]
    pub fn of_url(url: &str, login: Option<&Login>) -> Self {
        let mut parts = BTreeSet::new();
        if let Some(login) = login {
            add_login(&mut parts, &login.user, login.password.expose());
        }
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (within, place) = split_login(rest);
        if let Some(within) = within {
            add(&mut parts, within, SHORTEST_VALUE);
            let (user, password) = within.split_once(':').unwrap_or(("", within));
            add_login(&mut parts, user, password);
            let plain = |text: &str| unescaped(text).unwrap_or_else(|| text.to_owned());
            add_login(&mut parts, &plain(user), &plain(password));
        }
        if let Some((_, query)) = place.split_once(['?', '#']) {
            add(&mut parts, query, SHORTEST_VALUE);
            for pair in query.split(['&', ';', '?']) {
                add(&mut parts, pair.split_once('=').map_or(pair, |(_, value)| value), SHORTEST_VALUE);
            }
        }
        for span in secrets(url, Extent::Whole) {
            add(&mut parts, &url[span], SHORTEST_PASSWORD);
        }
        Self::of(parts)
    }

    /// The secrets among the arguments of a program: what stands behind `--password`, `-p` and their like, or in a url.
    #[must_use]
    pub fn of_arguments(arguments: &[String]) -> Self {
        let mut parts = BTreeSet::new();
        let mut is_awaited = false;
        for argument in arguments {
            if is_awaited && !argument.starts_with('-') {
                add(&mut parts, argument, SHORTEST_PASSWORD);
            }
            is_awaited = takes_secret(argument);
            for span in secrets(argument, Extent::Whole) {
                add(&mut parts, &argument[span], SHORTEST_PASSWORD);
            }
            if argument.contains("://") {
                parts.extend(Self::of_url(argument, None).parts);
            }
        }
        Self::of(parts)
    }

    /// These literal texts, the short ones left out.
    #[must_use]
    pub fn of_texts<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut parts = BTreeSet::new();
        texts.for_each(|text| add(&mut parts, text, SHORTEST_VALUE));
        Self::of(parts)
    }

    fn of(parts: BTreeSet<String>) -> Self {
        let mut parts: Vec<String> = parts.into_iter().collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        Self { parts }
    }

    /// `text` without the secrets, and without what looks like others.
    #[must_use]
    pub fn mask(&self, text: &str) -> String {
        redact(&self.mask_known(text))
    }

    /// `text` without the secrets: for a text of our own, in which nothing else can be one.
    #[must_use]
    pub fn mask_known(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for part in &self.parts {
            if clean.contains(part.as_str()) {
                clean = clean.replace(part.as_str(), HIDDEN);
            }
        }
        clean
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masker({} parts)", self.parts.len())
    }
}

/// Whether the argument that follows this one is a secret.
#[must_use]
pub fn takes_secret(argument: &str) -> bool {
    let Some(name) = argument.strip_prefix('-') else { return false };
    let name = name.trim_start_matches('-');
    matches!(name, "p" | "P" | "u") || (is_secret_key(name) && !name.contains('='))
}

fn add_login(parts: &mut BTreeSet<String>, user: &str, password: &str) {
    add(parts, password, SHORTEST_PASSWORD);
    if !password.is_empty() {
        add(parts, &BASE64.encode(format!("{user}:{password}")), SHORTEST_VALUE);
    }
}

/// The text as it is, with its `%XX` read, and with them written, in either case.
fn add(parts: &mut BTreeSet<String>, text: &str, shortest: usize) {
    let written = escaped(text);
    let forms = [
        Some(text.to_owned()),
        unescaped(text),
        Some(lower_digits(&written)),
        Some(written),
        Some(text.escape_debug().to_string()),
    ];
    // A part that the mark itself holds would never end.
    let fits = |form: &String| form.chars().count() >= shortest && !form.chars().all(|c| c == '*');
    parts.extend(forms.into_iter().flatten().filter(fits));
}

/// The same with the digits of `%XX` in lower case.
fn lower_digits(escaped: &str) -> String {
    let mut left = 0;
    let one = |c: char| {
        if c == '%' {
            left = 2;
            return c;
        }
        let is_digit = left > 0;
        left = if is_digit { left - 1 } else { 0 };
        if is_digit { c.to_ascii_lowercase() } else { c }
    };
    escaped.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Secret;

    #[test]
    fn a_password_is_hidden_in_every_way_it_is_written() {
        let login = Login { user: "admin".into(), password: Secret::new("S3/cr et".into()) };
        let masker = Masker::of_url("http://cam/snap?auth=Qu3ry%2F1&channel=1", Some(&login));
        for said in [
            "no S3/cr et here",
            "S3%2Fcr%20et",
            "S3%2fcr%20et",
            "Basic YWRtaW46UzMvY3IgZXQ=",
            "what is Qu3ry/1?",
            "what is Qu3ry%2F1?",
        ] {
            let clean = masker.mask(said);
            assert!(clean.contains("***"), "{said} gives {clean}");
            assert!(!["S3", "Qu3ry", "YWRt"].iter().any(|part| clean.contains(part)), "{said} gives {clean}");
        }
        assert_eq!(masker.mask("channel 1 is busy"), "channel 1 is busy");
        assert!(!format!("{masker:?}").contains("S3"));
    }

    #[test]
    fn a_secret_argument_of_a_program_is_hidden() {
        let arguments =
            ["cam", "--password", "geheim", "-v", "--token=zeichen", "rtsp://u:wort@h/x?auth=frage"];
        let masker = Masker::of_arguments(&arguments.map(str::to_owned));
        let clean = masker.mask("bad geheim, zeichen, wort, frage; cam -v");
        assert_eq!(clean, "bad ***, ***, ***, ***; cam -v");
    }
}
