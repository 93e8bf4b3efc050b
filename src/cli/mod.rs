//! The commands, one file each. This is the only room that prints to standard output, and the only one (with
//! `main`) that knows of exit codes and `anyhow`.

mod bench;
mod cameras;
mod check;
mod classify;
mod doctor;
mod events;
pub(crate) mod logging;
mod run;
mod supervise;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The arguments are wrong (`EX_USAGE` of sysexits).
pub(crate) const EXIT_USAGE: u8 = 64;
/// The configuration, the model or a file it names is wrong (`EX_CONFIG` of sysexits).
pub(crate) const EXIT_CONFIG: u8 = 78;
/// Something went wrong while running.
const EXIT_RUNTIME: u8 = 1;

/// Edge access control and video surveillance: camera frames in, decisions out.
#[derive(Parser)]
#[command(name = "portero", version, about, long_about = None)]
pub(crate) struct Arguments {
    /// Log more: once for debug, twice for trace. `PORTERO_LOG` takes env_logger filters and wins; a level alone is
    /// that of portero, not of its libraries.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::Arguments),
    /// Check the configuration and all that it names; tells all problems at once.
    Check(check::Arguments),
    /// Find cameras and write the piece of configuration for each.
    Cameras(cameras::Arguments),
    /// Say what pictures show, with probabilities.
    Classify(classify::Arguments),
    /// Look into the record: list, show, export.
    Events(events::Arguments),
    /// Measure what a frame costs on this device, and how many cameras that carries.
    Bench(bench::Arguments),
    /// Say what this device has and lacks.
    Doctor(doctor::Arguments),
    /// Run the program of a door and see it to its end. For the daemon.
    #[command(name = portero::doors::PROGRAM_COMMAND, hide = true)]
    Supervise(supervise::Arguments),
}

/// Where the configuration lies.
#[derive(clap::Args)]
pub(crate) struct ConfigFile {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/portero/portero.toml")]
    pub(crate) config: PathBuf,
}

/// Which model.
#[derive(clap::Args)]
pub(crate) struct ModelFile {
    /// The model's manifest.
    #[arg(
        short,
        long,
        value_name = "MANIFEST",
        default_value = "/usr/local/share/portero/models/person-v3s.toml"
    )]
    pub(crate) model: PathBuf,
}

/// A configuration that was refused; its report is for standard error, the exit code 78.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misconfigured(pub(crate) String);

/// Runs the chosen command.
pub(crate) fn dispatch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Cameras(arguments) => cameras::run(&arguments),
        Command::Classify(arguments) => classify::run(&arguments),
        Command::Events(arguments) => events::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Supervise(arguments) => supervise::run(&arguments),
    }
}

/// Prints help, version or what is wrong with the arguments, and says with which code to exit.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to be told when even this cannot be printed.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
}

/// The exit code of an error that ended a command.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    let is_configuration = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<Misconfigured>() || cause.is::<portero::infer::ManifestError>() || is_model_error(cause)
    };
    if error.chain().any(is_configuration) { EXIT_CONFIG } else { EXIT_RUNTIME }
}

/// Errors of the model's files, not of a single inference.
fn is_model_error(cause: &(dyn std::error::Error + 'static)) -> bool {
    use portero::infer::InferError;
    cause.downcast_ref::<InferError>().is_some_and(|e| !matches!(e, InferError::Run(_)))
}
