//! A convolution that mixes all channels, of any window; 1x1 is the one that counts.

use super::convolution::{Layer, Source};
use super::ramp::Loaded;
use super::vector::Vector;
use super::{LANES, Lanes, Simd, Work, stride};
use crate::infer::kernels::{Plane, Window, scratch};

/// Weights in the order in which they are used.
#[derive(Debug, PartialEq)]
pub(super) struct Packed {
    /// One for each output, and zeros to a whole number of registers.
    bias: Vec<Lanes>,
    /// `[block of outputs][input][outputs of the block]`, see [`blocks`]. The inputs are in the order of `offsets`.
    weights: Vec<Lanes>,
    /// Where each input lies, counted from the window's corner in the bordered input.
    offsets: Vec<usize>,
}

/// Pixels that go through all blocks of outputs together: few enough that the inner cache holds them.
const STRIP: usize = 48;

/// Splits registers of outputs into blocks of three and of two (one is for itself): what they leave of sixteen
/// registers holds inputs.
fn blocks(registers: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = registers - start;
        let size = match left {
            0 => return None,
            1 | 2 => left,
            4 => 2,
            _ => 3,
        };
        start += size;
        Some((start - size, size))
    })
}

impl Packed {
    /// `None` when the lengths do not fit.
    pub(super) fn new(window: &Window, source: Source, weights: &[f32], bias: &[f32]) -> Option<Self> {
        let (inputs, outputs) = (window.input.channels, window.output.channels);
        let taps = window.size.0 * window.size.1;
        let depth = taps * inputs;
        if depth == 0 || outputs == 0 || weights.len() != depth * outputs || bias.len() != outputs {
            return None;
        }
        let inputs: Vec<_> = match source {
            Source::Pixels => (0..taps).flat_map(|tap| (0..inputs).map(move |c| (tap, c))).collect(),
            Source::Planes => (0..inputs).flat_map(|c| (0..taps).map(move |tap| (tap, c))).collect(),
        };
        let bordered = window.bordered();
        let offset = |&(tap, channel): &(usize, usize)| {
            let pixel = tap / window.size.1 * bordered.width + tap % window.size.1;
            match source {
                Source::Pixels => pixel * stride(window.input.channels) + channel,
                Source::Planes => channel * bordered.pixels() + pixel,
            }
        };
        let offsets = inputs.iter().map(offset).collect();
        let weight = |o: usize, tap: usize, channel: usize| {
            let at = (o * window.input.channels + channel) * taps + tap;
            if o < outputs { weights[at] } else { 0.0 }
        };
        let registers = stride(outputs) / LANES;
        let inputs = &inputs;
        let packed = blocks(registers).flat_map(|(start, size)| {
            inputs.iter().flat_map(move |&(tap, channel)| {
                (start * LANES..(start + size) * LANES).map(move |o| weight(o, tap, channel))
            })
        });
        let bias = Lanes::pack(bias.iter().copied());
        Some(Self { bias, weights: Lanes::pack(packed), offsets })
    }

    /// Runs it on one picture.
    pub(super) fn run(&self, layer: &Layer, simd: Simd, input: &[f32], output: &mut [f32]) {
        let Window { input: plane, output: to, step, .. } = layer.window;
        let (bordered, unit) = (layer.window.bordered(), unit(layer.source, &plane));
        let steps = [step.0 * bordered.width * unit, step.1 * unit];
        with_border(layer, input, bordered, |input| {
            simd.run(Tiles { op: self, layer, input, output, width: to.width, steps });
        });
    }

    /// Runs it on pictures of pixels that lie end to end, where each output is made of the pixel at its place.
    pub(super) fn run_points(&self, layer: &Layer, simd: Simd, input: &[f32], output: &mut [f32]) {
        let stride = stride(layer.window.input.channels);
        let (width, steps) = (input.len() / stride, [0, stride]);
        simd.run(Tiles { op: self, layer, input, output, width, steps });
    }
}

/// Floats from one pixel to the next, of the input.
fn unit(source: Source, plane: &Plane) -> usize {
    match source {
        Source::Pixels => stride(plane.channels),
        Source::Planes => 1,
    }
}

/// Calls `run` with the input in its border of zeros: a copy, unless there is no border.
fn with_border(layer: &Layer, input: &[f32], bordered: Plane, run: impl FnOnce(&[f32])) {
    let (window, plane) = (&layer.window, layer.window.input);
    if bordered == plane {
        return run(input);
    }
    let unit = unit(layer.source, &plane);
    let pictures = match layer.source {
        Source::Pixels => 1,
        Source::Planes => plane.channels,
    };
    scratch::floats(pictures * bordered.pixels() * unit, |copy| {
        let from = input.chunks_exact(plane.pixels() * unit);
        for (from, to) in from.zip(copy.chunks_exact_mut(bordered.pixels() * unit)) {
            window.lay(from, to, unit, 0.0);
        }
        run(copy);
    });
}

/// A convolution of one bordered input: pixel `i` of the output lies over `i / width * steps[0] + i % width * steps[1]`.
struct Tiles<'a> {
    op: &'a Packed,
    layer: &'a Layer,
    input: &'a [f32],
    output: &'a mut [f32],
    width: usize,
    steps: [usize; 2],
}

impl Work for Tiles<'_> {
    #[inline(always)]
    fn run<V: Vector>(mut self, v: V) {
        let stride = stride(self.layer.window.output.channels);
        let pixels = self.output.len() / stride;
        let reach = self.op.offsets.iter().max().copied().unwrap_or(0);
        // The last row's last window is the farthest of all: what it reads bounds every read below.
        let rows = pixels.div_ceil(self.width);
        assert!((rows - 1) * self.steps[0] + (self.width - 1) * self.steps[1] + reach < self.input.len());
        let ramp = self.layer.ramp.load(v);
        let mut at = 0;
        while at < pixels {
            let end = pixels.min(at + STRIP);
            for (start, size) in blocks(stride / LANES) {
                let block = Block { start, at, end, stride };
                match size {
                    1 => self.block::<V, 1, 12>(v, &ramp, &block),
                    2 => self.block::<V, 2, 6>(v, &ramp, &block),
                    _ => self.block::<V, 3, 4>(v, &ramp, &block),
                }
            }
            at = end;
        }
    }
}

/// Some outputs of some pixels.
struct Block {
    /// First register of outputs.
    start: usize,
    /// First pixel.
    at: usize,
    /// Behind the last pixel.
    end: usize,
    /// Floats from one output pixel to the next.
    stride: usize,
}

impl Tiles<'_> {
    /// `R` registers of outputs, in tiles of up to `T` pixels.
    #[inline(always)]
    fn block<V: Vector, const R: usize, const T: usize>(&mut self, v: V, ramp: &Loaded<V>, block: &Block) {
        let depth = self.op.offsets.len();
        let weights = &self.op.weights[block.start * depth..][..R * depth];
        let weights = weights.as_chunks::<R>().0;
        let mut at = block.at;
        while at < block.end {
            let left = block.end - at;
            // The rest is shared out evenly: five and five are quicker than six and four.
            let pixels = left.div_ceil(left.div_ceil(T));
            match pixels {
                1 => self.single::<V, R>(v, ramp, block, at, weights),
                2 => self.tile::<V, R, 2>(v, ramp, block, at, weights),
                3 => self.tile::<V, R, 3>(v, ramp, block, at, weights),
                4 => self.tile::<V, R, 4>(v, ramp, block, at, weights),
                5 if T > 4 => self.tile::<V, R, 5>(v, ramp, block, at, weights),
                6 if T > 4 => self.tile::<V, R, 6>(v, ramp, block, at, weights),
                7 if T > 6 => self.tile::<V, R, 7>(v, ramp, block, at, weights),
                8 if T > 6 => self.tile::<V, R, 8>(v, ramp, block, at, weights),
                9 if T > 6 => self.tile::<V, R, 9>(v, ramp, block, at, weights),
                10 if T > 6 => self.tile::<V, R, 10>(v, ramp, block, at, weights),
                11 if T > 6 => self.tile::<V, R, 11>(v, ramp, block, at, weights),
                _ => self.tile::<V, R, T>(v, ramp, block, at, weights),
            }
            at += pixels;
        }
    }

    /// Where the windows of the pixels from `at` on have their corners.
    #[inline(always)]
    fn corners<const P: usize>(&self, at: usize) -> [usize; P] {
        let (mut line, mut x) = (at / self.width * self.steps[0], at % self.width);
        let mut corners = [0; P];
        for corner in &mut corners {
            *corner = line + x * self.steps[1];
            x += 1;
            if x == self.width {
                (line, x) = (line + self.steps[0], 0);
            }
        }
        corners
    }

    /// `P` pixels.
    #[inline(always)]
    fn tile<V: Vector, const R: usize, const P: usize>(
        &mut self,
        v: V,
        ramp: &Loaded<V>,
        block: &Block,
        at: usize,
        weights: &[[Lanes; R]],
    ) {
        let corners = self.corners::<P>(at);
        let mut sums = [self.bias::<V, R>(v, block); P];
        for (weights, offset) in weights.iter().zip(&self.op.offsets) {
            let mut w = [v.splat(0.0); R];
            for r in 0..R {
                w[r] = v.load(&weights[r].0);
            }
            for (corner, sums) in corners.iter().zip(&mut sums) {
                // SAFETY: a pixel's corner and an input's offset: `Work::run` has asserted their largest sum.
                let x = v.splat(unsafe { *self.input.get_unchecked(corner + offset) });
                for r in 0..R {
                    sums[r] = v.multiply_add(x, w[r], sums[r]);
                }
            }
        }
        for (p, sums) in sums.into_iter().enumerate() {
            self.store(v, ramp, block, at + p, sums);
        }
    }

    /// One pixel: its sums are made in four parts, so that no product waits for the one before.
    #[inline(always)]
    fn single<V: Vector, const R: usize>(
        &mut self,
        v: V,
        ramp: &Loaded<V>,
        block: &Block,
        at: usize,
        weights: &[[Lanes; R]],
    ) {
        const PARTS: usize = 4;
        let [corner] = self.corners(at);
        let mut sums = [[v.splat(0.0); R]; PARTS];
        sums[0] = self.bias::<V, R>(v, block);
        let weights = weights.chunks(PARTS);
        for (weights, offsets) in weights.zip(self.op.offsets.chunks(PARTS)) {
            for ((weights, offset), sums) in weights.iter().zip(offsets).zip(&mut sums) {
                // SAFETY: as in `tile`.
                let x = v.splat(unsafe { *self.input.get_unchecked(corner + offset) });
                for r in 0..R {
                    sums[r] = v.multiply_add(x, v.load(&weights[r].0), sums[r]);
                }
            }
        }
        let mut whole = sums[0];
        for r in 0..R {
            let pair = v.add(sums[2][r], sums[3][r]);
            whole[r] = v.add(v.add(sums[0][r], sums[1][r]), pair);
        }
        self.store(v, ramp, block, at, whole);
    }

    #[inline(always)]
    fn bias<V: Vector, const R: usize>(&self, v: V, block: &Block) -> [V::Register; R] {
        let bias = &self.op.bias[block.start..][..R];
        let mut registers = [v.splat(0.0); R];
        for r in 0..R {
            registers[r] = v.load(&bias[r].0);
        }
        registers
    }

    #[inline(always)]
    fn store<V: Vector, const R: usize>(
        &mut self,
        v: V,
        ramp: &Loaded<V>,
        block: &Block,
        pixel: usize,
        sums: [V::Register; R],
    ) {
        let target = &mut self.output[pixel * block.stride..][..block.stride];
        let target = target.as_chunks_mut::<LANES>().0;
        for r in 0..R {
            v.store(ramp.of(v, sums[r]), &mut target[block.start + r]);
        }
    }
}
