//! A convolution of each channel with a window of its own, straight from the picture: no border is copied, windows
//! that hang over the edge leave out what lies beyond it.

use std::ops::Range;

use super::convolution::Layer;
use super::ramp::Loaded;
use super::vector::Vector;
use super::{LANES, Simd, Work, stride};
use crate::{Aligned, Window};

/// Weights in the order in which they are used.
#[derive(Debug, PartialEq)]
pub(super) struct Packed {
    /// One for each channel, and zeros to a whole number of registers.
    bias: Aligned<f32>,
    /// `[register of channels][tap][channel]`; the last register may be half a one.
    weights: Aligned<f32>,
}

impl Packed {
    /// `None` when the lengths do not fit, or a window sees nothing.
    pub(super) fn new(simd: Simd, window: &Window, weights: &[f32], bias: &[f32]) -> Option<Self> {
        let channels = window.input.channels;
        let taps = window.taps();
        if !window.is_sound() {
            return None;
        }
        let fits = window.output.channels == channels && bias.len() == channels;
        // Every window sees at least one pixel.
        let sees = |out: usize, step: usize, size: usize, before: usize, side: usize| {
            before < size && (out - 1) * step < side + before
        };
        let fits = fits
            && sees(window.output.height, window.step.0, window.size.0, window.before.0, window.input.height)
            && sees(window.output.width, window.step.1, window.size.1, window.before.1, window.input.width);
        if !fits || weights.len() != taps * channels {
            return None;
        }
        let padded = stride(channels);
        let weight = |c: usize, tap: usize| if c < channels { weights[c * taps + tap] } else { 0.0 };
        let lanes = simd.eights() * LANES;
        let packed = (0..padded).step_by(lanes).flat_map(|start| {
            let end = padded.min(start + lanes);
            (0..taps).flat_map(move |tap| (start..end).map(move |channel| weight(channel, tap)))
        });
        let mut bias = bias.to_vec();
        bias.resize(padded, 0.0);
        Some(Self { weights: Aligned::new(&packed.collect::<Vec<_>>()), bias: Aligned::new(&bias) })
    }

    /// Runs it on one picture.
    pub(super) fn run(&self, layer: &Layer, input: &[f32], output: &mut [f32]) {
        layer.simd.run(Rows { op: self, layer, input, output });
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
        let padded = stride(self.layer.window.input.channels);
        let lanes = V::EIGHTS * LANES;
        let mut start = 0;
        // The channels of a register in all rows after one another: of these the rows stay in the inner cache.
        while start + lanes <= padded {
            self.register(v, start);
            start += lanes;
        }
        if start < padded {
            self.register(v.half(), start);
        }
    }
}

/// Some neighbouring pixels of a row.
struct Place {
    y: usize,
    x: usize,
    /// First channel.
    start: usize,
    /// Rows of the window that lie within the picture.
    rows: Range<usize>,
}

impl Rows<'_> {
    /// A register of channels of all pixels, from channel `start` on.
    #[inline(always)]
    fn register<V: Vector>(&mut self, v: V, start: usize) {
        let Window { size, step, .. } = self.layer.window;
        let ramp = self.layer.ramp.load(v);
        match (size, step) {
            ((3, 3), (1, 1)) => self.sweep::<V, 3, 1>(v, &ramp, start),
            ((3, 3), (2, 2)) => self.sweep::<V, 3, 2>(v, &ramp, start),
            ((5, 5), (1, 1)) => self.sweep::<V, 5, 1>(v, &ramp, start),
            ((5, 5), (2, 2)) => self.sweep::<V, 5, 2>(v, &ramp, start),
            _ => self.any(v, &ramp, start),
        }
    }

    /// A square window of `K` taps a side that goes on by `S`.
    #[inline(always)]
    fn sweep<V: Vector, const K: usize, const S: usize>(&mut self, v: V, ramp: &Loaded<V>, start: usize) {
        let Window { input, output, step, size, before } = self.layer.window;
        for y in 0..output.height {
            let rows = within(y, step.0, size.0, before.0, input.height);
            let mut x = 0;
            while x < output.width {
                // Shared out evenly: seven and seven are quicker than eight and six.
                let left = output.width - x;
                let place = Place { y, x, start, rows: rows.clone() };
                x += match left.div_ceil(left.div_ceil(8)) {
                    8.. => self.neighbours::<V, K, S, 8>(v, ramp, &place),
                    7 => self.neighbours::<V, K, S, 7>(v, ramp, &place),
                    4.. => self.neighbours::<V, K, S, 4>(v, ramp, &place),
                    2.. => self.neighbours::<V, K, S, 2>(v, ramp, &place),
                    _ => self.neighbours::<V, K, S, 1>(v, ramp, &place),
                };
            }
        }
    }

    /// `P` pixels, which read each column of a row once. Answers with `P`.
    #[inline(always)]
    fn neighbours<V: Vector, const K: usize, const S: usize, const P: usize>(
        &mut self,
        v: V,
        ramp: &Loaded<V>,
        place: &Place,
    ) -> usize {
        let Window { input: plane, before, .. } = self.layer.window;
        let stride = stride(plane.channels);
        let weights = V::pack(&self.op.weights[place.start * K * K..]).as_chunks::<K>().0;
        let mut sums = [v.load(&V::pack(&self.op.bias[place.start..])[0]); P];
        for row in place.rows.clone() {
            let mut w = [v.splat(0.0); K];
            for t in 0..K {
                w[t] = v.load(&weights[row][t]);
            }
            let y = place.y * S + row - before.0;
            let line = &self.input[y * plane.width * stride..][..plane.width * stride][place.start..];
            let column = |j: usize| {
                // Left of the picture this is a very large number: beyond the line, too.
                let x = (place.x * S + j).wrapping_sub(before.1);
                line.get(x.wrapping_mul(stride)..).and_then(|rest| V::pack(rest).first())
            };
            macro_rules! columns {
                ($($j:literal)*) => {$(
                    if const { $j < (P - 1) * S + K } && let Some(x) = column($j) {
                        let x = v.load(x);
                        for p in 0..P {
                            if $j >= p * S && $j < p * S + K {
                                sums[p] = v.multiply_add(x, w[$j - p * S], sums[p]);
                            }
                        }
                    }
                )*};
            }
            columns!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18);
        }
        // Written out, so that the sums need not lie in memory.
        macro_rules! pixels {
            ($($p:literal)*) => {$(
                if let Some(sum) = sums.get($p) {
                    self.store(v, ramp, place, $p, *sum);
                }
            )*};
        }
        pixels!(0 1 2 3 4 5 6 7);
        P
    }

    /// Any window, one pixel at a time.
    #[inline(always)]
    fn any<V: Vector>(&mut self, v: V, ramp: &Loaded<V>, start: usize) {
        let Window { input, output, size, step, before } = self.layer.window;
        let stride = stride(input.channels);
        for (y, x) in (0..output.height).flat_map(|y| (0..output.width).map(move |x| (y, x))) {
            let rows = within(y, step.0, size.0, before.0, input.height);
            let mut sum = v.load(&V::pack(&self.op.bias[start..])[0]);
            let weights = V::pack(&self.op.weights[start * size.0 * size.1..]);
            for row in rows.clone() {
                for tap in within(x, step.1, size.1, before.1, input.width) {
                    let (y, x) = (y * step.0 + row - before.0, x * step.1 + tap - before.1);
                    let from = V::pack(&self.input[(y * input.width + x) * stride + start..]);
                    sum = v.multiply_add(v.load(&from[0]), v.load(&weights[row * size.1 + tap]), sum);
                }
            }
            self.store(v, ramp, &Place { y, x, start, rows }, 0, sum);
        }
    }

    /// The sum of the pixel that is `p` to the right of a place. There are as many channels out as in.
    #[inline(always)]
    fn store<V: Vector>(&mut self, v: V, ramp: &Loaded<V>, place: &Place, p: usize, sum: V::Register) {
        let output = self.layer.window.output;
        let at = (place.y * output.width + place.x + p) * stride(output.channels) + place.start;
        v.store(ramp.of(v, sum), &mut V::pack_mut(&mut self.output[at..])[0]);
    }
}
