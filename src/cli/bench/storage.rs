//! What events write to the disk: rows, snapshots, clips, and a day of them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use portero::config::{self, Config};
use portero::domain::{
    Answer, CameraId, ClipWish, Decision, Frame, FrameRef, FrameSeq, Label, ModelId, NormRect, Observation,
    RuleId, Score, Stamp, Verdict,
};
use portero::evidence::{self, Form, Kept, Mark};
use portero::rules::Action;
use portero::shutdown::stop_pair;
use portero::store::{Keep, NewEvent, Picture, Retention, Settings, Store};
use serde_json::{Value, json};

use super::{children_cpu_ms, median, thread_cpu_ms};
use crate::cli::Misconfigured;

/// Commits that are measured.
const COMMITS: u64 = 64;
/// As in a rule's `clip = true`.
const DEFAULT_CLIP: ClipWish = ClipWish { before: Duration::from_secs(5), after: Duration::from_secs(10) };
const CLIP_FPS: f64 = 5.0;
/// Quality of pictures in memory and of snapshots, as in the daemon.
const QUALITY: (u8, u8) = (75, 80);

/// Bytes and CPU of one of each.
pub(super) struct Storage {
    event: f64,
    snapshot: f64,
    /// Bytes of a second of film.
    film_second: f64,
    film_form: Form,
    /// CPU milliseconds of a second of film, in the child.
    film_cpu: f64,
    picture: f64,
    picture_cpu: f64,
}

/// What a kind of event keeps.
struct Kind {
    name: String,
    snapshot: bool,
    clip: Option<ClipWish>,
}

/// Measures with these frames.
pub(super) fn measure(frames: &[Frame]) -> anyhow::Result<Storage> {
    let mut sizes = 0;
    let picture_cpu = median(frames, |frame| {
        sizes = evidence::encode_picture(frame, QUALITY.0)?.len();
        Ok(())
    })?;
    let first = frames.first().context("the clip has no frames")?;
    let mark = Mark { rect: NormRect::FULL, text: "person 0.97".to_owned() };
    let snapshot = evidence::snapshot(first, &[mark], QUALITY.1)?.len() as f64;
    let (film_second, film_cpu, film_form) = film(frames)?;
    let (picture, event) = (sizes as f64, commits()?);
    Ok(Storage { event, snapshot, film_second, film_form, film_cpu, picture, picture_cpu })
}

/// Bytes and CPU of a second of film: the frames forth and back, at the rate of a usual camera.
fn film(frames: &[Frame]) -> anyhow::Result<(f64, f64, Form)> {
    let seconds = (DEFAULT_CLIP.before + DEFAULT_CLIP.after).as_secs_f64();
    let count = (seconds * CLIP_FPS) as usize;
    let turn: Vec<&Frame> = frames.iter().chain(frames.iter().rev()).collect();
    let kept = turn.iter().cycle().take(count).zip(0u32..).map(|(frame, number)| {
        let stamp = Stamp::new(0, 0).plus(Duration::from_secs_f64(f64::from(number) / CLIP_FPS));
        Ok(Kept { stamp, jpeg: evidence::encode_picture(frame, QUALITY.0)?.into() })
    });
    let kept: Vec<Kept> = kept.collect::<anyhow::Result<_>>()?;
    let form = Form::find().unwrap_or(Form::Mjpeg);
    let (_handle, stop) = stop_pair();
    let (children, own) = (children_cpu_ms()?, thread_cpu_ms());
    let clip = evidence::encode_clip(&kept, form, &stop)?;
    let cpu = children_cpu_ms()? - children + thread_cpu_ms() - own;
    Ok((clip.len() as f64 / seconds, cpu / seconds, form))
}

/// Bytes that a commit of one event hands to the system, checkpoints included: `wchar` of proc_pid_io(5).
fn commits() -> anyhow::Result<f64> {
    let folder = std::env::temp_dir().join(format!("portero-bench-{}", std::process::id()));
    fs::create_dir(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let measured = commits_in(&folder);
    fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    measured
}

fn commits_in(folder: &Path) -> anyhow::Result<f64> {
    let keep = Keep { age: Duration::from_secs(86_400), bytes: 1 << 30 };
    let retention = Retention { authorise: keep, deny: keep, alert: keep, log: keep };
    let path = folder.join("bench.db");
    let mut store =
        Store::open(&Settings { path, max_bytes: 1 << 30, outbox_percent: 20, keep_free: 0, retention })?;
    let before = bytes_written()?;
    for number in 0..COMMITS {
        store.record(vec![event(number)?])?;
    }
    store.close()?;
    Ok((bytes_written()? - before) / COMMITS as f64)
}

fn bytes_written() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/io").context("cannot read /proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.parse().ok()).context("/proc/self/io has no wchar")
}

fn event(number: u64) -> anyhow::Result<NewEvent> {
    let at = Stamp::new(number, 1_790_000_000_000_000).plus(Duration::from_secs(number));
    let label = Label::new("person")?;
    let score = Score::CERTAIN;
    Ok(NewEvent {
        decision: Decision {
            rule: Some(RuleId::new("bench")?),
            verdict: Verdict::Log,
            observation: Observation {
                camera: CameraId::new("bench")?,
                zone: None,
                answer: Answer::Label(label.clone()),
                agreed: 4,
                of: 6,
                mean: score,
                first: at,
                last: at,
                track: None,
            },
            frame: FrameRef::new(FrameSeq(number), at),
            model: ModelId::new("bench")?,
            top: vec![(label, score)],
            reason: "person 4 of 6, mean 1.00 ≥ 0.80".to_owned(),
            at,
        },
        model_sha256: Arc::from("0".repeat(64)),
        config_sha256: Arc::from("0".repeat(64)),
        picture: Picture::None,
        clip: Some(DEFAULT_CLIP),
    })
}

/// The rules of a configuration, or one with everything.
pub(super) struct Day {
    kinds: Vec<Kind>,
    budget: Option<u64>,
    events: u32,
}

impl Day {
    /// A day of so many events of each rule of the file, or of one rule that keeps all.
    pub(super) fn read(file: Option<&PathBuf>, events: u32) -> anyhow::Result<Self> {
        let Some(file) = file else {
            let all = Kind { name: "snapshot and clip".to_owned(), snapshot: true, clip: Some(DEFAULT_CLIP) };
            return Ok(Self { kinds: vec![all], budget: None, events });
        };
        let loaded = config::load(file).map_err(|problems| Misconfigured(problems.render(false)))?;
        let Config { rules, wishes, write_budget, .. } = &loaded.config;
        let kinds: Vec<Kind> = rules
            .rules
            .iter()
            .map(|rule| Kind {
                name: format!("rule {}", rule.id),
                snapshot: rule.actions.iter().any(|a| matches!(a, Action::Alert { snapshot: true, .. })),
                clip: wishes.get(&rule.id).and_then(|wish| wish.clip),
            })
            .collect();
        ensure!(!kinds.is_empty(), "{}: there is no rule, so there are no events", file.display());
        Ok(Self { kinds, budget: *write_budget, events })
    }
}

impl Storage {
    /// Bytes that an event of this kind writes.
    fn of(&self, kind: &Kind) -> f64 {
        let clip = kind.clip.map_or(0.0, |clip| (clip.before + clip.after).as_secs_f64() * self.film_second);
        self.event + clip + if kind.snapshot { self.snapshot } else { 0.0 }
    }

    pub(super) fn print(&self, out: &mut dyn Write, day: &Day) -> io::Result<()> {
        writeln!(out, "What an event writes to the disk:")?;
        writeln!(out, "  {:7.1} KB  the event, a commit of its own", self.event / 1e3)?;
        writeln!(out, "  {:7.1} KB  its snapshot", self.snapshot / 1e3)?;
        let form = self.film_form.describe();
        writeln!(
            out,
            "  {:7.1} KB  a second of its clip at {CLIP_FPS} frames a second: {form}, {:.0} ms CPU",
            self.film_second / 1e3,
            self.film_cpu
        )?;
        writeln!(
            out,
            "  {:7.2} ms  CPU of a frame kept for clips, {:.1} KB of memory each",
            self.picture_cpu,
            self.picture / 1e3
        )?;
        writeln!(out, "A day of {} events:", day.events)?;
        for kind in &day.kinds {
            let bytes = self.of(kind);
            let all = f64::from(day.events) * bytes / 1e6;
            write!(out, "  {all:7.1} MB  {}", kind.name)?;
            if let Some(budget) = day.budget {
                write!(
                    out,
                    "; the budget of {:.0} MB carries {:.0}",
                    budget as f64 / 1e6,
                    budget as f64 / bytes
                )?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    pub(super) fn json(&self, day: &Day) -> Value {
        let kinds =
            day.kinds.iter().map(|kind| json!({ "kind": kind.name, "bytes_an_event": self.of(kind) }));
        json!({
            "event_bytes": self.event, "snapshot_bytes": self.snapshot, "clip_bytes_a_second": self.film_second,
            "clip_cpu_ms_a_second": self.film_cpu, "kept_frame_bytes": self.picture,
            "kept_frame_cpu_ms": self.picture_cpu, "events_a_day": day.events, "kinds": kinds.collect::<Vec<_>>(),
        })
    }
}
