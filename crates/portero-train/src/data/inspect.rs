//! Looking a data set over before training: counts, sizes, what cannot be read, what occurs in two parts.

use std::fmt::Write as _;

use rayon::prelude::*;
use serde::Serialize;

use super::{Dataset, Part};

/// What there is to say of a data set.
#[derive(Serialize)]
pub(crate) struct Inspection {
    /// SHA-256 of what was read.
    sha256: String,
    classes: Vec<ClassCount>,
    /// Least, median and greatest width and height, in pixels.
    width_px: [u32; 3],
    height_px: [u32; 3],
    unreadable: Vec<Unreadable>,
    /// Pairs of pictures in different parts that look the same.
    near_duplicates: Vec<[String; 2]>,
}

#[derive(Serialize)]
struct ClassCount {
    name: String,
    /// Kept as an unknown.
    held_out: bool,
    train: usize,
    val: usize,
    test: usize,
}

#[derive(Serialize)]
struct Unreadable {
    name: String,
    reason: String,
}

/// As many pairs and files are printed one by one.
const SHOWN: usize = 10;

fn spread(mut values: Vec<u32>) -> [u32; 3] {
    values.sort_unstable();
    let at = |index: usize| values.get(index).copied().unwrap_or(0);
    [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
}

impl Inspection {
    /// Compares every pair of pictures in different parts: some seconds for some ten thousand pictures.
    pub(crate) fn of(set: &Dataset) -> Self {
        let class = |class: usize| ClassCount {
            name: set.class_name(class).to_owned(),
            held_out: class >= set.classes.len(),
            train: set.count(class, Part::Train),
            val: set.count(class, Part::Val),
            test: set.count(class, Part::Test),
        };
        let samples = &set.samples;
        let pairs = (0..samples.len()).into_par_iter().flat_map_iter(|a| {
            let alike = move |b: &usize| {
                samples[a].part != samples[*b].part && samples[a].look.resembles(&samples[*b].look)
            };
            (a + 1..samples.len()).filter(alike).map(move |b| [a, b].map(|i| samples[i].name.clone()))
        });
        Self {
            sha256: set.sha256.clone(),
            classes: (0..set.classes.len() + set.held_out.len()).map(class).collect(),
            width_px: spread(samples.iter().map(|s| s.size_px.0).collect()),
            height_px: spread(samples.iter().map(|s| s.size_px.1).collect()),
            unreadable: set
                .skipped
                .iter()
                .map(|s| Unreadable { name: s.name.clone(), reason: s.reason.clone() })
                .collect(),
            near_duplicates: pairs.collect(),
        }
    }

    /// As a table and two lists.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let wide = self.classes.iter().map(|c| c.name.chars().count()).max().unwrap_or(0).max(5);
        let mut row = |name: &str, cells: [String; 3]| {
            let [train, val, test] = cells;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:wide$} {train:>8} {val:>8} {test:>8}");
        };
        row("class", ["train", "val", "test"].map(str::to_owned));
        for class in &self.classes {
            let name = if class.held_out { format!("{} (held out)", class.name) } else { class.name.clone() };
            row(&name, [class.train, class.val, class.test].map(|n| n.to_string()));
        }
        let sum = |of: fn(&ClassCount) -> usize| self.classes.iter().map(of).sum::<usize>().to_string();
        row("all", [sum(|c| c.train), sum(|c| c.val), sum(|c| c.test)]);
        let [w0, w1, w2] = self.width_px;
        let [h0, h1, h2] = self.height_px;
        let _ = writeln!(text, "\nwidth {w0} to {w2} px, median {w1}; height {h0} to {h2} px, median {h1}");
        let _ = writeln!(text, "{} unreadable files", self.unreadable.len());
        for file in self.unreadable.iter().take(SHOWN) {
            let _ = writeln!(text, "  {}: {}", file.name, file.reason);
        }
        let _ = writeln!(text, "{} near-duplicates across parts", self.near_duplicates.len());
        for [a, b] in self.near_duplicates.iter().take(SHOWN) {
            let _ = writeln!(text, "  {a}  {b}");
        }
        text
    }
}
