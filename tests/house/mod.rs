//! The house rules, read from the sources: who may import whom, which room is a foreign crate's only door,
//! and that every file begins with its page.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room of the daemon with the rooms it may import. `config`, `daemon` and the commands may import all. The first
/// five come from crates of their own, where the compiler refuses what their manifests do not name.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("words", &[]),
    ("infer", &[]),
    ("watch", &[]),
    ("shutdown", &["domain", "clock"]),
    ("backoff", &[]),
    ("slots", &["domain", "clock", "shutdown"]),
    ("budget", &["domain"]),
    ("disk", &[]),
    ("trust", &[]),
    ("matroska", &[]),
    ("rules", &["domain"]),
    ("track", &["domain"]),
    ("capture", &["domain", "clock", "shutdown", "backoff", "words", "slots", "matroska"]),
    ("pool", &["domain", "clock", "words", "slots", "infer"]),
    ("store", &["domain", "clock", "shutdown", "words", "slots", "budget", "disk"]),
    ("evidence", &["domain", "clock", "shutdown", "words", "slots", "budget", "disk", "matroska"]),
    ("doors", &["domain", "clock", "shutdown", "slots"]),
    ("notify", &["domain", "clock", "shutdown", "backoff", "words", "slots"]),
    (
        "config",
        &[
            "domain", "clock", "shutdown", "words", "slots", "rules", "capture", "watch", "infer", "store",
            "evidence", "doors", "notify", "trust",
        ],
    ),
];

/// The sources: the daemon's, and those of each crate below a name of its own.
const SOURCES: &[(&str, &str)] = &[
    ("src", ""),
    ("crates/portero-core/src", "core/"),
    ("crates/portero-infer/src", "infer/"),
    ("crates/portero-kernels/src", "kernels/"),
    ("crates/portero-train/src", TRAINER),
    ("crates/portero-vision/src", "vision/"),
];

/// The trainer: it is built apart, with libtorch.
const TRAINER: &str = "train/";

/// Each foreign crate with the paths that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("nokhwa", &["capture/v4l2"]),
    ("v4l", &["capture/v4l2"]),
    ("tract_onnx", &["infer/", "train/export/"]),
    ("rusqlite", &["store/"]),
    ("rumqttc", &["notify/"]),
    ("rustls", &["notify/", "capture/tls.rs", "capture/http/exchange.rs", "capture/rtsp/relay.rs"]),
    ("tokio_rustls", &["capture/tls.rs", "capture/http/", "capture/rtsp/relay.rs"]),
    ("retina", &["capture/rtsp/"]),
    ("httparse", &["capture/http/message.rs"]),
    ("digest_auth", &["capture/http/login.rs"]),
    ("roxmltree", &["capture/onvif.rs"]),
    ("libc", &["kernels/memory.rs"]),
    ("toml", &["config/", "infer/manifest.rs", "train/export/"]),
    ("clap", &["cli/", "main.rs", TRAINER]),
    ("anyhow", &["cli/", "main.rs", TRAINER]),
    ("jpeg_encoder", &["vision/jpeg/encode.rs"]),
    ("font8x8", &["evidence/mark.rs"]),
    ("sd_notify", &["daemon/"]),
    ("signal_hook", &["daemon/", TRAINER]),
    ("tch", &[TRAINER]),
    ("rayon", &[TRAINER]),
];

/// Calls that only these paths may make.
const CALLS: &[(&str, &[&str])] = &[
    ("thread::Builder", &["daemon/crew.rs"]),
    ("Builder::new().name(", &["daemon/crew.rs"]),
    ("clock_gettime(", &["core/clock.rs"]),
    ("derive(Serialize", &["notify/", "cli/", TRAINER]),
    ("process::exit(", &[]),
];

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut sources = Vec::new();
    for (folder, prefix) in SOURCES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut paths = Vec::new();
        walk(&root, &mut paths);
        assert!(paths.len() > 3, "only {} sources found below {}", paths.len(), root.display());
        let name = |p: &PathBuf| format!("{prefix}{}", p.strip_prefix(&root).unwrap().display());
        sources.extend(paths.iter().map(|p| (name(p), fs::read_to_string(p).unwrap())));
    }
    sources
}

/// The source without its unit tests and comments.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]").next().unwrap_or("");
    body.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn room(path: &str) -> &str {
    path.split(['/', '.']).next().unwrap_or(path)
}

/// The rooms that `text` imports with `crate::`, also from a list in braces.
fn imports(text: &str) -> Vec<String> {
    let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => {
                let names = list.split('}').next().unwrap_or("").split(',');
                found.extend(names.map(|s| word(s.trim())));
            }
            None => found.push(word(rest)),
        }
    }
    found
}

fn names_crate(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    text.match_indices(&path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn rooms_import_only_what_stands_below_them() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room(&path)) else { continue };
        for import in imports(&code(&text)) {
            let is_room = ARROWS.iter().any(|(name, _)| *name == import) || import == "daemon";
            if is_room && import != room(&path) && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{path} imports {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "wrong arrows:\n{}", wrong.join("\n"));
}

#[test]
fn foreign_crates_have_one_door() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let text = code(&text);
        for (name, doors) in DOORS {
            if names_crate(&text, name) && !doors.iter().any(|door| path.starts_with(door)) {
                wrong.push(format!("{path} names {name}"));
            }
        }
        for (call, places) in CALLS {
            if text.contains(call) && !places.iter().any(|place| path.starts_with(place)) {
                wrong.push(format!("{path} has {call}"));
            }
        }
    }
    assert!(wrong.is_empty(), "side doors:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_begins_with_its_page_and_stays_a_room() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//! ") {
            wrong.push(format!("{path} has no page"));
        }
        let lines = text.lines().count();
        if lines > 600 {
            wrong.push(format!("{path} has {lines} lines: look for a wall"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    assert_eq!(imports("use crate::{clock::Clock, domain};\ncrate::store::x"), ["clock", "domain", "store"]);
    assert!(names_crate("use toml::Value;", "toml") && !names_crate("my_toml::x", "toml"));
    assert_eq!(code("a\n// b\n#[cfg(test)]\nc"), "a");
}
