//! From a YOLOX network's rows to boxes.
//!
//! Each row stands for one cell of one of the grids laid over the input, coarser ones last: offset of the middle in
//! cells, logarithm of the size in cells, objectness, and one number per class. The formulas are those of the authors'
//! `demo_postprocess` (Megvii-BaseDetection/YOLOX).

use super::DetectorManifest;
use crate::Found;
use portero_core::domain::{NormRect, Score};

/// Things told of one picture at most, most certain first.
const MOST: usize = 100;

/// What the rows are read by.
pub(super) struct Decoder<'a> {
    pub(super) manifest: &'a DetectorManifest,
    /// Places of the wanted labels.
    pub(super) wanted: &'a [usize],
}

/// A box before it is compared with others.
struct Candidate {
    label: usize,
    score: f32,
    rect: NormRect,
}

impl Decoder<'_> {
    /// What stands in `rows`, most certain first; `size` is how many pixels of the input the picture takes.
    pub(super) fn found(&self, rows: &[f32], size: (f32, f32)) -> Vec<Found> {
        let mut candidates: Vec<Candidate> = self
            .cells()
            .zip(rows.chunks_exact(self.manifest.columns()))
            .filter_map(|(cell, row)| self.candidate(cell, row, size))
            .collect();
        candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: Vec<Candidate> = Vec::new();
        for candidate in candidates {
            let hides = |other: &Candidate| {
                other.label == candidate.label && other.rect.iou(&candidate.rect) > self.manifest.overlap
            };
            if kept.len() < MOST && !kept.iter().any(hides) {
                kept.push(candidate);
            }
        }
        let found = |kept: Candidate| {
            let label = self.manifest.labels[kept.label].clone();
            Some(Found { rect: kept.rect, label, score: Score::new(kept.score)? })
        };
        kept.into_iter().filter_map(found).collect()
    }

    /// Column, row and side in pixels of every cell, in the order of the rows.
    fn cells(&self) -> impl Iterator<Item = (f32, f32, f32)> {
        let (width, height) = (self.manifest.width, self.manifest.height);
        self.manifest.strides.iter().flat_map(move |side| {
            let cell = move |y| (0..width / side).map(move |x| (x as f32, y as f32, *side as f32));
            (0..height / side).flat_map(cell)
        })
    }

    fn candidate(&self, cell: (f32, f32, f32), row: &[f32], size: (f32, f32)) -> Option<Candidate> {
        let (x, y, side) = cell;
        // What is no number is left out as well.
        let reaches = |score: &f32| *score >= self.manifest.faint;
        let objectness = Some(row[4]).filter(reaches)?;
        let label = *self.wanted.iter().max_by(|a, b| row[5 + **a].total_cmp(&row[5 + **b]))?;
        let score = Some((objectness * row[5 + label]).min(1.0)).filter(reaches)?;
        let (middle_x, middle_y) = ((row[0] + x) * side, (row[1] + y) * side);
        let (width, height) = (row[2].exp() * side, row[3].exp() * side);
        let share = |v: f32, whole: f32| (v / whole).clamp(0.0, 1.0);
        let rect = NormRect::new(
            share(middle_x - width / 2.0, size.0),
            share(middle_y - height / 2.0, size.1),
            share(middle_x + width / 2.0, size.0),
            share(middle_y + height / 2.0, size.1),
        );
        Some(Candidate { label, score, rect: rect.ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Channels;
    use portero_core::domain::{Label, ModelId};

    fn manifest() -> DetectorManifest {
        DetectorManifest {
            id: ModelId::new("d").unwrap(),
            file: "d.onnx".into(),
            sha256: String::new(),
            licence: String::new(),
            width: 32,
            height: 32,
            channels: Channels::Bgr,
            strides: vec![8, 16],
            labels: ["person", "car"].map(|l| Label::new(l).unwrap()).to_vec(),
            score: 0.4,
            faint: 0.1,
            overlap: 0.45,
        }
    }

    /// The rows of a picture in which nothing is, but for these: number of the row, and what stands in it.
    fn rows(some: &[(usize, [f32; 7])]) -> Vec<f32> {
        let mut rows = vec![0.0; (16 + 4) * 7];
        for (n, row) in some {
            rows[n * 7..][..7].copy_from_slice(row);
        }
        rows
    }

    #[test]
    fn cells_scores_and_overlaps_are_read_as_the_authors_do() {
        let manifest = manifest();
        let decoder = Decoder { manifest: &manifest, wanted: &[0, 1] };
        let eight = 1.0_f32.ln();
        let rows = rows(&[
            // Second row and second column of the fine grid: middle at (12, 12), 8 x 8.
            (5, [0.5, 0.5, eight, eight, 0.9, 0.8, 0.1]),
            // The same thing again, less certain; and as something else.
            (6, [-0.5, 0.5, eight, eight, 0.9, 0.7, 0.1]),
            (9, [0.5, -0.5, eight, eight, 0.9, 0.1, 0.7]),
            // The last of the coarse grid: middle at (24, 24), 16 x 16; its picture ends at 24 below.
            (19, [0.5, 0.5, 0.0, 0.0, 0.5, 0.5, 0.0]),
            // Not certain enough, and no number.
            (0, [0.5, 0.5, 0.0, 0.0, 0.3, 0.3, 0.0]),
            (1, [0.5, 0.5, 0.0, 0.0, f32::NAN, 0.9, 0.0]),
        ]);
        let found = decoder.found(&rows, (32.0, 24.0));
        let told: Vec<_> =
            found.iter().map(|f| (f.label.as_str(), (f.score.get() * 100.0).round())).collect();
        assert_eq!(told, [("person", 72.0), ("car", 63.0), ("person", 25.0)]);
        let corners = found[0].rect.corners();
        assert_eq!(corners, [8.0 / 32.0, 8.0 / 24.0, 16.0 / 32.0, 16.0 / 24.0]);
        assert_eq!(found[2].rect.corners(), [0.5, 16.0 / 24.0, 1.0, 1.0]);
        let cars = Decoder { manifest: &manifest, wanted: &[1] }.found(&rows, (32.0, 24.0));
        assert_eq!(cars.len(), 1, "what is not wanted is not told");
    }
}
