//! `average`: the weights of a fine-tuned run drawn back towards what it was fine-tuned from.
//!
//! Every weight becomes `share · fine-tuned + (1 − share) · base`. What fine-tuning on one place's pictures gained there
//! is mostly kept, and what it lost elsewhere mostly comes back (Wortsman et al. 2022, "Robust fine-tuning of zero-shot
//! models"). Nothing is trained here; the result is a run like any other, evaluated anew on the same parts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use tch::no_grad;

use crate::evaluate;
use crate::fit::{BEST, BatchNorm, HISTORY, Regime, Run, load_weights, save_weights, write_whole};
use crate::model::{Design, Model, Network};
use crate::weights::{self, Tensors};

/// Arguments of `average`.
#[derive(clap::Args)]
pub(crate) struct Average {
    /// The folder of a run of `finetune`.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// How much of the fine-tuned weights counts; the rest is that of the base.
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    share: f64,
    /// The folder for the averaged run.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Where the base lies now, if it was moved.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
}

/// Nothing and all of it need no averaging.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("a number between 0 and 1 is needed, both left out".to_owned()),
    }
}

/// Runs it.
pub(crate) fn run(arguments: &Average) -> anyhow::Result<ExitCode> {
    let fitted = Run::load(&arguments.run)?;
    let (base, sha256) = base_of(&fitted, arguments.base.as_deref())?;
    let set = evaluate::data_of(&fitted)?;
    let tensors = base_tensors(&fitted, &base)?;
    let averaged = Run {
        folder: arguments.out.clone(),
        command: std::env::args().collect(),
        regime: Regime::Averaged { run: arguments.run.clone(), share: arguments.share, base, sha256 },
        ..fitted.clone()
    };
    averaged.open(&set, false)?;
    // With --refit there are two: val chose one, the other was fitted to val as well.
    for (from, to) in [(fitted.path(BEST), averaged.path(BEST)), (fitted.weights(), averaged.weights())] {
        let network = Network::fresh(&fitted.design, fitted.classes.len());
        load_weights(&from, network.vars())?;
        draw_back(&network, &tensors, arguments.share);
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        save_weights(&to, network.vars())?;
    }
    let history = fitted.path(HISTORY);
    write_whole(&averaged.path(HISTORY), |partial| std::fs::copy(&history, partial).map(|_| ()))?;
    evaluate::report(&averaged, &set)?;
    Ok(ExitCode::SUCCESS)
}

/// The base of a run whose weights may be averaged with it, and its SHA-256.
fn base_of(run: &Run, moved: Option<&Path>) -> anyhow::Result<(PathBuf, String)> {
    let Regime::Finetune { base, sha256, batch_norm, .. } = &run.regime else {
        bail!(
            "{} is no run of `finetune`: there is nothing to average its weights with",
            run.folder.display()
        );
    };
    if *batch_norm != BatchNorm::Frozen {
        bail!(
            "the batch norms of {} were re-estimated: weights that were scaled anew cannot be averaged with the base's",
            run.folder.display()
        );
    }
    let base = moved.unwrap_or(base).to_owned();
    let found = weights::sha256(&base)?;
    if found != *sha256 {
        bail!(
            "{} is not what {} was fine-tuned from (SHA-256 {found}, then {sha256})",
            base.display(),
            run.folder.display()
        );
    }
    Ok((base, found))
}

/// The tensors of the base, which must be the same network for the same classes.
fn base_tensors(run: &Run, base: &Path) -> anyhow::Result<Tensors> {
    let labels = weights::describe(base)?.map(|description| description.labels).unwrap_or_default();
    if !matches!(run.design, Design::Photo(_)) || labels != run.classes {
        let known = if labels.is_empty() { "not recorded".to_owned() } else { labels.join(", ") };
        bail!(
            "the labels of {} are {known}, those of {} {}: a last layer for other labels cannot be averaged. Fine-tune twice, \
             the second time from the first run's model.safetensors",
            base.display(),
            run.folder.display(),
            run.classes.join(", ")
        );
    }
    Ok(weights::read(base)?)
}

/// Makes every weight `share` of itself and the rest of what it was in the base.
fn draw_back(network: &Network, base: &Tensors, share: f64) {
    for (name, mut tensor) in network.vars().variables() {
        if let Some(began) = base.get(&name) {
            let mean = no_grad(|| &tensor * share + began * (1.0 - share));
            no_grad(|| tensor.copy_(&mean));
        }
    }
}
