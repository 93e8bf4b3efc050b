//! Drawing train, val and test where the folders do not say: stratified by class, never through a source.
//!
//! Two crops of one photo in different parts would make the test part a memory test. So whole groups are dealt
//! out, each to the part that lacks its classes most.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, Part, Reading, mix};

/// Percent for train, val and test; together 100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shares([u32; 3]);

impl Default for Shares {
    fn default() -> Self {
        Self([70, 15, 15])
    }
}

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Vec<u32> = text.split(',').map(|n| n.trim().parse().unwrap_or(u32::MAX)).collect();
        match numbers.as_slice() {
            &[train, val, test] if train > 0 && val > 0 && [train, val, test].iter().all(|n| *n <= 100) => {
                let sum = train + val + test;
                if sum == 100 {
                    Ok(Self([train, val, test]))
                } else {
                    Err(format!("the sum is {sum}; it must be 100"))
                }
            }
            _ => Err("three whole percentages are needed, like 70,15,15; the first two above 0".to_owned()),
        }
    }
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{},{}", self.0[0], self.0[1], self.0[2])
    }
}

/// What belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Grouping {
    /// Names that differ only in what follows a number of at least six digits and an underscore.
    Name,
    /// Every picture stands for itself.
    None,
}

/// The source that a file name shows: `train/a/000000000009_1.jpg` → `000000000009`.
fn source(name: &str) -> Option<&str> {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let (source, piece) = stem.rsplit_once('_')?;
    let digits = source.bytes().rev().take_while(u8::is_ascii_digit).count();
    (digits >= 6 && !piece.is_empty() && piece.bytes().all(|b| b.is_ascii_digit())).then_some(source)
}

/// Gives every sample whose part is open one, and draws val from train where it is missing.
pub(super) fn fill_in(set: &mut Dataset, reading: &Reading) -> Result<(), DataError> {
    let Shares([train, val, test]) = reading.split;
    if set.open.iter().any(|open| *open) {
        let open: Vec<usize> = (0..set.samples.len()).filter(|&i| set.open[i]).collect();
        deal(set, &open, [train, val, test], reading);
    } else if !set.samples.iter().any(|s| s.part == Part::Val) {
        let open: Vec<usize> = set.of(Part::Train).collect();
        deal(set, &open, [100 - val, val, 0], reading);
    }
    check(set, reading)
}

/// The shares of a class that is held out: none for train, as much for val as for test.
fn shares_of_unknown([.., test]: [u32; 3]) -> [u32; 3] {
    if test > 0 { [0, 50, 50] } else { [0, 100, 0] }
}

/// Deals whole groups out.
fn deal(set: &mut Dataset, open: &[usize], shares: [u32; 3], reading: &Reading) {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for &i in open {
        let name = set.samples[i].name.as_str();
        let key = (reading.groups == Grouping::Name).then(|| source(name)).flatten().unwrap_or(name);
        groups.entry(key).or_default().push(i);
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    fastrand::Rng::with_seed(mix(&[reading.seed, 0x0073_706c_6974])).shuffle(&mut groups);
    // Large ones first: the small ones then even out what is left. The sort is stable, so the seed still decides.
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));

    let known = set.classes.len();
    let share = |class: usize, part: usize| {
        if class < known { shares[part] } else { shares_of_unknown(shares)[part] }
    };
    let mut totals = vec![0.0; known + set.held_out.len()];
    open.iter().for_each(|&i| totals[set.samples[i].class] += 1.0);
    let mut lacking = [0, 1, 2].map(|part| {
        let of_class = |(class, n): (usize, &f64)| n * f64::from(share(class, part)) / 100.0;
        totals.iter().enumerate().map(of_class).collect::<Vec<f64>>()
    });
    for group in groups {
        let need = |part: &usize| -> f64 {
            group
                .iter()
                .map(|&i| set.samples[i].class)
                .map(|class| lacking[*part][class] / totals[class])
                .sum()
        };
        let may = |part: &usize| group.iter().any(|&i| share(set.samples[i].class, *part) > 0);
        let best = (0..3).filter(may).max_by(|a, b| need(a).total_cmp(&need(b)).then(b.cmp(a)));
        let part = best.unwrap_or(0);
        for i in group {
            lacking[part][set.samples[i].class] -= 1.0;
            set.samples[i].part = Part::ALL[part];
        }
    }
}

/// Every class must be in train, in val, and in test where there is one; a held-out one in val and test.
fn check(set: &Dataset, reading: &Reading) -> Result<(), DataError> {
    let known = set.classes.len();
    for part in Part::ALL {
        let counts: Vec<usize> =
            (0..known + set.held_out.len()).map(|class| set.count(class, part)).collect();
        if part == Part::Test && counts.iter().all(|n| *n == 0) {
            continue;
        }
        let needed = if part == Part::Train { known } else { counts.len() };
        if let Some(class) = counts[..needed].iter().position(|n| *n == 0) {
            let mine: Vec<&str> =
                set.samples.iter().filter(|s| s.class == class).map(|s| s.name.as_str()).collect();
            let mut sources: Vec<&str> = mine.iter().map(|name| source(name).unwrap_or(name)).collect();
            sources.sort_unstable();
            sources.dedup();
            let sources = if reading.groups == Grouping::Name { sources.len() } else { mine.len() };
            let class = set.class_name(class).to_owned();
            return Err(DataError::TooFew { class, found: mine.len(), sources, part: part.as_str() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_read_from_names() {
        assert_eq!(source("a/000000000009_0.jpg"), Some("000000000009"));
        assert_eq!(source("cam_20240131_12.png"), Some("cam_20240131"));
        for alone in ["IMG_0001.jpg", "1.pgm", "crop001001a.png", "000000000009_x.jpg", "000000000009.jpg"] {
            assert_eq!(source(alone), None, "{alone}");
        }
    }

    #[test]
    fn shares_are_three_percentages() {
        assert_eq!("70, 15,15".parse::<Shares>().unwrap().to_string(), "70,15,15");
        for wrong in ["70,30", "0,50,50", "50,0,50", "70,15,16", "a,b,c", "-1,1,100", ""] {
            assert!(wrong.parse::<Shares>().is_err(), "{wrong}");
        }
    }
}
