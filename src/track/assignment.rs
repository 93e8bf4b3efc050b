//! Which track gets which box: the pairs that together are most alike.

/// The pairs `(row, column)` that together have the greatest `likeness`, by row; a pair below `least` is none. Every
/// row and every column is in at most one. Takes time by the cube of the number of boxes: some microseconds for
/// ten.
///
/// The Hungarian method with potentials and shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987).
pub(super) fn pairs(
    rows: usize,
    columns: usize,
    least: f32,
    likeness: &dyn Fn(usize, usize) -> f32,
) -> Vec<(usize, usize)> {
    if rows > columns {
        let mut turned: Vec<_> =
            pairs(columns, rows, least, &|r, c| likeness(c, r)).into_iter().map(|(r, c)| (c, r)).collect();
        turned.sort_unstable();
        return turned;
    }
    // What must not be a pair costs as much as no pair, and is left out at the end.
    let costs: Vec<f32> = (0..rows)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(row, column)| {
            Some(likeness(row, column)).filter(|like| *like >= least).map_or(2.0, |like| 1.0 - like)
        })
        .collect();
    let holder = cheapest(rows, columns, |row, column| costs[row * columns + column]);
    let mut found: Vec<(usize, usize)> = holder
        .into_iter()
        .enumerate()
        .filter_map(|(column, row)| Some((row?, column)))
        .filter(|(row, column)| costs[row * columns + column] <= 1.0)
        .collect();
    found.sort_unstable();
    found
}

/// For each column the row that holds it, so that all rows together cost least; `rows` is at most `columns`.
fn cheapest(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f32) -> Vec<Option<usize>> {
    let (mut row_price, mut column_price) = (vec![0.0_f32; rows], vec![0.0_f32; columns]);
    let mut holder: Vec<Option<usize>> = vec![None; columns];
    for start in 0..rows {
        // The cheapest way from `start` to each column, and the column before it on that way.
        let mut way = vec![f32::INFINITY; columns];
        let mut before: Vec<Option<usize>> = vec![None; columns];
        let mut done = vec![false; columns];
        let (mut row, mut last) = (start, None);
        let end = loop {
            let mut next: Option<usize> = None;
            for column in (0..columns).filter(|column| !done[*column]) {
                let step = cost(row, column) - row_price[row] - column_price[column];
                if step < way[column] {
                    (way[column], before[column]) = (step, last);
                }
                if next.is_none_or(|best| way[column] < way[best]) {
                    next = Some(column);
                }
            }
            let Some(column) = next else { return holder };
            let least = way[column];
            row_price[start] += least;
            for other in 0..columns {
                if !done[other] {
                    way[other] -= least;
                } else if let Some(held) = holder[other] {
                    row_price[held] += least;
                    column_price[other] -= least;
                }
            }
            done[column] = true;
            match holder[column] {
                Some(held) => (row, last) = (held, Some(column)),
                None => break column,
            }
        };
        let mut column = end;
        while let Some(previous) = before[column] {
            holder[column] = holder[previous];
            column = previous;
        }
        holder[column] = Some(start);
    }
    holder
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The best sum by trying everything.
    fn best(rows: usize, columns: usize, least: f32, like: &[f32], used: u32) -> f32 {
        let Some(row) = rows.checked_sub(1) else { return 0.0 };
        let without = best(row, columns, least, like, used);
        let with = (0..columns).filter(|c| used & (1 << c) == 0 && like[row * columns + c] >= least);
        // A pair is worth one more than its likeness: more pairs come before better pairs.
        with.map(|c| 1.0 + like[row * columns + c] + best(row, columns, least, like, used | 1 << c))
            .fold(without, f32::max)
    }

    proptest! {
        #[test]
        fn no_other_pairs_are_better(
            rows in 0..5_usize,
            columns in 0..5_usize,
            like in prop::collection::vec(0.0..1.0_f32, 25),
        ) {
            let least = 0.3;
            let found = pairs(rows, columns, least, &|r, c| like[r * columns + c]);
            prop_assert!(found.is_sorted());
            prop_assert!(found.iter().all(|(r, c)| like[r * columns + c] >= least));
            let unique: std::collections::BTreeSet<_> = found.iter().map(|(_, c)| c).collect();
            prop_assert_eq!(unique.len(), found.len());
            let worth: f32 = found.iter().map(|(r, c)| 1.0 + like[r * columns + c]).sum();
            let possible = best(rows, columns, least, &like, 0);
            prop_assert!((worth - possible).abs() < 1e-4, "{} of {}", worth, possible);
        }
    }
}
