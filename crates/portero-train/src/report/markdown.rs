//! The figures as Markdown, for a model card.

use std::fmt::Write as _;

use super::evaluation::Evaluation;
use super::rejection::Rejection;

/// `|` would end a cell.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

impl Evaluation {
    /// The accuracies as one list, then a table of the classes, then the confusion matrix.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "- accuracy **{}**\n- balanced accuracy **{}**\n- macro F1 {:.2} %\n- expected calibration error {:.2} %\n\n",
            self.accuracy.percent(),
            self.balanced_accuracy.percent(),
            100.0 * self.macro_f1,
            100.0 * self.calibration_error[1]
        );
        text += "| class | pictures | precision | recall | F1 | ROC AUC | average precision |\n|---|---|---|---|---|---|---|\n";
        for class in &self.classes {
            let area = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {:.2} % | {} | {} |",
                cell(&class.name),
                class.support,
                class.precision.percent(),
                class.recall.percent(),
                100.0 * class.f1,
                area(class.roc_auc),
                area(class.average_precision)
            );
        }
        text += "\nTrue class by row, answer by column:\n\n|";
        for class in &self.classes {
            let _ = write!(text, " | {}", cell(&class.name));
        }
        let _ = writeln!(text, " |\n|{}", "---|".repeat(self.classes.len() + 1));
        for (class, row) in self.classes.iter().zip(&self.confusion) {
            let counts: Vec<String> = row.iter().map(usize::to_string).collect();
            let _ = writeln!(text, "| **{}** | {} |", cell(&class.name), counts.join(" | "));
        }
        text + &self.rejection.to_markdown()
    }
}

impl Rejection {
    /// What passes, as a list.
    fn to_markdown(&self) -> String {
        let mut text = format!(
            "\n### What is rejected as `unknown`\n\nA probability below {:.3}: {}.\n\n- of the known pictures {} pass\n- of those \
             that pass {} are right\n",
            self.threshold.value,
            self.threshold.how,
            self.known_accepted.percent(),
            self.right_of_accepted.percent()
        );
        if let Some(rate) = self.unknown_accepted {
            let _ = writeln!(
                text,
                "- of {} pictures of classes it never met, {} pass",
                self.unknown,
                rate.percent()
            );
        }
        text
    }
}
