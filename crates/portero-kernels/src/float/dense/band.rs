//! The border of zeros around a picture, for a few rows at a time: a copy that the inner cache holds.

use crate::Window;
use crate::float::{Source, stride};

/// Floats of a band, about.
const SIZE: usize = 6 * 1024;

/// Pixels of the output that a band has at the least, if the picture has them: all weights are read for each band.
const PIXELS: usize = 64;

/// What some rows of the output read, with its border.
#[derive(Debug, Clone, Copy)]
pub(super) struct Band<'a> {
    window: &'a Window,
    /// Rows of the output.
    pub(super) rows: usize,
    /// Floats from one pixel to the next.
    pub(super) unit: usize,
    /// One for pixels, and one for each channel that lies by itself.
    pictures: usize,
    height: usize,
    /// Pixels in a row, with the border.
    pub(super) width: usize,
}

impl<'a> Band<'a> {
    /// As many rows as fit, or as make up the least of pixels, shared out evenly. Without a border, all rows.
    pub(super) fn new(window: &'a Window, source: Source) -> Self {
        let channels = window.input.channels;
        let (unit, pictures) = match source {
            Source::Pixels => (stride(channels), 1),
            Source::Planes => (1, channels),
        };
        let bordered = window.bordered();
        let all = window.output.height;
        let height = |rows: usize| (rows - 1) * window.step.0 + window.size.0;
        let fits = |rows: &usize| height(*rows) * bordered.width * unit * pictures <= SIZE;
        let most = (1..=all).take_while(fits).last().unwrap_or(1);
        let most = most.max(PIXELS.div_ceil(window.output.width)).min(all);
        let rows = all.div_ceil(all.div_ceil(most));
        let mut band = Self { window, rows, unit, pictures, height: height(rows), width: bordered.width };
        if !band.copies() {
            (band.rows, band.height) = (all, bordered.height);
        }
        band
    }

    /// Whether there is a border at all.
    pub(super) fn copies(&self) -> bool {
        self.window.bordered() != self.window.input
    }

    /// Floats of it.
    pub(super) fn len(&self) -> usize {
        self.pictures * self.height * self.width * self.unit
    }

    /// Floats from one channel to the next, where they lie by themselves.
    pub(super) fn plane(&self) -> usize {
        self.height * self.width
    }

    /// Copies what the rows of band `number` read.
    pub(super) fn lay(&self, number: usize, input: &[f32], copy: &mut [f32]) {
        let Window { input: plane, step, before, .. } = self.window;
        let (row, left) = (plane.width * self.unit, before.1 * self.unit);
        let pictures = input.chunks_exact(plane.height * row);
        for (from, to) in pictures.zip(copy.chunks_exact_mut(self.height * self.width * self.unit)) {
            let lines = to.chunks_exact_mut(self.width * self.unit);
            for (y, line) in (number * self.rows * step.0..).zip(lines) {
                match y.checked_sub(before.0).filter(|y| *y < plane.height) {
                    Some(y) => {
                        line[..left].fill(0.0);
                        line[left..left + row].copy_from_slice(&from[y * row..][..row]);
                        line[left + row..].fill(0.0);
                    }
                    None => line.fill(0.0),
                }
            }
        }
    }
}
