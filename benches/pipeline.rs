//! What each stage costs: `cargo bench --bench pipeline`. One file per room.

mod decode;
mod frame;
mod infer;
mod rules;
mod store;
mod watch;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    decode::bench,
    frame::bench,
    infer::bench,
    rules::bench,
    store::bench,
    watch::bench
);
criterion_main!(benches);
