//! `scripts/install` and `scripts/uninstall` below a DESTDIR: what they put where, and what they leave.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn script(name: &str, dest: &Path, arguments: &[&str]) -> Output {
    Command::new(Path::new(ROOT).join("scripts").join(name))
        .args(arguments)
        .env("DESTDIR", dest)
        .current_dir("/")
        .output()
        .unwrap()
}

fn run(name: &str, dest: &Path, arguments: &[&str]) -> String {
    let output = script(name, dest, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {out}{err}");
    out.into_owned()
}

fn install(dest: &Path) -> String {
    run("install", dest, &["--binary", env!("CARGO_BIN_EXE_portero")])
}

/// Every file below `dest`, by its path there, with its permission bits.
fn files(dest: &Path) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![dest.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dest).unwrap().to_str().unwrap().to_owned();
                found.insert(format!("/{name}"), meta.permissions().mode() & 0o7777);
            }
        }
    }
    found
}

#[test]
fn every_file_has_its_place_and_its_mode() {
    let dest = tempfile::tempdir().unwrap();
    let said = install(dest.path());
    let files = files(dest.path());
    let expected = [
        ("/usr/local/bin/portero", 0o755),
        ("/usr/local/share/portero/models/person-v3s.onnx", 0o644),
        ("/usr/local/share/portero/models/person-v3s.toml", 0o644),
        ("/usr/local/share/portero/models/golden/street-person.png", 0o644),
        ("/usr/local/share/portero/street.mp4", 0o644),
        ("/usr/local/share/portero/portero.toml", 0o644),
        ("/etc/systemd/system/portero.service", 0o644),
        ("/etc/portero/portero.toml", 0o640),
    ];
    for (path, mode) in expected {
        assert_eq!(files.get(path).map(|m| format!("{m:o}")), Some(format!("{mode:o}")), "{path}");
        assert!(said.contains(path), "{path} is not said in:\n{said}");
    }
    let folder = fs::metadata(dest.path().join("etc/portero")).unwrap().permissions().mode();
    assert_eq!(folder & 0o7777, 0o750);
    // The unit starts what was installed.
    let unit = fs::read_to_string(dest.path().join("etc/systemd/system/portero.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/bin/portero run --config /etc/portero/portero.toml\n"));
}

#[test]
fn installing_again_changes_nothing_and_keeps_the_configuration() {
    let dest = tempfile::tempdir().unwrap();
    install(dest.path());
    let config = dest.path().join("etc/portero/portero.toml");
    fs::write(&config, "# mine\n").unwrap();
    let before = files(dest.path());
    let said = install(dest.path());
    assert_eq!(files(dest.path()), before);
    assert_eq!(fs::read_to_string(&config).unwrap(), "# mine\n");
    assert!(said.contains("/etc/portero/portero.toml stays as it is"), "{said}");
}

#[test]
fn uninstalling_leaves_configuration_and_data_and_says_so() {
    let dest = tempfile::tempdir().unwrap();
    install(dest.path());
    let data = dest.path().join("var/lib/portero/portero.db");
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    fs::write(&data, "events").unwrap();
    let said = run("uninstall", dest.path(), &[]);
    let left: Vec<String> = files(dest.path()).into_keys().collect();
    assert_eq!(left, ["/etc/portero/portero.toml", "/var/lib/portero/portero.db"]);
    for told in ["/etc/portero", "/var/lib/portero", "rm -r", "userdel portero"] {
        assert!(said.contains(told), "{told} is not said in:\n{said}");
    }
    run("uninstall", dest.path(), &[]);
}

#[test]
fn a_wrong_argument_is_refused_before_anything_is_done() {
    let dest = tempfile::tempdir().unwrap();
    for (arguments, code, told) in [
        (&["--bianry", "x"][..], 64, "unknown argument '--bianry'"),
        (&["--binary"], 64, "--binary needs a file"),
        (&["--binary", "/nowhere/portero"], 66, "/nowhere/portero is no program"),
    ] {
        let output = script("install", dest.path(), arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(files(dest.path()).len(), 0);
}
