//! From cells that differ to things that move: specks are dropped, gaps closed, what hangs together is one box.

use super::background::{Foreground, count};
use portero_core::domain::NormRect;

/// Boxes told at most, largest first; a scene with more is one that moves everywhere.
const MOST: usize = 32;

/// Finds what hangs together in `found` over at least `min_size` of the picture, and drops everything smaller
/// from it. Returns the smallest rectangle around each thing, largest first.
///
/// Cells that differ by far are joined first, so that two people side by side are not one thing because of the
/// faint cells between them; what is left over, such as somebody in the dark, is joined after that.
pub(super) fn find(found: &mut Foreground, min_size: f32) -> Vec<NormRect> {
    if count(&found.cells) == 0 {
        return Vec::new();
    }
    let columns = found.columns;
    let least = ((min_size * found.cells.len() as f32).ceil() as usize).max(1);
    let strong = Things::of(&found.strong, columns, least);
    let mut faint = found.cells.clone();
    for thing in &strong.found {
        clear(&mut faint, columns, thing);
    }
    let faint = Things::of(&faint, columns, least);
    faint.specks.iter().for_each(|&i| found.cells[i] = false);
    let mut things: Vec<Thing> = strong.found.into_iter().chain(faint.found).collect();
    things.sort_by_key(|thing| std::cmp::Reverse(thing.covered));
    things.truncate(MOST);
    let rows = found.cells.len() / columns;
    things.iter().filter_map(|thing| thing.in_fractions(columns, rows)).collect()
}

/// Sets the cells within a thing's rectangle, and one around it, to false.
fn clear(cells: &mut [bool], columns: usize, thing: &Thing) {
    let (left, right) = (thing.left.saturating_sub(1), (thing.right + 1).min(columns));
    let rows = cells.chunks_exact_mut(columns).take(thing.bottom + 1).skip(thing.top.saturating_sub(1));
    rows.for_each(|row| row[left..right].fill(false));
}

/// A set of cells that hang together, edges in cells, right and lower ones exclusive.
#[derive(Debug, Clone, Copy)]
struct Thing {
    covered: usize,
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Thing {
    fn in_fractions(&self, columns: usize, rows: usize) -> Option<NormRect> {
        let (w, h) = (columns as f32, rows as f32);
        let (x0, y0) = (self.left as f32 / w, self.top as f32 / h);
        NormRect::new(x0, y0, self.right as f32 / w, self.bottom as f32 / h).ok()
    }
}

/// What hangs together in a set of cells.
struct Things {
    found: Vec<Thing>,
    /// The cells of what is too small.
    specks: Vec<usize>,
}

impl Things {
    fn of(cells: &[bool], columns: usize, least: usize) -> Self {
        let (mut found, mut specks, mut members) = (Vec::new(), Vec::new(), Vec::new());
        if count(cells) == 0 {
            return Self { found, specks };
        }
        let rows = cells.len() / columns;
        let mut open = closed(cells, columns);
        for start in 0..open.len() {
            if !open[start] {
                continue;
            }
            members.clear();
            flood(&mut open, columns, rows, start, &mut members);
            let mut thing = Thing { covered: 0, left: columns, top: rows, right: 0, bottom: 0 };
            for &i in members.iter().filter(|&&i| cells[i]) {
                let (x, y) = (i % columns, i / columns);
                thing.covered += 1;
                (thing.left, thing.top) = (thing.left.min(x), thing.top.min(y));
                (thing.right, thing.bottom) = (thing.right.max(x + 1), thing.bottom.max(y + 1));
            }
            if thing.covered < least {
                specks.extend(members.iter().copied());
            } else {
                found.push(thing);
            }
        }
        Self { found, specks }
    }
}

/// The cells, grown by two cells in height: a person's parts lie above one another. What was found hangs together
/// across such gaps; rectangles are drawn around what was found only.
fn closed(cells: &[bool], columns: usize) -> Vec<bool> {
    let mut tall = cells.to_vec();
    for shift in [columns, 2 * columns] {
        let shift = shift.min(cells.len());
        tall[shift..].iter_mut().zip(cells).for_each(|(to, from)| *to |= from);
        tall.iter_mut().zip(&cells[shift..]).for_each(|(to, from)| *to |= from);
    }
    tall
}

/// Moves all cells that hang together with `start`, corners included, from `open` to `members`.
fn flood(open: &mut [bool], columns: usize, rows: usize, start: usize, members: &mut Vec<usize>) {
    open[start] = false;
    members.push(start);
    let mut next = 0;
    while next < members.len() {
        let (x, y) = (members[next] % columns, members[next] / columns);
        next += 1;
        for ny in y.saturating_sub(1)..(y + 2).min(rows) {
            for nx in x.saturating_sub(1)..(x + 2).min(columns) {
                let i = ny * columns + nx;
                if open[i] {
                    open[i] = false;
                    members.push(i);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreground(picture: &[&str]) -> Foreground {
        let cells: Vec<bool> = picture.iter().flat_map(|row| row.chars().map(|c| c != '.')).collect();
        let strong = picture.iter().flat_map(|row| row.chars().map(|c| c == '#')).collect();
        Foreground { columns: picture[0].len(), cells, strong }
    }

    fn corners(boxes: &[NormRect], picture: &Foreground) -> Vec<[usize; 4]> {
        let (w, h) = (picture.columns as f32, (picture.cells.len() / picture.columns) as f32);
        let cells = |[x0, y0, x1, y1]: [f32; 4]| [x0 * w, y0 * h, x1 * w, y1 * h].map(|v| v.round() as usize);
        boxes.iter().map(|rect| cells(rect.corners())).collect()
    }

    #[test]
    fn what_hangs_together_across_a_gap_is_one_box_and_specks_are_dropped() {
        let mut found = foreground(&[
            "..........", //
            ".##.......", // a head,
            "..........", // a collar that looks like the wall,
            ".###....+.", // a body; and a speck
            ".###......",
            "..........",
        ]);
        let boxes = find(&mut found, 0.04);
        assert_eq!(corners(&boxes, &found), [[1, 1, 4, 5]]);
        assert_eq!(found.cells.iter().filter(|c| **c).count(), 8, "the speck is gone");
    }

    #[test]
    fn two_side_by_side_are_two_in_spite_of_the_halo_and_somebody_faint_is_found() {
        let mut found = foreground(&[
            "+##+##+......", //
            "+##+##+...++.",
            "+##+##+...++.",
        ]);
        assert_eq!(corners(&find(&mut found, 0.05), &found), [[1, 0, 3, 3], [4, 0, 6, 3], [10, 1, 12, 3]]);
    }

    #[test]
    fn the_largest_comes_first() {
        let mut found = foreground(&["#.....##", "......##", "#.....##"]);
        assert_eq!(corners(&find(&mut found, 0.0), &found), [[6, 0, 8, 3], [0, 0, 1, 3]]);
    }
}
