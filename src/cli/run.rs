//! `portero run`: the daemon.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use log::{info, warn};
use portero::{config, daemon};

use super::{ConfigFile, Misconfigured};

/// How the daemon is to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// End by itself when every camera was a file or folder that came to its end, and print a summary.
    #[arg(long)]
    exit_when_done: bool,
    /// After SIGTERM everything must have ended within so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=80))]
    grace: u64,
    /// Log the counters every so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    report: u64,
}

/// Runs until a signal, or until all files were played.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.file.config;
    let loaded = config::load(path).map_err(|problems| Misconfigured(problems.render(false)))?;
    if !loaded.warnings.is_empty() {
        warn!("{}", loaded.warnings.render(false));
    }
    info!("portero {} with {}", env!("CARGO_PKG_VERSION"), super::check::summary(path, &loaded.config),);
    let options = daemon::Options {
        config_path: path.clone(),
        exit_when_done: arguments.exit_when_done,
        grace: Duration::from_secs(arguments.grace),
        report: Duration::from_secs(arguments.report),
    };
    let summary = daemon::run(loaded, &options)?;
    info!("stopped: {}", summary.line());
    if arguments.exit_when_done {
        write!(io::stdout().lock(), "{summary}")?;
    }
    Ok(if summary.late.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
