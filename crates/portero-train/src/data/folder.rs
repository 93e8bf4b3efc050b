//! Folders: which pictures of which class, with the part where the folders say it.

use std::fs;
use std::path::{Path, PathBuf};

use portero_core::domain::Label;
use portero_core::words::hex;
use portero_infer::Input;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{DataError, Dataset, Part, Reading, Sample, Skipped, name_below, picture};

/// A file that may be a picture.
struct Candidate {
    path: PathBuf,
    class: usize,
    part: Option<Part>,
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Read { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    let mut paths =
        entries.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    paths.sort();
    Ok(paths)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(sorted(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// All files below a class folder, also in folders of its own.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for path in sorted(folder)? {
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// The folders that hold class folders, each with its part.
fn roots(data: &Path) -> Vec<(PathBuf, Option<Part>)> {
    let names = [("train", Part::Train), ("val", Part::Val), ("valid", Part::Val), ("test", Part::Test)];
    let given: Vec<_> =
        names.iter().map(|(name, part)| (data.join(name), Some(*part))).filter(|(p, _)| p.is_dir()).collect();
    let has_train = given.iter().any(|(_, part)| *part == Some(Part::Train));
    if has_train && given.len() > 1 { given } else { vec![(data.to_owned(), None)] }
}

fn candidates(reading: &Reading) -> Result<(Vec<String>, Vec<Candidate>), DataError> {
    let data = &reading.data;
    let roots = roots(data);
    let mut classes: Vec<String> = Vec::new();
    for (root, _) in &roots {
        for folder in folders(root)? {
            let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            Label::new(&name).map_err(|source| DataError::ClassName { path: folder.clone(), source })?;
            classes.push(name);
        }
    }
    classes.sort();
    classes.dedup();
    match classes.as_slice() {
        [] => return Err(DataError::Nothing { path: data.clone() }),
        [class] => return Err(DataError::OneClass { path: data.clone(), class: class.clone() }),
        _ => {}
    }
    let mut found = Vec::new();
    for (root, part) in &roots {
        let part = match part {
            Some(Part::Val) if reading.val_is_test => Some(Part::Test),
            other => *other,
        };
        for (class, name) in classes.iter().enumerate() {
            let folder = root.join(name);
            if !folder.is_dir() {
                return Err(DataError::MissingClass { path: root.clone(), class: name.clone() });
            }
            let mut paths = Vec::new();
            files(&folder, &mut paths)?;
            found.extend(paths.into_iter().map(|path| Candidate { path, class, part }));
        }
    }
    Ok((classes, found))
}

/// A sample without its part, with the hash of its bytes.
type Read = (Sample, Option<Part>, [u8; 32]);

fn read(candidate: &Candidate, root: &Path, input: &Input) -> Result<Read, Skipped> {
    let name = name_below(root, &candidate.path);
    let skipped = |reason: String| Skipped { name: name.clone(), reason };
    let bytes = fs::read(&candidate.path).map_err(|e| skipped(e.to_string()))?;
    let whole = picture::decode(&bytes).map_err(|e| skipped(e.to_string()))?;
    let size_px = (whole.width(), whole.height());
    let look = picture::Look::of(&whole).map_err(|e| skipped(e.to_string()))?;
    // As for training, whatever part it will have: `refit` mends the others when that is known.
    let picture = picture::fit(whole, Part::Train, input).map_err(|e| skipped(e.to_string()))?;
    let part = candidate.part.unwrap_or(Part::Train);
    let sample = Sample { name: name.clone(), class: candidate.class, part, size_px, picture, look };
    Ok((sample, candidate.part, Sha256::digest(&bytes).into()))
}

/// Decodes all pictures below the class folders.
pub(super) fn load(reading: &Reading, input: &Input) -> Result<Dataset, DataError> {
    let (classes, candidates) = candidates(reading)?;
    let results: Vec<_> = candidates.par_iter().map(|c| read(c, &reading.data, input)).collect();
    let mut set = Dataset {
        classes,
        held_out: Vec::new(),
        samples: Vec::new(),
        skipped: Vec::new(),
        sha256: String::new(),
        open: Vec::new(),
    };
    let mut sha256 = Sha256::new();
    for result in results {
        match result {
            Ok((sample, part, bytes)) => {
                sha256.update(sample.name.as_bytes());
                sha256.update([0]);
                sha256.update(bytes);
                set.open.push(part.is_none());
                set.samples.push(sample);
            }
            Err(skipped) => set.skipped.push(skipped),
        }
    }
    set.sha256 = hex(&sha256.finalize());
    for (class, name) in set.classes.iter().enumerate() {
        if !set.samples.iter().any(|s| s.class == class) {
            return Err(DataError::EmptyClass { path: reading.data.clone(), class: name.clone() });
        }
    }
    Ok(set)
}

/// Brings the pictures of val and test to exactly what the daemon would see. Those that were made smaller for
/// training are read again, so that no picture is scaled twice.
pub(super) fn refit(set: &mut Dataset, reading: &Reading, input: &Input) -> Result<(), DataError> {
    set.samples.par_iter_mut().filter(|s| s.part != Part::Train).try_for_each(|sample| {
        let path = reading.data.join(&sample.name);
        let failed = |cause: picture::Cause| DataError::Read {
            path: path.clone(),
            source: std::io::Error::other(cause),
        };
        let whole = if (sample.picture.width(), sample.picture.height()) == sample.size_px {
            sample.picture.clone()
        } else {
            let bytes = fs::read(&path).map_err(|source| DataError::Read { path: path.clone(), source })?;
            picture::decode(&bytes).map_err(failed)?
        };
        sample.picture = picture::fit(whole, sample.part, input).map_err(failed)?;
        Ok(())
    })
}
