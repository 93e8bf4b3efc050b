//! How many of the latest pictures were damaged.

/// Pictures that are remembered.
const REMEMBERED: u32 = 50;
/// From so many damaged ones among them on the camera is called degraded, ...
const POOR: u32 = 5;
/// ... until no more than this many are left.
const GOOD: u32 = 1;

/// A memory of the latest pictures, one bit each; a set bit is a damaged one.
#[derive(Debug, Default)]
pub(super) struct Quality {
    latest: u64,
    poor: bool,
}

impl Quality {
    /// Takes note of one more picture.
    pub(super) fn saw(&mut self, damaged: bool) {
        self.latest = (self.latest << 1 | u64::from(damaged)) & ((1 << REMEMBERED) - 1);
        let count = self.latest.count_ones();
        self.poor = if self.poor { count > GOOD } else { count >= POOR };
    }

    /// Why the camera is to be called degraded, if it is.
    pub(super) fn complaint(&self) -> Option<String> {
        let count = self.latest.count_ones();
        self.poor.then(|| format!("{count} of the last {REMEMBERED} pictures were damaged"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_poor_from_a_tenth_on_and_good_again_when_they_are_forgotten() {
        let mut quality = Quality::default();
        (0..4).for_each(|_| quality.saw(true));
        assert_eq!(quality.complaint(), None);
        quality.saw(true);
        assert_eq!(quality.complaint().unwrap(), "5 of the last 50 pictures were damaged");
        (0..48).for_each(|_| quality.saw(false));
        assert!(quality.complaint().is_some(), "two are left");
        quality.saw(false);
        assert_eq!(quality.complaint(), None);
    }
}
