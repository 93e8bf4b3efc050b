//! `portero events`: what is kept in the database, also while the daemon runs.

mod forms;
mod moment;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use portero::config;
use portero::domain::{Answer, CameraId, ClipState, Label, Observation, Outcome, RuleId};
use portero::store::{self, Delivery, Filter, Order, Reader, Stored, VERDICTS};

use super::{ConfigFile, Misconfigured};
use forms::Line;

/// Which events, and what to do with them.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

/// Where the database lies.
#[derive(clap::Args)]
struct Place {
    #[command(flatten)]
    file: ConfigFile,
    /// The database; without it, the one that the configuration names.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

/// The record, and the folder of its clips.
struct Record {
    reader: Reader,
    /// Where it lies.
    path: PathBuf,
    clips: PathBuf,
}

impl Place {
    /// A database that is named has its clips beside it, as the configuration has them unless it says otherwise.
    fn open(&self) -> anyhow::Result<Record> {
        if let Some(path) = &self.db {
            return Ok(Record {
                reader: Reader::open(path)?,
                path: path.clone(),
                clips: path.with_file_name("clips"),
            });
        }
        let loaded = config::load_storage(&self.file.config).map_err(|problems| {
            let report = problems.render(false);
            Misconfigured(format!("{report}\n`--db FILE` reads a database without the configuration"))
        })?;
        let reader = Reader::open(&loaded.store.path)?;
        Ok(Record { reader, path: loaded.store.path, clips: loaded.clips.folder })
    }
}

#[derive(Subcommand)]
enum What {
    /// The newest events, one a line.
    List {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Everything about one event.
    Show {
        #[command(flatten)]
        place: Place,
        /// Its id: all of it, or at least 6 digits of its beginning or end.
        #[arg(value_name = "ID")]
        id: String,
        /// Write its picture, a JPEG, to this file.
        #[arg(long, value_name = "FILE")]
        snapshot: Option<PathBuf>,
        /// Write its clip to this file; `show` without it says where it lies.
        #[arg(long, value_name = "FILE")]
        clip: Option<PathBuf>,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// All events for other programs, oldest first.
    Export {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        which: Which,
        /// `json`: one object a line; `csv`: RFC 4180, with a header.
        #[arg(long, value_enum)]
        format: Format,
        /// At most so many; without it, all.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Csv,
}

/// Filters; an event is taken when it fits all that are given.
#[derive(clap::Args)]
struct Which {
    /// Only of this camera.
    #[arg(long, value_name = "ID", value_parser = |text: &str| CameraId::new(text))]
    camera: Option<CameraId>,
    /// Only of this rule.
    #[arg(long, value_name = "ID", value_parser = |text: &str| RuleId::new(text))]
    rule: Option<RuleId>,
    /// Only where this was seen; `unknown` is what the model would not name.
    #[arg(long, value_name = "LABEL", value_parser = answer)]
    label: Option<Answer>,
    /// Only of this verdict.
    #[arg(long, value_name = "VERDICT", value_parser = VERDICTS)]
    verdict: Option<String>,
    /// Decided at or after: `2h` (ago; s, m, h, d, w), `today`, `2026-03-01`, `2026-03-01T08:00` (local), or
    /// with an offset.
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// Decided before this moment; the same forms.
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    until: Option<Timestamp>,
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            camera: self.camera.clone(),
            rule: self.rule.clone(),
            answer: self.label.clone(),
            verdict: self.verdict.clone(),
            since_wall_us: self.since.map(Timestamp::as_microsecond),
            until_wall_us: self.until.map(Timestamp::as_microsecond),
        }
    }
}

fn answer(text: &str) -> Result<Answer, portero::domain::BadName> {
    if text == "unknown" { Ok(Answer::Unknown) } else { Label::new(text).map(Answer::Label) }
}

/// Prints what was asked for.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match &arguments.what {
        What::List { place, which, limit, json } => {
            let record = place.open()?;
            list(&record.reader, &which.filter(), *limit, *json, &mut out)?;
            if let Some(trouble) = store::trouble(&record.path) {
                let line = format!("INCOMPLETE: {trouble}");
                // A program that reads JSON gets nothing else, and whoever started it learns of this all the same.
                if *json { writeln!(std::io::stderr(), "{line}")? } else { writeln!(out, "{line}")? }
            }
        }
        What::Show { place, id, snapshot, clip, json } => {
            let files = Files { snapshot: snapshot.as_deref(), clip: clip.as_deref() };
            show(&place.open()?, id, &files, *json, &mut out)?;
        }
        What::Export { place, which, format, limit } => {
            export(&place.open()?.reader, &which.filter(), limit.unwrap_or(usize::MAX), *format, &mut out)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn list(
    reader: &Reader,
    filter: &Filter,
    limit: usize,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let events = reader.events(filter, limit, Order::NewestFirst)?;
    if json {
        for stored in &events {
            writeln!(out, "{}", Line::of(stored).json())?;
        }
        return Ok(());
    }
    if events.is_empty() {
        writeln!(out, "no events")?;
        return Ok(());
    }
    table(&events, &TimeZone::system(), out)?;
    if events.len() == limit {
        writeln!(out, "the newest {limit}; --limit shows more")?;
    }
    Ok(())
}

const HEAD: [&str; 8] = ["TIME", "VERDICT", "CAMERA/ZONE", "SEEN", "RULE", "OUTCOME", "CLIP", "ID"];

/// Columns as wide as their widest cell.
fn table(events: &[Stored], zone: &TimeZone, out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<[String; 8]> = events.iter().map(|stored| cells(stored, zone)).collect();
    let mut widths = HEAD.map(|title| title.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(&HEAD.map(str::to_owned)).chain(&rows) {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

fn cells(stored: &Stored, zone: &TimeZone) -> [String; 8] {
    let decision = &stored.event.decision;
    let id = stored.event.id.to_string();
    [
        moment::local(decision.at.wall_us(), zone, "%Y-%m-%d %H:%M:%S"),
        decision.verdict.to_string(),
        place(&decision.observation),
        format!("{} {:.2}", decision.observation.answer, decision.observation.mean.get()),
        decision.rule.as_ref().map_or("-", RuleId::as_str).to_owned(),
        told(stored),
        stored.clip.as_ref().map_or("-", ClipState::kind).to_owned(),
        // The end of an id tells neighbours apart, its beginning is the time.
        id[id.len() - 8..].to_owned(),
    ]
}

fn place(seen: &Observation) -> String {
    match &seen.zone {
        Some(zone) => format!("{}/{zone}", seen.camera),
        None => seen.camera.to_string(),
    }
}

/// The outcome, or for an alert what became of it.
fn told(stored: &Stored) -> String {
    match (&stored.event.outcome, stored.delivery) {
        (Outcome::Done, Delivery::Waiting) => "waiting".to_owned(),
        (Outcome::Done, Delivery::At(_)) => "delivered".to_owned(),
        (outcome, _) => with_detail(outcome),
    }
}

fn with_detail(outcome: &Outcome) -> String {
    match outcome.detail() {
        Some(why) => format!("{}: {why}", outcome.kind()),
        None => outcome.kind().to_owned(),
    }
}

/// What is to be written beside what is shown.
struct Files<'a> {
    snapshot: Option<&'a Path>,
    clip: Option<&'a Path>,
}

/// Pictures of people are for their owner and its group: so much is left of any umask, and of a file that was there before.
const PRIVATE: u32 = 0o640;

/// A file to write to, which others may not read. A device or a pipe is taken as it is.
fn private(path: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.permissions().mode() & 0o777 & !PRIVATE != 0 {
        file.set_permissions(fs::Permissions::from_mode(PRIVATE))?;
    }
    Ok(file)
}

fn show(
    Record { reader, clips, .. }: &Record,
    id: &str,
    files: &Files<'_>,
    json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let stored = reader.find(id)?;
    if let Some(file) = files.clip {
        let Some(clip) = stored.clip.as_ref().and_then(ClipState::file) else {
            bail!("event {} has no clip: {}", stored.event.id, clip_in_words(&stored, clips));
        };
        let from = clips.join(&clip.name);
        let copied = fs::File::open(&from).and_then(|mut clip| io::copy(&mut clip, &mut private(file)?));
        copied.with_context(|| format!("{} cannot be copied to {}", from.display(), file.display()))?;
    }
    if let Some(file) = files.snapshot {
        let Some(jpeg) = reader.snapshot(stored.event.id)? else {
            bail!("event {} has no picture", stored.event.id);
        };
        let written = private(file).and_then(|mut file| file.write_all(&jpeg));
        written.with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if json {
        writeln!(out, "{}", Line::of(&stored).json())?;
    } else {
        for (name, text) in details(&stored, clips, &TimeZone::system()) {
            writeln!(out, "{name:10}{text}")?;
        }
    }
    Ok(())
}

/// Where the clip lies, or what became of it.
fn clip_in_words(stored: &Stored, folder: &Path) -> String {
    let Some(clip) = &stored.clip else { return "none was asked for".to_owned() };
    match (clip.file(), clip.detail()) {
        (Some(file), _) => {
            let seconds = (file.until_wall_us - file.from_wall_us) as f64 / 1e6;
            let mebibytes = file.bytes as f64 / f64::from(1 << 20);
            format!("{}, {seconds:.1} s, {mebibytes:.2} MiB", folder.join(&file.name).display())
        }
        (None, Some(why)) => format!("{}: {why}", clip.kind()),
        (None, None) => clip.kind().to_owned(),
    }
}

fn details(stored: &Stored, clips: &Path, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let event = &stored.event;
    let decision = &event.decision;
    let seen = &decision.observation;
    let time = |wall_us| moment::local(wall_us, zone, "%Y-%m-%d %H:%M:%S%.3f %:z");
    let top = decision.top.iter().map(|(label, score)| format!("{label} {score}"));
    let delivery = match stored.delivery {
        Delivery::None => "none".to_owned(),
        Delivery::Waiting => "waits for the broker".to_owned(),
        Delivery::At(wall_us) => format!("acknowledged by the broker at {}", time(wall_us)),
    };
    let picture = match stored.snapshot_bytes {
        Some(bytes) => format!("{bytes} bytes, JPEG; --snapshot FILE writes it"),
        None => stored.picture_refused.as_ref().map_or("none".to_owned(), |why| format!("refused: {why}")),
    };
    let track =
        seen.track.map_or("none".to_owned(), |track| format!("{} at {:.3?}", track.id, track.rect.corners()));
    vec![
        ("event", event.id.to_string()),
        ("time", time(decision.at.wall_us())),
        ("verdict", decision.verdict.to_string()),
        ("rule", decision.rule.as_ref().map_or("none: the default denial", RuleId::as_str).to_owned()),
        ("camera", place(seen)),
        ("seen", format!("{}, {} of {}, mean {}", seen.answer, seen.agreed, seen.of, seen.mean)),
        ("", format!("from {} to {}", time(seen.first.wall_us()), time(seen.last.wall_us()))),
        ("track", track),
        ("reason", decision.reason.clone()),
        ("top", top.collect::<Vec<_>>().join(", ")),
        ("frame", format!("{}, captured {}", decision.frame.seq, time(decision.frame.stamp.wall_us()))),
        ("model", format!("{}, sha256 {}", decision.model, event.model_sha256)),
        ("config", format!("sha256 {}", event.config_sha256)),
        ("outcome", with_detail(&event.outcome)),
        ("delivery", delivery),
        ("picture", picture),
        ("clip", clip_in_words(stored, clips)),
    ]
}

/// Writes one event after the other, so that any number of them needs little memory.
fn export(
    reader: &Reader,
    filter: &Filter,
    limit: usize,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut written = Ok(());
    if matches!(format, Format::Csv) {
        written = out.write_all(forms::csv_header().as_bytes());
    }
    if written.is_ok() {
        reader.each(filter, limit, Order::OldestFirst, |stored| {
            let line = Line::of(&stored);
            written = match format {
                Format::Json => writeln!(out, "{}", line.json()),
                Format::Csv => out.write_all(line.csv().as_bytes()),
            };
            written.is_ok()
        })?;
    }
    Ok(written?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_readable_by_nobody_else_whatever_was_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        fs::write(&path, "older and longer").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        private(&path).unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, PRIVATE);
        let fresh = folder.path().join("b.jpg");
        private(&fresh).unwrap();
        assert_eq!(fresh.metadata().unwrap().permissions().mode() & 0o137, 0);
        private(Path::new("/dev/null")).unwrap().write_all(b"x").unwrap();
    }
}
