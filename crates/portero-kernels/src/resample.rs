//! Pictures of bytes made smaller or larger: rows blended into one, and rows turned into columns.
//!
//! Both work on whole rows, whatever the filter: what blends rows blends columns too once they are turned.

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector loads and stores by address; each block says why it stays in bounds")]
mod avx2;
#[cfg(target_arch = "aarch64")]
#[expect(unsafe_code, reason = "vector loads and stores by address; each block says why it stays in bounds")]
mod neon;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector loads and stores by address; each block says why it stays in bounds")]
mod vnni;

use super::{Isa, Level};

/// Rows of a picture that is [turned](turn) are as long as a multiple of this, and there are a multiple of it.
pub const SIDE: usize = 32;

/// A weighted sum of rows: `clamp((sum(row[i] * weight) + half) >> shift)` for each `i` of `output`, `half` being 1 << (shift - 1).
/// Row `k` begins at `k * step` of `rows`. `shift` is 1 to 22. The weights, without their signs, add up to at most `2^(shift + 1)`, so
/// that no sum overflows.
///
/// # Panics
/// If `rows` ends before the last row's last sample.
pub fn blend(isa: Isa, rows: &[u8], step: usize, weights: &[i16], shift: u32, output: &mut [u8]) {
    let Some(before) = weights.len().checked_sub(1) else { return output.fill(0) };
    assert!(rows.len() >= before * step + output.len(), "rows end too early");
    let sum = Sum { rows, step, weights, shift };
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        level @ Level::Vnni if vnni::takes(&sum, output.len()) => vnni::blend(level, &sum, output),
        #[cfg(target_arch = "x86_64")]
        level @ (Level::Avx2 | Level::Vnni) if output.len() >= avx2::RUN => avx2::blend(level, &sum, output),
        _ => sum.write(output),
    }
}

/// What [`blend`] adds up. There is at least one row, and all are as long as the output.
struct Sum<'a> {
    rows: &'a [u8],
    step: usize,
    weights: &'a [i16],
    shift: u32,
}

impl Sum<'_> {
    /// The reference, and what is as quick where the compiler makes vectors of it.
    fn write(&self, output: &mut [u8]) {
        /// Sums that registers hold.
        const RUN: usize = 32;
        for (number, out) in output.chunks_mut(RUN).enumerate() {
            let mut sums = [1i32 << (self.shift - 1); RUN];
            for (k, &weight) in self.weights.iter().enumerate() {
                let samples = &self.rows[k * self.step + number * RUN..][..out.len()];
                // A length that the compiler knows makes vectors of the loop.
                match samples.first_chunk::<RUN>() {
                    Some(samples) => add(&mut sums, samples, weight),
                    None => add(&mut sums, samples, weight),
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = (sum >> self.shift).clamp(0, 255) as u8;
            }
        }
    }
}

#[inline(always)]
fn add(sums: &mut [i32], samples: &[u8], weight: i16) {
    for (sum, &sample) in sums.iter_mut().zip(samples) {
        *sum += i32::from(sample) * i32::from(weight);
    }
}

/// Turns rows of `width` samples into columns: row `x` of `output` is column `x` of `input`. There are as many rows as `input` has;
/// both numbers are multiples of [`SIDE`].
///
/// # Panics
/// If they are not, or the slices differ in length.
pub fn turn(isa: Isa, width: usize, input: &[u8], output: &mut [u8]) {
    let height = input.len() / width.max(1);
    assert!(width.is_multiple_of(SIDE) && height.is_multiple_of(SIDE), "{width} x {height} cannot be turned");
    assert!(input.len() == width * height && output.len() == input.len(), "two sizes");
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        level @ (Level::Avx2 | Level::Vnni) => avx2::turn(level, [width, height], input, output),
        #[cfg(target_arch = "aarch64")]
        level @ (Level::Neon | Level::Dot) => neon::turn(level, [width, height], input, output),
        Level::Portable => turn_blocks([width, height], input, output),
    }
}

/// The reference. Goes by blocks, so that the lines of both sides stay in the cache.
fn turn_blocks([width, height]: [usize; 2], input: &[u8], output: &mut [u8]) {
    for (column, columns) in output.chunks_exact_mut(SIDE * height).enumerate() {
        for (row, rows) in input.chunks_exact(SIDE * width).enumerate() {
            for (x, out) in columns.chunks_exact_mut(height).enumerate() {
                let samples = rows[column * SIDE + x..].iter().step_by(width);
                for (out, sample) in out[row * SIDE..][..SIDE].iter_mut().zip(samples) {
                    *out = *sample;
                }
            }
        }
    }
}
