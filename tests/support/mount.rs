//! File systems of their own, to run full or to become read-only.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A small file system of its own.
pub(crate) struct Mount(tempfile::TempDir);

#[expect(clippy::print_stdout, reason = "a skipped test says why")]
impl Mount {
    /// `None`, with the reason printed, where mounting is not permitted.
    pub(crate) fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={size},mode=700");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "portero-test"])
            .arg(folder.path())
            .output();
        match done {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                println!(
                    "skipped: no tmpfs can be mounted: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("skipped: mount cannot be run: {error}");
                None
            }
        }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Mounts it anew with this option.
    pub(crate) fn remount(&self, how: &str) {
        let option = format!("remount,{how}");
        assert!(
            Command::new("mount").args(["-o", &option]).arg(self.path()).status().unwrap().success(),
            "{how}"
        );
    }

    /// Takes all space that is left.
    pub(crate) fn fill(&self) {
        let mut filler = fs::File::create(self.path().join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives back what [`Mount::fill`] took.
    pub(crate) fn free(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
