//! `evaluate`: what the network of a run is worth, printed, as JSON and as one HTML page.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use crate::data::{Augment, Batches, Dataset};
use crate::fit::{BEST, Epoch, HISTORY, Run, load_weights, share, write_json, write_whole};
use crate::model::{Design, Model, Network};
use crate::{report, train, weights};

/// The figures.
const EVALUATION: &str = "evaluation.json";
/// The page.
const REPORT: &str = "report.html";

/// The kept weights with all that `export` needs to know; of a photo network only.
pub(crate) const MODEL: &str = "model.safetensors";

/// The note in a weights file on how the rejection threshold was chosen.
pub(crate) const REJECTION: &str = "rejection";

/// Arguments of `evaluate`.
#[derive(clap::Args)]
pub(crate) struct Evaluate {
    /// The folder of a run.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the data lies now, if it was moved.
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// The share of the pictures of held-out classes that may pass on val, instead of the training's.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    far: Option<f64>,
}

/// Runs it.
pub(crate) fn run(arguments: &Evaluate) -> anyhow::Result<ExitCode> {
    let mut run = Run::load(&arguments.run)?;
    if let Some(data) = &arguments.data {
        run.reading.data.clone_from(data);
    }
    if let Some(far) = arguments.far {
        run.plan.far = far;
    }
    let set = data_of(&run)?;
    report(&run, &set)?;
    Ok(ExitCode::SUCCESS)
}

/// The pictures that `run` was trained on, in the same parts.
///
/// # Errors
/// When they are no longer the same.
pub(crate) fn data_of(run: &Run) -> anyhow::Result<Dataset> {
    let set = Dataset::load(&run.reading, &run.design.input())?;
    if set.sha256 != run.data_sha256 || set.classes != run.classes {
        anyhow::bail!(
            "{} is not the data that the run was trained on (SHA-256 {}, then {}): the split would be another one, \
             and test pictures may have been trained on",
            run.reading.data.display(),
            set.sha256,
            run.data_sha256
        );
    }
    Ok(set)
}

/// The temperature that the evaluation of `run` chose; 1 where there was none yet.
pub(crate) fn fitted_temperature(run: &Run) -> f64 {
    let text = std::fs::read_to_string(run.path(EVALUATION)).unwrap_or_default();
    let figures: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    figures["temperature"].as_f64().unwrap_or(1.0)
}

/// Evaluates the kept weights of `run` on `set`, prints the figures, and writes JSON and page into its folder.
pub(crate) fn report(run: &Run, set: &Dataset) -> anyhow::Result<()> {
    let network = |path: &Path| -> anyhow::Result<Network> {
        let network = Network::fresh(&run.design, set.classes.len());
        load_weights(path, network.vars())?;
        Ok(network)
    };
    let (chosen, kept) = (network(&run.path(BEST))?, network(&run.weights())?);
    let history = run.path(HISTORY);
    let text =
        std::fs::read_to_string(&history).with_context(|| format!("cannot read {}", history.display()))?;
    let history: Vec<Epoch> =
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", history.display()))?;
    let batches = Batches::new(set, run.design.input(), Augment::None.into(), run.reading.seed);
    let evaluation = report::evaluate([&chosen, &kept], &batches, set, run.plan.far)?;
    write_json(&run.path(EVALUATION), &evaluation)?;
    if let Design::Photo(description) = &run.design {
        let mut description = description.clone();
        description.temperature = Some(evaluation.temperature as f32);
        description.reject_below = Some(evaluation.rejection.threshold.value);
        description.provenance = train::provenance(run, &description.provenance);
        description.provenance.insert(REJECTION.to_owned(), evaluation.rejection.threshold.how.clone());
        weights::save(&run.path(MODEL), kept.vars(), &description)?;
    }
    let page = report::page(run, set, &history, &evaluation);
    write_whole(&run.path(REPORT), |partial| std::fs::write(partial, &page))?;
    let mut out = std::io::stdout().lock();
    out.write_all(evaluation.to_text().as_bytes())?;
    writeln!(out, "\n{}", run.path(REPORT).display())?;
    Ok(())
}
