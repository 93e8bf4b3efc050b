//! From a 32-bit sum back to a byte: bias, a scale per channel, rounding to the nearest even, zero point,
//! saturation, and a table for what the activation makes of each of the 256 bytes.

use super::{LANES, Level};

/// How a layer's sums become bytes: `table[clamp(round((sum + bias) * scale) + zero)]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Requant {
    bias: Vec<i32>,
    scale: Vec<f32>,
    zero: u8,
    table: Option<Table>,
}

/// What an activation makes of each byte.
#[derive(Clone, PartialEq)]
pub struct Table {
    pub(super) bytes: [u8; 256],
    /// The rows of `bytes`, each but the first and the ninth as its difference (XOR) from the row before, twice
    /// side by side: as AVX2 looks it up.
    #[cfg(target_arch = "x86_64")]
    pub(super) steps: [[u8; 32]; 16],
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({:?}…)", &self.bytes[..4])
    }
}

impl Table {
    /// The table with these entries.
    #[must_use]
    pub fn new(bytes: [u8; 256]) -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            steps: std::array::from_fn(|row| {
                std::array::from_fn(|i| {
                    let at = row * 16 + i % 16;
                    if row % 8 == 0 { bytes[at] } else { bytes[at] ^ bytes[at - 16] }
                })
            }),
            bytes,
        }
    }

    /// The entry of a byte.
    #[must_use]
    pub fn get(&self, byte: u8) -> u8 {
        self.bytes[usize::from(byte)]
    }
}

impl Requant {
    /// One bias and one scale per output channel. `None` when the lengths differ or a scale is not a finite
    /// number above 0.
    #[must_use]
    pub fn new(bias: &[i32], scale: &[f32], zero: u8) -> Option<Self> {
        let sound = bias.len() == scale.len() && scale.iter().all(|s| s.is_finite() && *s > 0.0);
        sound.then(|| Self { bias: bias.to_vec(), scale: scale.to_vec(), zero, table: None })
    }

    /// The same with an activation behind it, and behind the one that it may have already.
    #[must_use]
    pub fn with_table(self, table: Table) -> Self {
        let table = match &self.table {
            Some(before) => Table::new(before.bytes.map(|byte| table.get(byte))),
            None => table,
        };
        Self { table: Some(table), ..self }
    }

    /// The number of output channels.
    pub(super) fn channels(&self) -> usize {
        self.bias.len()
    }

    /// Whether no sum of `products` products of a byte and a signed byte, scaled, leaves the range of an `i32`.
    pub(super) fn holds(&self, products: usize) -> bool {
        let reach = products as f64 * 255.0 * 128.0;
        self.bias.iter().zip(&self.scale).all(|(bias, scale)| {
            let most = reach + f64::from(*bias).abs();
            most < f64::from(i32::MAX) && most * f64::from(*scale) < f64::from(i32::MAX)
        })
    }

    /// What the bytes are looked up in, last of all.
    pub(super) fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// The byte of `sum` in `channel`; padding channels give the zero point's entry.
    pub(super) fn finish(&self, sum: i32, channel: usize) -> u8 {
        let (bias, scale) = (self.bias.get(channel), self.scale.get(channel));
        let sum = sum.wrapping_add(bias.copied().unwrap_or(0));
        let byte = byte(sum as f32 * scale.copied().unwrap_or(0.0), self.zero);
        self.table.as_ref().map_or(byte, |table| table.get(byte))
    }

    /// Bias less what the input's zero point adds to every sum: `correction` per channel.
    pub(super) fn shift(&mut self, correction: impl Fn(usize) -> i32) {
        for (channel, bias) in self.bias.iter_mut().enumerate() {
            *bias = bias.wrapping_sub(correction(channel));
        }
    }

    /// Biases and scales of all blocks of 16 channels in the level's order; `more` per channel is added to the biases.
    pub(super) fn lanes(&self, level: Level, more: impl Fn(usize) -> i32) -> Lanes {
        let lanes = self.channels().next_multiple_of(LANES);
        let order = level.order();
        let at = |i: usize| i / LANES * LANES + order[i % LANES];
        let bias = |channel: usize| self.bias.get(channel).map_or(0, |bias| bias.wrapping_add(more(channel)));
        let bias = (0..lanes).map(|i| bias(at(i))).collect();
        let scale = (0..lanes).map(|i| self.scale.get(at(i)).copied().unwrap_or(0.0)).collect();
        Lanes { bias, scale, zero: self.zero }
    }
}

/// A requantisation as the vector kernels read it: whole blocks of 16 channels, zeros for what is padding.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lanes {
    pub(super) bias: Vec<i32>,
    pub(super) scale: Vec<f32>,
    pub(super) zero: u8,
}

/// Packs weights for the vector loops: `[block of 16 channels][group of steps][16 channels in this order][group]`,
/// where `weight` is asked for a channel and a step, and answers zero for what is padding.
pub(super) fn pack<W>(
    blocks: usize,
    groups: usize,
    group: usize,
    order: [usize; LANES],
    weight: impl Fn(usize, usize) -> W,
) -> Vec<W> {
    let mut packed = Vec::with_capacity(blocks * groups * LANES * group);
    for block in 0..blocks {
        for first in (0..groups).map(|g| g * group) {
            for lane in order {
                packed.extend((first..first + group).map(|step| weight(block * LANES + lane, step)));
            }
        }
    }
    packed
}

/// `clamp(round(value) + zero)`, ties to even. A float below 2^22 plus this constant has no fraction left, rounded
/// as IEEE 754 says, and its lowest bits are the integer: no call, and the compiler makes vectors of it.
#[inline(always)]
pub fn byte(value: f32, zero: u8) -> u8 {
    const WHOLE: f32 = 12_582_912.0;
    let below = if value < 256.0 { value } else { 256.0 };
    let within = if below > -256.0 { below } else { -256.0 };
    let whole = (within + WHOLE).to_bits() as i32 - WHOLE.to_bits() as i32;
    (whole + i32::from(zero)).clamp(0, 255) as u8
}
