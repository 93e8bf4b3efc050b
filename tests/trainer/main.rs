//! The trainer as its user runs it.

mod data;
mod libtorch;
mod regimes;
mod runs;
mod support;
