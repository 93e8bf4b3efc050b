//! Saving files whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::FitError;

/// Lets `write` make the file under another name, brings it to the disk, and only then gives it its own name. When any
/// of that fails (a full disk), the file that was there before is untouched.
pub(crate) fn write_whole(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), FitError> {
    let partial = path.with_extension("partial");
    let done = write(&partial)
        .and_then(|()| File::open(&partial)?.sync_all())
        .and_then(|()| fs::rename(&partial, path))
        .and_then(|()| File::open(folder_of(path))?.sync_all());
    done.map_err(|source| {
        // What could not be finished only takes room.
        let _ = fs::remove_file(&partial);
        FitError::Save { path: path.to_owned(), source }
    })
}

/// The folder that `path` lies in; a bare name lies in the current one.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Saves a value as JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FitError> {
    write_whole(path, |partial| {
        let mut file = io::BufWriter::new(File::create(partial)?);
        serde_json::to_writer_pretty(&mut file, value)?;
        file.write_all(b"\n")?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        let folders = ["page.html", "runs/page.html", "/page.html"].map(|path| folder_of(Path::new(path)));
        assert_eq!(folders, [".", "runs", "/"].map(Path::new));
    }

    #[test]
    fn what_fails_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        write_whole(&path, |p| fs::write(p, "old")).unwrap();
        let failed = write_whole(&path, |p| {
            fs::write(p, "half of the n")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        });
        assert!(failed.unwrap_err().to_string().contains("is intact"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
