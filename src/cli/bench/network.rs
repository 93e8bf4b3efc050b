//! The network alone: one picture at a time, eight together, and with a worker on every core. What is compared runs in
//! turn, so that other work on the device falls on all of it.

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Barrier};
use std::thread;

use anyhow::Context;
use portero::clock::{Clock, SystemClock};
use portero::domain::{Frame, NormRect, Stamp};
use portero::infer::{Model, Preprocessor};
use serde_json::{Value, json};

use super::thread_cpu_ms;

/// Different pictures, and those of a batch.
const PICTURES: usize = 8;
/// Turns of one at a time and all together.
const TURNS: usize = 60;
/// Turns of one worker and many.
const RACES: usize = 9;
/// Inferences of each worker in a race.
const RUNS: usize = 160;

/// What the network costs without what comes before it.
pub(super) struct Network {
    /// CPU milliseconds of a picture by itself, and of one of eight that go through together; medians.
    alone: f64,
    together: f64,
    /// The median of what both compare to in each turn.
    share: f64,
    /// Where there are several cores.
    race: Option<Race>,
}

/// Workers on all cores beside one by itself.
struct Race {
    /// One on each core.
    workers: usize,
    /// How many times as much they do, by the clock.
    gain: f64,
    /// The CPU of a picture, as a multiple of what it costs one by itself.
    cost: f64,
}

/// What loading a model costs.
#[derive(Clone, Copy)]
pub(super) struct Loading {
    /// CPU in milliseconds.
    pub(super) ms: f64,
    /// Memory in megabytes that the process has more of, after loading and the first pictures.
    pub(super) megabytes: f64,
}

/// Loads a model and lets a worker of it classify a few grey pictures.
pub(super) fn load(
    read: impl FnOnce() -> anyhow::Result<Arc<Model>>,
) -> anyhow::Result<(Arc<Model>, Loading)> {
    let (memory, begun) = (anonymous_megabytes()?, thread_cpu_ms());
    let model = read()?;
    let ms = thread_cpu_ms() - begun;
    let mut worker = model.worker()?;
    let planes = vec![0.0; Preprocessor::new(model.manifest().input.clone()).len()];
    for _ in 0..3 {
        let _ = worker.logits(&planes)?;
    }
    drop(planes);
    Ok((model, Loading { ms, megabytes: anonymous_megabytes()? - memory }))
}

/// Resident memory that no file is behind (`RssAnon` of proc_pid_status(5)).
fn anonymous_megabytes() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    Ok(kibibytes.context("/proc/self/status has no RssAnon")? * 1024.0 / 1e6)
}

/// Measures with pictures made of `frames`.
pub(super) fn measure(model: &Arc<Model>, frames: &[Frame]) -> anyhow::Result<Network> {
    let mut preprocessor = Preprocessor::new(model.manifest().input.clone());
    let each = preprocessor.len();
    let mut planes = vec![0.0; PICTURES * each];
    let apart = (frames.len() / PICTURES).max(1);
    for (planes, frame) in planes.chunks_exact_mut(each).zip(frames.iter().step_by(apart).cycle()) {
        preprocessor.fill(frame, NormRect::FULL, planes);
    }
    let (alone, together, share) = batches(model, &planes, each)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let race = if cores > 1 { Some(race(model, &planes, each, cores)?) } else { None };
    Ok(Network { alone, together, share, race })
}

fn batches(model: &Arc<Model>, planes: &[f32], each: usize) -> anyhow::Result<(f64, f64, f64)> {
    let mut worker = model.worker()?;
    let mut time = |pictures: usize| {
        let begun = thread_cpu_ms();
        for planes in planes.chunks(pictures * each) {
            let _ = worker.logits(planes)?;
        }
        anyhow::Ok((thread_cpu_ms() - begun) / PICTURES as f64)
    };
    let (mut alone, mut together, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS + 5 {
        let (one, many) = (time(1)?, time(PICTURES)?);
        if turn >= 5 {
            alone.push(one);
            together.push(many);
            shares.push(many / one);
        }
    }
    Ok((middle(alone), middle(together), middle(shares)))
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn race(model: &Arc<Model>, planes: &[f32], each: usize, workers: usize) -> anyhow::Result<Race> {
    let (mut gains, mut costs) = (Vec::with_capacity(RACES), Vec::with_capacity(RACES));
    for _ in 0..RACES {
        let (one, one_cpu) = run(model, planes, each, 1)?;
        let (all, all_cpu) = run(model, planes, each, workers)?;
        gains.push(workers as f64 * one / all);
        costs.push(all_cpu / (workers as f64 * one_cpu));
    }
    Ok(Race { workers, gain: middle(gains), cost: middle(costs) })
}

/// Seconds from the first start to the last end of so many workers that begin together, and the CPU of all of them in
/// milliseconds.
fn run(model: &Arc<Model>, planes: &[f32], each: usize, workers: usize) -> anyhow::Result<(f64, f64)> {
    let ready = Barrier::new(workers);
    let work = || {
        let made = model.worker();
        let warm = made.and_then(|mut worker| worker.logits(&planes[..each]).map(drop).map(|()| worker));
        // Whoever failed must come to the start too, or the others wait for ever.
        ready.wait();
        let (begun, cpu) = (SystemClock.now(), thread_cpu_ms());
        let mut worker = warm?;
        for planes in planes.chunks_exact(each).cycle().take(RUNS) {
            let _ = worker.logits(planes)?;
        }
        anyhow::Ok((begun, SystemClock.now(), thread_cpu_ms() - cpu))
    };
    let spans: Vec<(Stamp, Stamp, f64)> = thread::scope(|scope| {
        let started: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        started
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker of the race panicked"))?)
            .collect::<anyhow::Result<_>>()
    })?;
    let begun = spans.iter().map(|span| span.0).min_by_key(|stamp| stamp.mono_us()).context("no workers")?;
    let wall = spans.iter().map(|span| span.1.since(begun).as_secs_f64()).fold(0.0, f64::max);
    Ok((wall, spans.iter().map(|span| span.2).sum()))
}

impl Network {
    /// Prints it, and what loading cost.
    pub(super) fn print(&self, out: &mut dyn Write, loading: Loading) -> io::Result<()> {
        writeln!(out, "The network alone:")?;
        writeln!(out, "  {:7.2} ms  CPU of a picture by itself", self.alone)?;
        writeln!(
            out,
            "  {:7.2} ms  CPU of one of {PICTURES} that go through together: {:.2} of that",
            self.together, self.share
        )?;
        if let Some(Race { workers, gain, cost }) = self.race {
            writeln!(
                out,
                "  {gain:7.2}     times as many pictures a second with {workers} workers as with one, each at {cost:.2} of the CPU: {:.2} times where every worker has a core to itself",
                workers as f64 / cost
            )?;
        }
        writeln!(out, "  {:7.0} ms  CPU of loading", loading.ms)?;
        writeln!(out, "  {:7.1} MB  memory of the loaded model and one worker", loading.megabytes)
    }

    /// The same for scripts.
    pub(super) fn json(&self, loading: Loading) -> Value {
        json!({
            "cpu_ms": self.alone, "cpu_ms_of_eight": self.together, "share_of_eight": self.share,
            "workers": self.race.as_ref().map(|race| race.workers),
            "gain_of_workers": self.race.as_ref().map(|race| race.gain),
            "cpu_share_of_workers": self.race.as_ref().map(|race| race.cost),
            "load_cpu_ms": loading.ms, "memory_mb": loading.megabytes,
        })
    }
}
