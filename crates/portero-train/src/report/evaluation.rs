//! The figures of one network on one data set.

use std::fmt::Write as _;

use serde::Serialize;
use tch::Tensor;

use super::curves::{self, Bin, Curves};
use super::rates::{ClassRates, Rate, confusion, precision_recall_f1};
use super::rejection::{self, Answer, Rejection, Threshold};
use super::temperature::temperature;
use crate::data::{Dataset, Part, Supply};
use crate::fit::{FitError, Scored, score};
use crate::model::Model;

/// What is reported, and kept as `evaluation.json`.
#[derive(Serialize)]
pub(crate) struct Evaluation {
    /// The part it comes from: `test`, or `val` where there is no other.
    pub(super) part: &'static str,
    pub(super) pictures: usize,
    pub(super) accuracy: Rate,
    pub(crate) balanced_accuracy: Rate,
    pub(super) macro_f1: f64,
    /// Mean cross-entropy before and after temperature scaling.
    pub(super) loss: [f64; 2],
    /// Chosen on val.
    pub(crate) temperature: f64,
    /// Expected calibration error before and after temperature scaling.
    pub(super) calibration_error: [f64; 2],
    pub(super) reliability: [Vec<Bin>; 2],
    pub(super) classes: Vec<ClassRates>,
    /// True class by row, answer by column.
    pub(super) confusion: Vec<Vec<usize>>,
    pub(super) curves: Vec<Option<Curves>>,
    /// What is rejected as unknown.
    pub(crate) rejection: Rejection,
    /// Every picture, wrong ones first, the surest of them before the others; then right ones, the least sure first.
    pub(super) predictions: Vec<Predicted>,
    /// Every picture of a held-out class, the surest answers first.
    pub(super) unknown: Vec<Predicted>,
}

/// What was said of one picture.
#[derive(Serialize)]
pub(super) struct Predicted {
    /// Index into the data set's samples.
    #[serde(skip)]
    pub(super) sample: usize,
    pub(super) name: String,
    /// From the number of classes on, a held-out one.
    pub(super) truth: usize,
    pub(super) answer: usize,
    /// Of the answer, after temperature scaling.
    pub(super) probability: f32,
}

/// What was said of the known and the unknown pictures of one part.
struct Said {
    part: Part,
    indices: Vec<usize>,
    known: Scored,
    strangers: Vec<usize>,
    /// `None` when no class is held out.
    unknown: Option<Scored>,
}

impl Said {
    fn of(part: Part, model: &dyn Model, supply: &dyn Supply, set: &Dataset) -> Result<Self, FitError> {
        let (indices, strangers) = (set.part(part), set.unknown(part));
        let known = score(model, supply, &indices)?;
        let unknown = (!strangers.is_empty()).then(|| score(model, supply, &strangers)).transpose()?;
        Ok(Self { part, indices, known, strangers, unknown })
    }

    /// The best answers to known and unknown pictures.
    fn answers(&self, temperature: f64) -> [Vec<Answer>; 2] {
        let of = |scored: &Scored| {
            let rows = scored.probabilities(temperature);
            let answers = scored.answers().into_iter().zip(&scored.truth).zip(rows);
            answers.map(|((a, t), row)| Answer { probability: row[a], right: a == *t }).collect()
        };
        [of(&self.known), self.unknown.as_ref().map(of).unwrap_or_default()]
    }
}

/// Runs the network that was not fitted to val over val, and the one that is kept over test; they are the same unless it
/// was fitted again. On val at most the share `far` of held-out classes may pass.
///
/// # Errors
/// When a picture cannot be made into an input.
pub(crate) fn evaluate(
    [model, kept]: [&dyn Model; 2],
    supply: &dyn Supply,
    set: &Dataset,
    far: f64,
) -> Result<Evaluation, FitError> {
    let val = Said::of(Part::Val, model, supply, set)?;
    let temperature = temperature(&val.known);
    let [known, unknown] = val.answers(temperature);
    let threshold = rejection::choose(&known, &unknown, far);
    let reported =
        if set.part(Part::Test).is_empty() { val } else { Said::of(Part::Test, kept, supply, set)? };
    Ok(figures(set, &reported, temperature, &threshold))
}

/// The figures of `part` from probabilities that are calibrated already, one row for each of its samples, of the known
/// classes and of those held out.
pub(crate) fn of_probabilities(
    set: &Dataset,
    part: Part,
    [known, unknown]: [&[Vec<f32>]; 2],
    threshold: &Threshold,
) -> Evaluation {
    let (indices, strangers) = (set.part(part), set.unknown(part));
    let scored = |indices: &[usize], rows: &[Vec<f32>]| {
        // Softmax of the logarithms gives the probabilities back.
        let logs: Vec<f32> = rows.iter().flatten().map(|p| p.max(f32::MIN_POSITIVE).ln()).collect();
        let logits = Tensor::from_slice(&logs).view([-1, set.classes.len() as i64]);
        Scored { logits, truth: indices.iter().map(|&i| set.samples[i].class).collect() }
    };
    let known = scored(&indices, known);
    let unknown = (!strangers.is_empty()).then(|| scored(&strangers, unknown));
    figures(set, &Said { part, indices, known, strangers, unknown }, 1.0, threshold)
}

fn figures(set: &Dataset, said: &Said, temperature: f64, threshold: &Threshold) -> Evaluation {
    let (indices, scored) = (&said.indices, &said.known);
    let answers = scored.answers();
    let confusion = confusion(set.classes.len(), &scored.truth, &answers);
    let [raw, scaled] = [1.0, temperature].map(|t| scored.probabilities(t));
    let [(bins_raw, ece_raw), (bins, ece)] = [&raw, &scaled].map(|p| curves::reliability(p, &scored.truth));
    let of_class = |class: usize| -> Vec<(f32, bool)> {
        scaled.iter().zip(&scored.truth).map(|(row, truth)| (row[class], *truth == class)).collect()
    };
    let curves: Vec<_> = (0..set.classes.len()).map(|class| curves::curves(&of_class(class))).collect();
    let class_rates = |(class, name): (usize, &String)| {
        let (precision, recall, f1) = precision_recall_f1(&confusion, class);
        ClassRates {
            name: name.clone(),
            support: confusion[class].iter().sum(),
            precision,
            recall,
            f1,
            roc_auc: curves[class].as_ref().map(|c| c.roc_auc),
            average_precision: curves[class].as_ref().map(|c| c.average_precision),
        }
    };
    let classes: Vec<ClassRates> = set.classes.iter().enumerate().map(class_rates).collect();
    let recalls: Vec<Rate> = classes.iter().filter(|c| c.support > 0).map(|c| c.recall).collect();
    let right = answers.iter().zip(&scored.truth).filter(|(a, t)| a == t).count();
    let mut predictions = predicted(set, indices, scored, temperature);
    predictions.sort_by(|a, b| match (a.is_wrong(), b.is_wrong()) {
        (true, true) => b.probability.total_cmp(&a.probability),
        (false, false) => a.probability.total_cmp(&b.probability),
        (a, b) => b.cmp(&a),
    });
    let mut unknown = said
        .unknown
        .as_ref()
        .map_or(Vec::new(), |unknown| predicted(set, &said.strangers, unknown, temperature));
    unknown.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let [known, strangers] = said.answers(temperature);
    Evaluation {
        part: said.part.as_str(),
        pictures: indices.len(),
        accuracy: Rate::of(right, indices.len()),
        balanced_accuracy: Rate::mean(&recalls),
        macro_f1: classes.iter().map(|c| c.f1).sum::<f64>() / classes.len() as f64,
        loss: [scored.loss(), scored.loss_at(temperature)],
        temperature,
        calibration_error: [ece_raw, ece],
        reliability: [bins_raw, bins],
        classes,
        confusion,
        curves,
        rejection: Rejection::at(threshold, &known, &strangers, &set.held_out),
        predictions,
        unknown,
    }
}

/// What was said of each of these samples.
fn predicted(set: &Dataset, indices: &[usize], scored: &Scored, temperature: f64) -> Vec<Predicted> {
    let rows = scored.probabilities(temperature);
    let answers = scored.answers().into_iter().zip(rows);
    let one = |(&sample, (answer, row)): (&usize, (usize, Vec<f32>))| Predicted {
        sample,
        name: set.samples[sample].name.clone(),
        truth: set.samples[sample].class,
        answer,
        probability: row[answer],
    };
    indices.iter().zip(answers).map(one).collect()
}

impl Predicted {
    pub(super) fn is_wrong(&self) -> bool {
        self.truth != self.answer
    }
}

impl Evaluation {
    /// The figures as a table.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        let wide = self.classes.iter().map(|c| c.name.chars().count()).max().unwrap_or(0).max(5);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} pictures of {}", self.pictures, self.part);
        let _ = writeln!(text, "accuracy           {}", self.accuracy.percent());
        let _ = writeln!(text, "balanced accuracy  {}", self.balanced_accuracy.percent());
        let _ = writeln!(text, "macro F1           {:.2} %", 100.0 * self.macro_f1);
        let [before, after] = self.calibration_error;
        let _ = writeln!(
            text,
            "calibration error  {:.2} %, {:.2} % at the temperature {:.3} that val chose",
            100.0 * before,
            100.0 * after,
            self.temperature
        );
        text += &self.rejection.to_text();
        text.push('\n');
        let _ = writeln!(
            text,
            "{:wide$}  {:>24}  {:>24}  {:>6}  {:>6}",
            "class", "precision", "recall", "F1", "n"
        );
        for class in &self.classes {
            let _ = writeln!(
                text,
                "{:wide$}  {:>24}  {:>24}  {:>6.1}  {:>6}",
                class.name,
                class.precision.percent(),
                class.recall.percent(),
                100.0 * class.f1,
                class.support
            );
        }
        text
    }
}
