//! Extents of pictures in memory, and windows laid over them.

use super::{LANES, scratch};

/// The extent of a picture in memory: `height * width * stride` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Plane {
    /// Rows.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Channels that mean something.
    pub channels: usize,
}

impl Plane {
    /// Bytes from one pixel to the next: 4 for up to four channels, else the next multiple of 16.
    #[must_use]
    pub fn stride(&self) -> usize {
        if self.channels <= 4 { 4 } else { self.channels.next_multiple_of(LANES) }
    }

    /// Pixels.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Bytes of a picture.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pixels() * self.stride()
    }
}

/// Where a window is laid over its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// The input.
    pub input: Plane,
    /// The output; its channels are the layer's.
    pub output: Plane,
    /// Height and width of the window.
    pub size: (usize, usize),
    /// Steps down and across.
    pub step: (usize, usize),
    /// Rows above and columns left of the input that read as its zero point.
    pub before: (usize, usize),
}

impl Window {
    /// Whether kernels may run over it, which index memory by these numbers: every extent, side and step is 1 to 2^20,
    /// a bordered input in 32-bit floats fits into the address space, and a window that [is a point](Self::is_point)
    /// has as many pixels before it as behind it. Constructors refuse what is not.
    pub(super) fn is_sound(&self) -> bool {
        const MOST: usize = 1 << 20;
        let Self { input, output, size, step, before } = self;
        let planes = [input, output].map(|plane| [plane.height, plane.width, plane.channels]);
        let sides = [size.0, size.1, step.0, step.1];
        let extents = planes.iter().flatten().chain(&sides);
        if !extents.copied().all(|n| (1..=MOST).contains(&n)) || before.0 > MOST || before.1 > MOST {
            return false;
        }
        let whole = self.bordered();
        let floats = [whole.height, whole.width, whole.stride()].iter().map(|n| *n as u128).product::<u128>();
        let fits = floats <= isize::MAX as u128 / size_of::<f32>() as u128;
        fits && (!self.is_point() || (input.height, input.width) == (output.height, output.width))
    }

    /// Whether each output pixel is made of the input pixel at its place: then pictures laid end to end are one.
    pub(super) fn is_point(&self) -> bool {
        self.size == (1, 1) && self.step == (1, 1) && self.before == (0, 0)
    }

    /// Taps.
    pub(super) fn taps(&self) -> usize {
        self.size.0 * self.size.1
    }

    /// Bytes that the window covers in one of its rows.
    pub(super) fn row(&self) -> usize {
        self.size.1 * self.input.stride()
    }

    /// Where the window of the output's `pixel` begins in the bordered input, in bytes.
    pub(super) fn corner(&self, pixel: usize) -> usize {
        let stride = self.input.stride();
        if self.is_point() {
            return pixel * stride;
        }
        let (y, x) = (pixel / self.output.width, pixel % self.output.width);
        (y * self.step.0 * self.bordered().width + x * self.step.1) * stride
    }

    /// The input's extent with its border: what the windows cover, and never less than the input.
    pub(super) fn bordered(&self) -> Plane {
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
    pub(super) fn with_border(&self, input: &[u8], zero: u8, run: impl FnOnce(&[u8])) {
        let bordered = self.bordered();
        if bordered == self.input {
            return run(input);
        }
        scratch::bytes(bordered.bytes(), |copy| {
            self.lay(input, copy, bordered.stride(), zero);
            run(copy);
        });
    }

    /// Copies the input into its border of `zero`, `unit` elements for each pixel.
    pub(super) fn lay<T: Copy>(&self, input: &[T], bordered: &mut [T], unit: usize, zero: T) {
        let (row, left) = (self.input.width * unit, self.before.1 * unit);
        for (y, line) in bordered.chunks_exact_mut(self.bordered().width * unit).enumerate() {
            match y.checked_sub(self.before.0).filter(|y| *y < self.input.height) {
                Some(from) => {
                    line[..left].fill(zero);
                    line[left..left + row].copy_from_slice(&input[from * row..][..row]);
                    line[left + row..].fill(zero);
                }
                None => line.fill(zero),
            }
        }
    }
}
