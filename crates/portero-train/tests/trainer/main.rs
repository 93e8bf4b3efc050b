//! The trainer as its user runs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]
#![expect(clippy::print_stdout, reason = "a test that is left out says why")]
#![expect(clippy::disallowed_methods, reason = "a deadline of a test is real time")]

mod averaging;
mod data;
mod export;
mod judging;
mod libtorch;
mod regimes;
mod runs;
mod support;
