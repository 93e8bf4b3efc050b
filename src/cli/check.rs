//! `portero check`: is the configuration right, and does everything it names work?
//!
//! The file and the model are checked by the very code that the daemon starts with; the broker is greeted and a
//! picture is taken from every camera. All problems are told at once.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use portero::capture::{self, CaptureError, ProbeReport, Source};
use portero::clock::{Clock, SystemClock};
use portero::config::{self, Config, Problems};
use portero::infer::{InferError, Model};
use portero::shutdown::stop_pair;
use portero::store::{self, Examined};
use portero::{daemon, notify};
use serde_json::{Value as Json, json};

use super::logging::printable;
use super::{ConfigFile, EXIT_CONFIG};

/// How long the broker may take to greet.
const BROKER: Duration = Duration::from_secs(5);
/// How long a camera may take to its first picture.
const CAMERA: Duration = Duration::from_secs(10);

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Check the file and the model only: greet no broker, open no camera.
    #[arg(long)]
    offline: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// One thing that was tried, and what came of it.
struct Finding {
    what: String,
    result: Result<String, String>,
}

impl Finding {
    fn new<T, E>(what: impl Into<String>, result: Result<T, E>, say: impl FnOnce(T) -> String) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let result = result.map(say).map_err(|error| format!("{:#}", anyhow::Error::new(error)));
        // A camera or a broker may have put anything into it.
        let result = result.map_err(|said| printable(&said).into_owned());
        Self { what: what.into(), result }
    }

    fn is_good(&self) -> bool {
        self.result.is_ok()
    }
}

/// Checks and prints; exit code 78 when anything is wrong.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let path = &arguments.file.config;
    let mut out = io::stdout().lock();
    let (problems, findings) = match config::load(path) {
        Ok(loaded) => {
            if !arguments.json {
                show_problems(&mut out, &loaded.warnings)?;
            }
            let found = examine(path, &loaded.config, arguments, &mut out)?;
            (loaded.warnings, found)
        }
        Err(problems) => {
            if !arguments.json {
                show_problems(&mut out, &problems)?;
                writeln!(out, "\nModel, broker and cameras are tried when the file is right.")?;
            }
            (problems, Vec::new())
        }
    };
    let is_good = problems.counts().0 == 0 && findings.iter().all(Finding::is_good);
    if arguments.json {
        writeln!(out, "{}", to_json(path, is_good, &problems, &findings))?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_CONFIG) })
}

/// Tries what the configuration names, one after the other, and prints each result as it comes.
fn examine(
    path: &Path,
    config: &Config,
    arguments: &Arguments,
    out: &mut dyn Write,
) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut tell = |finding: Finding| {
        if !arguments.json {
            show_finding(out, &finding)?;
        }
        findings.push(finding);
        io::Result::Ok(())
    };
    tell(Finding { what: "configuration".to_owned(), result: Ok(summary(path, config)) })?;
    tell(Finding::new("model", model_checks(&config.model.manifest), |said| said))?;
    tell(Finding::new("database", store::examine(&config.store.path), |found| {
        examined(&config.store.path, &found)
    }))?;
    if !arguments.offline {
        if let Some(settings) = &config.notify {
            tell(Finding::new("broker", notify::probe(settings, BROKER), |()| {
                format!("{} answers", settings.broker())
            }))?;
        }
        for camera in &config.cameras {
            let what = format!("camera {}", camera.capture.camera);
            tell(Finding::new(what, probe(&camera.capture), |said| said))?;
        }
    }
    Ok(findings)
}

/// What a look at the database has found.
fn examined(path: &Path, found: &Examined) -> String {
    let path = path.display();
    match found {
        Examined::New => format!("{path} does not exist yet; the daemon creates it"),
        Examined::NoFolder => {
            format!("the folder of {path} does not exist yet: create it before the daemon starts")
        }
        Examined::Sound { version, whole: true } => format!("{path} is sound, schema version {version}"),
        Examined::Sound { version, whole: false } => {
            format!("{path} has schema version {version}; it is too large to be read as a whole here")
        }
        Examined::InUse(Some(pid)) => {
            format!("{path} is in use by the running daemon (process {pid}); not read")
        }
        Examined::InUse(None) => format!("{path} is in use by the running daemon; not read"),
    }
}

/// Loads the model as the daemon does: hash, shape, golden pictures.
fn model_checks(manifest: &Path) -> Result<String, InferError> {
    let model = Arc::new(Model::load(manifest)?);
    model.verify(&daemon::read_picture)?;
    let card = model.manifest();
    let labels: Vec<&str> = card.labels.iter().map(|label| label.as_str()).collect();
    let golden = count(card.golden.len(), "golden picture");
    Ok(format!("{}, its hash is right, {golden} verified; says {}", card.id, labels.join(", ")))
}

/// Opens one camera and waits for one good picture. A device that is in use is most likely the running daemon's, and a
/// folder that is watched has nothing to show yet: both are right as far as can be told.
fn probe(settings: &capture::Settings) -> Result<String, CaptureError> {
    if let Source::Folder { path, watch: true } = &settings.source {
        let is_there = path.is_dir().then(|| format!("{} is watched for new pictures", path.display()));
        return is_there.ok_or_else(|| CaptureError::Missing { path: path.clone() });
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (_handle, stop) = stop_pair();
    match capture::probe(settings, &clock, daemon::spawner(), CAMERA, &stop) {
        Ok(report) => Ok(first_picture(&report)),
        Err(error @ CaptureError::InUse { .. }) => {
            Ok(format!("{error}, such as the running daemon; not tried"))
        }
        Err(error) => Err(error),
    }
}

fn first_picture(report: &ProbeReport) -> String {
    let ProbeReport { width, height, format, took } = report;
    format!("{width}x{height} {format}, the first picture after {} ms", took.as_millis())
}

/// What the file holds, in numbers.
pub(crate) fn summary(path: &Path, config: &Config) -> String {
    let parts = [
        count(config.cameras.len(), "camera"),
        count(config.rules.rules.len(), "rule"),
        count(config.rules.schedules.len(), "schedule"),
        count(config.doors.len(), "door"),
    ];
    format!("{}: {}", path.display(), parts.join(", "))
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn show_problems(out: &mut dyn Write, problems: &Problems) -> io::Result<()> {
    let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    write!(out, "{}", problems.render(color))
}

fn show_finding(out: &mut dyn Write, finding: &Finding) -> io::Result<()> {
    let (word, said) = match &finding.result {
        Ok(said) => ("ok", said),
        Err(why) => ("WRONG", why),
    };
    writeln!(out, "{word:5}  {:13}  {said}", finding.what)
}

fn to_json(path: &Path, is_good: bool, problems: &Problems, findings: &[Finding]) -> Json {
    let finding = |finding: &Finding| match &finding.result {
        Ok(said) => json!({"what": finding.what, "ok": true, "found": said}),
        Err(why) => json!({"what": finding.what, "ok": false, "found": why}),
    };
    json!({
        "file": path.to_string_lossy(),
        "ok": is_good,
        "problems": problems.to_json(),
        "checks": findings.iter().map(finding).collect::<Vec<_>>(),
    })
}
