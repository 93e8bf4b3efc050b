//! `scratch`: trains a small network from random weights.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::data::{Batches, Dataset, Reading, mix};
use crate::evaluate;
use crate::fit::{Ended, Fitter, Plan, Run};
use crate::model::{Arch, Network};

/// Ended by Ctrl-C, with a checkpoint.
const EXIT_INTERRUPTED: u8 = 130;

/// Arguments of `scratch`.
#[derive(clap::Args)]
pub(crate) struct Scratch {
    #[command(flatten)]
    reading: Reading,
    /// The network.
    #[arg(long, value_enum, default_value_t = Arch::SimpleCnn)]
    arch: Arch,
    /// The folder for this run: settings, split, checkpoints, evaluation, report.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    plan: Plan,
    /// Go on where the run in --out was interrupted, with the same settings.
    #[arg(long)]
    resume: bool,
    /// Threads; all cores when left out.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1024))]
    threads: Option<i32>,
}

/// Runs it.
pub(crate) fn run(arguments: &Scratch) -> anyhow::Result<ExitCode> {
    if let Some(threads) = arguments.threads {
        set_threads(threads)?;
    }
    let Scratch { reading, arch, out, plan, resume, .. } = arguments;
    let input = arch.input();
    let set = Dataset::load(reading, &input)?;
    for skipped in &set.skipped {
        log::warn!("skipped {}: {}", skipped.name, skipped.reason);
    }
    let run = Run::new(out, "scratch", *arch, &set, reading, plan);
    run.open(&set, *resume)?;

    tch::manual_seed(mix(&[reading.seed, 4]) as i64);
    let network = Network::fresh(*arch, set.classes.len());
    log::info!("{arch}: {} parameters, {} classes, {} pictures", network.parameters(), set.classes.len(), set.samples.len());
    let batches = Batches::new(&set, input, plan.augment.into(), reading.seed);
    let stop = interruption().context("cannot listen for Ctrl-C")?;
    let fitter = Fitter { network: &network, set: &set, batches: &batches, run: &run, stop: &stop };
    match fitter.fit(*resume)? {
        Ended::Interrupted => {
            log::info!("interrupted; the same command with --resume goes on from here");
            Ok(ExitCode::from(EXIT_INTERRUPTED))
        }
        Ended::Finished { best } => {
            log::info!("kept epoch {}: val accuracy {:.2} %", best.epoch, 100.0 * best.val_accuracy);
            evaluate::report(&run, &set)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Limits libtorch and the decoding of pictures.
fn set_threads(threads: i32) -> anyhow::Result<()> {
    tch::set_num_threads(threads);
    rayon::ThreadPoolBuilder::new().num_threads(threads.unsigned_abs() as usize).build_global()?;
    Ok(())
}

/// A flag that the first Ctrl-C sets; the second ends the process at once.
fn interruption() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    flag::register_conditional_shutdown(SIGINT, i32::from(EXIT_INTERRUPTED), Arc::clone(&stop))?;
    flag::register(SIGINT, Arc::clone(&stop))?;
    Ok(stop)
}
