//! For NEON: blocks of sixteen rows turned by interleaving them. Blending is left to the compiler.

use std::arch::aarch64::{uint8x16_t, vld1q_u8, vst1q_u8, vzip1q_u8, vzip2q_u8};

use super::super::Level;

/// Rows and columns of a block.
const ROWS: usize = 16;

/// [`super::turn`].
pub(super) fn turn(level: Level, extent: [usize; 2], input: &[u8], output: &mut [u8]) {
    assert!(matches!(level, Level::Neon | Level::Dot));
    // SAFETY: the assertion above; these levels exist only on a processor that has NEON.
    unsafe { blocks(extent, input, output) }
}

#[target_feature(enable = "neon")]
fn blocks([width, height]: [usize; 2], input: &[u8], output: &mut [u8]) {
    for (column, columns) in output.chunks_exact_mut(ROWS * height).enumerate() {
        for (row, rows) in input.chunks_exact(ROWS * width).enumerate() {
            let load = |line: usize| {
                let samples = &rows[line * width + column * ROWS..][..ROWS];
                // SAFETY: there are so many samples.
                unsafe { vld1q_u8(samples.as_ptr()) }
            };
            let mut block: [uint8x16_t; ROWS] = std::array::from_fn(load);
            // Each time a row and the one eight below it are interleaved; after four times rows are columns.
            for _ in 0..4 {
                block = std::array::from_fn(|line| {
                    let (a, b) = (block[line / 2], block[line / 2 + ROWS / 2]);
                    if line % 2 == 0 { vzip1q_u8(a, b) } else { vzip2q_u8(a, b) }
                });
            }
            for (line, bytes) in block.into_iter().enumerate() {
                let out = &mut columns[line * height + row * ROWS..][..ROWS];
                // SAFETY: there are so many bytes.
                unsafe { vst1q_u8(out.as_mut_ptr(), bytes) };
            }
        }
    }
}
