//! The trainer, `portero-train`: from folders of pictures to a model that the daemon runs.
//!
//! A companion of the daemon, in a crate of its own that nothing builds by default, because it needs libtorch
//! (`scripts/fetch-libtorch`). It shares the daemon's preprocessing, so that a model meets at the door what it met
//! in training. It never talks to a camera, a door or the network.

mod answers;
mod average;
mod base;
mod compare;
mod data;
mod evaluate;
mod export;
mod fit;
mod inspect;
mod memory;
mod model;
mod nets;
mod report;
mod train;
mod weights;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// The arguments are wrong (`EX_USAGE` of sysexits).
const EXIT_USAGE: u8 = 64;

/// Trains, fine-tunes, evaluates, quantises and exports the models that Portero runs.
#[derive(Parser)]
#[command(name = "portero-train", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look a data set over: counts, sizes, unreadable files, near-duplicates across train, val and test.
    Inspect(inspect::Inspect),
    /// Check pretrained weights and write them as a base for transfer and finetune.
    Base(base::Base),
    /// Train a small network from nothing.
    Scratch(train::Scratch),
    /// Train a new classifier on the frozen features of a base.
    Transfer(train::Transfer),
    /// Train the classifier and the last stages of a base.
    Finetune(train::Finetune),
    /// Draw fine-tuned weights back towards what they were fine-tuned from: better elsewhere, a little worse here.
    Average(average::Average),
    /// Say what the network of a run is worth: figures, JSON, and one HTML page.
    Evaluate(evaluate::Evaluate),
    /// Compare two models, trained or exported, on the same pictures: accuracies, McNemar's test, where they differ.
    Compare(compare::Compare),
    /// Write the trained network as a model that the daemon runs, and say what that costs.
    Export(export::Export),
}

fn main() -> ExitCode {
    memory::keep_pages();
    let matches = train::with_defaults(Arguments::command()).try_get_matches();
    let arguments = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to be told when even this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Info)
        .format_target(false)
        .format_timestamp(None)
        .parse_env("PORTERO_LOG")
        .init();
    let done = match arguments.command {
        Command::Inspect(inspect) => inspect::run(&inspect),
        Command::Base(base) => print(base.run()),
        Command::Scratch(scratch) => train::scratch(&scratch),
        Command::Transfer(transfer) => train::transfer(&transfer),
        Command::Finetune(finetune) => train::finetune(&finetune),
        Command::Average(average) => average::run(&average),
        Command::Evaluate(evaluate) => evaluate::run(&evaluate),
        Command::Compare(compare) => compare::run(&compare),
        Command::Export(export) => print(export.run()),
    };
    done.unwrap_or_else(|error| {
        log::error!("{error:#}");
        ExitCode::FAILURE
    })
}

/// Prints what a command has to say.
fn print<E: std::error::Error + Send + Sync + 'static>(said: Result<String, E>) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout().lock(), "{}", said?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_and_their_defaults_fit_together() {
        train::with_defaults(Arguments::command()).debug_assert();
        let parsed = |line: &[&str]| {
            let command = train::with_defaults(Arguments::command());
            Arguments::from_arg_matches(&command.try_get_matches_from(line).unwrap()).unwrap().command
        };
        let plan = |line: &[&str]| match parsed(line) {
            Command::Finetune(finetune) => finetune.plan().clone(),
            _ => panic!("another command"),
        };
        let line = ["portero-train", "finetune", "data", "--base", "b", "--out", "o"];
        let theirs = plan(&line);
        assert!(theirs.ema.is_some() && theirs.smoothing > 0.0, "{theirs:?}");
        let given = plan(&[&line[..], &["--smoothing", "0", "--epochs", "3"]].concat());
        assert_eq!((given.smoothing, given.epochs, given.ema), (0.0, 3, theirs.ema));
    }
}
