//! The text of a configuration file as it is shown beside a problem: stars in place of every secret in it, byte for byte, so
//! that every place stays where it is.

use std::ops::Range;

use crate::capture::{Extent, Masker, secrets};

/// The text without its secrets, and what hides them elsewhere.
pub(super) fn source(text: &str) -> (String, Masker) {
    let mut shown = String::with_capacity(text.len());
    let mut hidden = Vec::new();
    for line in text.split_inclusive('\n') {
        let mut stars = line.as_bytes().to_vec();
        for piece in pieces(line) {
            for span in secrets(&line[piece.clone()], Extent::Whole) {
                let span = piece.start + span.start..piece.start + span.end;
                stars[span.clone()].fill(b'*');
                hidden.push(&line[span]);
            }
        }
        shown.push_str(&String::from_utf8_lossy(&stars));
    }
    (shown, Masker::of_texts(hidden.into_iter()))
}

/// The contents of a line's strings, and what stands between them. A string without an end reaches to the end of the line; so does
/// a value without quotes, which may hold some.
fn pieces(line: &str) -> Vec<Range<usize>> {
    let line = line.trim_end_matches(['\n', '\r']);
    let value = line.split_once('=').map_or("", |(_, value)| value.trim_start());
    if !value.is_empty() && !value.starts_with(['"', '\'', '[', '{']) {
        return std::iter::once(0..line.len()).collect();
    }
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
        let innocent = "[[camera]]\nid = \"front\" # isn't it?\nsource = \"rtsp://cam:554/live\"\n";
        assert_eq!(source(innocent).0, innocent);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            failure_persistence: None, ..proptest::prelude::ProptestConfig::with_cases(60)
        })]

        #[test]
        fn check_shows_no_secret_of_a_source(hard in "[ -!#-\\[\\]-~]{0,8}", kind in 0..5usize) {
            let secret = format!("Geheim{}Geheim", hard.replace('@', ""));
            let source = match kind {
                0 => format!("\"rtsp://admin:{secret}@cam/live\""),
                1 => format!("\"http://admin:{secret}@cam/live\""),
                2 => format!("{{ ffmpeg = \"rtmp://cam/live?key={secret}\", decoder = \"none\" }}"),
                3 => format!("rtsp://admin:{secret}@cam/live"),
                _ => format!("\"admin:{secret}@cam/live\""),
            };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("c.toml");
            std::fs::write(&path, format!("version = 1\n[[camera]]\nid = \"c\"\nsource = {source}\n")).unwrap();
            let problems = crate::config::load(&path).unwrap_err();
            let shown = format!("{} {} {problems:?}", problems.render(true), problems.to_json());
            proptest::prop_assert!(!shown.contains("Geheim"), "{source} is shown as\n{shown}");
        }
    }
}
