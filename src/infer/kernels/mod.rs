//! Kernels for quantised networks: bytes in, bytes out, sums in 32-bit integers.
//!
//! A picture is bytes in the order height, width, channel; the channels of a pixel are padded to a whole number
//! of registers ([`Plane::stride`]), with weights of zero for what is padding. Weights are signed bytes with one
//! scale per output channel, packed once. Each kernel exists as plain Rust, which is the reference and runs
//! everywhere, and where it pays for AVX2, chosen at run time; the tests hold both equal bit for bit. Sums are
//! exact: bytes are widened to 16 bits before they are multiplied, so that nothing saturates.
//!
//! This is the only room with `unsafe`. It knows neither tract nor ONNX.

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector loads and stores by address; each block says why it stays in bounds")]
mod avx2;
mod dense;
mod depthwise;
mod mixing;
mod requant;
mod scratch;
#[cfg(test)]
mod tests;

pub(crate) use dense::Dense;
pub(crate) use depthwise::Depthwise;
pub(crate) use mixing::{Average, Gate, Residual, dequantise, quantise};
pub(crate) use requant::byte;
pub(crate) use requant::{Requant, Table};

/// Which instructions the kernels may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Isa(Level);

/// Made by [`Isa`] alone: `Avx2` is proof that this processor has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Isa {
    /// Plain Rust only.
    pub(crate) const PORTABLE: Self = Self(Level::Portable);

    /// The best that this processor has.
    #[must_use]
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self(Level::Avx2);
        }
        Self::PORTABLE
    }
}

/// Channels per register of the convolutions.
pub(crate) const LANES: usize = 16;

/// The extent of a picture in memory: `height * width * stride` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Plane {
    /// Rows.
    pub(crate) height: usize,
    /// Pixels in a row.
    pub(crate) width: usize,
    /// Channels that mean something.
    pub(crate) channels: usize,
}

impl Plane {
    /// Bytes from one pixel to the next: 4 for up to four channels, else the next multiple of 16.
    #[must_use]
    pub(crate) fn stride(&self) -> usize {
        if self.channels <= 4 { 4 } else { self.channels.next_multiple_of(LANES) }
    }

    /// Pixels.
    #[must_use]
    pub(crate) fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Bytes.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.pixels() * self.stride()
    }
}

/// Where a window is laid over its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    /// The input.
    pub(crate) input: Plane,
    /// The output; its channels are the layer's.
    pub(crate) output: Plane,
    /// Height and width of the window.
    pub(crate) size: (usize, usize),
    /// Steps down and across.
    pub(crate) step: (usize, usize),
    /// Rows above and columns left of the input that read as its zero point.
    pub(crate) before: (usize, usize),
}

impl Window {
    /// The input's extent with its border: what the windows cover, and never less than the input.
    fn bordered(&self) -> Plane {
        let cover = |out: usize, step: usize, size: usize| (out - 1) * step + size;
        let height = cover(self.output.height, self.step.0, self.size.0);
        let width = cover(self.output.width, self.step.1, self.size.1);
        Plane {
            height: height.max(self.before.0 + self.input.height),
            width: width.max(self.before.1 + self.input.width),
            channels: self.input.channels,
        }
    }

    /// Calls `run` with the input in its border of `zero`: a copy, unless there is no border.
    fn with_border(&self, input: &[u8], zero: u8, run: impl FnOnce(&[u8], Plane)) {
        let bordered = self.bordered();
        if bordered == self.input {
            return run(input, bordered);
        }
        let stride = bordered.stride();
        scratch::bytes(bordered.len(), |copy| {
            let row = self.input.width * stride;
            let left = self.before.1 * stride;
            for (y, line) in copy.chunks_exact_mut(bordered.width * stride).enumerate() {
                let from = y.checked_sub(self.before.0).filter(|y| *y < self.input.height);
                match from {
                    Some(from) => {
                        line[..left].fill(zero);
                        line[left..left + row].copy_from_slice(&input[from * row..][..row]);
                        line[left + row..].fill(zero);
                    }
                    None => line.fill(zero),
                }
            }
            run(copy, bordered);
        });
    }
}
