//! portero and bare tract on model files, for `scripts/bench-peers`, which runs other engines on the same weights in turn.
//!
//! `peers time FILE…` prints one JSON object a line: CPU of one inference in milliseconds, median of one thread, without
//! preprocessing. A manifest is run by portero, an ONNX file by tract alone. `peers answers MANIFEST RAW OUT` classifies the
//! raw RGB pictures of RAW, of the model's size, and writes the probabilities as 32-bit floats.

use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use portero::clock::thread_cpu;
use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, NormRect, Stamp};
use portero::infer::{Model, Preprocessor};
use serde_json::{Value, json};
use tract_onnx::prelude::*;

const WARM_UP: usize = 30;
const RUNS: usize = 250;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Cargo adds flags of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["time", ref files @ ..] => {
            for file in files {
                let line = if file.ends_with(".toml") { portero(file)? } else { tract(file)? };
                writeln!(io::stdout().lock(), "{line}")?;
            }
            Ok(())
        }
        ["answers", manifest, raw, out] => answers(manifest, raw, out),
        // `cargo bench` runs every bench.
        _ => Ok(()),
    }
}

/// Median CPU milliseconds.
fn median(mut run: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    for _ in 0..WARM_UP {
        run()?;
    }
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begun = thread_cpu();
        run()?;
        times.push((thread_cpu() - begun).as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

fn frame(side: (u32, u32), rgb: Vec<u8>) -> Result<Frame, Failure> {
    let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
    Ok(Frame::new(CameraId::new("bench")?, at, side.0, side.1, rgb)?)
}

fn portero(manifest: &str) -> Result<Value, Failure> {
    let begun = thread_cpu();
    let model = Arc::new(Model::load(Path::new(manifest))?);
    let load = (thread_cpu() - begun).as_secs_f64() * 1e3;
    let input = &model.manifest().input;
    let bytes = (0..input.width * input.height * 3).map(|i| (i * 7 % 251) as u8).collect();
    let frame = frame((input.width, input.height), bytes)?;
    let mut preprocessor = Preprocessor::new(input.clone());
    let mut planes = vec![0.0; preprocessor.len()];
    let before = median(|| {
        preprocessor.fill(&frame, NormRect::FULL, &mut planes);
        Ok(())
    })?;
    let mut worker = model.worker()?;
    let both = median(|| {
        black_box(worker.probabilities(&frame, NormRect::FULL)?);
        Ok(())
    })?;
    let operators = model.operators();
    let kernels = |name: &str| operators.iter().filter(|o| o.starts_with(name)).count();
    Ok(json!({
        "engine": "portero", "file": manifest, "ms": both - before, "load_ms": load, "operators": operators.len(),
        "int8": kernels("Int8"), "float": kernels("Float"),
    }))
}

fn tract(file: &str) -> Result<Value, Failure> {
    let shape = [1, 3, 224, 224];
    let plan = tract_onnx::onnx()
        .model_for_path(file)?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let mut state = plan.spawn()?;
    let input: TValue = Tensor::zero::<f32>(&shape)?.into();
    let ms = median(|| {
        black_box(state.run(tvec!(input.clone()))?);
        Ok(())
    })?;
    Ok(json!({ "engine": "tract", "file": file, "ms": ms }))
}

fn answers(manifest: &str, raw: &str, out: &str) -> Result<(), Failure> {
    let model = Arc::new(Model::load(Path::new(manifest))?);
    let input = &model.manifest().input;
    let side = (input.width, input.height);
    let mut worker = model.worker()?;
    let mut answers = Vec::new();
    for picture in fs::read(raw)?.chunks_exact((side.0 * side.1 * 3) as usize) {
        let probabilities = worker.probabilities(&frame(side, picture.to_vec())?, NormRect::FULL)?;
        answers.extend(probabilities.iter().flat_map(|p| p.to_le_bytes()));
    }
    fs::write(out, answers)?;
    Ok(())
}
