//! The hidden command under which the daemon runs the program of a door: nothing for people.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use portero::clock::SystemClock;
use portero::domain::Stamp;
use portero::doors;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Microseconds after which everything is ended.
    #[arg(long)]
    time_limit_us: u64,
    /// The last moment to start it, microseconds on the monotonic clock.
    #[arg(long)]
    deadline_us: u64,
    /// The program and its arguments.
    #[arg(last = true)]
    argv: Vec<String>,
}

/// Runs the program; its end is reported on standard output.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let limit = Duration::from_micros(arguments.time_limit_us);
    let deadline = Stamp::new(arguments.deadline_us, 0);
    let (leash, mut report) = (io::stdin(), io::stdout().lock());
    doors::supervise(&arguments.argv, limit, deadline, leash.as_fd(), &mut report, &SystemClock)?;
    Ok(ExitCode::SUCCESS)
}
