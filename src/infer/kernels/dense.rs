//! A convolution that mixes all channels, of any window; 1x1 is the one that counts.

use super::requant::{ORDER, pack};
use super::{Isa, LANES, Level, Requant, Table, Window};

/// Pairs of inputs that a sum is made of, padding included; that of the last tap is left out.
fn pairs(window: &Window) -> usize {
    let taps = window.size.0 * window.size.1;
    (taps - 1) * window.input.stride() / 2 + window.input.channels.div_ceil(2)
}

/// A convolution with packed weights.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dense {
    pub(super) window: Window,
    pub(super) zero: u8,
    pub(super) requant: Requant,
    /// `[block of 16 outputs][pair of inputs][16 outputs in the order of ORDER][2]`.
    pub(super) packed: Vec<i8>,
    #[cfg(target_arch = "x86_64")]
    pub(super) lanes: super::requant::Lanes,
}

impl Dense {
    /// `weights` are `[output][input channel][row][column]`; `zero` is the input's zero point.
    /// `None` when the lengths do not fit or the sums could overflow 32 bits.
    #[must_use]
    pub(crate) fn new(window: Window, zero: u8, weights: &[i8], mut requant: Requant) -> Option<Self> {
        let (inputs, outputs) = (window.input.channels, window.output.channels);
        let taps = window.size.0 * window.size.1;
        let depth = taps * inputs;
        if depth == 0 || weights.len() != depth * outputs || requant.channels() != outputs {
            return None;
        }
        requant.shift(|o| {
            let sum: i32 = weights[o * depth..][..depth].iter().map(|w| i32::from(*w)).sum();
            sum.saturating_mul(i32::from(zero))
        });
        if !requant.holds(depth) {
            return None;
        }
        let stride = window.input.stride();
        let pairs = pairs(&window);
        let blocks = outputs.div_ceil(LANES);
        let weight = |o: usize, k: usize| {
            let (tap, channel) = (k / stride, k % stride);
            if o < outputs && channel < inputs { weights[o * depth + channel * taps + tap] } else { 0 }
        };
        let packed = pack(blocks, pairs, weight);
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
        self.window.with_border(input, self.zero, |input, plane| match isa.0 {
            Level::Portable => self.portable(input, plane.width, output),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => super::avx2::dense(isa, self, input, plane.width, output),
        });
    }

    /// Bytes that a window covers in one of its rows.
    pub(super) fn row(&self) -> usize {
        self.window.size.1 * self.window.input.stride()
    }

    /// Pairs of inputs to a sum: see [`pairs`].
    pub(super) fn pairs(&self) -> usize {
        pairs(&self.window)
    }

    fn portable(&self, input: &[u8], width: usize, output: &mut [u8]) {
        let Window { output: out, step, .. } = self.window;
        let (stride, row) = (self.window.input.stride(), self.row());
        let pairs = self.pairs();
        for (pixel, bytes) in output.chunks_exact_mut(out.stride()).enumerate() {
            let (y, x) = (pixel / out.width * step.0, pixel % out.width * step.1);
            let mut sums = vec![[0i32; LANES]; out.channels.div_ceil(LANES)];
            for (sums, packed) in sums.iter_mut().zip(self.packed.chunks_exact(pairs * 2 * LANES)) {
                for (pair, weights) in packed.chunks_exact(2 * LANES).enumerate() {
                    let (down, along) = (2 * pair / row, 2 * pair % row);
                    let at = ((y + down) * width + x) * stride + along;
                    let (a, b) = (i32::from(input[at]), i32::from(input[at + 1]));
                    for (sum, w) in sums.iter_mut().zip(weights.chunks_exact(2)) {
                        *sum += a * i32::from(w[0]) + b * i32::from(w[1]);
                    }
                }
            }
            for (block, sums) in sums.iter().enumerate() {
                for (sum, lane) in sums.iter().zip(ORDER) {
                    let channel = block * LANES + lane;
                    if let Some(byte) = bytes.get_mut(channel) {
                        *byte = self.requant.finish(*sum, channel);
                    }
                }
            }
        }
    }
}
