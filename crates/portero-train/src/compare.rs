//! `compare`: two models on the same pictures. Either may be a run, or a model that was exported from one.
//!
//! Runs are asked through libtorch, exported models through the daemon's own code. Pictures that one of them was
//! trained on or chosen by are left out, as far as that is known.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use portero_infer::{Input, Model as Exported};

use crate::answers::{best, probabilities};
use crate::data::{Augment, Batches, Dataset, Part, Reading};
use crate::evaluate::fitted_temperature;
use crate::export;
use crate::fit::{Run, load_weights, score, write_whole};
use crate::model::Network;
use crate::report::{Comparison, Said};

/// Arguments of `compare`.
#[derive(clap::Args)]
pub(crate) struct Compare {
    /// The folder of a run, or an exported model: its manifest or its ONNX file.
    #[arg(value_name = "A")]
    first: PathBuf,
    /// What to compare it with.
    #[arg(value_name = "B")]
    second: PathBuf,
    /// Labelled pictures, laid out as for training. Of data that one of them was trained on, only the test part counts.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Print JSON, with every picture on which they differ.
    #[arg(long)]
    json: bool,
    /// Write one HTML page, with those pictures.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The data that a model was trained on.
#[derive(serde::Deserialize)]
pub(crate) struct Origin {
    pub(crate) reading: Reading,
    pub(crate) data_sha256: String,
}

/// One of the two.
struct Side {
    path: PathBuf,
    labels: Vec<String>,
    /// `None` when its manifest does not say.
    origin: Option<Origin>,
    kind: Kind,
}

enum Kind {
    Run { run: Box<Run>, network: Box<Network>, temperature: f64 },
    Exported(Arc<Exported>),
}

/// Runs it.
pub(crate) fn run(arguments: &Compare) -> anyhow::Result<ExitCode> {
    let sides = [Side::open(&arguments.first)?, Side::open(&arguments.second)?];
    let untouched = untouched(&sides, &arguments.data)?;
    let pictures = match &untouched {
        Some(names) => format!("{} pictures of the test part, which neither was fitted to", names.len()),
        None => "all pictures; whether a model was fitted to some of them is not known".to_owned(),
    };
    let ask = |side: &Side| -> anyhow::Result<_> {
        let set = Dataset::load_whole(&arguments.data, &side.input())?;
        let chosen = |i: &usize| untouched.as_ref().is_none_or(|names| names.contains(&set.samples[*i].name));
        let indices: Vec<usize> = set.part(Part::Test).into_iter().filter(chosen).collect();
        let said = side.ask(&set, &indices)?;
        Ok((set, indices, said))
    };
    let ((set, indices, first), (_, _, second)) = (ask(&sides[0])?, ask(&sides[1])?);
    let models = sides.each_ref().map(|side| side.path.display().to_string());
    let comparison = Comparison::of(models, pictures, &set, &indices, [&first, &second]);
    if let Some(path) = &arguments.html {
        let page = comparison.to_html(&set);
        write_whole(path, |partial| std::fs::write(partial, &page))?;
    }
    let mut out = std::io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &comparison)?;
        writeln!(out)?;
    } else {
        out.write_all(comparison.to_text().as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of the pictures in `data` that are in the test part (in val where there is none) of every model that was
/// trained on this data; `None` when neither was.
fn untouched(sides: &[Side; 2], data: &Path) -> anyhow::Result<Option<BTreeSet<String>>> {
    let mut names: Option<BTreeSet<String>> = None;
    for side in sides {
        let Some(origin) = &side.origin else { continue };
        let reading = Reading { data: data.to_owned(), ..origin.reading.clone() };
        // Where its split cannot be drawn, it is not the data of the training.
        let Ok(set) = Dataset::load(&reading, &side.input()) else { continue };
        if set.sha256 != origin.data_sha256 {
            continue;
        }
        let part = if set.part(Part::Test).is_empty() { Part::Val } else { Part::Test };
        let mine: BTreeSet<String> = set.part(part).iter().map(|&i| set.samples[i].name.clone()).collect();
        names = Some(match names {
            Some(others) => others.intersection(&mine).cloned().collect(),
            None => mine,
        });
    }
    if names.as_ref().is_some_and(BTreeSet::is_empty) {
        bail!("{} has no picture that neither model was fitted to: their splits differ", data.display());
    }
    Ok(names)
}

impl Side {
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path.is_dir() {
            let run = Run::load(path)?;
            let network = Network::fresh(&run.design, run.classes.len());
            load_weights(&run.weights(), crate::model::Model::vars(&network))?;
            let origin = Origin { reading: run.reading.clone(), data_sha256: run.data_sha256.clone() };
            let (labels, temperature) = (run.classes.clone(), fitted_temperature(&run));
            let kind = Kind::Run { run: Box::new(run), network: Box::new(network), temperature };
            return Ok(Self { path: path.to_owned(), labels, origin: Some(origin), kind });
        }
        let is_onnx = path.extension().is_some_and(|ending| ending == "onnx");
        let manifest = if is_onnx { path.with_extension("toml") } else { path.to_owned() };
        let model = Arc::new(Exported::load(&manifest).with_context(|| {
            format!(
                "{} is neither the folder of a run nor an exported model with its manifest",
                path.display()
            )
        })?);
        let labels = model.manifest().labels.iter().map(|label| label.as_str().to_owned()).collect();
        let origin = export::origin(&manifest);
        Ok(Self { path: path.to_owned(), labels, origin, kind: Kind::Exported(model) })
    }

    fn input(&self) -> Input {
        match &self.kind {
            Kind::Run { run, .. } => run.design.input(),
            Kind::Exported(model) => model.manifest().input.clone(),
        }
    }

    /// Its answers to the samples `indices`.
    fn ask(&self, set: &Dataset, indices: &[usize]) -> anyhow::Result<Vec<Said>> {
        let strange = indices.iter().map(|&i| &set.classes[set.samples[i].class]);
        if let Some(class) = strange.into_iter().find(|class| !self.labels.contains(class)) {
            bail!(
                "{} does not know the class {class:?}; it knows {}",
                self.path.display(),
                self.labels.join(", ")
            );
        }
        let rows = match &self.kind {
            Kind::Run { run, network, temperature } => {
                let batches = Batches::new(set, run.design.input(), Augment::None.into(), 0);
                score(network.as_ref(), &batches, indices)?.probabilities(*temperature)
            }
            Kind::Exported(model) => probabilities(model, set, indices)?,
        };
        let said = |row: &Vec<f32>| {
            let answer = best(row);
            let label = self.labels[answer].clone();
            // A label that no picture has is a class of its own, and always wrong.
            let class = set.classes.iter().position(|class| *class == label);
            Said { class: class.unwrap_or(set.classes.len() + answer), label, probability: row[answer] }
        };
        Ok(rows.iter().map(said).collect())
    }
}
