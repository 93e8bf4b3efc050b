//! Whether a camera gives as many pictures as its rules need, as measured and not as a stream says of itself.

use std::time::Duration;

use crate::domain::Stamp;

/// Pictures are counted over this time at least, ...
const WINDOW: Duration = Duration::from_secs(10);
/// ... and over so many needed ones.
const FEWEST: f32 = 4.0;
/// A rate may lie below what is needed by this share, before anybody is told.
const TOLERANCE: f32 = 0.05;

/// Counts one camera's pictures.
#[derive(Debug)]
pub(super) struct Rate {
    began: Stamp,
    pictures: u32,
    /// The rate of the last window, when it was too low.
    short: Option<f32>,
}

impl Rate {
    pub(super) fn new(now: Stamp) -> Self {
        Self { began: now, pictures: 0, short: None }
    }

    /// The camera was opened anew: counting begins again.
    pub(super) fn restart(&mut self, now: Stamp) {
        *self = Self::new(now);
    }

    /// One more picture. `needed` is how many a second the rules need; 0 is any number. True when there is something new to say.
    pub(super) fn gave(&mut self, needed: f32, now: Stamp) -> bool {
        self.pictures += 1;
        let window = WINDOW.max(Duration::from_secs_f32(FEWEST / needed.max(0.001)));
        let passed = now.since(self.began);
        if needed <= 0.0 {
            // Rules that need nothing, as after a reload, have nothing to complain of.
            let is_news = self.short.is_some();
            self.restart(now);
            return is_news;
        }
        if passed < window {
            return false;
        }
        // The first picture of a window opens it.
        let rate = (self.pictures - 1) as f32 / passed.as_secs_f32();
        let short = (rate < needed * (1.0 - TOLERANCE)).then_some(rate);
        (self.began, self.pictures) = (now, 1);
        let is_news = short.is_some() != self.short.is_some();
        self.short = short;
        is_news
    }

    /// What is wrong with the rate, if anything.
    pub(super) fn complaint(&self, needed: f32) -> Option<String> {
        self.short.map(|rate| format!("it gives {rate:.1} pictures a second, its rules need {needed:.1}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_gives_too_few_pictures_for_its_rules_is_told_and_one_that_recovers_too() {
        let at = |ms: u64| Stamp::new(ms * 1000, 0);
        let mut rate = Rate::new(at(0));
        let news: Vec<u64> = (0..60u64).map(|n| n * 1000).filter(|ms| rate.gave(2.0, at(*ms))).collect();
        assert_eq!(news, [10_000]);
        let said = rate.complaint(2.0).unwrap();
        assert!(said.starts_with("it gives 1.") && said.ends_with("its rules need 2.0"), "{said}");
        let news = (0..200u64).map(|n| 60_000 + n * 200).filter(|ms| rate.gave(2.0, at(*ms))).count();
        assert_eq!((news, rate.complaint(2.0)), (1, None));
        assert!(!(0..1000u64).any(|n| rate.gave(0.0, at(100_000 + n * 5_000))), "no rule needs any");
    }

    #[test]
    fn no_complaint_stays_when_a_reload_makes_the_rules_need_no_rate() {
        let at = |ms: u64| Stamp::new(ms * 1000, 0);
        let mut rate = Rate::new(at(0));
        assert_eq!((0..12u64).filter(|n| rate.gave(2.0, at(n * 1000))).count(), 1);
        assert!(rate.complaint(2.0).is_some());
        assert!(rate.gave(0.0, at(13_000)), "that it is over is told");
        assert_eq!(rate.complaint(0.0), None);
        assert!(!rate.gave(0.0, at(14_000)), "once");
    }
}
