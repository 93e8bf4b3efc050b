//! Preprocessing, inference, a bare tract loop beside it, and the way of a frame without decoding.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::Criterion;
use portero::daemon::read_picture;
use portero::domain::{Frame, NormRect};
use portero::infer::{Classifier, Model, Preprocessor};
use tract_onnx::prelude::*;

fn model() -> Arc<Model> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/person-v3s.toml");
    Arc::new(Model::load(&manifest).expect("the shipped model loads"))
}

fn picture(model: &Model) -> Frame {
    read_picture(&model.manifest().golden[0].image).expect("the golden picture reads")
}

/// tract alone on the same file, with a tensor that is already there: what our workers are measured by.
fn bare_tract(c: &mut Criterion, model: &Model) {
    let plan = tract_onnx::onnx()
        .model_for_path(&model.manifest().file)
        .and_then(InferenceModelExt::into_optimized)
        .and_then(|m| m.into_runnable())
        .expect("tract loads it");
    let mut state = plan.spawn().expect("tract makes a state");
    let input: TValue = Tensor::zero::<f32>(&[1, 3, 224, 224]).expect("a tensor").into();
    c.bench_function("infer/bare tract", |b| {
        b.iter(|| black_box(state.run(tvec!(input.clone())).expect("it runs")));
    });
}

/// The network alone, from floats to logits: one picture, and eight in a batch.
fn network(c: &mut Criterion, model: &Arc<Model>) {
    let mut worker = model.worker().expect("a worker");
    let each = Preprocessor::new(model.manifest().input.clone()).len();
    let planes: Vec<f32> = (0..8 * each).map(|i| (i % 1009) as f32 / 504.5 - 1.0).collect();
    for pictures in [1, 8] {
        c.bench_function(&format!("infer/network x{pictures}"), |b| {
            b.iter(|| black_box(worker.logits(&planes[..pictures * each]).expect("it runs")).len());
        });
    }
}

pub(crate) fn bench(c: &mut Criterion) {
    let model = model();
    let frame = picture(&model);
    let mut preprocessor = Preprocessor::new(model.manifest().input.clone());
    let mut planes = vec![0.0; preprocessor.len()];
    c.bench_function("infer/preprocess", |b| {
        b.iter(|| preprocessor.fill(black_box(&frame), NormRect::FULL, &mut planes));
    });
    bare_tract(c, &model);
    network(c, &model);
    let mut worker = model.worker().expect("a worker");
    c.bench_function("infer/classify", |b| {
        b.iter(|| black_box(worker.classify(&frame, NormRect::FULL).expect("it answers")));
    });
}
