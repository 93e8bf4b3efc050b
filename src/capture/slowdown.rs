//! How much less than its rate a camera is to give for the time being.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Shared between a camera and whoever sees that its pictures are too many. Starts at one: the configured rate.
#[derive(Debug)]
pub struct Slowdown(AtomicU32);

const ONE: f32 = 1000.0;

impl Default for Slowdown {
    fn default() -> Self {
        Self(AtomicU32::new(ONE as u32))
    }
}

impl Slowdown {
    /// From now on the time between two pictures is `factor` times the configured one; 1 to 1000.
    pub fn set(&self, factor: f32) {
        self.0.store((factor.clamp(1.0, 1000.0) * ONE) as u32, Relaxed);
    }

    /// The factor now.
    #[must_use]
    pub fn factor(&self) -> f32 {
        self.0.load(Relaxed) as f32 / ONE
    }

    /// `period`, slowed down.
    pub(super) fn stretch(&self, period: Duration) -> Duration {
        period.mul_f32(self.factor())
    }
}
