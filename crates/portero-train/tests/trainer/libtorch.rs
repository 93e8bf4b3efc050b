//! `scripts/fetch-libtorch`: takes the right one, refuses a wrong one.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{root, stderr, stdout};

/// The script with a libtorch of this version in `$LIBTORCH`.
fn fetch_beside(version: [u32; 3]) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let header = folder.path().join("include/torch/headeronly/version.h");
    fs::create_dir_all(header.parent().unwrap()).unwrap();
    let lines = ["MAJOR", "MINOR", "PATCH"].iter().zip(version);
    let text: String =
        lines.map(|(part, number)| format!("#define TORCH_VERSION_{part} {number}\n")).collect();
    fs::write(header, text).unwrap();
    let script = root().join("scripts/fetch-libtorch");
    (Command::new(script).env("LIBTORCH", folder.path()).output().unwrap(), folder)
}

#[test]
fn a_libtorch_that_is_there_is_taken_only_if_its_version_is_right() {
    let (right, folder) = fetch_beside([2, 10, 0]);
    assert!(right.status.success(), "{}", stderr(&right));
    assert_eq!(Path::new(stdout(&right).trim()), folder.path());

    let (wrong, _folder) = fetch_beside([2, 9, 1]);
    assert_eq!(wrong.status.code(), Some(69));
    assert!(stderr(&wrong).contains("holds 2.9.1; the trainer needs 2.10.0"), "{}", stderr(&wrong));
}
