//! What the rules need to know of the models: the labels of their manifests.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;

use toml::Spanned;

use crate::config::hint::did_you_mean;
use crate::config::problem::Problem;
use crate::config::raw::RawDetector;
use crate::config::reader::Report;
use crate::domain::{Label, Score};
use crate::infer::{DetectorManifest, Manifest, ManifestError};
use crate::trust;

/// The models that the file names; `None` for one that is absent or was reported.
#[derive(Clone, Copy)]
pub(in crate::config) struct Models<'a> {
    pub(in crate::config) classifier: Option<&'a ModelLabels>,
    pub(in crate::config) detector: Option<&'a DetectorLabels>,
}

/// What the rules need to know of the classifier.
pub(in crate::config) struct ModelLabels {
    pub(super) labels: Vec<Label>,
    pub(super) background: BTreeSet<Label>,
    pub(super) reject_below: Score,
}

/// What the rules need to know of the detector.
pub(in crate::config) struct DetectorLabels {
    /// Those that it is to tell of.
    pub(super) labels: Vec<Label>,
    /// From this score on it is sure.
    pub(super) score: f32,
}

impl ModelLabels {
    /// What the best of the labels has at least.
    pub(super) fn fair_share(&self) -> f32 {
        1.0 / self.labels.len().max(1) as f32
    }

    /// Reads the manifest that the file names.
    pub(in crate::config) fn read(manifest: &Spanned<PathBuf>, report: &Report) -> Option<Self> {
        match Manifest::load(manifest.get_ref()) {
            Ok(found) => {
                examine(manifest, [manifest.get_ref(), &found.file], report);
                Some(Self {
                    labels: found.labels,
                    background: found.background,
                    reject_below: found.reject_below,
                })
            }
            Err(error) => {
                report.add(refused(manifest, &error));
                None
            }
        }
    }
}

impl DetectorLabels {
    /// Reads the manifest that the file names, and looks up the labels that it asks for.
    pub(in crate::config) fn read(detector: &RawDetector, report: &Report) -> Option<Self> {
        let manifest = match DetectorManifest::load(detector.manifest.get_ref()) {
            Ok(manifest) => manifest,
            Err(error) => {
                report.add(refused(&detector.manifest, &error));
                return None;
            }
        };
        examine(&detector.manifest, [detector.manifest.get_ref(), &manifest.file], report);
        let Some(asked) = &detector.labels else {
            return Some(Self { labels: manifest.labels, score: manifest.score });
        };
        let known: Vec<&str> = manifest.labels.iter().map(|label| label.as_str()).collect();
        for text in asked.iter().filter(|text| !known.contains(&text.get_ref().as_str())) {
            let problem =
                Problem::error(text.span(), format!("the detector knows no label `{}`", text.get_ref()));
            let problem = problem.label(did_you_mean(text.get_ref(), &known).unwrap_or_default());
            report.add(problem.help(format!("its labels: {}", known.join(", "))));
        }
        let is_asked = |label: &Label| asked.iter().any(|text| text.get_ref() == label.as_str());
        let labels = manifest.labels.iter().filter(|label| is_asked(label)).cloned().collect();
        Some(Self { labels, score: manifest.score })
    }
}

/// Whether the files of a model can be trusted. One that cannot be read is told by whoever loads it.
fn examine(place: &Spanned<PathBuf>, files: [&PathBuf; 2], report: &Report) {
    for file in files {
        if let Ok(Some(distrust)) = trust::examine_path(file) {
            report.distrust(Some(place.span()), "model", &distrust);
        }
    }
}

fn refused(manifest: &Spanned<PathBuf>, error: &ManifestError) -> Problem {
    let problem = Problem::error(manifest.span(), error.to_string());
    match error.source() {
        Some(cause) => problem.help(cause.to_string().trim_end()),
        None => problem,
    }
}
