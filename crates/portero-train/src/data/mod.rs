//! From files to batches: reading, splitting, augmenting, and looking a data set over.
//!
//! A data set is a folder per class, optionally within `train/`, `val/` and `test/`, or IDX files. Everything is
//! decoded once, in parallel, and kept in memory no larger than training needs it. Pixels become tensors by the
//! daemon's own preprocessing. This room knows no network.

mod augment;
mod batch;
mod effects;
mod folder;
mod hold_out;
mod idx;
mod inspect;
mod picture;
mod seed;
mod split;

use std::path::{Path, PathBuf};

use portero_core::domain::{BadName, Frame};
use portero_infer::Input;

pub(crate) use augment::{Augment, Augmentation};
pub(crate) use batch::{Balance, Batch, Batches, Supply, class_weights};
pub(crate) use inspect::Inspection;
pub(crate) use picture::{Cause, decode};
pub(crate) use seed::mix;
pub(crate) use split::{Grouping, Shares};

/// What a sample is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// The weights are fitted to it.
    Train,
    /// Chooses: early stopping, temperature, threshold.
    Val,
    /// Only reported.
    Test,
}

impl Part {
    pub(crate) const ALL: [Part; 3] = [Part::Train, Part::Val, Part::Test];

    /// The word in folders, files and reports.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Val => "val",
            Part::Test => "test",
        }
    }
}

/// One labelled picture.
pub(crate) struct Sample {
    /// The path below the data folder, or the IDX file with the picture's number.
    pub(crate) name: String,
    /// Index into [`Dataset::classes`]; beyond them, of a class that is held out.
    pub(crate) class: usize,
    pub(crate) part: Part,
    /// Width and height as they came, in pixels.
    pub(crate) size_px: (u32, u32),
    /// The picture, no larger than needed: see [`picture::fit_for`].
    pub(crate) picture: Frame,
    /// What it looks like, for finding near-duplicates.
    pub(crate) look: picture::Look,
}

/// A file that is no readable picture.
pub(crate) struct Skipped {
    pub(crate) name: String,
    /// Why, in the decoder's words.
    pub(crate) reason: String,
}

/// A data set, decoded and split.
pub(crate) struct Dataset {
    /// Class names in the order of the outputs: sorted, or as an IDX set numbers them.
    pub(crate) classes: Vec<String>,
    /// Names of the classes that are kept as unknowns; their numbers go on after those of the known ones.
    pub(crate) held_out: Vec<String>,
    /// In a fixed order, by name.
    pub(crate) samples: Vec<Sample>,
    pub(crate) skipped: Vec<Skipped>,
    /// For each sample, whether its part is not said by where it lies and still to be drawn.
    open: Vec<bool>,
    /// SHA-256 over the names, classes and bytes of all readable files.
    pub(crate) sha256: String,
}

/// How a folder is to be read.
#[derive(Debug, Clone, clap::Args, serde::Serialize, serde::Deserialize)]
pub(crate) struct Reading {
    /// A folder with one folder of pictures per class, optionally within train/, val/ and test/; or IDX files.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Percent for train, val and test where the folders do not say.
    #[arg(long, value_name = "A,B,C", default_value_t)]
    pub(crate) split: Shares,
    /// Keep pictures of one source in one part: by their names (`000000000009_0.jpg` and `000000000009_1.jpg`
    /// are crops of one photo), or not.
    #[arg(long, value_enum, default_value_t = Grouping::Name)]
    pub(crate) groups: Grouping,
    /// Take the `val` folder as the untouched test part; what chooses is then split off `train`.
    #[arg(long)]
    pub(crate) val_is_test: bool,
    /// Classes to hold out of training and keep as unknowns: val then chooses the rejection threshold on them.
    #[arg(long, value_name = "CLASS,…", value_delimiter = ',')]
    #[serde(default)]
    pub(crate) hold_out: Vec<String>,
    /// Decides the split, and all else that is drawn.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Reading {
    /// Of everything in `data`, where nothing is to be split.
    fn whole(data: &Path) -> Self {
        let (split, groups) = (Shares::default(), Grouping::None);
        Self { data: data.to_owned(), split, groups, val_is_test: false, hold_out: Vec::new(), seed: 1 }
    }
}

/// Why there is no data set. Every message names the folder or file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// A folder or file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// There is nothing that could be a class.
    #[error(
        "{} holds neither a folder per class nor IDX files (train-images-idx3-ubyte, optionally .gz)",
        path.display()
    )]
    Nothing { path: PathBuf },
    /// Nothing to tell apart.
    #[error("{} holds one class only, {class:?}; at least two folders with pictures are needed", path.display())]
    OneClass { path: PathBuf, class: String },
    /// A class without a readable picture.
    #[error("the class {class:?} has no readable picture in {}", path.display())]
    EmptyClass { path: PathBuf, class: String },
    /// A class that cannot be held out.
    #[error("--hold-out {class} {why}")]
    HoldOut { class: String, why: String },
    /// A class that cannot be split.
    #[error(
        "the class {class:?} has {found} pictures of {sources} sources; {part} would get none of them. Add pictures, or \
         change --split"
    )]
    TooFew { class: String, found: usize, sources: usize, part: &'static str },
    /// A folder's name is no class name.
    #[error("the folder {} gives no class name", path.display())]
    ClassName {
        path: PathBuf,
        #[source]
        source: BadName,
    },
    /// The parts do not have the same classes.
    #[error("{} lacks the class {class:?}, which another part has", path.display())]
    MissingClass { path: PathBuf, class: String },
    /// Not what the IDX format says.
    #[error("{}: {what} is {found}, an IDX file of {kind} has {expected}", path.display())]
    Idx { path: PathBuf, what: &'static str, kind: &'static str, found: String, expected: String },
}

impl Dataset {
    /// Reads, decodes and splits what `reading` names, for a network with this input. Unreadable pictures end up
    /// in `skipped`. Takes all cores.
    ///
    /// # Errors
    /// [`DataError`] names the folder, class or file.
    pub(crate) fn load(reading: &Reading, input: &Input) -> Result<Self, DataError> {
        let mut set = match idx::find(&reading.data) {
            Some(files) => idx::load(&files, &reading.data)?,
            None => folder::load(reading, input)?,
        };
        set.hold_out(&reading.hold_out)?;
        split::fill_in(&mut set, reading)?;
        set.drop_unknown_of_train();
        folder::refit(&mut set, reading, input)?;
        Ok(set)
    }

    /// Reads and decodes all pictures of `data` for a network with this input, as pictures to be reported on.
    ///
    /// # Errors
    /// [`DataError`] names the folder, class or file.
    pub(crate) fn load_whole(data: &Path, input: &Input) -> Result<Self, DataError> {
        let reading = Reading::whole(data);
        let mut set = match idx::find(data) {
            Some(files) => idx::load(&files, data)?,
            None => folder::load(&reading, input)?,
        };
        set.samples.iter_mut().for_each(|sample| sample.part = Part::Test);
        folder::refit(&mut set, &reading, input)?;
        Ok(set)
    }

    fn of(&self, part: Part) -> impl Iterator<Item = usize> {
        (0..self.samples.len()).filter(move |&i| self.samples[i].part == part)
    }

    /// The indices of the samples of the known classes in one part.
    pub(crate) fn part(&self, part: Part) -> Vec<usize> {
        self.of(part).filter(|&i| self.samples[i].class < self.classes.len()).collect()
    }

    /// The indices of the samples of the known classes in several parts.
    pub(crate) fn parts(&self, parts: &[Part]) -> Vec<usize> {
        parts.iter().flat_map(|part| self.part(*part)).collect()
    }

    /// The classes of `indices` as a tensor.
    pub(crate) fn truth(&self, indices: &[usize]) -> tch::Tensor {
        let classes: Vec<i64> = indices.iter().map(|&i| self.samples[i].class as i64).collect();
        tch::Tensor::from_slice(&classes)
    }

    /// How many samples each known class has in `part`.
    pub(crate) fn counts(&self, part: Part) -> Vec<usize> {
        (0..self.classes.len()).map(|class| self.count(class, part)).collect()
    }

    /// How many samples a class has in `part`.
    pub(crate) fn count(&self, class: usize, part: Part) -> usize {
        self.of(part).filter(|&i| self.samples[i].class == class).count()
    }
}

/// The part of `path` below `root`, with `/` between.
fn name_below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}
