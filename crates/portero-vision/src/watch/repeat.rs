//! Whether a picture was seen before: a still held before the lens, or a recording played again and again.
//!
//! The noise of a living sensor is never the same twice, so a grid that was seen before, to the last sixteenth of a step,
//! is a copy. A recording that was encoded anew is no exact copy; but while something moves in it, it is more like
//! what was seen some seconds ago than like what was seen a moment ago, and that one picture after the other. Nothing that
//! lives does that for long.
//!
//! Memory and work are bounded: the sums of [`SUMS`] grids and, five times a second at most, the [`Sketch`]es of
//! [`SKETCHES`] pictures, some 350 KB per camera.

use std::collections::VecDeque;
use std::time::Duration;

use super::LumaGrid;
use portero_core::domain::Stamp;

/// Of so many pictures the exact sum is remembered: five minutes at 25 a second.
const SUMS: usize = 7_500;
/// Of so many pictures a sketch is remembered, which are at least so far apart: five minutes.
const SKETCHES: usize = 1_500;
const SKETCH_EVERY: Duration = Duration::from_millis(190);
/// A picture that was seen such a short time ago has not come back, it is still there.
const DISTANT: Duration = Duration::from_secs(2);
/// Something moves when a sketch differs by this from the one before, in sums of 1/16 of a luma step.
const ACTIVE: u32 = 300;
/// What moves no more than so many times the least that was seen lately may be grain: it is no evidence of anything new.
const GRAIN: u32 = 3;
/// A picture has come back when it is nearer to a distant one than this share of what has just moved.
const NEAR: f32 = 0.2;
/// Pictures of one recording come back after the same time, give or take this.
const SAME_LAG: Duration = Duration::from_millis(250);
/// With so many that came back last it is compared: somebody who comes and goes is away longer than here.
const LAGS: usize = 4;
/// A picture that came back weighs so many times what one weighs that did not, …
const WEIGHT: u32 = 3;
/// … three of them, of one recording, are certain, …
const CERTAIN: u32 = 9;
/// … and more evidence than this is not counted.
const MOST: u32 = 15;
/// Without evidence for this long, nothing is certain any more.
const FORGET: Duration = Duration::from_secs(60);

/// Mean luma of the tiles of a picture less that of all, in 1/16 of a step.
type Sketch = [i16; TILES.0 * TILES.1];
const TILES: (usize, usize) = (12, 8);

/// What was seen over the last minutes.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    sums: VecDeque<u64>,
    /// The size of the grids whose sketches are kept.
    size: (usize, usize),
    sketches: VecDeque<(Stamp, Sketch)>,
    /// By how much sketches differ at least, from one to the next.
    quiet: Option<u32>,
    evidence: u32,
    /// When pictures came back, and after how long: the last [`LAGS`] of them.
    lags: VecDeque<(Stamp, Duration)>,
    certain: bool,
}

impl Repeats {
    /// Whether this picture, or the recording that it belongs to, was seen before; then remembers it. `now` is when
    /// it was captured.
    pub(super) fn observe(&mut self, grid: &LumaGrid, now: Stamp) -> bool {
        let size = (grid.columns(), grid.rows());
        if self.size != size {
            *self = Self { size, ..Self::default() };
        }
        if self.lags.back().is_some_and(|(last, _)| now.since(*last) > FORGET) {
            (self.evidence, self.certain) = (0, false);
            self.lags.clear();
        }
        let sum = sum(grid.cells());
        let known = self.sums.contains(&sum);
        remember(&mut self.sums, sum, SUMS);
        let due = self.sketches.back().is_none_or(|(last, _)| now.since(*last) >= SKETCH_EVERY);
        let motion = if due { self.motion(sketch(grid), now) } else { None };
        // A quiet picture that was squeezed hard may well come again: that says nothing of a recording.
        let came_back = motion.as_ref().is_some_and(|motion| motion.came_back.is_some());
        if let Some(motion) = motion {
            self.weigh(motion, now);
        }
        known || came_back || self.certain
    }

    /// Whether a recording is being played, as far as it is certain.
    pub(super) fn is_certain(&self) -> bool {
        self.certain
    }

    /// Takes in what moves.
    fn weigh(&mut self, Motion { came_back, is_new }: Motion, now: Stamp) {
        if let Some(lag) = came_back {
            let same = self.lags.iter().any(|(_, other)| lag.abs_diff(*other) <= SAME_LAG);
            self.evidence = if same { (self.evidence + WEIGHT).min(MOST) } else { WEIGHT.max(self.evidence) };
            remember(&mut self.lags, (now, lag), LAGS);
        } else if is_new {
            self.evidence = self.evidence.saturating_sub(1);
        }
        self.certain = self.evidence >= CERTAIN || (self.certain && self.evidence > 0);
    }

    /// `None` while nothing moves.
    fn motion(&mut self, new: Sketch, now: Stamp) -> Option<Motion> {
        let moved = self.sketches.back().map(|(_, last)| distance(last, &new, u32::MAX));
        let quiet = moved.map(|moved| self.quiet.map_or(moved, |quiet| moved.min(quiet + quiet / 64 + 1)));
        self.quiet = quiet.or(self.quiet);
        let motion = moved.filter(|moved| *moved >= ACTIVE).map(|moved| {
            let near = (moved as f32 * NEAR) as u32;
            // The newest of them: in its third round, a recording has been seen twice.
            let distant = self.sketches.iter().rev().skip_while(|(at, _)| now.since(*at) < DISTANT);
            let found = distant.into_iter().find(|(_, old)| distance(old, &new, near) < near);
            let is_new = found.is_none() && self.quiet.is_none_or(|quiet| moved >= quiet * GRAIN);
            Motion { came_back: found.map(|(at, _)| now.since(*at)), is_new }
        });
        remember(&mut self.sketches, (now, new), SKETCHES);
        motion
    }
}

/// Something that moves.
struct Motion {
    /// How long ago the same was seen, when that is longer ago than a moment.
    came_back: Option<Duration>,
    /// It was not, and it is more than the grain of the sensor.
    is_new: bool,
}

fn remember<T>(memory: &mut VecDeque<T>, new: T, most: usize) {
    if memory.len() >= most {
        memory.pop_front();
    }
    memory.push_back(new);
}

/// A number that two different grids share by chance only once in 2^64 pairs.
fn sum(cells: &[u16]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, cells: &[u16]| {
        let word = cells.iter().fold(0, |word, &cell| word << 16 | u64::from(cell));
        (sum.rotate_left(29) ^ word).wrapping_mul(ODD)
    };
    // Four at a time, which do not wait for each other.
    let (blocks, rest) = cells.as_chunks::<16>();
    let mut sums = [1, 2, 3, 4];
    for block in blocks {
        let words = block.as_chunks::<4>().0;
        sums.iter_mut().zip(words).for_each(|(sum, word)| *sum = mix(*sum, word));
    }
    let all =
        sums.into_iter().fold(cells.len() as u64, |all, sum| (all.rotate_left(23) ^ sum).wrapping_mul(ODD));
    rest.chunks(4).fold(all, mix)
}

fn sketch(grid: &LumaGrid) -> Sketch {
    let (mut sums, mut counts) = ([0u32; TILES.0 * TILES.1], [0u32; TILES.0 * TILES.1]);
    let (columns, rows) = (grid.columns(), grid.rows());
    for (y, row) in grid.cells().chunks_exact(columns).enumerate() {
        for x in 0..TILES.0 {
            let cells = &row[x * columns / TILES.0..(x + 1) * columns / TILES.0];
            let tile = y * TILES.1 / rows * TILES.0 + x;
            sums[tile] += cells.iter().map(|&cell| u32::from(cell)).sum::<u32>();
            counts[tile] += cells.len() as u32;
        }
    }
    let means = |tile: usize| (sums[tile] / counts[tile].max(1)) as i32;
    let mean = (0..sums.len()).map(means).sum::<i32>() / sums.len() as i32;
    std::array::from_fn(|tile| (means(tile) - mean) as i16)
}

/// How far two sketches lie apart; any number from `enough` on when it is that far.
fn distance(a: &Sketch, b: &Sketch, enough: u32) -> u32 {
    let mut sum = 0;
    for (a, b) in a.chunks(16).zip(b.chunks(16)) {
        sum += a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>();
        if sum >= enough {
            break;
        }
    }
    sum
}
