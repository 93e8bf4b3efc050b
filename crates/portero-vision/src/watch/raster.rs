//! Polygons as rows of cells or pixels.

use std::ops::Range;

use portero_core::domain::Polygon;

/// A run of columns in one row: `start..end`, never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) row: usize,
    pub(super) columns: Range<usize>,
}

/// An edge on the border of a cell touches only the cell inside: this much of a cell is forgiven.
const SLACK: f32 = 1e-3;

/// Everything that `shape` touches in a raster of `columns` x `rows`, row by row. What is touched in part counts in whole: a mask must rather cover too much.
pub(super) fn touched(shape: &Polygon, columns: usize, rows: usize) -> Vec<Run> {
    let [_, top, _, bottom] = shape.bounds().corners();
    let first = (top * rows as f32) as usize;
    let last = ((bottom * rows as f32).ceil() as usize).min(rows);
    let mut runs = Vec::new();
    for row in first..last {
        for run in row_runs(shape, row, columns, rows) {
            runs.push(Run { row, columns: run });
        }
    }
    runs
}

/// The runs of one row, in order and merged: what the edges pass through, and what lies between them.
fn row_runs(shape: &Polygon, row: usize, columns: usize, rows: usize) -> Vec<Range<usize>> {
    let (upper, lower) = ((row as f32 + SLACK) / rows as f32, ((row + 1) as f32 - SLACK) / rows as f32);
    let mut inside: Vec<f32> = shape.crossings((upper + lower) / 2.0).collect();
    inside.sort_by(f32::total_cmp);
    let inside = inside.as_chunks::<2>().0.iter().map(|pair| (pair[0], pair[1]));
    let points = shape.points();
    let edges = points.iter().zip(points.iter().cycle().skip(1));
    let passed = edges.filter_map(|(&from, &to)| passed(from, to, upper, lower));
    let mut runs: Vec<Range<usize>> = inside
        .chain(passed)
        .map(|(x0, x1)| {
            let start = (x0 * columns as f32 + SLACK) as usize;
            start..((x1 * columns as f32 - SLACK).ceil() as usize).min(columns)
        })
        .filter(|run| !run.is_empty())
        .collect();
    runs.sort_by_key(|run| run.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for run in runs {
        match merged.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => merged.push(run),
        }
    }
    merged
}

/// From where to where an edge goes between two heights, left to right; `None` when it does not come there.
fn passed(from: (f32, f32), to: (f32, f32), upper: f32, lower: f32) -> Option<(f32, f32)> {
    let ((x0, y0), (x1, y1)) = if from.1 <= to.1 { (from, to) } else { (to, from) };
    if y1 < upper || y0 > lower {
        return None;
    }
    let at = |y: f32| if y1 > y0 { x0 + (x1 - x0) * ((y - y0) / (y1 - y0)).clamp(0.0, 1.0) } else { x0 };
    let (a, b) = if y1 > y0 { (at(upper), at(lower)) } else { (x0, x1) };
    Some((a.min(b), a.max(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_core::domain::NormRect;

    fn drawn(shape: &Polygon, columns: usize, rows: usize) -> Vec<String> {
        let mut picture = vec![vec!['.'; columns]; rows];
        for run in touched(shape, columns, rows) {
            picture[run.row][run.columns].fill('#');
        }
        picture.into_iter().map(|row| row.into_iter().collect()).collect()
    }

    #[test]
    fn a_box_on_the_grid_takes_no_neighbour() {
        let shape = Polygon::from(NormRect::new(0.25, 0.25, 0.75, 0.5).unwrap());
        assert_eq!(drawn(&shape, 8, 4), ["........", "..####..", "........", "........"]);
    }

    #[test]
    fn what_is_touched_in_part_counts_in_whole() {
        let shape = Polygon::from(NormRect::new(0.30, 0.30, 0.70, 0.55).unwrap());
        assert_eq!(drawn(&shape, 8, 4), ["........", "..####..", "..####..", "........"]);
        let triangle = Polygon::new(vec![(0.0, 0.0), (1.0, 0.5), (0.0, 1.0)]).unwrap();
        assert_eq!(drawn(&triangle, 4, 4), ["##..", "####", "####", "##.."]);
    }

    #[test]
    fn a_sliver_between_the_lines_is_not_lost() {
        let sliver = Polygon::new(vec![(0.1, 0.51), (0.9, 0.52), (0.1, 0.53)]).unwrap();
        assert_eq!(drawn(&sliver, 10, 4), ["..........", "..........", ".########.", ".........."]);
    }
}
