//! How log lines are written: one place, so that nothing from outside can forge, hide or rewrite one.
//!
//! Cameras, brokers and programs put words into our messages. A control character among them could clear a terminal, a line
//! break could pretend to be a line of its own, and marks of the writing direction could turn a line around. So all of them
//! are written escaped, and what follows a line break is marked as a continuation.

use std::borrow::Cow;
use std::io::Write;

use log::{Level, LevelFilter};

/// Stands before each further line of a message.
const CONTINUED: &str = "  | ";

/// Logs to standard error. Under systemd each line begins with its syslog priority and carries no time (the
/// journal has its own); otherwise with the local time of day.
pub(crate) fn start(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(LevelFilter::Warn).filter_module("portero", level);
    if let Ok(filters) = std::env::var("PORTERO_LOG") {
        builder.parse_filters(&ours_only(&filters));
    }
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.format(|out, record| {
            let priority = match record.level() {
                Level::Error => 3,
                Level::Warn => 4,
                Level::Info => 6,
                Level::Debug | Level::Trace => 7,
            };
            // The journal takes each line for an entry of its own.
            let further = format!("\n<{priority}>{CONTINUED}");
            let message = record.args().to_string();
            writeln!(out, "<{priority}>{}", printable(&message).replace('\n', &further))
        });
    } else {
        builder.format(|out, record| {
            let style = out.default_level_style(record.level());
            let now = jiff::ZonedDateTime::now().strftime("%H:%M:%S%.3f");
            let further = format!("\n{CONTINUED}");
            let message = record.args().to_string();
            let message = printable(&message).replace('\n', &further);
            writeln!(out, "{now} {style}{:5}{style:#} {message}", record.level())
        });
    }
    builder.init();
}

/// The filters with every level that has no name before it made one of our own modules, as the help says: what the
/// libraries log in detail are whole conversations, logins and all. Whoever wants that names the library.
fn ours_only(filters: &str) -> String {
    let (directives, pattern) = filters.split_at(filters.find('/').unwrap_or(filters.len()));
    let ours = |directive: &str| match directive.trim().parse::<LevelFilter>() {
        Ok(level) => format!("portero={level}"),
        Err(_) => directive.to_owned(),
    };
    directives.split(',').map(ours).collect::<Vec<_>>().join(",") + pattern
}

/// The text with all that is not to be seen escaped, as in `\u{1b}`; line breaks stay. A break at the end is dropped.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let text = text.trim_end_matches('\n');
    if !text.chars().any(|c| c != '\n' && is_unseen(c)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => clean.push(c),
            c if is_unseen(c) => clean.extend(c.escape_default()),
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// Control characters, separators of lines and paragraphs, and marks that are not drawn but change what is.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_reaches_the_log() {
        let hostile = "a\u{1b}[2Jb\rc\u{85}d\u{2028}e\u{202e}f\u{0}g\u{7f}h\ti";
        let clean = printable(hostile);
        assert!(!clean.chars().any(is_unseen), "{clean:?}");
        assert_eq!(clean, "a\\u{1b}[2Jb\\rc\\u{85}d\\u{2028}e\\u{202e}f\\u{0}g\\u{7f}h\\ti");
        assert_eq!(printable("plain, ä and 漢\nsecond\n"), "plain, ä and 漢\nsecond");
    }

    #[test]
    fn a_level_without_a_name_does_not_reach_the_libraries() {
        for (asked, given) in [
            ("trace", "portero=TRACE"),
            ("debug,retina=trace", "portero=DEBUG,retina=trace"),
            ("error", "portero=ERROR"),
            ("off", "portero=OFF"),
            ("portero::capture=trace", "portero::capture=trace"),
            ("trace/camera", "portero=TRACE/camera"),
        ] {
            assert_eq!(ours_only(asked), given);
        }
    }
}
