//! Whole files: the shipped ones, their documentation, and what becomes of a file.

use super::*;
use crate::capture::{FfmpegInput, Pace, Source};
use crate::domain::{Answer, NormRect, Severity};
use crate::rules::Action;
use std::path::PathBuf;
use std::time::Duration;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap()
}

/// Checks a text as if it lay in `config/`.
fn check(text: &str) -> Result<Loaded, Problems> {
    let place = Place { folder: repository("config"), hostname: "pi".to_owned(), credentials: None };
    let file = ConfigText { text: text.to_owned(), sha256: "00".to_owned(), distrust: None };
    check_text(Path::new("portero.toml"), file, &place)
}

/// The shipped configuration with the model of the repository.
fn shipped() -> String {
    read("config/portero.toml")
        .replace("/usr/local/share/portero/models", "../models")
        // A build machine may not know its zone, which is worth a warning.
        .replace("timezone = \"local\"", "timezone = \"UTC\"")
}

/// With every example taken in: `#key = …` and `#[section]` lose their `#`.
fn uncommented(text: &str) -> String {
    let line = |line: &str| {
        let example = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
        example.unwrap_or(line).to_owned() + "\n"
    };
    text.lines().map(line).collect()
}

#[test]
fn the_shipped_configuration_has_no_problems() {
    let loaded = check(&shipped()).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let modes: Vec<_> = loaded.config.doors.iter().map(|door| door.mode).collect();
    assert_eq!(modes, [doors::Mode::Observe], "no door opens before its owner has said so");
}

#[test]
fn the_examples_in_the_shipped_configuration_can_be_taken_in() {
    let problems = check(&uncommented(&shipped())).unwrap_err();
    let about_files = ["ca_file", "credential", "certificate", "password file", "there is no folder"];
    let rest: Vec<_> = problems
        .list()
        .iter()
        .filter(|problem| !about_files.iter().any(|what| problem.message.contains(what)))
        .collect();
    assert!(rest.is_empty(), "{rest:#?}");
}

#[test]
fn every_key_is_in_the_shipped_configuration() {
    let text = uncommented(&shipped());
    let written = |key: &str| {
        text.lines().any(|line| {
            let inline = [format!("{{ {key} = "), format!(", {key} = ")];
            line.starts_with(&format!("{key} = "))
                || inline.iter().any(|start| line.contains(start))
                || [format!("[{key}]"), format!(".{key}]"), format!("[{key}.")]
                    .iter()
                    .any(|head| line.contains(head))
        })
    };
    for section in keys::ALL {
        for key in section.keys {
            assert!(written(key), "{key} of {} is not in config/portero.toml", section.title);
        }
    }
}

#[test]
fn the_documentation_lists_exactly_the_keys() {
    let text = read("docs/config.md");
    let mut documented: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            documented.push((title.trim_matches('`'), Vec::new()));
        }
        let key = line.strip_prefix("| `").and_then(|rest| rest.split_once("` | "));
        if let (Some((key, _)), Some((_, keys))) = (key, documented.last_mut()) {
            keys.push(key);
        }
    }
    for section in keys::ALL {
        let found = documented.iter().find(|(title, _)| *title == section.title);
        let keys = found.map(|(_, keys)| keys.as_slice()).unwrap_or_default();
        // Tables of other things, such as short forms, may follow within a section.
        assert_eq!(keys.get(..section.keys.len()), Some(section.keys), "{} in docs/config.md", section.title);
        let stray = keys[section.keys.len()..]
            .iter()
            .find(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        assert_eq!(stray, None, "{} in docs/config.md", section.title);
    }
}

#[test]
fn the_demo_becomes_the_settings_of_every_room() {
    let path = repository("config/demo.toml");
    let Loaded { config, warnings } = load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(warnings.is_empty(), "{warnings}");
    let folder = repository("config");
    assert_eq!(config.site, "Demo street");
    assert_eq!(
        config.model,
        infer::Settings { manifest: folder.join("../models/person-v3s.toml"), workers: None }
    );
    assert_eq!(config.store.path, folder.join("../target/demo/portero.db"));
    assert_eq!(config.sha256.len(), 64);

    let [camera] = config.cameras.as_slice() else { panic!("one camera expected") };
    let video = folder.join("../tests/data/street.mp4").to_str().unwrap().to_owned();
    assert_eq!(camera.capture.source, Source::Ffmpeg(FfmpegInput::new(video)));
    assert_eq!((camera.capture.width, camera.capture.height, camera.capture.fps), (768, 576, 5.0));
    assert_eq!((camera.capture.pace, camera.capture.looped), (Pace::Realtime, false));
    let zones: Vec<_> =
        camera.watch.regions.iter().map(|r| r.region.zone.as_ref().map_or("", |z| z.as_str())).collect();
    assert_eq!(zones, ["path", "lawn", "gate", ""], "zones in the camera's order, then the whole picture");
    assert_eq!(camera.watch.regions[1].region.rect, NormRect::new(0.05, 0.52, 0.5, 1.0).unwrap());

    let first = &config.rules.rules[0];
    assert_eq!((first.id.as_str(), first.cameras[0].as_str()), ("on_the_path", "street"));
    assert!(matches!(first.answers.as_slice(), [Answer::Label(label)] if label.as_str() == "person"));
    assert_eq!((first.agree.k, first.agree.n, first.agree.within), (4, 6, Duration::from_secs(3)));
    assert_eq!(first.actions, [Action::Alert { severity: Severity::Warning, snapshot: true }]);
    assert_eq!(config.rules.presence_gap, Duration::from_millis(1_500));
    assert!(config.rules.background.iter().any(|label| label.as_str() == "no_person"));

    let notify = config.notify.unwrap();
    assert_eq!((notify.host.as_str(), notify.port, notify.tls), ("127.0.0.1", 18_830, None));
    assert_eq!(
        (notify.prefix.as_str(), notify.discovery_prefix.as_deref()),
        ("portero", Some("homeassistant"))
    );
}

/// A valid file, to which a test adds what it is about.
const BASE: &str = "version = 1\n[model]\nmanifest = \"../models/person-v3s.toml\"\n\
    [[rule]]\nid = \"r\"\ncamera = \"c\"\nlabel = \"person\"\nlog = true\n";

fn sources(sources: &[&str]) -> Vec<Source> {
    let cameras = sources
        .iter()
        .enumerate()
        .map(|(i, source)| format!("[[camera]]\nid = \"c{i}\"\nsource = {source}\n"));
    let text = BASE.replace("\"c\"", "\"c0\"") + &cameras.collect::<String>();
    let loaded = check(&text).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.config.cameras.into_iter().map(|camera| camera.capture.source).collect()
}

#[test]
fn short_sources_are_understood() {
    let found = sources(&[
        "\"/dev/v4l/by-id/cam\"",
        "\"1\"",
        "\"rtsp://cam/1\"",
        "\"../tests/data\"",
        "\"clip.mp4\"",
        "\"pictures/\"",
        "\"file:///v/clip.mp4\"",
    ]);
    let outright = sources(&[
        "{ v4l2 = \"/dev/v4l/by-id/cam\" }",
        "{ v4l2 = \"/dev/video1\" }",
        "{ ffmpeg = \"rtsp://cam/1\" }",
        "{ folder = \"../tests/data\" }",
        "{ ffmpeg = \"clip.mp4\" }",
        "{ folder = \"pictures/\" }",
        "{ ffmpeg = \"/v/clip.mp4\" }",
    ]);
    assert_eq!(found, outright);
    assert_eq!(
        found[4],
        Source::Ffmpeg(FfmpegInput::new(repository("config/clip.mp4").to_str().unwrap().to_owned()))
    );
}

#[test]
fn rtsp_is_ours_and_ffmpeg_is_never_given_a_login_to_pass_on() {
    let ours = sources(&["\"rtsp://u:a/b@cam/1\"", "{ rtsp = \"rtsp://cam/1\", transport = \"udp\" }"]);
    let logins: Vec<bool> = ours
        .iter()
        .map(|source| match source {
            Source::Rtsp(camera) => camera.login.as_ref().is_some_and(|l| l.password.expose() == "a/b"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(logins, [true, false]);
    let theirs = sources(&["{ rtsp = \"rtsp://cam/1\", connect = \"ffmpeg\" }"]);
    assert_eq!(theirs, [Source::Ffmpeg(FfmpegInput::new("rtsp://cam/1"))]);
    assert!(ours[0].dates_pictures() && !theirs[0].dates_pictures(), "no door opens on what ffmpeg dates");
    let text = BASE.to_owned()
        + "[[camera]]\nid = \"c\"\nsource = { rtsp = \"rtsp://u:geheim@cam/1\", connect = \"ffmpeg\" }\n";
    let problems = check(&text).unwrap_err().to_string();
    assert!(problems.contains("ffmpeg is given no login for RTSP"), "{problems}");
}

#[test]
fn pictures_that_were_asked_for_over_tls_never_come_by_udp() {
    let source = "source = { rtsp = \"RTSPS://cam/1\", transport = \"udp\" }\n";
    let problems = check(&(BASE.to_owned() + "[[camera]]\nid = \"c\"\n" + source)).unwrap_err().to_string();
    assert!(problems.contains("would come in the clear"), "{problems}");
}

#[test]
fn a_camera_without_a_rule_is_looked_at_as_a_whole() {
    let text =
        BASE.to_owned() + "[[camera]]\nid = \"c\"\nsource = \"0\"\n[[camera]]\nid = \"d\"\nsource = \"1\"\n";
    let loaded = check(&text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings.counts(), (0, 1), "{}", loaded.warnings);
    for camera in &loaded.config.cameras {
        assert!(
            matches!(camera.watch.regions.as_slice(), [region] if region.region.zone.is_none()),
            "{camera:?}"
        );
    }
}

#[test]
fn credentials_come_from_the_folder_that_systemd_names() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("mqtt");
    std::fs::write(&secret, "open sesame\n").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    let text = BASE.to_owned()
        + "[[camera]]\nid = \"c\"\nsource = \"0\"\n[mqtt]\nurl = \"mqtts://[::1]\"\nuser = \"u\"\npassword_file = \"credential:mqtt\"\n";
    let place = Place {
        folder: repository("config"),
        hostname: "pi".to_owned(),
        credentials: Some(dir.path().to_owned()),
    };
    let file = ConfigText { text, sha256: String::new(), distrust: None };
    let notify = check_text(Path::new("p.toml"), file, &place).unwrap().config.notify.unwrap();
    assert_eq!(notify.login.unwrap().password.expose(), "open sesame");
    assert_eq!((notify.host.as_str(), notify.port, notify.tls.is_some()), ("::1", 8883, true));
    assert_eq!((notify.client_id.as_str(), notify.site.as_str()), ("portero-pi", "pi"));
}

#[test]
fn no_text_makes_the_reader_panic() {
    let text = shipped();
    let cuts = (0..text.len()).step_by(37).filter(|at| text.is_char_boundary(*at));
    for at in cuts {
        // Cut off, and with a bite taken out: problems may be found, a panic must not.
        for broken in
            [text[..at].to_owned(), text.chars().take(at).chain(text.chars().skip(at + 9)).collect()]
        {
            if let Err(problems) = check(&broken) {
                assert!(problems.counts().0 > 0);
                assert!(!problems.render(false).is_empty());
            }
        }
    }
}
