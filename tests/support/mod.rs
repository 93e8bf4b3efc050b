//! What several integration tests need: waiting without sleeping blindly, and a broker to play with.

pub(crate) mod allocations;
pub(crate) mod authority;
pub(crate) mod broker;
pub(crate) mod daemon;
pub(crate) mod mount;
pub(crate) mod rtsp_camera;

use std::time::{Duration, Instant};

/// Polls `done` until it holds; panics, naming `what`, when it does not within `deadline`.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test measures its own patience on the machine's clock")]
pub(crate) fn wait_until(what: &str, deadline: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
