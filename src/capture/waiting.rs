//! Waiting on an event loop without becoming deaf to a request to stop.

use std::time::Duration;

use crate::shutdown::Stop;

/// How often a request to stop is noticed while a camera is silent.
const TURN: Duration = Duration::from_millis(100);

/// Waits until the deadline has passed or stopping is requested.
pub(super) async fn over(deadline: Duration, stop: &Stop) {
    let mut left = deadline;
    while !left.is_zero() && !stop.is_requested() {
        let slice = left.min(TURN);
        tokio::time::sleep(slice).await;
        left -= slice;
    }
}
