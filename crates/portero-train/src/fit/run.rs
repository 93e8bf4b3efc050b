//! The run folder: all that is needed to repeat a run, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FitError, Keep, Plan, write_json, write_whole};
use crate::data::{Dataset, Reading};
use crate::model::{Design, Unfreeze};

/// What a run was begun with.
const RUN: &str = "run.json";
/// Each file with its class and part.
const SPLIT: &str = "split.csv";
/// One entry per epoch.
pub(crate) const HISTORY: &str = "history.json";
/// The weights of the best epoch on val.
pub(crate) const BEST: &str = "best.safetensors";
/// Where an interrupted run goes on.
pub(super) const LAST: &str = "last.safetensors";
/// Within the folder of a run: the run that fitted the last layer before it, and the one after it on train and val.
const HEAD: &str = "head";
const REFIT: &str = "refit";

/// What the weights begin as, and which of them are fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Regime {
    /// Random weights; all are fitted.
    Scratch,
    /// The features of a base, computed once per picture and augmentation draw; only the classifier is fitted.
    Transfer { base: PathBuf, sha256: String, draws: u64 },
    /// A base; its classifier and last stages are fitted.
    Finetune {
        base: PathBuf,
        sha256: String,
        unfreeze: Unfreeze,
        features_rate: f64,
        batch_norm: BatchNorm,
        #[serde(default)]
        head: Head,
    },
    /// Nothing was fitted: the mean of a fine-tuned run, which counts `share`, and its base, weight by weight.
    Averaged { run: PathBuf, share: f64, base: PathBuf, sha256: String },
}

/// What a new last layer of a network that is fine-tuned begins as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Head {
    /// Fitted to the features of the frozen base, so that what is pretrained is not spoilt by the steps that a random
    /// one asks for (Kumar et al. 2022).
    Fitted,
    /// Random numbers.
    #[default]
    Random,
}

/// What the batch norms of stages that are fitted do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BatchNorm {
    /// They keep the statistics of the base.
    Frozen,
    /// Their statistics are measured anew on training pictures, with weights and biases that leave the network's
    /// function as it is; then they learn from the batches.
    Reestimate,
}

impl Regime {
    /// What the weights began as, in words.
    fn origin(&self) -> String {
        match self {
            Self::Scratch => "trained from nothing".to_owned(),
            Self::Transfer { base, draws, .. } => {
                format!(
                    "a classifier on the frozen features of {}, {draws} draws of each picture",
                    base.display()
                )
            }
            Self::Finetune { base, unfreeze, .. } => {
                format!("fine-tuned from {}, {unfreeze} of its last stages", base.display())
            }
            Self::Averaged { run, share, base, .. } => format!(
                "the mean of the weights of {} (counted {share}) and of {}, from which they were fine-tuned",
                run.display(),
                base.display()
            ),
        }
    }
}

/// What a run was begun with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// Version of the trainer.
    pub(crate) version: String,
    /// The command line.
    pub(crate) command: Vec<String>,
    pub(crate) regime: Regime,
    pub(crate) design: Design,
    pub(crate) classes: Vec<String>,
    pub(crate) data_sha256: String,
    pub(crate) reading: Reading,
    pub(crate) plan: Plan,
    /// Threads of libtorch: sums differ in the last bits with another number.
    pub(crate) threads: i32,
}

impl Run {
    /// A run that begins now.
    pub(crate) fn new(
        folder: &Path,
        regime: Regime,
        design: Design,
        set: &Dataset,
        reading: &Reading,
        plan: &Plan,
    ) -> Self {
        Self {
            folder: folder.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: std::env::args().collect(),
            regime,
            design,
            classes: set.classes.clone(),
            data_sha256: set.sha256.clone(),
            reading: reading.clone(),
            plan: plan.clone(),
            threads: tch::get_num_threads(),
        }
    }

    /// A file of the run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What the weights began as and were fitted to, in words.
    pub(crate) fn origin(&self) -> String {
        let again =
            if self.plan.refit { "; when val had chosen, once more on train and val together" } else { "" };
        format!("{}{again}", self.regime.origin())
    }

    /// Whether the folder holds a run already.
    pub(crate) fn is_begun(&self) -> bool {
        self.path(RUN).exists()
    }

    /// Whether there is something to go on from.
    pub(crate) fn has_checkpoint(&self) -> bool {
        self.path(LAST).exists()
    }

    /// The run within this one that fits the last layer to the features of the frozen base.
    pub(crate) fn head(&self, draws: u64, plan: Plan) -> Self {
        let mut run = self.clone();
        run.folder.push(HEAD);
        if let Regime::Finetune { base, sha256, .. } = &self.regime {
            run.regime = Regime::Transfer { base: base.clone(), sha256: sha256.clone(), draws };
        }
        Self { plan, ..run }
    }

    /// The run within this one that fits to train and val together, `epochs` long.
    pub(crate) fn refit(&self, epochs: usize) -> Self {
        let plan = Plan { until: Some(epochs as u32), keep: Keep::Last, patience: None, ..self.plan.clone() };
        Self { folder: self.path(REFIT), plan, ..self.clone() }
    }

    /// The weights that come of the run.
    pub(crate) fn weights(&self) -> PathBuf {
        if self.plan.refit { self.path(REFIT).join(BEST) } else { self.path(BEST) }
    }

    /// Makes the folder and writes what the run begins with. When `resume` is set, compares instead.
    pub(crate) fn open(&self, set: &Dataset, resume: bool) -> Result<(), FitError> {
        let begun = self.is_begun();
        if resume {
            if !begun {
                return Err(FitError::NoRun { path: self.folder.clone() });
            }
            return self.compare(&Self::load(&self.folder)?);
        }
        if begun {
            return Err(FitError::Taken { path: self.folder.clone() });
        }
        fs::create_dir_all(&self.folder)
            .map_err(|source| FitError::Save { path: self.folder.clone(), source })?;
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let rows = set.samples.iter().map(|s| {
            format!("{},{},{}\n", quoted(&s.name), quoted(set.class_name(s.class)), s.part.as_str())
        });
        let table: String = std::iter::once("file,class,part\n".to_owned()).chain(rows).collect();
        write_whole(&self.path(SPLIT), |partial| fs::write(partial, &table))?;
        write_json(&self.path(RUN), self)
    }

    /// Reads the run in `folder`.
    pub(crate) fn load(folder: &Path) -> Result<Self, FitError> {
        let path = folder.join(RUN);
        let text = fs::read_to_string(&path)
            .map_err(|source| FitError::Read { path: path.clone(), source: source.into() })?;
        let run: Self = serde_json::from_str(&text)
            .map_err(|source| FitError::Read { path: path.clone(), source: source.into() })?;
        Ok(Self { folder: folder.to_owned(), ..run })
    }

    /// The first setting in which the run that began differs from this one.
    fn compare(&self, began: &Self) -> Result<(), FitError> {
        let tree = |run: &Self| serde_json::to_value(run).unwrap_or_default();
        let (ours, theirs) = (tree(self), tree(began));
        for key in ["regime", "design", "classes", "data_sha256", "reading", "plan", "threads"] {
            let (here, there) = (&ours[key], &theirs[key]);
            if here == there {
                continue;
            }
            let inner =
                here.as_object().and_then(|o| o.keys().find(|k| here[k.as_str()] != there[k.as_str()]));
            let (name, here, there) = match inner {
                Some(inner) => (format!("{key}.{inner}"), &here[inner.as_str()], &there[inner.as_str()]),
                None => (key.to_owned(), here, there),
            };
            let (began, found) = (there.to_string(), here.to_string());
            return Err(FitError::Differs { path: self.folder.clone(), key: name, began, found });
        }
        Ok(())
    }
}
