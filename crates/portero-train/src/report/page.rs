//! The report: one HTML file with everything in it, to be opened anywhere and kept with the model.

use std::fmt::Write as _;

use super::charts::{Axis, Chart, Series, escape, range};
use super::evaluation::{Evaluation, Predicted};
use super::gallery::{Card, gallery};
use super::rejection::{Passing, Rejection};
use crate::data::Dataset;
use crate::fit::{Epoch, Run};

/// A line of a training chart: its name, and its value in an epoch.
type Line = (&'static str, fn(&Epoch) -> f64);

pub(super) const STYLE: &str = include_str!("page.css");
/// Classes whose curves are drawn: the worst ones.
const DRAWN: usize = 8;

/// Writes the page.
pub(crate) fn page(run: &Run, set: &Dataset, history: &[Epoch], evaluation: &Evaluation) -> String {
    let mut html = String::with_capacity(1 << 20);
    let title = format!("{} on {}", run.design, run.reading.data.display());
    let title = escape(&title);
    // Writing to a String cannot fail.
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body><main>\
         <h1>{title}</h1><p class=\"faint\">{} classes, reported on {} pictures of the {} part; {}; seed {}. \
         Intervals are of 95 %.</p>",
        set.classes.len(),
        evaluation.pictures,
        evaluation.part,
        escape(&run.origin()),
        run.reading.seed
    );
    tiles(&mut html, evaluation);
    html.push_str("<h2>Training</h2><div class=\"charts\">");
    training(&mut html, history);
    html.push_str("</div><h2>Confusion</h2>");
    confusion(&mut html, set, evaluation);
    html.push_str("<h2>Classes</h2>");
    classes(&mut html, evaluation);
    html.push_str("<h2>Calibration, and one class against the rest</h2><div class=\"charts\">");
    calibration(&mut html, evaluation);
    one_against_rest(&mut html, evaluation);
    html.push_str("</div><h2>What is rejected as unknown</h2>");
    rejection(&mut html, &evaluation.rejection);
    let (wrong, right): (Vec<_>, Vec<_>) = evaluation.predictions.iter().partition(|p| p.is_wrong());
    let threshold = evaluation.rejection.threshold.value;
    let cards = |predicted: &[&Predicted]| -> Vec<Card> {
        predicted.iter().map(|predicted| card(set, predicted, threshold)).collect()
    };
    gallery(&mut html, set, "Errors, the surest first", &cards(&wrong));
    let strangers: Vec<_> = evaluation.unknown.iter().collect();
    if !strangers.is_empty() {
        gallery(&mut html, set, "Of held-out classes, the surest answers first", &cards(&strangers));
    }
    gallery(&mut html, set, "Right, the least sure first", &cards(&right));
    let command = escape(&run.command.join(" "));
    let _ = write!(
        html,
        "<h2>How to repeat it</h2><div class=\"wide\"><code>{command}</code><br><span class=\"faint\">portero-train {}, \
         {} threads, data SHA-256 {}</span></div></main></body></html>",
        run.version, run.threads, run.data_sha256
    );
    html
}

fn percent(value: f64) -> String {
    format!("{:.2} %", 100.0 * value)
}

fn tiles(html: &mut String, evaluation: &Evaluation) {
    let interval =
        |rate: super::rates::Rate| format!("{:.1} to {:.1} %", 100.0 * rate.low, 100.0 * rate.high);
    let [before, after] = evaluation.calibration_error;
    let wrong = evaluation.predictions.iter().filter(|p| p.is_wrong()).count();
    let tiles = [
        ("Accuracy", percent(evaluation.accuracy.value), interval(evaluation.accuracy)),
        (
            "Balanced accuracy",
            percent(evaluation.balanced_accuracy.value),
            interval(evaluation.balanced_accuracy),
        ),
        ("Macro F1", percent(evaluation.macro_f1), format!("{wrong} of {} wrong", evaluation.pictures)),
        (
            "Calibration error",
            percent(after),
            format!("{} before temperature {:.2}", percent(before), evaluation.temperature),
        ),
    ];
    html.push_str("<div class=\"tiles\">");
    for (name, value, below) in tiles {
        let _ = write!(
            html,
            "<div class=\"tile\">{name}<b>{value}</b><span class=\"faint\">{below}</span></div>"
        );
    }
    html.push_str("</div>");
}

/// A range for shares, none of which is above 1.
fn shares(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = range(values, false);
    (low, high.min(1.0))
}

fn training(html: &mut String, history: &[Epoch]) {
    let chart = |title, name, y_range, lines: [Line; 2]| Chart {
        title,
        x: Axis { name: "epoch", range: (0.0, history.len().max(1) as f64) },
        y: Axis { name, range: y_range },
        series: lines
            .into_iter()
            .enumerate()
            .map(|(colour, (name, of))| Series {
                name,
                points: history.iter().map(|e| (e.epoch as f64, of(e))).collect(),
                colour,
                dots: true,
            })
            .collect(),
        diagonal: false,
    };
    let losses = history.iter().flat_map(|e| [e.train_loss, e.val_loss]);
    let accuracies = history.iter().flat_map(|e| [e.train_accuracy, e.val_accuracy]);
    let loss = chart(
        "Loss",
        "cross-entropy",
        range(losses, true),
        [("train, with augmentation", |e| e.train_loss), ("val", |e| e.val_loss)],
    );
    let accuracy = chart(
        "Accuracy",
        "share right",
        shares(accuracies),
        [("train, with augmentation", |e| e.train_accuracy), ("val", |e| e.val_accuracy)],
    );
    html.push_str(&loss.to_html());
    html.push_str(&accuracy.to_html());
}

fn confusion(html: &mut String, set: &Dataset, evaluation: &Evaluation) {
    html.push_str("<div class=\"wide\"><table class=\"confusion\"><thead><tr><th>true \\ answer</th>");
    for class in &set.classes {
        let _ = write!(html, "<th>{}</th>", escape(class));
    }
    html.push_str("</tr></thead><tbody>");
    for (truth, (class, row)) in set.classes.iter().zip(&evaluation.confusion).enumerate() {
        let all = row.iter().sum::<usize>().max(1) as f64;
        let _ = write!(html, "<tr><th>{}</th>", escape(class));
        for (answer, count) in row.iter().enumerate() {
            let share = *count as f64 / all;
            // Errors are scaled up: they are what one looks for.
            let (colour, strength) = if truth == answer {
                ("0,114,178", share * 0.9)
            } else {
                ("213,94,0", (share * 4.0).min(0.9))
            };
            let ink = if strength > 0.55 { "#fff" } else { "inherit" };
            let text = if *count == 0 { "·".to_owned() } else { count.to_string() };
            let _ = write!(
                html,
                "<td style=\"background:rgba({colour},{strength:.3});color:{ink}\" title=\"{:.1} %\">{text}</td>",
                100.0 * share
            );
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
}

fn classes(html: &mut String, evaluation: &Evaluation) {
    html.push_str(
        "<div class=\"wide\"><table><thead><tr><th>class</th><th>pictures</th><th>precision</th><th>recall</th><th>F1</th>\
         <th>ROC AUC</th><th>average precision</th></tr></thead><tbody>",
    );
    for class in &evaluation.classes {
        let area = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.4}"));
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&class.name),
            class.support,
            class.precision.percent(),
            class.recall.percent(),
            percent(class.f1),
            area(class.roc_auc),
            area(class.average_precision)
        );
    }
    html.push_str("</tbody></table></div>");
}

fn calibration(html: &mut String, evaluation: &Evaluation) {
    let line = |which: usize, name| Series {
        name,
        points: evaluation.reliability[which]
            .iter()
            .filter(|bin| bin.count > 0)
            .map(|bin| (bin.confidence, bin.accuracy))
            .collect(),
        colour: 1 - which,
        dots: true,
    };
    let unit = |name| Axis { name, range: (0.0, 1.0) };
    let chart = Chart {
        title: "Reliability",
        x: unit("probability given"),
        y: unit("share right"),
        series: vec![line(0, "before temperature scaling"), line(1, "after")],
        diagonal: true,
    };
    html.push_str(&chart.to_html());
}

fn one_against_rest(html: &mut String, evaluation: &Evaluation) {
    let mut worst: Vec<_> = evaluation
        .classes
        .iter()
        .zip(&evaluation.curves)
        .filter_map(|(c, curves)| Some((c, curves.as_ref()?)))
        .collect();
    worst.sort_by(|a, b| a.1.average_precision.total_cmp(&b.1.average_precision));
    worst.truncate(DRAWN);
    let names: Vec<[String; 2]> = worst
        .iter()
        .map(|(c, curves)| {
            [
                format!("{} ({:.3})", c.name, curves.roc_auc),
                format!("{} ({:.3})", c.name, curves.average_precision),
            ]
        })
        .collect();
    let unit = |name| Axis { name, range: (0.0, 1.0) };
    let series = |which: usize| {
        worst
            .iter()
            .zip(&names)
            .enumerate()
            .map(|(colour, ((_, curves), names))| Series {
                name: &names[which],
                points: if which == 0 { curves.roc.clone() } else { curves.precision_recall.clone() },
                colour,
                dots: false,
            })
            .collect()
    };
    let few = if evaluation.classes.len() > DRAWN { ", the hardest classes" } else { "" };
    let titles = [format!("ROC{few} (area)"), format!("Precision and recall{few} (average precision)")];
    let roc = Chart {
        title: &titles[0],
        x: unit("false-positive rate"),
        y: unit("true-positive rate"),
        series: series(0),
        diagonal: true,
    };
    let precision = Chart {
        title: &titles[1],
        x: unit("recall"),
        y: unit("precision"),
        series: series(1),
        diagonal: false,
    };
    html.push_str(&roc.to_html());
    html.push_str(&precision.to_html());
}

fn rejection(html: &mut String, rejection: &Rejection) {
    let threshold = f64::from(rejection.threshold.value);
    let _ = write!(
        html,
        "<p class=\"faint\">Rejected is what has a probability below {threshold:.3}: {}{}. Of the known pictures {} pass; of \
         those that pass, {} are right.",
        escape(&rejection.threshold.how),
        if rejection.held_out.is_empty() {
            String::new()
        } else {
            format!(" ({})", escape(&rejection.held_out.join(", ")))
        },
        rejection.known_accepted.percent(),
        rejection.right_of_accepted.percent()
    );
    if let (Some(rate), Some(area)) = (rejection.unknown_accepted, rejection.roc_auc) {
        let _ = write!(
            html,
            " Of {} unknown pictures {} pass; ROC AUC {area:.4}.",
            rejection.unknown,
            rate.percent()
        );
    }
    html.push_str("</p><div class=\"charts\">");
    let unit = |name| Axis { name, range: (0.0, 1.0) };
    let line = |name, colour, of: fn(&Passing) -> Option<f64>| Series {
        name,
        points: rejection.curve.iter().filter_map(|p| Some((f64::from(p.threshold), of(p)?))).collect(),
        colour,
        dots: false,
    };
    let chosen =
        Series { name: "chosen", points: vec![(threshold, 0.0), (threshold, 1.0)], colour: 6, dots: false };
    let mut series = vec![
        line("known that pass", 0, |p| Some(p.known)),
        line("right of those that pass", 2, |p| p.right),
        chosen,
    ];
    if !rejection.held_out.is_empty() {
        series.insert(1, line("unknown that pass", 1, |p| p.unknown));
    }
    let passing =
        Chart { title: "What passes", x: unit("threshold"), y: unit("share"), series, diagonal: false };
    html.push_str(&passing.to_html());
    if !rejection.roc.is_empty() {
        let chart = Chart {
            title: "Known against unknown",
            x: unit("unknown that pass"),
            y: unit("known that pass"),
            series: vec![Series { name: "", points: rejection.roc.clone(), colour: 0, dots: false }],
            diagonal: true,
        };
        html.push_str(&chart.to_html());
    }
    html.push_str("</div>");
}

/// What was said of one picture.
fn card(set: &Dataset, predicted: &Predicted, threshold: f32) -> Card {
    let rejected = if predicted.probability < threshold { ", rejected" } else { "" };
    Card {
        sample: predicted.sample,
        wrong: predicted.is_wrong(),
        text: format!(
            "<b>{}</b> {}{rejected}<br>true: {}",
            escape(set.class_name(predicted.answer)),
            percent(f64::from(predicted.probability)),
            escape(set.class_name(predicted.truth))
        ),
    }
}
