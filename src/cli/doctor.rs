//! `portero doctor`: what this device has, what it lacks, and what to do about it.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use portero::capture::v4l2;
use portero::clock::{self, Clock, SystemClock};
use portero::config::{self, Config};
use portero::daemon;
use portero::disk::free_bytes;
use portero::domain::NormRect;
use portero::evidence::Form;
use portero::infer::Model;
use portero::notify;
use portero::store::Reader;
use serde_json::json;

use super::ConfigFile;

/// How long the broker may take to greet.
const BROKER: Duration = Duration::from_secs(5);

/// What to look at.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// How a finding is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    Note,
    Bad,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Grade::Good => "ok",
            Grade::Note => "note",
            Grade::Bad => "BAD",
        }
    }
}

/// One line of the report.
struct Finding {
    what: &'static str,
    grade: Grade,
    found: String,
}

/// The report so far.
#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, what: &'static str, grade: Grade, found: impl Into<String>) {
        self.0.push(Finding { what, grade, found: found.into() });
    }
}

/// Examines the device; exit code 1 when something is bad.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    processor(&mut report);
    tools(&mut report);
    devices(&mut report);
    wall_clock(&mut report);
    match config::load(&arguments.file.config) {
        Ok(loaded) => {
            report.add("configuration", Grade::Good, arguments.file.config.display().to_string());
            model(&mut report, &loaded.config);
            broker(&mut report, &loaded.config);
            database(&mut report, &loaded.config);
            footage(&mut report, &loaded.config);
            room(&mut report, &loaded.config);
        }
        Err(problems) => {
            let found = format!("{}; see `portero check`", problems.summary());
            report.add("configuration", Grade::Bad, format!("{}: {found}", arguments.file.config.display()));
        }
    }
    print(&mut io::stdout().lock(), &report, arguments.json)?;
    let is_well = report.0.iter().all(|f| f.grade != Grade::Bad);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(out: &mut dyn Write, report: &Report, as_json: bool) -> io::Result<()> {
    for Finding { what, grade, found } in &report.0 {
        if as_json {
            writeln!(out, "{}", json!({"what": what, "grade": grade.word().to_lowercase(), "found": found}))?;
        } else {
            writeln!(out, "{:4}  {what:13}  {found}", grade.word())?;
        }
    }
    Ok(())
}

fn processor(report: &mut Report) {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        text.lines().find(|l| l.starts_with(name)).and_then(|l| l.split(':').nth(1)).map(str::trim)
    };
    let name = field("model name").or_else(|| field("Model")).unwrap_or("unknown processor").to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let features = cpu_features();
    let listed =
        if features.is_empty() { "none of those that matter".to_owned() } else { features.join(" ") };
    report.add(
        "processor",
        Grade::Good,
        format!("{name}, {cores} cores, {}: {listed}", std::env::consts::ARCH),
    );
}

/// The features that speed inference up, as far as this processor has them.
fn cpu_features() -> Vec<&'static str> {
    let mut found = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let all = [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("fma", is_x86_feature_detected!("fma")),
            ("avx512f", is_x86_feature_detected!("avx512f")),
            ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ];
        found.extend(all.iter().filter(|(_, has)| *has).map(|(name, _)| *name));
    }
    #[cfg(target_arch = "aarch64")]
    {
        let all = [
            ("neon", std::arch::is_aarch64_feature_detected!("neon")),
            ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
            ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ];
        found.extend(all.iter().filter(|(_, has)| *has).map(|(name, _)| *name));
    }
    found
}

fn tools(report: &mut Report) {
    match Command::new("ffmpeg").arg("-version").output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            report.add("ffmpeg", Grade::Good, text.lines().next().unwrap_or("answers").to_owned());
            clips(report);
        }
        Err(error) => {
            let found = format!("{error}: needed for network cameras and files: apt-get install ffmpeg");
            report.add("ffmpeg", Grade::Note, found);
        }
    }
}

/// What clips are made of.
fn clips(report: &mut Report) {
    match Form::find() {
        Ok(form) => {
            let grade = if form == Form::Mjpeg { Grade::Note } else { Grade::Good };
            report.add("clips", grade, form.describe());
        }
        Err(error) => report.add("clips", Grade::Note, format!("{:#}", anyhow::Error::new(error))),
    }
}

/// What the clips of each camera are made of.
fn footage(report: &mut Report, config: &Config) {
    for (camera, keep) in config.kept() {
        let Some(found) = config.cameras.iter().find(|c| c.capture.camera == camera) else { continue };
        let how = if keep.copied {
            "its own stream, copied when that is H.264 or H.265"
        } else if !found.copies {
            "its pictures, encoded: `clips` says so"
        } else if found.watch.masks.is_empty() {
            "its pictures, encoded: only what comes through ffmpeg can be copied"
        } else {
            "its pictures, encoded: a copy would show what is masked"
        };
        report.add("clips", Grade::Good, format!("camera {camera}: {how}"));
    }
}

/// Whether the disk has the room that clips leave free.
fn room(report: &mut Report, config: &Config) {
    if config.wishes.values().all(|wish| wish.clip.is_none()) {
        return;
    }
    let clips = &config.clips;
    let there = clips.folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let (Some(free), keep) = (free_bytes(there), clips.keep_free >> 20) else { return };
    let grade = if free >= clips.keep_free { Grade::Good } else { Grade::Bad };
    let shown = clips.folder.display();
    report.add("clips", grade, format!("{shown}: {} MiB are free, {keep} MiB stay free", free >> 20));
}

fn devices(report: &mut Report) {
    let devices = v4l2::list();
    if devices.is_empty() {
        report.add("cameras", Grade::Note, "no V4L2 device; network cameras and files need none");
    }
    for device in devices {
        let path = device.path.display();
        if let Some(problem) = device.problem {
            report.add("cameras", Grade::Bad, format!("{path} {}: {problem}", device.name));
            continue;
        }
        match fs::OpenOptions::new().read(true).write(true).open(&device.path) {
            Ok(_) => report.add(
                "cameras",
                Grade::Good,
                format!("{path} {}: {}", device.name, device.formats.join(", ")),
            ),
            Err(error) => {
                let remedy = "the user needs the group `video`";
                report.add("cameras", Grade::Bad, format!("{path} {}: {error}; {remedy}", device.name));
            }
        }
    }
}

fn wall_clock(report: &mut Report) {
    match clock::is_synchronised() {
        Some(true) => report.add("clock", Grade::Good, "synchronised"),
        Some(false) => {
            report.add(
                "clock",
                Grade::Bad,
                "not synchronised: rules with a schedule grant nothing until it is",
            );
        }
        None => report.add(
            "clock",
            Grade::Note,
            "nobody says whether it is synchronised: systemd-timesyncd does not run",
        ),
    }
}

fn model(report: &mut Report, config: &Config) {
    let begun = SystemClock.now();
    let model = match Model::load(&config.model.manifest) {
        Ok(model) => Arc::new(model),
        Err(error) => return report.add("model", Grade::Bad, format!("{:#}", anyhow::Error::new(error))),
    };
    let loaded = SystemClock.now().since(begun);
    if let Err(error) = model.verify(&daemon::read_picture) {
        return report.add("model", Grade::Bad, format!("{:#}", anyhow::Error::new(error)));
    }
    let (id, golden) = (&model.manifest().id, &model.manifest().golden);
    let speed = golden.first().and_then(|g| one_inference(&model, &g.image)).unwrap_or_default();
    report.add(
        "model",
        Grade::Good,
        format!(
            "{id}, loaded in {} ms, {} golden pictures verified{speed}",
            loaded.as_millis(),
            golden.len()
        ),
    );
}

/// The median of some inferences, in words.
fn one_inference(model: &Arc<Model>, picture: &Path) -> Option<String> {
    let frame = daemon::read_picture(picture).ok()?;
    let mut worker = model.worker().ok()?;
    let mut times: Vec<Duration> = (0..15)
        .filter_map(|_| {
            let begun = SystemClock.now();
            worker.probabilities(&frame, NormRect::FULL).ok()?;
            Some(SystemClock.now().since(begun))
        })
        .collect();
    times.sort();
    let median = times.get(times.len() / 2)?;
    Some(format!(", {:.1} ms an inference on one core", median.as_secs_f64() * 1e3))
}

fn broker(report: &mut Report, config: &Config) {
    let Some(settings) = &config.notify else {
        return report.add("broker", Grade::Note, "none is configured: alerts are only recorded");
    };
    match notify::probe(settings, BROKER) {
        Ok(()) => report.add("broker", Grade::Good, format!("{} answers", settings.broker())),
        Err(error) => report.add("broker", Grade::Bad, format!("{:#}", anyhow::Error::new(error))),
    }
}

fn database(report: &mut Report, config: &Config) {
    let path = &config.store.path;
    if path.exists() {
        let counts = Reader::open(path).and_then(|reader| reader.counts());
        match counts {
            Ok(counts) => {
                let bytes = fs::metadata(path).map_or(0, |m| m.len());
                let size = bytes as f64 / 1048576.0;
                report.add(
                    "database",
                    Grade::Good,
                    format!("{}: {} events, {size:.1} MiB", path.display(), counts.total()),
                );
            }
            Err(error) => report.add("database", Grade::Bad, format!("{:#}", anyhow::Error::new(error))),
        }
        return;
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
        Ok(()) => {
            report.add(
                "database",
                Grade::Good,
                format!("{} will be made at the first start", path.display()),
            );
        }
        Err(error) => report.add("database", Grade::Bad, format!("{}: {error}", folder.display())),
    }
}
