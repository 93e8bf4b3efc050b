//! A convolution of each channel with a window of its own.

use super::requant::{ORDER, pack};
use super::{Isa, LANES, Level, Requant, Table, Window};

/// A depthwise convolution. At least five channels, as many out as in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Depthwise {
    pub(super) window: Window,
    pub(super) zero: u8,
    pub(super) requant: Requant,
    /// `[block of 16 channels][pair of taps][16 channels in the order of ORDER][2]`.
    pub(super) packed: Vec<i16>,
    #[cfg(target_arch = "x86_64")]
    pub(super) lanes: super::requant::Lanes,
}

impl Depthwise {
    /// `weights` are `[channel][row][column]`; `zero` is the input's zero point. `None` when the lengths do not
    /// fit or there are fewer than five channels.
    #[must_use]
    pub(crate) fn new(window: Window, zero: u8, weights: &[i8], mut requant: Requant) -> Option<Self> {
        let channels = window.input.channels;
        let taps = window.size.0 * window.size.1;
        let fits = channels > 4 && window.output.channels == channels && requant.channels() == channels;
        if !fits || taps == 0 || weights.len() != taps * channels {
            return None;
        }
        requant.shift(|c| {
            let sum: i32 = weights[c * taps..][..taps].iter().map(|w| i32::from(*w)).sum();
            sum.saturating_mul(i32::from(zero))
        });
        if !requant.holds(taps) {
            return None;
        }
        let blocks = channels.div_ceil(LANES);
        let weight = |c: usize, tap: usize| {
            if c < channels && tap < taps { i16::from(weights[c * taps + tap]) } else { 0 }
        };
        let packed = pack(blocks, taps.div_ceil(2), weight);
        #[cfg(target_arch = "x86_64")]
        let lanes = requant.lanes(blocks);
        Some(Self {
            window,
            zero,
            requant,
            packed,
            #[cfg(target_arch = "x86_64")]
            lanes,
        })
    }

    /// The same with an activation behind it.
    #[must_use]
    pub(crate) fn with_table(mut self, table: Table) -> Self {
        self.requant = self.requant.with_table(table);
        self
    }

    /// Where the window lies.
    #[must_use]
    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// Runs it on one picture. `input` and `output` have the lengths of the window's planes.
    ///
    /// # Panics
    /// If they have not.
    pub(crate) fn run(&self, isa: Isa, input: &[u8], output: &mut [u8]) {
        assert_eq!((input.len(), output.len()), (self.window.input.len(), self.window.output.len()));
        self.window.with_border(input, self.zero, |input, plane| {
            let offsets = self.offsets(plane.width);
            match isa.0 {
                Level::Portable => self.portable(input, plane.width, &offsets, output),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => super::avx2::depthwise(isa, self, input, plane.width, &offsets, output),
            }
        });
    }

    /// Where each tap lies from the window's corner, in bytes; an odd number of taps repeats the last, which has
    /// a weight of 0 there.
    fn offsets(&self, width: usize) -> Vec<usize> {
        let (rows, columns) = self.window.size;
        let stride = self.window.input.stride();
        let at = |tap: usize| (tap / columns * width + tap % columns) * stride;
        (0..(rows * columns).next_multiple_of(2)).map(|tap| at(tap.min(rows * columns - 1))).collect()
    }

    fn portable(&self, input: &[u8], width: usize, offsets: &[usize], output: &mut [u8]) {
        let Window { output: out, step, .. } = self.window;
        let stride = out.stride();
        for (pixel, bytes) in output.chunks_exact_mut(stride).enumerate() {
            let corner = (pixel / out.width * step.0 * width + pixel % out.width * step.1) * stride;
            for (block, packed) in self.packed.chunks_exact(offsets.len() * LANES).enumerate() {
                for (i, lane) in ORDER.into_iter().enumerate() {
                    let channel = block * LANES + lane;
                    let tap = |(n, offset): (usize, &usize)| {
                        let weight = packed[n / 2 * 2 * LANES + 2 * i + n % 2];
                        i32::from(input[corner + offset + channel]) * i32::from(weight)
                    };
                    let sum = offsets.iter().enumerate().map(tap).sum();
                    bytes[channel] = self.requant.finish(sum, channel);
                }
            }
        }
    }
}
