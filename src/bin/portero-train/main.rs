//! The trainer, `portero-train`: from folders of pictures to a model that the daemon runs.
//!
//! A companion of the daemon, built only with the feature `trainer`, because it needs libtorch
//! (`scripts/fetch-libtorch`). It shares the daemon's preprocessing, so that a model meets at the door what it met
//! in training. It never talks to a camera, a door or the network.

mod data;
mod evaluate;
mod fit;
mod inspect;
mod model;
mod nets;
mod report;
mod scratch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The arguments are wrong (`EX_USAGE` of sysexits).
const EXIT_USAGE: u8 = 64;

/// Trains, fine-tunes, evaluates, quantises and exports the models that Portero runs.
#[derive(Parser)]
#[command(name = "portero-train", version, about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Look a data set over: counts, sizes, unreadable files, near-duplicates across train, val and test.
    Inspect(inspect::Inspect),
    /// Train a small network from nothing.
    Scratch(scratch::Scratch),
    /// Say what the network of a run is worth: figures, JSON, and one HTML page.
    Evaluate(evaluate::Evaluate),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
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
        Command::Scratch(scratch) => scratch::run(&scratch),
        Command::Evaluate(evaluate) => evaluate::run(&evaluate),
    };
    done.unwrap_or_else(|error| {
        log::error!("{error:#}");
        ExitCode::FAILURE
    })
}
