//! The text of a configuration file as it is shown beside a problem: stars in place of every secret in it, byte for byte, so
//! that every place stays where it is.

use std::ops::Range;

use toml::de::DeTable;

use crate::capture::{Extent, Masker, is_secret_key, secrets, takes_secret};

/// The text without its secrets, and what hides them elsewhere.
pub(super) fn source(text: &str) -> (String, Masker) {
    let mut stars = text.as_bytes().to_vec();
    let spans = spans(text);
    for span in &spans {
        stars[span.clone()].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
    }
    let hidden: Vec<String> = spans.into_iter().flat_map(|span| forms(&text[span])).collect();
    (String::from_utf8_lossy(&stars).into_owned(), Masker::of_texts(hidden.iter().map(String::as_str)))
}

/// The bytes that nobody may see. Secrets show by their own form, as in a url; by the key they are the value of; and by the
/// argument of a program that they follow.
fn spans(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut is_awaited = false;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let pieces = pieces(line);
        let mut here = Vec::new();
        for piece in &pieces {
            let shift = |span: Range<usize>| piece.start + span.start..piece.start + span.end;
            here.extend(secrets(&line[piece.clone()], Extent::Whole).into_iter().map(shift));
        }
        arguments(line, &pieces, &mut is_awaited, &mut here);
        found.extend(here.into_iter().map(|span| start + span.start..start + span.end));
        if let Some(value) = secret_value(line, &pieces) {
            found.push(start + value..value_end(text, start + value));
        }
        start += line.len();
    }
    found
}

/// Where the value of a line's first secret key begins: `password = `, also within braces.
fn secret_value(line: &str, pieces: &[Range<usize>]) -> Option<usize> {
    let is_secret = |at: &usize| is_secret_key(line[..*at].trim_end().trim_end_matches(['"', '\'']));
    let at = assignments(line, pieces).find(is_secret)?;
    Some(line.len() - line[at + 1..].trim_start().len()).filter(|value| *value < line.len())
}

/// The end of the line on which the value at `start` ends.
fn value_end(text: &str, start: usize) -> usize {
    let value = &text[start..];
    let closes = ["\"\"\"", "'''", "["].into_iter().find(|opens| value.starts_with(opens)).map(|opens| {
        let close = if opens == "[" { "]" } else { opens };
        value[opens.len()..].find(close).map_or(value.len(), |end| opens.len() + end)
    });
    let last = closes.unwrap_or(0);
    let end = value[last..].find('\n').map_or(value.len(), |end| last + end);
    start + value[..end].trim_end().len()
}

/// What follows `--password`, `-u` and their like, be it in the next string, on the next line, or behind it in the same one.
fn arguments(line: &str, parts: &[Range<usize>], is_awaited: &mut bool, found: &mut Vec<Range<usize>>) {
    for (i, piece) in parts.iter().enumerate() {
        let part = &line[piece.clone()];
        if i % 2 == 1 {
            string(part, piece.start, is_awaited, found);
            continue;
        }
        let comment = part.find('#');
        let part = &part[..comment.unwrap_or(part.len())];
        if part.contains('=') {
            *is_awaited = false;
        }
        for word in words(part, |c| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}')) {
            argument(&part[word.clone()], piece.start + word.start, is_awaited, found);
        }
        if let Some(at) = comment {
            // A comment does not come between an option and its value.
            let from = piece.start + at + 1;
            let mut within = Vec::new();
            arguments(&line[from..], &pieces(&line[from..]), &mut false, &mut within);
            found.extend(within.into_iter().map(|span| from + span.start..from + span.end));
            return;
        }
    }
}

fn string(part: &str, from: usize, is_awaited: &mut bool, found: &mut Vec<Range<usize>>) {
    if part.is_empty() {
        return;
    }
    // A whole command in one string.
    let mut words = words(part, char::is_whitespace).into_iter();
    if let Some(option) = words.find(|word| takes_secret(&part[word.clone()])) {
        found.push(from + option.end..from + part.len());
    }
    argument(part, from, is_awaited, found);
}

fn argument(text: &str, from: usize, is_awaited: &mut bool, found: &mut Vec<Range<usize>>) {
    if *is_awaited && !text.starts_with('-') {
        found.push(from..from + text.len());
    }
    *is_awaited = takes_secret(text);
}

fn words(text: &str, parts: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut found: Vec<Range<usize>> = text
        .match_indices(parts)
        .map(|(at, mark)| std::mem::replace(&mut start, at + mark.len())..at)
        .collect();
    found.push(start..text.len());
    found.retain(|word| !word.is_empty());
    found
}

/// A hidden text as a message may repeat it: as it is written, without its quotes, and with its escapes read.
fn forms(text: &str) -> Vec<String> {
    let text = text.trim();
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let inner = match quotes.into_iter().find(|quote| text.starts_with(quote)) {
        Some(quote) => {
            text[quote.len()..].rsplit_once(quote).map_or(&text[quote.len()..], |(inner, _)| inner)
        }
        None => text.split([',', '}', ']', '#', ' ', '\t']).next().unwrap_or(text),
    };
    let read = || {
        let table = format!("read = \"{inner}\"");
        let table = DeTable::parse(&table).ok()?;
        Some(table.get_ref().get("read")?.get_ref().as_str()?.to_owned())
    };
    let read = if inner.contains('\\') { read() } else { None };
    [text.to_owned(), inner.to_owned()].into_iter().chain(read).collect()
}

/// The contents of a line's strings, and what stands between them. A string without an end reaches to the end of the line; so does
/// a value without quotes, which may hold some.
fn pieces(line: &str) -> Vec<Range<usize>> {
    let line = line.trim_end_matches(['\n', '\r']);
    let found = between_quotes(line);
    let value = assignments(line, &found).next().map_or("", |at| line[at + 1..].trim_start());
    if value.is_empty() || value.starts_with(['"', '\'', '[', '{']) {
        return found;
    }
    std::iter::once(0..line.len()).collect()
}

/// Where an `=` stands outside of strings.
fn assignments<'a>(line: &'a str, pieces: &'a [Range<usize>]) -> impl Iterator<Item = usize> + 'a {
    let outside = pieces.iter().step_by(2);
    outside.flat_map(|piece| line[piece.clone()].match_indices('=').map(|(at, _)| piece.start + at))
}

/// The line, cut at each quote that begins or ends a string.
fn between_quotes(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut start, mut quote, mut is_escaped) = (0, None, false);
    for (at, c) in line.char_indices() {
        match quote {
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some('"') if is_escaped => {
                is_escaped = false;
                continue;
            }
            Some('"') if c == '\\' => {
                is_escaped = true;
                continue;
            }
            Some(open) if c == open => quote = None,
            _ => continue,
        }
        found.push(start..at);
        start = at + 1;
    }
    found.push(start..line.len());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_in_urls_are_never_shown() {
        let text = "a = \"rtsp://admin:pä@ss@cam/1\" # see http://x/y@z\nb = 'mqtt://broker/?token=abc'\n";
        let (masked, masker) = source(text);
        assert_eq!(
            masked,
            "a = \"rtsp://************@cam/1\" # see http://x/y@z\nb = 'mqtt://broker/?*********'\n"
        );
        assert_eq!(masked.len(), text.len());
        assert_eq!(masker.mask("found admin:pä@ss and token=abc"), "found *** and ***");
    }

    #[test]
    fn no_quote_or_blank_ends_a_secret_before_its_string_ends() {
        for line in [
            r#"source = "rtsp://u:ge'heim it's@h/x""#,
            r#"source = "rtsp://u:ge\"heim it@h/x" # it's"#,
            r#"source = 'rtsp://u:ge"heim it@h/x'"#,
            r#"source = "rtsp://u:geheim it@h/x"#,
            r#"source = rtsp://u:geheim it@h/x"#,
            r#"source = rtsp://u:ge'heim, 'it@h/x"#,
            r#"source = "u:geheim@h/x""#,
            r#"command = ["cam", "--password=geheim it"]"#,
        ] {
            let (masked, _) = source(line);
            assert!(!masked.contains("heim") && !masked.contains("it@"), "{masked}");
            assert_eq!(masked.len(), line.len());
        }
        for text in [
            "[mqtt]\npassword = \"geheim it\"",
            "[mqtt]\n  \"api-token\"='geheim it' # geheim it",
            "password = geheim it",
            "source = { http = \"http://cam\", password = \"geheim it\" }",
            "password = \"\"\"\ngeheim\nit@\"\"\"",
            "argv = [\"cam\", \"--password\", \"geheim it\"]",
            "argv = [\n  \"cam\", \"-p\", # isn't it?\n\n  'geheim it',\n]",
            "argv = [\"cam\", \"-u\", \"it:geheim\"]",
            "argv = [\n  \"-u\",\n  \"it:ge=heim\",\n]",
            "argv = [cam, --password, geheim]",
            "argv = \"cam --password geheim it\"",
            "# argv = [\"cam\", \"--password\", \"geheim it\"]",
        ] {
            let (masked, _) = source(text);
            assert!(!masked.contains("heim") && !masked.contains("it@"), "{masked}");
            assert_eq!(masked.len(), text.len());
        }
        assert_eq!(source("password = \"o\\\"pen\"").1.mask_known("found o\"pen"), "found ***");
        let innocent = "[[camera]]\nid = \"front\" # isn't it?\nsource = \"rtsp://cam:554/live\"\n";
        assert_eq!(source(innocent).0, innocent);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None, ..proptest::prelude::ProptestConfig::with_cases(60)
        })]

        #[test]
        fn check_shows_no_secret(hard in "[ -!#-\\[\\]-~]{0,8}", kind in 0..11usize) {
            let secret = format!("Geheim{}Geheim", hard.replace('@', ""));
            let source = |source: &str| format!("[[camera]]\nid = \"c\"\nsource = {source}");
            let door = |argv: &str| format!("[[door]]\nid = \"d\"\nkind = \"command\"\nmod = 1\nargv = {argv}");
            let text = match kind {
                0 => source(&format!("\"rtsp://admin:{secret}@cam/live\"")),
                1 => source(&format!("\"http://admin:{secret}@cam/live\"")),
                2 => source(&format!("{{ ffmpeg = \"rtmp://cam/live?key={secret}\", decoder = \"none\" }}")),
                3 => source(&format!("rtsp://admin:{secret}@cam/live")),
                4 => source(&format!("\"admin:{secret}@cam/live\"")),
                5 => format!("[mqtt]\npassword = \"{secret}\""),
                6 => source(&format!("{{ http = \"http://cam/x\", password=\"{secret}\" }}")),
                7 => door(&format!("[1, \"--password\", \"{secret}\"]")),
                8 => door(&format!("[\n  1, \"-u\",\n  \"admin:{secret}\",\n]")),
                9 => door(&format!("\"open --token {secret}\"")),
                _ => format!("[mqtt]\npassword = {secret}"),
            };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("c.toml");
            std::fs::write(&path, format!("version = 1\n{text}\n")).unwrap();
            let problems = crate::config::load(&path).unwrap_err();
            let shown = format!("{} {} {problems:?}", problems.render(true), problems.to_json());
            proptest::prop_assert!(!shown.contains("Geheim"), "{text} is shown as\n{shown}");
        }
    }
}
