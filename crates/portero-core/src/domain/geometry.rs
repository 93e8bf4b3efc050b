//! Places in a picture: normalised rectangles, pixel rectangles, zones.

use super::ZoneId;

/// A rectangle in fractions of the picture: `0.0 <= x0 < x1 <= 1.0`, the same for y; the origin is top left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormRect {
    x0: f32,
    y0: f32,
    x1: f32,
    y1: f32,
}

/// A rectangle in pixels: left, top, width and height; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelRect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

/// Why a zone was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ZoneError {
    /// Fewer than three corners.
    #[error("a polygon needs at least 3 points, found {0}")]
    TooFewPoints(usize),
    /// A coordinate that is no number within 0..=1.
    #[error("coordinate {0} is outside 0.0 to 1.0")]
    OutOfRange(f32),
    /// All corners lie on a line, or two edges of a box coincide.
    #[error("the zone has no area")]
    NoArea,
    /// Both ends of a line are one point.
    #[error("the line has no length")]
    NoLength,
}

impl NormRect {
    /// The whole picture.
    pub const FULL: NormRect = NormRect { x0: 0.0, y0: 0.0, x1: 1.0, y1: 1.0 };

    /// # Errors
    /// [`ZoneError::OutOfRange`] for a coordinate outside 0..=1, [`ZoneError::NoArea`] unless `x0 < x1` and `y0 < y1`.
    pub fn new(x0: f32, y0: f32, x1: f32, y1: f32) -> Result<Self, ZoneError> {
        for v in [x0, y0, x1, y1] {
            if !(0.0..=1.0).contains(&v) {
                return Err(ZoneError::OutOfRange(v));
            }
        }
        if x0 < x1 && y0 < y1 { Ok(Self { x0, y0, x1, y1 }) } else { Err(ZoneError::NoArea) }
    }

    /// The corners as `[x0, y0, x1, y1]`.
    #[must_use]
    pub fn corners(&self) -> [f32; 4] {
        [self.x0, self.y0, self.x1, self.y1]
    }

    /// Its share of the picture, above 0.
    #[must_use]
    pub fn area(&self) -> f32 {
        (self.x1 - self.x0) * (self.y1 - self.y0)
    }

    /// The middle, as `(x, y)`.
    #[must_use]
    pub fn centre(&self) -> (f32, f32) {
        ((self.x0 + self.x1) / 2.0, (self.y0 + self.y1) / 2.0)
    }

    /// What both have in common; `None` when that has no area.
    #[must_use]
    pub fn intersection(&self, other: &NormRect) -> Option<NormRect> {
        let (x0, y0) = (self.x0.max(other.x0), self.y0.max(other.y0));
        let (x1, y1) = (self.x1.min(other.x1), self.y1.min(other.y1));
        (x0 < x1 && y0 < y1).then_some(NormRect { x0, y0, x1, y1 })
    }

    /// Where a thing in this box stands: the middle of its lower edge, as `(x, y)`.
    #[must_use]
    pub fn foot(&self) -> (f32, f32) {
        ((self.x0 + self.x1) / 2.0, self.y1)
    }

    /// Intersection over union, 0..=1.
    #[must_use]
    pub fn iou(&self, other: &NormRect) -> f32 {
        let common = self.intersection(other).map_or(0.0, |both| both.area());
        common / (self.area() + other.area() - common)
    }

    /// Grown on each side by `share` of its own width and height, as far as the picture goes.
    #[must_use]
    pub fn grown(&self, share: f32) -> NormRect {
        let (dx, dy) = ((self.x1 - self.x0) * share.max(0.0), (self.y1 - self.y0) * share.max(0.0));
        NormRect {
            x0: (self.x0 - dx).max(0.0),
            y0: (self.y0 - dy).max(0.0),
            x1: (self.x1 + dx).min(1.0),
            y1: (self.y1 + dy).min(1.0),
        }
    }

    /// The pixels this rectangle covers in a picture of `width` x `height`, edges rounded to the nearest pixel,
    /// at least one pixel. `width` and `height` must not be 0.
    #[must_use]
    pub fn to_pixels(&self, width: u32, height: u32) -> PixelRect {
        let span = |lo: f32, hi: f32, size: u32| {
            let start = ((lo * size as f32).round() as u32).min(size.saturating_sub(1));
            let end = ((hi * size as f32).round() as u32).clamp(start + 1, size.max(start + 1));
            (start, end - start)
        };
        let (x, width) = span(self.x0, self.x1, width);
        let (y, height) = span(self.y0, self.y1, height);
        PixelRect { x, y, width, height }
    }
}

/// A polygon in normalised coordinates, with an area.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    points: Vec<(f32, f32)>,
    bounds: NormRect,
}

impl Polygon {
    /// Takes the corners in order, as `(x, y)` in fractions of the picture.
    ///
    /// # Errors
    /// [`ZoneError`] for fewer than three points, a coordinate outside 0..=1, or a polygon without area.
    pub fn new(points: Vec<(f32, f32)>) -> Result<Self, ZoneError> {
        if points.len() < 3 {
            return Err(ZoneError::TooFewPoints(points.len()));
        }
        if let Some(&bad) = points.iter().flat_map(|(x, y)| [x, y]).find(|v| !(0.0..=1.0).contains(*v)) {
            return Err(ZoneError::OutOfRange(bad));
        }
        if shoelace(&points).abs() < 1e-6 {
            return Err(ZoneError::NoArea);
        }
        let fold = |pick: fn(&(f32, f32)) -> f32, start: f32, by: fn(f32, f32) -> f32| {
            points.iter().map(pick).fold(start, by)
        };
        let bounds = NormRect::new(
            fold(|p| p.0, 1.0, f32::min),
            fold(|p| p.1, 1.0, f32::min),
            fold(|p| p.0, 0.0, f32::max),
            fold(|p| p.1, 0.0, f32::max),
        )?;
        Ok(Self { points, bounds })
    }

    /// The corners, in order.
    #[must_use]
    pub fn points(&self) -> &[(f32, f32)] {
        &self.points
    }

    /// The smallest rectangle around it.
    #[must_use]
    pub fn bounds(&self) -> NormRect {
        self.bounds
    }

    /// Whether a point lies inside (even-odd rule); edges may fall to either side.
    #[must_use]
    pub fn contains(&self, x: f32, y: f32) -> bool {
        self.crossings(y).filter(|crossing| x < *crossing).count() % 2 == 1
    }

    /// Where the horizontal line at `y` meets its edges, in the order of the edges.
    pub fn crossings(&self, y: f32) -> impl Iterator<Item = f32> {
        let previous = self.points.iter().cycle().skip(self.points.len() - 1);
        let meets = move |&(&(_, py), &(_, cy)): &(&(f32, f32), &(f32, f32))| (cy > y) != (py > y);
        let at =
            move |(&(px, py), &(cx, cy)): (&(f32, f32), &(f32, f32))| (px - cx) * (y - cy) / (py - cy) + cx;
        previous.zip(&self.points).filter(meets).map(at)
    }
}

impl From<NormRect> for Polygon {
    fn from(rect: NormRect) -> Self {
        let [x0, y0, x1, y1] = rect.corners();
        Self { points: vec![(x0, y0), (x1, y0), (x1, y1), (x0, y1)], bounds: rect }
    }
}

/// A named polygon in a camera's picture, in normalised coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    id: ZoneId,
    shape: Polygon,
}

impl Zone {
    /// A zone of this shape.
    #[must_use]
    pub fn new(id: ZoneId, shape: Polygon) -> Self {
        Self { id, shape }
    }

    /// The zone's name.
    #[must_use]
    pub fn id(&self) -> &ZoneId {
        &self.id
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> &Polygon {
        &self.shape
    }

    /// The smallest rectangle around the zone: what the classifier sees of it.
    #[must_use]
    pub fn bounds(&self) -> NormRect {
        self.shape.bounds
    }
}

/// Twice the signed area of a polygon.
fn shoelace(points: &[(f32, f32)]) -> f32 {
    let next = points.iter().cycle().skip(1);
    points.iter().zip(next).map(|((ax, ay), (bx, by))| ax * by - bx * ay).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(points: &[(f32, f32)]) -> Result<Polygon, ZoneError> {
        Polygon::new(points.to_vec())
    }

    #[test]
    fn polygons_without_area_are_refused() {
        assert_eq!(zone(&[(0.0, 0.0), (1.0, 1.0)]).unwrap_err(), ZoneError::TooFewPoints(2));
        assert_eq!(zone(&[(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]).unwrap_err(), ZoneError::NoArea);
        assert_eq!(zone(&[(0.0, 0.0), (1.5, 0.5), (1.0, 1.0)]).unwrap_err(), ZoneError::OutOfRange(1.5));
        assert!(matches!(zone(&[(0.0, f32::NAN), (0.5, 0.5), (1.0, 0.0)]), Err(ZoneError::OutOfRange(_))));
    }

    #[test]
    fn inside_is_even_odd() {
        let triangle = zone(&[(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]).unwrap();
        assert!(triangle.contains(0.2, 0.2));
        assert!(!triangle.contains(0.8, 0.8));
        assert_eq!(triangle.bounds(), NormRect::FULL);
    }

    #[test]
    fn pixels_are_never_empty_and_never_outside() {
        let thin = NormRect::new(0.999, 0.0, 1.0, 0.0001).unwrap();
        let px = thin.to_pixels(10, 10);
        assert_eq!(px, PixelRect { x: 9, y: 0, width: 1, height: 1 });
        assert_eq!(NormRect::FULL.to_pixels(768, 576), PixelRect { x: 0, y: 0, width: 768, height: 576 });
    }
}
