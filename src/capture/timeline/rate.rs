//! How often a source without a clock gives a picture: learnt where it is even, and followed slowly, so that a source that is
//! held up is not taken for a slow one.

/// Its usual rate is learnt from so many intervals, and for so long, at least.
const INTERVALS: i64 = 8;
const LEARNING: i64 = 4_000_000;
/// While the rate is learnt no interval may be so many times the mean.
const UNEVEN: i64 = 3;
/// One over the weight of a new interval in the usual one.
const SLOWNESS: i64 = 64;

/// How often a source without a clock gives a picture, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rate {
    /// There was no picture without a media time yet.
    Unasked,
    Learnt {
        usual: i64,
        /// The usual interval grows no further: a source that slows down more than this is held up.
        ceiling: i64,
    },
    Learning {
        count: i64,
        sum: i64,
        largest: i64,
    },
}

impl Rate {
    pub(super) const NEW: Self = Self::Learning { count: 0, sum: 0, largest: 0 };

    /// Takes in an interval. Returns how far it exceeds what may be learnt of it.
    pub(super) fn learn(&mut self, interval: i64) -> i64 {
        match self {
            Self::Unasked => *self = Self::NEW,
            Self::Learning { count, sum, largest } => {
                (*count, *sum, *largest) = (*count + 1, *sum + interval, interval.max(*largest));
                if *count >= INTERVALS && *sum >= LEARNING {
                    let usual = (*sum / *count).max(1);
                    let is_even = *largest <= UNEVEN * usual;
                    *self =
                        if is_even { Self::Learnt { usual, ceiling: usual + usual / 4 } } else { Self::NEW };
                }
            }
            Self::Learnt { usual, ceiling } => {
                // One gap must not teach it much.
                let learnt = *usual + (interval.min(2 * *usual) - *usual) / SLOWNESS;
                *usual = learnt.clamp(1, *ceiling);
                if learnt > *ceiling {
                    return interval - *ceiling;
                }
            }
        }
        0
    }
}
