//! How the outputs of a layer are dealt out.

use std::ops::Range;

use crate::float::LANES;

/// Outputs that are made together: up to three registers, whole or half, or two and a half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Share {
    /// First output.
    pub(super) start: usize,
    /// Whole registers.
    pub(super) wide: usize,
    /// Registers of eight behind them, where a whole one holds more.
    pub(super) halves: usize,
    /// Floats in a whole register.
    lanes: usize,
}

impl Share {
    /// The outputs in whole registers.
    pub(super) fn whole(&self) -> Range<usize> {
        self.start..self.start + self.wide * self.lanes
    }

    /// Those in half registers.
    pub(super) fn rest(&self) -> Range<usize> {
        let start = self.whole().end;
        start..start + self.halves * LANES
    }
}

/// Deals out `outputs`, a multiple of eight, to registers of `eights` times eight.
pub(super) fn shares(outputs: usize, eights: usize) -> impl Iterator<Item = Share> {
    let lanes = eights * LANES;
    let (mut left, mut odd) = (outputs / lanes, !outputs.is_multiple_of(lanes));
    // An odd eight goes with two whole registers. With one, three of eight are quicker.
    let last = match (odd, left) {
        (false, _) => (0, 0),
        (true, 0) => (0, 1),
        (true, 1) => (0, 3),
        (true, _) => (2, 1),
    };
    left -= if odd { left.min(2) } else { 0 };
    let mut start = 0;
    std::iter::from_fn(move || {
        let (wide, halves) = match left {
            0 if !odd => return None,
            0 => last,
            1 | 2 => (left, 0),
            // Two and two are quicker than three and one.
            4 => (2, 0),
            _ => (3, 0),
        };
        (left, odd) = (left.saturating_sub(wide), odd && left > 0);
        let share = Share { start, wide, halves, lanes };
        start = share.rest().end;
        Some(share)
    })
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn every_output_is_dealt_out_once() {
        for (outputs, eights) in (1..90).flat_map(|n| [(n * 8, 1), (n * 8, 2)]) {
            let mut next = 0;
            for share in shares(outputs, eights) {
                assert_eq!(share.start, next, "of {outputs}");
                assert!(share.wide + share.halves < 4, "{share:?} of {outputs}");
                next = share.rest().end;
            }
            assert_eq!(next, outputs);
        }
    }
}
