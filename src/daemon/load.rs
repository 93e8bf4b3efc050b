//! Whether the workers keep up with a camera, and how much less it is to give when they do not.
//!
//! A look that no worker took before the next one came is work in vain: it was captured, converted and watched. When
//! more than a quarter of a camera's looks end like that, its pictures are thinned before all of this, step by step;
//! when hardly any do for a while, it gets its rate back.

use std::time::Duration;

use crate::domain::Stamp;

/// Looks are judged over this time, ...
const WINDOW: Duration = Duration::from_secs(5);
/// ... or longer, until there are this many.
const FEWEST: u32 = 8;
/// From this share in vain on the camera is slowed down, ...
const TOO_MUCH: f32 = 0.25;
/// ... and up to this one a window is calm.
const CALM: f32 = 0.05;
/// Calm windows in a row before the camera is let go faster.
const PATIENCE: u32 = 3;
const SLOWER: f32 = 1.5;
const FASTER: f32 = 0.7;
const SLOWEST: f32 = 20.0;

/// The load that one camera puts on the workers.
#[derive(Debug)]
pub(super) struct Load {
    began: Stamp,
    looks: u32,
    in_vain: u32,
    calm: u32,
    factor: f32,
}

impl Load {
    pub(super) fn new(now: Stamp) -> Self {
        Self { began: now, looks: 0, in_vain: 0, calm: 0, factor: 1.0 }
    }

    /// A look was handed over; `in_vain` when an older one was thrown out for it. Returns the factor by which the
    /// time between two pictures is to grow, when it changes.
    pub(super) fn looked(&mut self, in_vain: bool, now: Stamp) -> Option<f32> {
        self.looks += 1;
        self.in_vain += u32::from(in_vain);
        if now.since(self.began) < WINDOW || self.looks < FEWEST {
            return None;
        }
        let share = self.in_vain as f32 / self.looks as f32;
        (self.began, self.looks, self.in_vain) = (now, 0, 0);
        self.calm = if share <= CALM { self.calm + 1 } else { 0 };
        let factor = if share > TOO_MUCH {
            (self.factor * SLOWER).min(SLOWEST)
        } else if self.calm >= PATIENCE {
            self.calm = 0;
            let faster = self.factor * FASTER;
            if faster < 1.1 { 1.0 } else { faster }
        } else {
            self.factor
        };
        let changed = factor != self.factor;
        self.factor = factor;
        changed.then_some(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a camera of `fps` for `seconds` into workers that take `capacity` looks a second; the last factor.
    fn play(load: &mut Load, clock_us: &mut u64, fps: f32, capacity: f32, seconds: u64) -> f32 {
        let end = *clock_us + seconds * 1_000_000;
        let mut taken_until = *clock_us as f32;
        while *clock_us < end {
            *clock_us += (1e6 * load.factor / fps) as u64;
            // A look is in vain when the one before is still waiting for its turn.
            let waits = taken_until > *clock_us as f32;
            taken_until = taken_until.max(*clock_us as f32 - 1e6 / capacity);
            if !waits {
                taken_until += 1e6 / capacity;
            }
            let _ = load.looked(waits, Stamp::new(*clock_us, 0));
        }
        load.factor
    }

    #[test]
    fn a_camera_slows_down_to_what_the_workers_can_and_gets_its_rate_back() {
        let mut now = 1;
        let mut load = Load::new(Stamp::new(now, 0));
        assert_eq!(play(&mut load, &mut now, 10.0, 20.0, 60), 1.0, "they keep up");
        let slow = play(&mut load, &mut now, 10.0, 4.0, 120);
        assert!((1.5..4.0).contains(&slow), "{slow}");
        assert_eq!(play(&mut load, &mut now, 10.0, 20.0, 200), 1.0);
    }

    #[test]
    fn it_is_never_brought_to_a_stand() {
        let mut load = Load::new(Stamp::new(0, 0));
        for second in 0..10_000 {
            let _ = load.looked(true, Stamp::new(second * 1_000_000, 0));
        }
        assert_eq!(load.factor, SLOWEST);
    }
}
