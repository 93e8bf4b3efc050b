//! Events to the disk: alone, and in groups as the recorder makes them. Each number is one transaction with
//! its fsync, so it says as much of the disk as of the program.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use portero::domain::{
    Answer, CameraId, Decision, FrameRef, FrameSeq, Label, ModelId, Observation, RuleId, Score, Stamp,
    Verdict,
};
use portero::store::{Filter, Keep, NewEvent, Order, Picture, Reader, Retention, Settings, Store};

const MIB: u64 = 1 << 20;

fn event(number: u64) -> NewEvent {
    let at = Stamp::new(number, 1_790_000_000_000_000).plus(Duration::from_millis(number));
    let label = Label::new("person").expect("a label");
    let score = Score::new(0.97).expect("a score");
    NewEvent {
        decision: Decision {
            rule: RuleId::new("someone-there").ok(),
            verdict: Verdict::Log,
            observation: Observation {
                camera: CameraId::new("street").expect("a name"),
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
            model: ModelId::new("person-v3").expect("a name"),
            top: vec![(label, score)],
            reason: "person 4 of 6, mean 0.97 ≥ 0.80".to_owned(),
            at,
        },
        model_sha256: Arc::from("ab".repeat(32)),
        config_sha256: Arc::from("cd".repeat(32)),
        picture: Picture::None,
        clip: None,
    }
}

/// Commits of 1, 10 and 100 events, and reading the newest 50.
pub(super) fn bench(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = Keep { age: Duration::MAX, bytes: u64::MAX };
    let settings = Settings {
        path: folder.path().join("events.db"),
        max_bytes: 1024 * MIB,
        outbox_percent: 50,
        keep_free: 0,
        retention: Retention { authorise: keep, deny: keep, alert: keep, log: keep },
    };
    let mut store = Store::open(&settings).expect("a fresh store");
    let mut group = c.benchmark_group("store");
    let mut number = 0;
    for size in [1, 10, 100] {
        group.throughput(Throughput::Elements(size));
        group.bench_with_input(BenchmarkId::new("commit", size), &size, |b, &size| {
            let batch = || {
                number += size;
                (number..number + size).map(event).collect::<Vec<_>>()
            };
            b.iter_batched(
                batch,
                |batch| black_box(store.record(batch).expect("committed")),
                BatchSize::SmallInput,
            );
        });
    }
    group.throughput(Throughput::Elements(50));
    let reader = Reader::open(&settings.path).expect("a reader");
    group.bench_function("newest 50", |b| {
        b.iter(|| reader.events(&Filter::default(), 50, Order::NewestFirst).expect("read"));
    });
    group.finish();
}
