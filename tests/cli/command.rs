//! `portero check` as a command: what it tries, what it prints, how it exits.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::support::broker::{Broker, free_port};
use crate::support::daemon::{portero, root, street};

/// A folder with a configuration: the street clip, a rule, a broker at `url`, and `more`.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new(url: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "version = 1\n\
             [model]\nmanifest = {manifest:?}\n\
             [mqtt]\nurl = {url:?}\n\
             [[camera]]\nid = \"street\"\nsource = {street:?}\n\
             [[rule]]\nid = \"seen\"\ncamera = \"street\"\nlabel = \"person\"\nlog = true\n{more}",
            manifest = root().join("models/person-v3s.toml"),
            street = street(),
        );
        fs::write(folder.path().join("portero.toml"), text).unwrap();
        Self { folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("portero.toml")
    }

    fn check(&self, arguments: &[&str]) -> Output {
        let config = self.config();
        portero(&[&["check", "--config", config.to_str().unwrap()], arguments].concat())
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn everything_that_is_named_is_tried() {
    let broker = Broker::start();
    let output = Folder::new(&broker.url(), "").check(&[]);
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let lines: Vec<_> =
        shown.lines().map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).collect();
    assert_eq!(
        lines,
        [["ok", "configuration"], ["ok", "model"], ["ok", "database"], ["ok", "broker"], ["ok", "camera"]],
        "{shown}"
    );
}

#[test]
fn a_closed_port_and_a_video_that_is_none_are_told_at_once() {
    let url = format!("mqtt://127.0.0.1:{}", free_port());
    let more = "[[camera]]\nid = \"film\"\nsource = \"film.mp4\"\n\
                [[rule]]\nid = \"film\"\ncamera = \"film\"\nlabel = \"person\"\nlog = true\n";
    let folder = Folder::new(&url, more);
    fs::write(folder.folder.path().join("film.mp4"), "no film at all\n".repeat(100)).unwrap();
    let output = folder.check(&[]);
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(78), "{shown}");
    let wrong: Vec<_> = shown.lines().filter(|line| line.starts_with("WRONG")).collect();
    assert_eq!(wrong.len(), 2, "{shown}");
    assert!(wrong[0].contains("broker") && wrong[0].contains(&url), "{shown}");
    assert!(wrong[1].contains("camera film"), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("ok     camera street")), "{shown}");

    let offline = folder.check(&["--offline"]);
    assert_eq!(offline.status.code(), Some(0), "{}", stdout(&offline));
    assert!(!stdout(&offline).contains("broker"), "{}", stdout(&offline));
}

#[test]
fn problems_are_printed_and_the_exit_code_is_78() {
    let case = "tests/cli/check/several_at_once.toml";
    let output = portero(&["check", "--config", case]);
    let expected = fs::read_to_string("tests/cli/check/several_at_once.expected").unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(stdout(&output).starts_with(&expected), "{}", stdout(&output));

    let json = portero(&["check", "--config", case, "--json"]);
    assert_eq!(json.status.code(), Some(78));
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json["ok"].as_bool(), json["checks"].as_array().map(Vec::len)), (Some(false), Some(0)));
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(6));
}

#[test]
fn a_model_that_is_not_the_one_of_its_manifest_is_found() {
    let models = tempfile::tempdir().unwrap();
    let manifest = fs::read_to_string(root().join("models/person-v3s.toml")).unwrap();
    fs::write(models.path().join("m.toml"), manifest).unwrap();
    fs::write(models.path().join("person-v3s.onnx"), "not the model").unwrap();
    let folder = Folder::new("mqtt://127.0.0.1", "");
    let text = fs::read_to_string(folder.config()).unwrap();
    let there = root().join("models/person-v3s.toml");
    let here = models.path().join("m.toml");
    fs::write(folder.config(), text.replace(there.to_str().unwrap(), here.to_str().unwrap())).unwrap();
    let output = folder.check(&["--offline", "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let model = &json["checks"][1];
    assert_eq!((model["what"].as_str(), model["ok"].as_bool()), (Some("model"), Some(false)), "{json}");
    assert!(model["found"].as_str().unwrap().contains("SHA-256"), "{json}");
}

#[test]
fn the_daemon_refuses_what_check_refuses() {
    let output = portero(&["run", "--config", "tests/cli/check/unknown_camera.toml"]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("there is no camera `fornt`") && said.contains("did you mean `front`?"), "{said}");
}
