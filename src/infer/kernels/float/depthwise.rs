//! A convolution of each channel with a window of its own, straight from the picture: no border is copied, windows
//! that hang over the edge leave out what lies beyond it.

use std::ops::Range;

use super::convolution::Layer;
use super::ramp::Loaded;
use super::vector::Vector;
use super::{LANES, Lanes, Simd, Work, stride};
use crate::infer::kernels::Window;

/// Weights in the order in which they are used.
#[derive(Debug, PartialEq)]
pub(super) struct Packed {
    /// One for each channel, and zeros to a whole number of registers.
    bias: Vec<Lanes>,
    /// `[block of up to four registers of channels][tap][channel]`.
    weights: Vec<Lanes>,
}

/// Registers of channels that go together.
const BLOCK: usize = 4;

impl Packed {
    /// `None` when the lengths do not fit, or a window sees nothing.
    pub(super) fn new(window: &Window, weights: &[f32], bias: &[f32]) -> Option<Self> {
        let channels = window.input.channels;
        let taps = window.size.0 * window.size.1;
        let fits = window.output.channels == channels && bias.len() == channels && channels > 0;
        // Every window sees at least one pixel.
        let sees = |out: usize, step: usize, size: usize, before: usize, side: usize| {
            before < size && (out - 1) * step < side + before
        };
        let fits = fits
            && sees(window.output.height, window.step.0, window.size.0, window.before.0, window.input.height)
            && sees(window.output.width, window.step.1, window.size.1, window.before.1, window.input.width);
        if !fits || taps == 0 || weights.len() != taps * channels {
            return None;
        }
        let padded = stride(channels);
        let weight = |c: usize, tap: usize| if c < channels { weights[c * taps + tap] } else { 0.0 };
        let packed = (0..padded).step_by(BLOCK * LANES).flat_map(|start| {
            let end = padded.min(start + BLOCK * LANES);
            (0..taps).flat_map(move |tap| (start..end).map(move |channel| weight(channel, tap)))
        });
        Some(Self { weights: Lanes::pack(packed), bias: Lanes::pack(bias.iter().copied()) })
    }

    /// Runs it on one picture.
    pub(super) fn run(&self, layer: &Layer, simd: Simd, input: &[f32], output: &mut [f32]) {
        simd.run(Rows { op: self, layer, input, output });
    }
}

/// Which taps of a window at `at` lie within the picture, along one side.
#[inline(always)]
fn within(at: usize, step: usize, size: usize, before: usize, side: usize) -> Range<usize> {
    let corner = at * step;
    let first = before.saturating_sub(corner).min(size);
    first..(side + before).saturating_sub(corner).clamp(first, size)
}

/// One picture.
struct Rows<'a> {
    op: &'a Packed,
    layer: &'a Layer,
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Work for Rows<'_> {
    #[inline(always)]
    fn run<V: Vector>(mut self, v: V) {
        let Window { input, output, size, step, before } = self.layer.window;
        let ramp = self.layer.ramp.load(v);
        let registers = stride(input.channels) / LANES;
        // Windows that do not hang over an edge go together.
        let inner = before.1.div_ceil(step.1)..match (input.width + before.1).checked_sub(size.1) {
            Some(last) => output.width.min(last / step.1 + 1),
            None => 0,
        };
        let mut start = 0;
        // A few channels of all rows after one another: of these the rows stay in the inner cache.
        while start < registers {
            let many = (registers - start).min(BLOCK);
            for y in 0..output.height {
                let rows = within(y, step.0, size.0, before.0, input.height);
                let mut x = 0;
                while x < output.width {
                    let columns = within(x, step.1, size.1, before.1, input.width);
                    // Two and two are quicker than three and one.
                    let left = if inner.contains(&x) { inner.end - x } else { 1 };
                    let pixels = left.div_ceil(left.div_ceil(3));
                    let place = Place { y, x, start, rows: rows.clone(), columns };
                    match many {
                        1 => self.neighbours::<V, 1>(v, &ramp, &place, pixels),
                        2 => self.neighbours::<V, 2>(v, &ramp, &place, pixels),
                        3 => self.neighbours::<V, 3>(v, &ramp, &place, pixels),
                        _ => self.neighbours::<V, BLOCK>(v, &ramp, &place, pixels),
                    }
                    x += pixels;
                }
            }
            start += many;
        }
    }
}

/// Some neighbouring pixels of a row and the taps that they use.
struct Place {
    y: usize,
    x: usize,
    /// First register of channels.
    start: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Rows<'_> {
    /// Up to three pixels of `R` registers of channels.
    #[inline(always)]
    fn neighbours<V: Vector, const R: usize>(
        &mut self,
        v: V,
        ramp: &Loaded<V>,
        place: &Place,
        pixels: usize,
    ) {
        match pixels {
            1 => self.pixels::<V, R, 1>(v, ramp, place),
            2 => self.pixels::<V, R, 2>(v, ramp, place),
            _ => self.pixels::<V, R, 3>(v, ramp, place),
        }
    }

    /// `P` pixels of `R` registers of channels, all with the same taps.
    #[inline(always)]
    fn pixels<V: Vector, const R: usize, const P: usize>(&mut self, v: V, ramp: &Loaded<V>, place: &Place) {
        let Window { input: plane, output, size, step, before } = self.layer.window;
        let stride = stride(plane.channels);
        let across = step.1 * stride;
        let taps = size.0 * size.1;
        let weights = &self.op.weights[place.start * taps..][..R * taps];
        let weights = weights.as_chunks::<R>().0;
        let bias = &self.op.bias[place.start..][..R];
        let mut sums = [[v.splat(0.0); R]; P];
        for sums in &mut sums {
            for r in 0..R {
                sums[r] = v.load(&bias[r].0);
            }
        }
        let x = place.x * step.1 + place.columns.start - before.1;
        for row in place.rows.clone() {
            let y = place.y * step.0 + row - before.0;
            let line = &self.input[(y * plane.width + x) * stride + place.start * LANES..];
            let weights = &weights[row * size.1..][place.columns.clone()];
            assert!((weights.len() - 1) * stride + (P - 1) * across + R * LANES <= line.len());
            for (tap, weights) in weights.iter().enumerate() {
                let mut w = [v.splat(0.0); R];
                for r in 0..R {
                    w[r] = v.load(&weights[r].0);
                }
                for (p, sums) in sums.iter_mut().enumerate() {
                    for r in 0..R {
                        // SAFETY: eight floats from here end within the line, as is asserted above for the last.
                        let x = unsafe {
                            &*line.as_ptr().add(tap * stride + p * across + r * LANES).cast::<[f32; LANES]>()
                        };
                        sums[r] = v.multiply_add(v.load(x), w[r], sums[r]);
                    }
                }
            }
        }
        // As many channels out as in.
        let line = &mut self.output[(place.y * output.width + place.x) * stride..];
        for (p, sums) in sums.into_iter().enumerate() {
            let target = line[p * stride + place.start * LANES..][..R * LANES].as_chunks_mut::<LANES>().0;
            for (target, sum) in target.iter_mut().zip(sums) {
                v.store(ramp.of(v, sum), target);
            }
        }
    }
}
