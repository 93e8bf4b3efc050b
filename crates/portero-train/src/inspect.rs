//! `inspect`: prints what there is to say of a data set before it is trained on.

use std::io::Write;
use std::process::ExitCode;

use crate::data::{Dataset, Inspection, Reading};
use crate::model::{Arch, Design};

/// Arguments of `inspect`.
#[derive(clap::Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    reading: Reading,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) fn run(arguments: &Inspect) -> anyhow::Result<ExitCode> {
    // The smallest input: pictures are kept no larger than needed.
    let set = Dataset::load(&arguments.reading, &Design::Small(Arch::SimpleCnn).input())?;
    let inspection = Inspection::of(&set);
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &inspection)?;
        writeln!(out)?;
    } else {
        out.write_all(inspection.to_text().as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
