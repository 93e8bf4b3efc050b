//! The course of a run: fit, perhaps fit again with val, evaluate. Each part goes on where it was interrupted.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::data::{Dataset, Part, Supply, mix};
use crate::evaluate;
use crate::fit::{Ended, Fitter, Plan, Run};
use crate::model::{Head, Model, Network};

/// Ended by Ctrl-C, with a checkpoint.
const EXIT_INTERRUPTED: u8 = 130;

/// A run from its beginning, or from where it was interrupted, to its report.
pub(super) struct Course<'a> {
    pub(super) run: &'a Run,
    pub(super) set: &'a Dataset,
    pub(super) resume: bool,
}

/// Fitting one network from beginning to end.
pub(super) struct Stage<'a> {
    run: &'a Run,
    set: &'a Dataset,
    resume: bool,
    /// The parts that are fitted to.
    pub(super) fitted: &'static [Part],
    stop: &'a AtomicBool,
}

/// What is fitted to, first and with `--refit`.
const FIRST: &[Part] = &[Part::Train];
const AGAIN: &[Part] = &[Part::Train, Part::Val];

impl Course<'_> {
    /// Everything that is fitted to at some time.
    pub(super) fn fitted_in_the_end(&self) -> &'static [Part] {
        if self.run.plan.refit { AGAIN } else { FIRST }
    }

    /// Fits, evaluates, and for a photo network writes what `export` takes. `fit` makes the network and fits it; it is
    /// called once more for `--refit`.
    pub(super) fn follow(
        &self,
        mut fit: impl FnMut(&Stage<'_>) -> anyhow::Result<Ended>,
    ) -> anyhow::Result<ExitCode> {
        let Self { run, set, resume } = *self;
        if run.plan.refit && set.part(Part::Test).is_empty() {
            anyhow::bail!(
                "--refit needs a test part, because val is then fitted to and cannot be reported on; {} gives none \
                 (--split 70,15,15 does)",
                run.reading.data.display()
            );
        }
        run.open(set, resume)?;
        let stop = interruption().context("cannot listen for Ctrl-C")?;
        let mut stage = |run: &Run, fitted, resume| {
            // The first weights are drawn from torch's generator.
            tch::manual_seed(mix(&[run.reading.seed, 4]) as i64);
            fit(&Stage { run, set, resume, fitted, stop: &stop })
        };
        let Ended::Finished { best } = stage(run, FIRST, resume)? else { return Ok(interrupted()) };
        log::info!("kept epoch {}: val accuracy {:.2} %", best.epoch, 100.0 * best.val_accuracy);
        if run.plan.refit {
            log::info!("once more for {} epochs, on train and val together", best.epoch);
            let again = run.refit(best.epoch);
            let resume = resume && again.is_begun();
            again.open(set, resume)?;
            if stage(&again, AGAIN, resume)? == Ended::Interrupted {
                return Ok(interrupted());
            }
        }
        evaluate::report(run, set)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Stage<'_> {
    /// Whether there are weights to go on with, so that none need be made.
    pub(super) fn goes_on(&self) -> bool {
        self.resume && self.run.has_checkpoint()
    }

    /// Fits `network`, seen as `model`.
    pub(super) fn fit(
        &self,
        network: &Network,
        model: &dyn Model,
        supply: &dyn Supply,
    ) -> anyhow::Result<Ended> {
        let &Self { run, set, resume, fitted, stop } = self;
        log::info!(
            "{}: {} parameters to fit, {} classes, {} pictures",
            run.design,
            network.parameters(),
            set.classes.len(),
            set.parts(fitted).len()
        );
        Ok(Fitter { model, set, supply, run, fitted, stop, within: None }.fit(resume)?)
    }

    /// Fits the last layer of `network` alone, to features, in a run within the run.
    pub(super) fn fit_head(
        &self,
        network: &Network,
        features: &dyn Supply,
        draws: u64,
        plan: Plan,
    ) -> anyhow::Result<Ended> {
        let &Self { set, fitted, stop, .. } = self;
        let run = self.run.head(draws, plan);
        let resume = self.resume && run.is_begun();
        run.open(set, resume)?;
        let (model, within) = (&Head(network), Some("last layer"));
        let ended = Fitter { model, set, supply: features, run: &run, fitted, stop, within }.fit(resume)?;
        if let Ended::Finished { best } = &ended
            && !fitted.contains(&Part::Val)
        {
            log::info!("the last layer is fitted: val accuracy {:.2} %", 100.0 * best.val_accuracy);
        }
        Ok(ended)
    }
}

fn interrupted() -> ExitCode {
    log::info!("interrupted; the same command with --resume goes on from here");
    ExitCode::from(EXIT_INTERRUPTED)
}

/// A flag that the first Ctrl-C sets; the second ends the process at once.
fn interruption() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, i32::from(EXIT_INTERRUPTED), Arc::clone(&stop))?;
    flag::register(SIGINT, Arc::clone(&stop))?;
    Ok(stop)
}
