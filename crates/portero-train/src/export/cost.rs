//! What quantising costs: the float model and the exported one, both run by the daemon's code on the same pictures.

use std::sync::Arc;

use portero_infer::Model;

use super::ExportError;
use crate::answers::{best, probabilities};
use crate::data::{Dataset, Part};
use crate::report::{self, Evaluation, Paired, Threshold};

/// Both models on one part.
pub(super) struct Cost {
    pub(super) part: Part,
    /// The float model first.
    pub(super) paired: Paired,
    /// The figures of the exported model.
    pub(super) figures: Evaluation,
}

impl Cost {
    /// Classifies `part` with both. `how` says how the rejection threshold was chosen.
    ///
    /// # Errors
    /// [`ExportError::NoPictures`] when the part is empty; the daemon's when a model cannot run.
    pub(super) fn of(
        part: Part,
        float: &Arc<Model>,
        exported_model: &Arc<Model>,
        set: &Dataset,
        how: &str,
    ) -> Result<Self, ExportError> {
        let indices = set.part(part);
        if indices.is_empty() {
            return Err(ExportError::NoPictures { part: part.as_str() });
        }
        let truth: Vec<usize> = indices.iter().map(|i| set.samples[*i].class).collect();
        let [float, exported] = [float, exported_model].map(|model| probabilities(model, set, &indices));
        let (float, exported) = (float?, exported?);
        let answers = |rows: &[Vec<f32>]| rows.iter().map(|row| best(row)).collect::<Vec<_>>();
        let paired = Paired::of(&truth, &answers(&float), &answers(&exported));
        let unknown = probabilities(exported_model, set, &set.unknown(part))?;
        let value = exported_model.manifest().reject_below.get();
        let threshold = Threshold { value, how: how.to_owned() };
        let figures = report::of_probabilities(set, part, [&exported, &unknown], &threshold);
        Ok(Self { part, paired, figures })
    }

    /// For people, one line.
    pub(super) fn report(&self) -> String {
        let Paired { pictures, first_right, second_right, changed, p, .. } = &self.paired;
        format!(
            "on {pictures} pictures of {}: float {first_right} right, exported {second_right} right, {changed} answers \
             changed, {:.2} points lost (McNemar p = {p:.3})",
            self.part.as_str(),
            self.paired.points_lost()
        )
    }
}
