//! A convolution that mixes all channels, of any window; 1x1 is the one that counts.

mod band;
mod shares;

use super::convolution::{Layer, Source};
use super::ramp::Loaded;
use super::vector::Vector;
use super::{LANES, Simd, Work, stride};
use crate::{Aligned, Window, scratch};
use band::Band;
use shares::{Share, shares};

/// Weights in the order in which they are used.
#[derive(Debug, PartialEq)]
pub(super) struct Packed {
    /// One for each output, and zeros to a whole number of registers.
    bias: Aligned<f32>,
    /// For each [share](Share) of the outputs, `[input][output]` of its whole registers and then of the half ones. The
    /// inputs are in the order of `offsets`.
    weights: Aligned<f32>,
    /// Where each input lies, counted from the window's corner in the bordered input.
    offsets: Vec<usize>,
}

/// Most pixels that go through all shares of the outputs together: few enough that the caches hold them.
const STRIP: usize = 64;

impl Packed {
    /// `None` when the lengths do not fit.
    pub(super) fn new(
        simd: Simd,
        window: &Window,
        source: Source,
        weights: &[f32],
        bias: &[f32],
    ) -> Option<Self> {
        let (inputs, outputs) = (window.input.channels, window.output.channels);
        let taps = window.taps();
        let depth = taps * inputs;
        if !window.is_sound() || weights.len() != depth * outputs || bias.len() != outputs {
            return None;
        }
        let order: Vec<_> = match source {
            Source::Pixels => (0..taps).flat_map(|tap| (0..inputs).map(move |c| (tap, c))).collect(),
            Source::Planes => (0..inputs).flat_map(|c| (0..taps).map(move |tap| (tap, c))).collect(),
        };
        let band = Band::new(window, source);
        let offsets = order.iter().map(|&(tap, channel)| {
            let pixel = tap / window.size.1 * band.width + tap % window.size.1;
            match source {
                Source::Pixels => pixel * band.unit + channel,
                Source::Planes => channel * band.plane() + pixel,
            }
        });
        let offsets = offsets.collect();
        let weight = |o: usize, (tap, channel): (usize, usize)| {
            if o < outputs { weights[(o * inputs + channel) * taps + tap] } else { 0.0 }
        };
        let mut packed = Vec::with_capacity(depth * stride(outputs));
        for share in shares(stride(outputs), simd.eights()) {
            for range in [share.whole(), share.rest()] {
                for input in &order {
                    packed.extend(range.clone().map(|o| weight(o, *input)));
                }
            }
        }
        let mut padded = bias.to_vec();
        padded.resize(stride(outputs), 0.0);
        Some(Self { bias: Aligned::new(&padded), weights: Aligned::new(&packed), offsets })
    }

    /// Runs it on one picture.
    pub(super) fn run(&self, layer: &Layer, input: &[f32], output: &mut [f32]) {
        let Window { step, output: to, .. } = layer.window;
        let band = Band::new(&layer.window, layer.source);
        let (width, steps) = (to.width, [step.0 * band.width * band.unit, step.1 * band.unit]);
        if !band.copies() {
            return layer.simd.run(Tiles { op: self, layer, input, output, width, steps });
        }
        scratch::floats(band.len(), |copy| {
            let rows = band.rows * width * stride(to.channels);
            for (number, output) in output.chunks_mut(rows).enumerate() {
                band.lay(number, input, copy);
                layer.simd.run(Tiles { op: self, layer, input: copy, output, width, steps });
            }
        });
    }

    /// Runs it on pictures of pixels that lie end to end, where each output is made of the pixel at its place.
    pub(super) fn run_points(&self, layer: &Layer, input: &[f32], output: &mut [f32]) {
        let stride = stride(layer.window.input.channels);
        let (width, steps) = (input.len() / stride, [0, stride]);
        layer.simd.run(Tiles { op: self, layer, input, output, width, steps });
    }
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
        let (pixels, depth) = (self.output.len() / stride, self.op.offsets.len());
        let reach = self.op.offsets.iter().max().copied().unwrap_or(0);
        // The last row's last window is the farthest of all: what it reads bounds every read below.
        let rows = pixels.div_ceil(self.width);
        assert!((rows - 1) * self.steps[0] + (self.width - 1) * self.steps[1] + reach < self.input.len());
        let ramps = Ramps { whole: self.layer.ramp.load(v), half: self.layer.ramp.load(v.half()) };
        let mut at = 0;
        while at < pixels {
            // The rest is shared out evenly here, too: no strip goes through all weights for a single pixel.
            let left = pixels - at;
            let end = at + left.div_ceil(left.div_ceil(STRIP));
            for share in shares(stride, V::EIGHTS) {
                let (whole, rest) = (share.whole(), share.rest());
                let weights = &self.op.weights[share.start * depth..][..(rest.end - share.start) * depth];
                let (wide, half) = weights.split_at(whole.len() * depth);
                let block = Block { share, at, end, stride, wide: V::pack(wide), half: half.as_chunks().0 };
                match (share.wide, share.halves) {
                    (0, halves) => {
                        let ramps = Ramps { whole: ramps.half, half: ramps.half };
                        let block = Block { share, at, end, stride, wide: block.half, half: &[] };
                        match halves {
                            1 => self.block::<V::Half, 1, 0>(v.half(), &ramps, &block),
                            _ => self.block::<V::Half, 3, 0>(v.half(), &ramps, &block),
                        }
                    }
                    (1, _) => self.block::<V, 1, 0>(v, &ramps, &block),
                    (2, 0) => self.block::<V, 2, 0>(v, &ramps, &block),
                    (2, _) => self.block::<V, 2, 1>(v, &ramps, &block),
                    _ => self.block::<V, 3, 0>(v, &ramps, &block),
                }
            }
            at = end;
        }
    }
}

/// The activation, for whole registers and for half ones.
struct Ramps<V: Vector> {
    whole: Loaded<V>,
    half: Loaded<V::Half>,
}

/// A share of the outputs of some pixels.
struct Block<'a, V: Vector> {
    share: Share,
    /// First pixel.
    at: usize,
    /// Behind the last pixel.
    end: usize,
    /// Floats from one output pixel to the next.
    stride: usize,
    /// Weights of whole registers, all of one input after another.
    wide: &'a [V::Floats],
    /// Of half ones, or empty.
    half: &'a [[f32; LANES]],
}

/// Sums of one pixel: `R` registers, and `H` half ones (none or one).
#[derive(Clone, Copy)]
struct Sums<V: Vector, const R: usize, const H: usize> {
    wide: [V::Register; R],
    half: [<V::Half as Vector>::Register; H],
}

impl<V: Vector, const R: usize, const H: usize> Sums<V, R, H> {
    /// From memory that holds whole registers, and halves.
    #[inline(always)]
    fn load(v: V, wide: &[V::Floats], half: &[[f32; LANES]]) -> Self {
        let mut sums = Self { wide: [v.splat(0.0); R], half: [v.half().splat(0.0); H] };
        for (sum, from) in sums.wide.iter_mut().zip(&wide[..R]) {
            *sum = v.load(from);
        }
        for (sum, from) in sums.half.iter_mut().zip(&half[..H]) {
            *sum = v.half().load(from);
        }
        sums
    }

    /// Adds the products of an input, which is in all places of `x`, and its weights.
    #[inline(always)]
    fn take(&mut self, v: V, x: V::Register, weights: &Self) {
        for r in 0..R {
            self.wide[r] = v.multiply_add(x, weights.wide[r], self.wide[r]);
        }
        for h in 0..H {
            self.half[h] = v.half().multiply_add(v.low(x), weights.half[h], self.half[h]);
        }
    }

    /// Adds other sums.
    #[inline(always)]
    fn add(&mut self, v: V, other: &Self) {
        for r in 0..R {
            self.wide[r] = v.add(self.wide[r], other.wide[r]);
        }
        for h in 0..H {
            self.half[h] = v.half().add(self.half[h], other.half[h]);
        }
    }
}

impl Tiles<'_> {
    /// `R` registers of outputs and `H` half ones, in tiles of as many pixels as there are registers for.
    #[inline(always)]
    fn block<V: Vector, const R: usize, const H: usize>(
        &mut self,
        v: V,
        ramps: &Ramps<V>,
        block: &Block<'_, V>,
    ) {
        let most = const { if V::SUMS / (R + H) < 8 { V::SUMS / (R + H) } else { 8 } };
        let mut at = block.at;
        while at < block.end {
            let left = block.end - at;
            // The rest is shared out evenly: five and five are quicker than six and four.
            let pixels = left.div_ceil(left.div_ceil(most));
            match pixels {
                1 => self.single::<V, R, H>(v, ramps, block, at),
                2 => self.tile::<V, R, H, 2>(v, ramps, block, at),
                3 => self.tile::<V, R, H, 3>(v, ramps, block, at),
                4 => self.tile::<V, R, H, 4>(v, ramps, block, at),
                5 if most > 4 => self.tile::<V, R, H, 5>(v, ramps, block, at),
                6 if most > 4 => self.tile::<V, R, H, 6>(v, ramps, block, at),
                7 if most > 6 => self.tile::<V, R, H, 7>(v, ramps, block, at),
                _ if most > 6 => self.tile::<V, R, H, 8>(v, ramps, block, at),
                _ => unreachable!("no tile has more pixels than there are registers for"),
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
    fn tile<V: Vector, const R: usize, const H: usize, const P: usize>(
        &mut self,
        v: V,
        ramps: &Ramps<V>,
        block: &Block<'_, V>,
        at: usize,
    ) {
        let corners = self.corners::<P>(at);
        let mut sums = [self.bias::<V, R, H>(v, block); P];
        let wide = block.wide.as_chunks::<R>().0;
        assert!(H == 0 || block.half.len() == wide.len());
        for (i, (wide, offset)) in wide.iter().zip(&self.op.offsets).enumerate() {
            let weights = Sums::<V, R, H>::load(v, wide, if H == 0 { &[] } else { &block.half[i..=i] });
            for (corner, sums) in corners.iter().zip(&mut sums) {
                // SAFETY: a pixel's corner and an input's offset: `Work::run` has asserted their largest sum.
                let x = v.splat(unsafe { *self.input.get_unchecked(corner + offset) });
                sums.take(v, x, &weights);
            }
        }
        // Written out: in a loop the sums would have to lie in memory, also in the loop above.
        macro_rules! pixels {
            ($($p:literal)*) => {$(
                if let Some(sums) = sums.get($p) {
                    self.store(v, ramps, block, at + $p, sums);
                }
            )*};
        }
        pixels!(0 1 2 3 4 5 6 7);
    }

    /// One pixel: its sums are made in four parts, so that no product waits for the one before.
    #[inline(always)]
    fn single<V: Vector, const R: usize, const H: usize>(
        &mut self,
        v: V,
        ramps: &Ramps<V>,
        block: &Block<'_, V>,
        at: usize,
    ) {
        const PARTS: usize = 4;
        let [corner] = self.corners(at);
        let zero = Sums::<V, R, H> { wide: [v.splat(0.0); R], half: [v.half().splat(0.0); H] };
        let mut sums = [zero; PARTS];
        sums[0] = self.bias::<V, R, H>(v, block);
        let wide = block.wide.as_chunks::<R>().0;
        assert!(H == 0 || block.half.len() == wide.len());
        let groups = wide.chunks(PARTS).zip(self.op.offsets.chunks(PARTS));
        for (group, (wide, offsets)) in groups.enumerate() {
            for (i, ((wide, offset), sums)) in wide.iter().zip(offsets).zip(&mut sums).enumerate() {
                let i = group * PARTS + i;
                let weights = Sums::<V, R, H>::load(v, wide, if H == 0 { &[] } else { &block.half[i..=i] });
                // SAFETY: as in `tile`.
                let x = v.splat(unsafe { *self.input.get_unchecked(corner + offset) });
                sums.take(v, x, &weights);
            }
        }
        let [mut first, mut second, third, fourth] = sums;
        first.add(v, &third);
        second.add(v, &fourth);
        first.add(v, &second);
        self.store(v, ramps, block, at, &first);
    }

    #[inline(always)]
    fn bias<V: Vector, const R: usize, const H: usize>(&self, v: V, block: &Block<'_, V>) -> Sums<V, R, H> {
        let bias = &self.op.bias[block.share.start..];
        let (wide, half) = bias.split_at(R * V::EIGHTS * LANES);
        Sums::load(v, V::pack(wide), half.as_chunks().0)
    }

    #[inline(always)]
    fn store<V: Vector, const R: usize, const H: usize>(
        &mut self,
        v: V,
        ramps: &Ramps<V>,
        block: &Block<'_, V>,
        pixel: usize,
        sums: &Sums<V, R, H>,
    ) {
        let target = &mut self.output[pixel * block.stride..][..block.stride];
        let (wide, half) = target[block.share.start..].split_at_mut(R * V::EIGHTS * LANES);
        let (wide, half) = (V::pack_mut(wide), half.as_chunks_mut().0);
        // Of lengths that are known when it is compiled: in a loop that is not the sums would lie in memory.
        for (sum, to) in sums.wide.iter().zip(&mut wide[..R]) {
            v.store(ramps.whole.of(v, *sum), to);
        }
        for (sum, to) in sums.half.iter().zip(&mut half[..H]) {
            v.half().store(ramps.half.of(v.half(), *sum), to);
        }
    }
}
