//! Two models side by side: accuracies, McNemar's test, and the pictures on which they differ.

use std::fmt::Write as _;

use serde::Serialize;

use super::charts::escape;
use super::gallery::{Card, gallery};
use super::page::STYLE;
use super::paired::Paired;
use super::rates::Rate;
use crate::data::Dataset;

/// What two models say of the same pictures.
#[derive(Serialize)]
pub(crate) struct Comparison {
    /// What they are, and the accuracy of each.
    models: [String; 2],
    accuracies: [Rate; 2],
    /// Which pictures they were asked about.
    pictures: String,
    paired: Paired,
    /// Where they differ; those that one of them gets right come first.
    differing: Vec<Differing>,
}

/// A picture to which the models give different answers.
#[derive(Serialize)]
struct Differing {
    #[serde(skip)]
    sample: usize,
    name: String,
    truth: String,
    answers: [Said; 2],
}

/// An answer with its probability.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Said {
    #[serde(skip)]
    pub(crate) class: usize,
    pub(crate) label: String,
    pub(crate) probability: f32,
}

/// As many pictures are printed one by one.
const SHOWN: usize = 30;

impl Comparison {
    /// From the answers of both to the samples `indices`.
    pub(crate) fn of(
        models: [String; 2],
        pictures: String,
        set: &Dataset,
        indices: &[usize],
        [first, second]: [&[Said]; 2],
    ) -> Self {
        let truth: Vec<usize> = indices.iter().map(|&i| set.samples[i].class).collect();
        let classes = |said: &[Said]| said.iter().map(|said| said.class).collect::<Vec<_>>();
        let paired = Paired::of(&truth, &classes(first), &classes(second));
        let mut differing: Vec<_> = indices
            .iter()
            .zip(first.iter().zip(second))
            .filter(|(_, (a, b))| a.class != b.class)
            .map(|(&sample, (a, b))| Differing {
                sample,
                name: set.samples[sample].name.clone(),
                truth: set.class_name(set.samples[sample].class).to_owned(),
                answers: [a.clone(), b.clone()],
            })
            .collect();
        let rank = |d: &Differing| match [0, 1].map(|i| d.answers[i].label == d.truth) {
            [true, _] => 0,
            [_, true] => 1,
            _ => 2,
        };
        differing.sort_by_key(rank);
        Self { models, accuracies: paired.accuracies(), pictures, paired, differing }
    }

    /// What the test says, in words.
    fn verdict(&self) -> String {
        let Paired { p, .. } = self.paired;
        let lost = self.paired.points_lost();
        if p >= Paired::SIGNIFICANT {
            return format!("p = {p:.3}: these pictures do not show that one is better");
        }
        let (better, points) = if lost > 0.0 { ("first", lost) } else { ("second", -lost) };
        format!("p = {p:.2e}: the {better} is better, by {points:.2} points")
    }

    /// How many both, one or none of them get right, in this order.
    fn counts(&self) -> [(&'static str, usize); 4] {
        let Paired { pictures, first_right, only_first, only_second, .. } = self.paired;
        let both = first_right - only_first;
        [
            ("both right", both),
            ("only the first", only_first),
            ("only the second", only_second),
            ("neither", pictures - both - only_first - only_second),
        ]
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (which, (model, accuracy)) in
            ["first ", "second"].iter().zip(self.models.iter().zip(&self.accuracies))
        {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{which}  {}  {model}", accuracy.percent());
        }
        let _ = writeln!(text, "on {}", self.pictures);
        let counts = self.counts().map(|(name, count)| format!("{name} {count}"));
        let _ = writeln!(text, "{}; {} answers differ", counts.join(", "), self.paired.changed);
        let _ = writeln!(text, "McNemar's exact test, {}", self.verdict());
        for Differing { name, truth, answers: [a, b], .. } in self.differing.iter().take(SHOWN) {
            let said = |said: &Said| format!("{} {:.1} %", said.label, 100.0 * said.probability);
            let _ = writeln!(text, "  {name}  true {truth}  first {}  second {}", said(a), said(b));
        }
        if self.differing.len() > SHOWN {
            let _ =
                writeln!(text, "  and {} more: --json and --html have them", self.differing.len() - SHOWN);
        }
        text
    }

    /// One page with everything in it.
    pub(crate) fn to_html(&self, set: &Dataset) -> String {
        let [first, second] = self.models.each_ref().map(|model| escape(model));
        let mut html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{first} and {second}</title><style>{STYLE}</style></head><body><main>\
             <h1>Two models on the same pictures</h1><p class=\"faint\">On {}. Intervals are of 95 %. McNemar's exact test, \
             {}.</p><div class=\"tiles\">",
            escape(&self.pictures),
            self.verdict()
        );
        for (which, (model, accuracy)) in
            ["First", "Second"].iter().zip([first, second].iter().zip(&self.accuracies))
        {
            let _ = write!(
                html,
                "<div class=\"tile\">{which}: {model}<b>{:.2} %</b><span class=\"faint\">{:.1} to {:.1} %</span></div>",
                100.0 * accuracy.value,
                100.0 * accuracy.low,
                100.0 * accuracy.high
            );
        }
        for (name, count) in self.counts() {
            let _ = write!(html, "<div class=\"tile\">{name}<b>{count}</b></div>");
        }
        html.push_str("</div>");
        let cards: Vec<Card> = self.differing.iter().map(Differing::card).collect();
        gallery(&mut html, set, "Where they differ", &cards);
        html.push_str("</main></body></html>");
        html
    }
}

impl Differing {
    fn card(&self) -> Card {
        let said = |which: &str, said: &Said| {
            let label = escape(&said.label);
            let label = if said.label == self.truth { format!("<b>{label}</b>") } else { label };
            format!("{which}: {label} {:.1} %<br>", 100.0 * said.probability)
        };
        let [a, b] = &self.answers;
        Card {
            sample: self.sample,
            wrong: b.label != self.truth,
            text: format!("{}{}true: {}", said("first", a), said("second", b), escape(&self.truth)),
        }
    }
}
