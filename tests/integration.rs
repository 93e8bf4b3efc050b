//! One integration binary: linking tract once is enough.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[global_allocator]
static ALLOCATOR: support::allocations::Counting = support::allocations::Counting;

mod broker;
mod capture;
mod cli;
mod clips;
mod doors;
mod house;
mod install;
mod model;
mod pipeline;
mod store;
mod support;
mod tracks;
mod watch;
