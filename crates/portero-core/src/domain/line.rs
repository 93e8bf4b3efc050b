//! Lines that things may cross.

use super::{LineId, ZoneError};

/// A side of a line, as somebody sees it in the picture who stands at its start and looks to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// To the left: above a line that runs from left to right.
    Left,
    /// To the right: below a line that runs from left to right.
    Right,
}

impl Side {
    /// The word used in configuration and reasons.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Left => "left",
            Side::Right => "right",
        }
    }
}

/// A straight line with two ends in a camera's picture, in normalised coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    id: LineId,
    from: (f32, f32),
    to: (f32, f32),
}

impl Line {
    /// A line between two different points `(x, y)`, in fractions of the picture.
    ///
    /// # Errors
    /// [`ZoneError::OutOfRange`] for a coordinate outside 0..=1, [`ZoneError::NoLength`] when both ends are one.
    pub fn new(id: LineId, from: (f32, f32), to: (f32, f32)) -> Result<Self, ZoneError> {
        if let Some(bad) = [from.0, from.1, to.0, to.1].into_iter().find(|v| !(0.0..=1.0).contains(v)) {
            return Err(ZoneError::OutOfRange(bad));
        }
        if (from.0 - to.0).hypot(from.1 - to.1) < 1e-3 {
            return Err(ZoneError::NoLength);
        }
        Ok(Self { id, from, to })
    }

    /// The line's name.
    #[must_use]
    pub fn id(&self) -> &LineId {
        &self.id
    }

    /// The side to which somebody gets who goes straight from `a` to `b`, if the way crosses the line between its
    /// ends. A point on the line counts as on its left.
    #[must_use]
    pub fn crossed(&self, a: (f32, f32), b: (f32, f32)) -> Option<Side> {
        let side = |p| if turn(self.from, self.to, p) > 0.0 { Side::Right } else { Side::Left };
        let passes = (turn(a, b, self.from) > 0.0) != (turn(a, b, self.to) > 0.0);
        (side(a) != side(b) && passes).then_some(side(b))
    }
}

/// Above 0 when `p` lies to the right of the way from `a` to `b` in a picture, whose y grows downwards; 0 on it.
fn turn(a: (f32, f32), b: (f32, f32), p: (f32, f32)) -> f32 {
    (b.0 - a.0) * (p.1 - a.1) - (b.1 - a.1) * (p.0 - a.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(from: (f32, f32), to: (f32, f32)) -> Result<Line, ZoneError> {
        Line::new(LineId::new("l").unwrap(), from, to)
    }

    #[test]
    fn the_side_is_that_of_somebody_who_looks_along_the_line() {
        let level = line((0.2, 0.5), (0.8, 0.5)).unwrap();
        assert_eq!(level.crossed((0.5, 0.4), (0.5, 0.6)), Some(Side::Right), "down the picture");
        assert_eq!(level.crossed((0.5, 0.6), (0.4, 0.4)), Some(Side::Left));
        let back = line((0.8, 0.5), (0.2, 0.5)).unwrap();
        assert_eq!(back.crossed((0.5, 0.4), (0.5, 0.6)), Some(Side::Left));
    }

    #[test]
    fn beyond_its_ends_and_along_it_nobody_crosses() {
        let level = line((0.2, 0.5), (0.8, 0.5)).unwrap();
        assert_eq!(level.crossed((0.1, 0.4), (0.1, 0.6)), None);
        assert_eq!(level.crossed((0.3, 0.4), (0.7, 0.4)), None);
        assert_eq!(level.crossed((0.3, 0.5), (0.7, 0.5)), None);
        // Who stops on the line has crossed it once when going on, never twice.
        assert_eq!(level.crossed((0.5, 0.4), (0.5, 0.5)), None);
        assert_eq!(level.crossed((0.5, 0.5), (0.5, 0.6)), Some(Side::Right));
    }

    #[test]
    fn a_line_has_a_length_and_lies_in_the_picture() {
        assert_eq!(line((0.5, 0.5), (0.5, 0.5)).unwrap_err(), ZoneError::NoLength);
        assert_eq!(line((0.5, 0.5), (0.5, 1.5)).unwrap_err(), ZoneError::OutOfRange(1.5));
    }
}
