//! `portero bench`: what a frame costs on this device, stage by stage, and how many cameras that carries; what the network
//! costs by itself, what events write to the disk; or what each of several models costs and is worth.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use portero::capture::{Camera, FfmpegInput, Pace, Settings as CaptureSettings, Source};
use portero::clock::{self, SystemClock};
use portero::daemon;
use portero::domain::{CameraId, CameraState, Frame, NormRect};
use portero::infer::{Model, Preprocessor};
use portero::shutdown::stop_pair;
use portero::watch::{MotionSettings, Settings as WatchSettings, Watched, Watcher};
use serde_json::{Value, json};

use super::ModelFile;
use network::Network;
use storage::{Day, Storage};

mod models;
mod network;
mod storage;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    manifest: ModelFile,
    /// Compare models instead: accuracy, CPU, size. Manifests, or folders of them.
    #[arg(long, value_name = "MANIFEST|FOLDER", num_args = 0.., default_missing_value = "/usr/local/share/portero/models",
          conflicts_with_all = ["model", "clip", "size", "frames"])]
    models: Option<Vec<PathBuf>>,
    /// Measure the accuracy of the models on these pictures: one folder for each label.
    #[arg(long, value_name = "FOLDER", requires = "models")]
    pictures: Option<PathBuf>,
    /// A video that ffmpeg opens.
    #[arg(long, value_name = "FILE", default_value = "/usr/local/share/portero/street.mp4")]
    clip: PathBuf,
    /// Size to which frames are scaled, in pixels.
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "768x576", value_parser = parse_size)]
    size: (u32, u32),
    /// At most so many frames.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..=2000))]
    frames: u64,
    /// Say what a day of events writes with the rules of this configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "models")]
    config: Option<PathBuf>,
    /// So many events a day, of each rule.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    events: u32,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// CPU per frame of each stage, in milliseconds.
struct Costs {
    frames: usize,
    decode: f64,
    receive: f64,
    watch: f64,
    preprocess: f64,
    inference: f64,
}

/// Measures and prints.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if let Some(paths) = &arguments.models {
        return models::run(paths, arguments.pictures.as_deref(), arguments.json);
    }
    let (model, loading) = network::load(|| Ok(Arc::new(Model::load(&arguments.manifest.model)?)))?;
    ensure!(arguments.clip.exists(), "{}: no such file; give one with --clip", arguments.clip.display());
    let day = Day::read(arguments.config.as_ref(), arguments.events)?;
    let (costs, network, storage) = measure(arguments, &model)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let out = &mut io::stdout().lock();
    if arguments.json {
        print_json(out, &costs, cores, &network.json(loading), &storage.json(&day))?;
    } else {
        print(out, arguments, &costs, cores)?;
        network.print(out, loading)?;
        storage.print(out, &day)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(arguments: &Arguments, model: &Arc<Model>) -> anyhow::Result<(Costs, Network, Storage)> {
    let (own, children) = (thread_cpu_ms(), children_cpu_ms()?);
    let (frames, received) = receive(arguments)?;
    let n = received as f64;
    let (receive, decode) = ((thread_cpu_ms() - own) / n, (children_cpu_ms()? - children) / n);

    let motion = MotionSettings { hold: Duration::from_secs(1), ..MotionSettings::default() };
    let regions = vec![Watched::picture()];
    let mut watcher = Watcher::new(WatchSettings::new(regions, Some(motion)));
    let copies = frames.clone();
    let begun = thread_cpu_ms();
    for frame in copies {
        let _ = watcher.look(frame);
    }
    let watch = (thread_cpu_ms() - begun) / frames.len() as f64;

    let mut preprocessor = Preprocessor::new(model.manifest().input.clone());
    let mut planes = vec![0.0; preprocessor.len()];
    let preprocess = median(&frames, |frame| {
        preprocessor.fill(frame, NormRect::FULL, &mut planes);
        Ok(())
    })?;
    let mut worker = model.worker()?;
    let both = median(&frames, |frame| Ok(worker.probabilities(frame, NormRect::FULL).map(|_| ())?))?;
    let inference = (both - preprocess).max(0.0);
    let network = network::measure(model, &frames)?;
    let storage = storage::measure(&frames)?;
    Ok((Costs { frames: received, decode, receive, watch, preprocess, inference }, network, storage))
}

/// Frames that are kept for the later stages. The others are let go, as the daemon does: memory that is used
/// again costs no page faults.
const KEPT: usize = 40;

/// Plays the clip as fast as it goes; returns the first frames and how many there were.
fn receive(arguments: &Arguments) -> anyhow::Result<(Vec<Frame>, usize)> {
    let (width, height) = arguments.size;
    let settings = CaptureSettings {
        camera: CameraId::new("bench")?,
        source: Source::Ffmpeg(FfmpegInput::new(arguments.clip.to_string_lossy().into_owned())),
        fps: 10.0,
        width,
        height,
        settle: Duration::ZERO,
        stall_after: Duration::from_secs(10),
        pace: Pace::Fast,
        looped: false,
    };
    let camera = Camera::new(settings, Arc::new(SystemClock), daemon::spawner());
    let (handle, stop) = stop_pair();
    let mut handle = Some(handle);
    let (mut frames, mut received) = (Vec::new(), 0);
    let mut trouble = None;
    camera.run(
        &stop,
        &mut |frame| {
            received += 1;
            if frames.len() < KEPT {
                frames.push(frame);
            }
            if received as u64 >= arguments.frames {
                handle = None;
            }
        },
        &mut |state, why| {
            if state == CameraState::Offline {
                trouble.get_or_insert(why.to_owned());
            }
        },
    );
    match trouble {
        Some(why) if frames.is_empty() => bail!("{}: {why}", arguments.clip.display()),
        _ => Ok((frames, received)),
    }
}

/// How often each kept frame is worked on.
const ROUNDS: usize = 5;

/// Median CPU milliseconds of `work` over the frames, after a warm-up.
fn median(frames: &[Frame], mut work: impl FnMut(&Frame) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    for frame in frames.iter().take(5) {
        work(frame)?;
    }
    let mut times = Vec::with_capacity(ROUNDS * frames.len());
    for frame in frames.iter().cycle().take(ROUNDS * frames.len()) {
        let begun = thread_cpu_ms();
        work(frame)?;
        times.push(thread_cpu_ms() - begun);
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("the clip has no frames")
}

fn thread_cpu_ms() -> f64 {
    clock::thread_cpu().as_secs_f64() * 1e3
}

/// CPU time of all children that have ended: fields 16 and 17 of `/proc/self/stat` (proc(5)), in ticks.
fn children_cpu_ms() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // The third field of the page is the first after the program's name.
    Ok((ticks(13) + ticks(14)) * 1e3 / rustix::param::clock_ticks_per_second() as f64)
}

/// CPU of one frame that is looked at.
fn whole(costs: &Costs) -> f64 {
    costs.decode + costs.receive + costs.watch + costs.preprocess + costs.inference
}

/// Cameras at 5 frames a second, every frame classified, with a fifth of the device left free.
fn cameras(costs: &Costs, cores: usize) -> f64 {
    cores as f64 * 1000.0 * 0.8 / (5.0 * whole(costs))
}

fn print(out: &mut dyn Write, arguments: &Arguments, costs: &Costs, cores: usize) -> io::Result<()> {
    let (width, height) = arguments.size;
    let clip = short(&arguments.clip);
    writeln!(out, "CPU per frame, {} frames of {clip} at {width}x{height}, one region each:", costs.frames)?;
    for (stage, ms) in [
        ("decode and scale (ffmpeg, child process)", costs.decode),
        ("receive", costs.receive),
        ("watch, with the motion gate", costs.watch),
        ("crop, resize, normalise", costs.preprocess),
        ("inference", costs.inference),
        ("all together", whole(costs)),
    ] {
        writeln!(out, "  {ms:7.2} ms  {stage}")?;
    }
    let carried = cameras(costs, cores);
    writeln!(
        out,
        "{cores} cores carry about {carried:.0} such cameras at 5 frames a second, every frame classified,"
    )?;
    writeln!(
        out,
        "with a fifth of the device left free; with the motion gate a quiet scene costs no inference."
    )
}

fn print_json(
    out: &mut dyn Write,
    costs: &Costs,
    cores: usize,
    network: &Value,
    storage: &Value,
) -> io::Result<()> {
    let object = json!({
        "frames": costs.frames, "cores": cores,
        "cpu_ms_per_frame": {
            "decode": costs.decode, "receive": costs.receive, "watch": costs.watch,
            "preprocess": costs.preprocess, "inference": costs.inference, "all": whole(costs),
        },
        "cameras_at_5_fps": cameras(costs, cores), "network": network, "storage": storage,
    });
    writeln!(out, "{object}")
}

fn short(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides
        .filter(|(w, h)| (16..=4096).contains(w) && (16..=4096).contains(h))
        .ok_or("WIDTHxHEIGHT, each 16 to 4096".to_owned())
}
