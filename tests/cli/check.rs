//! Every way for a configuration to be wrong, byte for byte as it is shown.
//!
//! `tests/cli/check/NAME.toml` is shown as `NAME.expected`. `PORTERO_BLESS=1 cargo test` writes the expected
//! files anew; look at the difference before committing it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portero::config::{self, Grade, Problems};

/// What `portero check` shows of a file: its problems, or its warnings, or that there are none.
fn shown(path: &Path) -> String {
    let problems = match config::load(path) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => {
            assert!(problems.counts().0 > 0, "refused without an error: {}", path.display());
            problems
        }
    };
    if problems.is_empty() { "no problems\n".to_owned() } else { problems.render(false) }
}

/// Relative, so that what is shown does not depend on where the repository lies.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir("tests/cli/check").unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    cases.sort();
    cases
}

#[test]
fn every_problem_is_shown_as_expected() {
    let bless = std::env::var_os("PORTERO_BLESS").is_some();
    let cases = cases();
    assert!(cases.len() > 30, "only {} cases found", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let found = shown(&case);
        let expected = case.with_extension("expected");
        if bless {
            fs::write(&expected, &found).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{} is shown as\n{found}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const VALID: &str = r#"version = 1

[model]
manifest = "MANIFEST"

[[camera]]
id = "front"
source = "/dev/video0"

[[rule]]
id = "seen"
camera = "front"
label = "person"
log = true
"#;

fn valid() -> String {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/person-v3s.toml");
    VALID.replace("MANIFEST", manifest.to_str().unwrap())
}

/// Writes a file with these permission bits.
fn write(path: &Path, text: &[u8], mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The problems of a file that must be refused.
fn refused(path: &Path) -> Problems {
    config::load(path).expect_err("must be refused")
}

/// Refused with one error about the file as a whole; returns what is shown, with the folder's name taken out.
fn refused_as_a_whole(path: &Path) -> String {
    let problems = refused(path);
    let [problem] = problems.list() else { panic!("one problem expected: {problems}") };
    assert_eq!((problem.grade, &problem.span), (Grade::Error, &None));
    problems.render(false).replace(path.parent().unwrap().to_str().unwrap(), "DIR")
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let missing = refused_as_a_whole(&at("none.toml"));
    assert!(missing.starts_with("error: DIR/none.toml does not exist\n"), "{missing}");
    assert!(missing.contains("--config"), "{missing}");

    fs::create_dir(at("folder.toml")).unwrap();
    let folder = refused_as_a_whole(&at("folder.toml"));
    assert!(folder.starts_with("error: DIR/folder.toml is a directory\n"), "{folder}");

    write(&at("latin1.toml"), b"version = 1\n# caf\xe9\n", 0o644);
    let latin1 = refused_as_a_whole(&at("latin1.toml"));
    assert!(latin1.starts_with("error: DIR/latin1.toml is no UTF-8 text: line 2, "), "{latin1}");

    let made = std::process::Command::new("mkfifo").arg(at("pipe.toml")).status().unwrap();
    assert!(made.success());
    let pipe = refused_as_a_whole(&at("pipe.toml"));
    assert!(pipe.starts_with("error: DIR/pipe.toml is no regular file\n"), "{pipe}");

    write(&at("big.toml"), &vec![b'#'; 5 << 20], 0o644);
    let big = refused_as_a_whole(&at("big.toml"));
    assert!(big.starts_with("error: DIR/big.toml is larger than "), "{big}");
}

#[test]
fn a_file_that_everybody_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("portero.toml");
    write(&path, valid().as_bytes(), 0o666);
    let shown = refused_as_a_whole(&path);
    assert!(shown.starts_with("error: everybody may write DIR/portero.toml (mode 0666)\n"), "{shown}");
    assert!(shown.contains("chmod o-w DIR/portero.toml"), "{shown}");
    write(&path, valid().as_bytes(), 0o664);
    let warnings = config::load(&path).unwrap().warnings.render(false);
    assert!(warnings.contains("has mode 0664: its group "), "{warnings}");
    write(&path, valid().as_bytes(), 0o644);
    assert!(config::load(&path).unwrap().warnings.is_empty());
}

/// A site of its own: configuration, model and door program in `dir`.
fn site_with_a_door(dir: &Path, mode: &str) -> PathBuf {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for name in ["person-v3s.toml", "person-v3s.onnx"] {
        let to = dir.join(name);
        let _ = fs::remove_file(&to);
        fs::copy(models.join(name), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644)).unwrap();
    }
    write(&dir.join("open"), b"#!/bin/sh\n", 0o755);
    write(&dir.join("ca.pem"), b"-----BEGIN CERTIFICATE-----\n", 0o644);
    let door = format!(
        "[[door]]\nid = \"front\"\nkind = \"command\"\nmode = \"{mode}\"\nargv = [{:?}]\n",
        dir.join("open")
    );
    let camera = "source = { http = \"https://cam/x\", ca_file = \"ca.pem\" }";
    let text = VALID.replace("MANIFEST", "person-v3s.toml").replace("source = \"/dev/video0\"", camera);
    let path = dir.join("portero.toml");
    write(&path, format!("{text}\n{door}").as_bytes(), 0o640);
    path
}

#[test]
fn an_active_door_trusts_nothing_that_others_can_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = site_with_a_door(dir.path(), "active");
    config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    for name in ["portero.toml", "person-v3s.toml", "person-v3s.onnx", "open", "ca.pem"] {
        for (mode, who) in [(0o777, "verybody may write"), (0o775, "its group")] {
            for (door, is_refused) in [("active", true), ("observe", name == "portero.toml" && mode == 0o777)]
            {
                let path = site_with_a_door(dir.path(), door);
                fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
                let shown = match config::load(&path) {
                    Ok(loaded) => {
                        assert!(!is_refused, "{name} with mode {mode:o} must be refused");
                        loaded.warnings.render(false)
                    }
                    Err(problems) => {
                        assert!(is_refused, "{name} with mode {mode:o}: {problems}");
                        problems.render(false)
                    }
                };
                assert!(shown.contains(who) && shown.contains("chmod "), "{name}: {shown}");
            }
        }
    }
}

#[test]
fn an_active_door_trusts_no_program_that_cannot_be_examined() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, is_refused) in [("active", true), ("observe", false)] {
        let path = site_with_a_door(dir.path(), mode);
        fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(config::load(&path).is_err(), is_refused, "it may not be run");
        fs::remove_file(dir.path().join("open")).unwrap();
        assert_eq!(config::load(&path).is_err(), is_refused, "it is not there");
        if is_refused {
            let shown = refused(&path).render(false);
            assert!(shown.contains("the program of the door cannot be examined: "), "{shown}");
        }
    }
}

#[test]
fn an_active_door_trusts_no_configuration_by_a_link_that_others_can_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = site_with_a_door(dir.path(), "active");
    let open = dir.path().join("open-to-all");
    fs::create_dir(&open).unwrap();
    let link = open.join("portero.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let shown = refused(&link).render(false);
    assert!(shown.contains("open-to-all has mode 0777"), "{shown}");
    assert!(shown.contains(&format!("chmod go-w {}", open.display())), "{shown}");
}

#[test]
fn a_password_file_is_for_its_owner_and_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("portero.toml");
    let mqtt = "[mqtt]\nurl = \"mqtt://127.0.0.1\"\nuser = \"portero\"\npassword_file = \"secret\"\n";
    write(&path, format!("{}{mqtt}", valid()).as_bytes(), 0o640);
    let line = valid().lines().count() + 4;
    let first = || {
        let shown = refused(&path).render(false);
        assert!(shown.contains(&format!("portero.toml:{line}:17")), "{shown}");
        shown.replace(dir.path().to_str().unwrap(), "DIR").lines().next().unwrap().to_owned()
    };

    assert_eq!(first(), "error: the password file DIR/secret does not exist");
    let secret = dir.path().join("secret");
    write(&secret, b"open sesame\n", 0o644);
    assert_eq!(first(), "error: everybody may read the password file DIR/secret (mode 0644)");
    assert!(refused(&path).render(false).contains("chmod o-r"));
    write(&secret, b"\n", 0o640);
    assert_eq!(first(), "error: the password file DIR/secret is empty or no UTF-8 text");

    write(&secret, b"open sesame\n", 0o640);
    let notify = config::load(&path).unwrap().config.notify.unwrap();
    assert_eq!(notify.login.as_ref().unwrap().password.expose(), "open sesame");
    assert!(!format!("{notify:?}").contains("sesame"), "{notify:?}");
}

#[test]
fn problems_are_there_for_programs_too() {
    let json = refused(Path::new("tests/cli/check/several_at_once.toml")).to_json();
    let first = &json[0];
    assert_eq!(first["file"], "tests/cli/check/several_at_once.toml");
    assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(4), Some(1)));
    assert_eq!(first["severity"], "error");
    assert_eq!(first["message"], "unknown key `timezon` in [site]");
    assert_eq!(first["label"], "did you mean `timezone`?");
    assert_eq!(first["help"][0], "allowed: name, timezone");
}
