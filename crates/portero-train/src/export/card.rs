//! The model card: a Markdown page beside the manifest that says what the model is, what it was made from, what it
//! is worth, and what it must not be used for. The last part is its maker's to write; the page says where it is missing.

use std::fmt::Write as _;

use super::cost::Cost;
use super::manifest::Manifest;
use super::{Job, onnx};
use crate::data::{Dataset, Part};
use crate::fit::{Plan, Run};
use crate::report::cell;
use crate::weights::Description;

/// All that the card tells of.
pub(super) struct Card<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) description: &'a Description,
    pub(super) set: &'a Dataset,
    pub(super) manifest: &'a Manifest,
    /// On val, and on test where there is one.
    pub(super) costs: &'a [Cost],
    /// What the maker wrote.
    pub(super) notes: Option<&'a str>,
    pub(super) operators: Vec<&'a str>,
    pub(super) bytes: usize,
}

impl Card<'_> {
    /// The page.
    pub(super) fn to_markdown(&self) -> String {
        let mut page = self.beginning();
        page += &self.data();
        if let Some(run) = self.job.run {
            page += &training(run);
        }
        page += &self.worth();
        page += &self.limits();
        page += &self.repeating();
        page
    }

    fn beginning(&self) -> String {
        let Self { description, manifest, .. } = self;
        let labels: Vec<String> = description.labels.iter().map(|label| format!("`{label}`")).collect();
        let form = manifest.note("form");
        let reject = match manifest.output.reject_below {
            0.0 => "nothing is rejected as `unknown`".to_owned(),
            below => format!("below {below:.3} the answer is `unknown`"),
        };
        let background = match manifest.output.background.as_slice() {
            [] => String::new(),
            labels => format!("; of them {} mean \"nothing here\"", labels.join(", ")),
        };
        let rows = [
            (
                "`input`",
                format!(
                    "`[1, 3, {}, {}]` float32, RGB, `(value - mean) / std` with mean {:?}, std {:?}; the region brought to that \
                     size by the daemon's preprocessing, resize **{}**",
                    description.height,
                    description.width,
                    description.mean,
                    description.std,
                    description.resize.as_str()
                ),
            ),
            (
                "`logits`",
                format!(
                    "`[1, {}]` float32{background}; probability = softmax of `logits / {:.3}`; {reject}",
                    labels.len(),
                    manifest.output.temperature
                ),
            ),
            ("operators", format!("ONNX opset {}: {}", onnx::OPSET, self.operators.join(", "))),
            ("SHA-256", format!("`{}`", manifest.sha256)),
            ("licence of the weights", cell(&manifest.licence)),
        ];
        let mut page = format!(
            "# {}\n\n{} that tells apart {}. {} bytes: {form}. `{}.toml` is the manifest that the daemon reads. This page was \
             written by `portero-train export`.\n\n## Input and output\n\n| | |\n|---|---|\n",
            manifest.id,
            description.arch.name(),
            labels.join(", "),
            thousands(self.bytes),
            manifest.id
        );
        for (name, what) in rows {
            // Writing to a String cannot fail.
            let _ = writeln!(page, "| {name} | {what} |");
        }
        page
    }

    fn data(&self) -> String {
        let Self { set, job, .. } = self;
        let reading = &job.reading;
        let name = reading.data.file_name().unwrap_or_default().to_string_lossy();
        let counts = Part::ALL.map(|part| set.counts(part));
        let mut page = format!(
            "\n## Data\n\n`{name}`, SHA-256 `{}`.\n\n| class | train | val | test |\n|---|---|---|---|\n",
            set.sha256
        );
        for (class, label) in set.classes.iter().enumerate() {
            let [train, val, test] = [0, 1, 2].map(|part| counts[part][class]);
            let _ = writeln!(page, "| {} | {train} | {val} | {test} |", cell(label));
        }
        for class in set.classes.len()..set.classes.len() + set.held_out.len() {
            let [val, test] = [Part::Val, Part::Test].map(|part| set.count(class, part));
            let _ = writeln!(page, "| {} (held out) | – | {val} | {test} |", cell(set.class_name(class)));
        }
        let _ = write!(
            page,
            "\nTrain fits the weights; val chooses the epoch, the temperature and the threshold; test is only reported. Drawn \
             with seed {}, {}% where the folders do not say.",
            reading.seed, reading.split
        );
        if !set.skipped.is_empty() {
            let _ = write!(page, " {} unreadable files were left out.", set.skipped.len());
        }
        page.push('\n');
        let told =
            ["base", "pruned", "origin", "licence"].map(|key| (key, self.description.provenance.get(key)));
        let told: Vec<_> = told.iter().filter_map(|(key, note)| Some((key, (*note)?))).collect();
        if !told.is_empty() {
            page += "\nThe weights it began with:\n\n";
            for (key, note) in told {
                let _ = writeln!(page, "- {key}: {note}");
            }
        }
        page
    }

    fn worth(&self) -> String {
        let mut page = "\n## How well it does\n\n".to_owned();
        if let Some(reported) = self.costs.last() {
            let chosen = match reported.part {
                Part::Test => "that nothing was chosen on",
                _ => {
                    "which also chose the epoch and the temperature, since there is no test part: the figures flatter"
                }
            };
            let _ = write!(
                page,
                "The exported file, run by the daemon's own code on {} pictures of {}, {chosen}. Intervals of 95 % (Wilson); they \
                 treat every picture as independent of the others.\n\n{}",
                reported.paired.pictures,
                reported.part.as_str(),
                reported.figures.to_markdown()
            );
        }
        page += "\n### What quantising costs\n\n| part | pictures | float | exported | answers changed | points lost | McNemar's p \
                 |\n|---|---|---|---|---|---|---|\n";
        for Cost { part, paired, .. } in self.costs {
            let [float, exported] = paired.accuracies().map(|rate| rate.percent());
            let _ = writeln!(
                page,
                "| {} | {} | {float} | {exported} | {} | {:.2} | {:.3} |",
                part.as_str(),
                paired.pictures,
                paired.changed,
                paired.points_lost(),
                paired.p
            );
        }
        page
    }

    fn limits(&self) -> String {
        let notes = self.notes.map(str::trim).filter(|notes| !notes.is_empty()).unwrap_or(
            "**Not written yet.** What the model is for, where it fails, whom its pictures show and what it must not be used for \
             is its maker's to say: `portero-train export … --notes FILE` puts it here.",
        );
        format!(
            "\n## Intended use and limits\n\n{notes}\n\nThe figures above are of pictures from the same source as those it was \
             trained on. They say nothing of another camera, place, season or hour until it was tried there. Everything that is \
             not one of its classes is given one of them all the same, unless it is rejected as `unknown`.\n"
        )
    }

    fn repeating(&self) -> String {
        let command: Vec<String> = std::env::args().collect();
        let trained = self.job.run.map(|run| run.command.join(" ") + "\n").unwrap_or_default();
        format!(
            "\n## How to repeat it\n\n```sh\n{trained}{}\n```\n\nportero-train {}, seed {}.\n",
            command.join(" "),
            env!("CARGO_PKG_VERSION"),
            self.job.reading.seed
        )
    }
}

fn training(run: &Run) -> String {
    let Plan { epochs, batch, lr, weight_decay, warmup, smoothing, ema, patience, .. } = run.plan;
    let plan = serde_json::to_value(&run.plan).unwrap_or_default();
    let word = |key: &str| plan[key].as_str().unwrap_or_default().to_owned();
    let rows = [
        ("epochs, at most", epochs.to_string()),
        ("pictures a step", batch.to_string()),
        ("optimiser", format!("{}, weight decay {weight_decay}", word("optimizer"))),
        ("learning rate", format!("{lr:e}, {warmup} epochs of warm-up, then a cosine")),
        ("gradient norm, at most", run.plan.clip.map_or("any".into(), |most| most.to_string())),
        ("augmentation", word("augment")),
        (
            "random crops take at least",
            run.plan.crop.map_or("what the augmentation says".into(), |s| s.to_string()),
        ),
        ("balance of the classes", word("balance")),
        ("label smoothing", smoothing.to_string()),
        ("moving average of the weights", ema.map_or("none".into(), |decay| decay.to_string())),
        ("weights kept of the epoch that is", word("keep")),
        ("patience", patience.map_or("none".into(), |epochs| format!("{epochs} epochs"))),
    ];
    let mut page = format!("\n## Training\n\nIt is {}.\n\n| | |\n|---|---|\n", run.origin());
    for (name, value) in rows {
        let _ = writeln!(page, "| {name} | {value} |");
    }
    page
}

/// `1624952` → `1,624,952`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([7, 999, 1000, 1_624_952].map(thousands), ["7", "999", "1,000", "1,624,952"]);
    }
}
