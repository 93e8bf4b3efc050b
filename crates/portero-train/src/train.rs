//! `scratch`, `transfer` and `finetune`: three ways to a trained network, which differ in what the weights begin as and
//! which of them are fitted.

mod course;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;

use crate::data::{Augmentation, Batches, Dataset, Part, Reading, mix};
use crate::fit::{BatchNorm, Decay, Ended, Features, Head as FirstHead, Keep, Plan, Regime, Run};
use crate::model::{Arch, Design, Head, Network, Unfreeze};
use crate::nets::Backbone;
use crate::weights::{self, Description, Framing};
use course::Course;

/// So many training pictures tell enough of the statistics of batch norms.
const MEASURED: usize = 1024;

/// What every training needs.
#[derive(clap::Args)]
pub(crate) struct Training {
    #[command(flatten)]
    reading: Reading,
    /// The folder for this run: settings, split, checkpoints, evaluation, report.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    plan: Plan,
    /// Go on where the run in --out was interrupted, with the same settings.
    #[arg(long)]
    resume: bool,
    /// Threads; all cores when left out.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1024))]
    threads: Option<i32>,
}

/// Arguments of `scratch`.
#[derive(clap::Args)]
pub(crate) struct Scratch {
    #[command(flatten)]
    training: Training,
    /// The network.
    #[arg(long, value_enum, default_value_t = Fresh::SimpleCnn)]
    arch: Fresh,
    /// Width and height of the input of a photo network, in pixels; a multiple of 32.
    #[arg(long, default_value_t = 224, value_name = "PIXELS", value_parser = side)]
    side: u32,
}

/// What can be trained from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Fresh {
    /// Two convolutions with ReLU and max-pool, two dense layers; 28x28.
    SimpleCnn,
    /// LeCun et al. 1998, with softmax; 28x28.
    #[value(name = "lenet-5")]
    Lenet5,
    /// Wants many more pictures than the small ones.
    #[value(name = "mobilenet-v3-small")]
    MobileNetV3Small,
    /// The same with three quarters of the channels.
    #[value(name = "mobilenet-v3-small-0.75")]
    MobileNetV3Small75,
    /// Wants many more pictures than the small ones, and days.
    #[value(name = "resnet50")]
    Resnet50,
}

impl Fresh {
    fn design(self, side: u32) -> Design {
        match self {
            Self::SimpleCnn => Design::Small(Arch::SimpleCnn),
            Self::Lenet5 => Design::Small(Arch::Lenet5),
            Self::MobileNetV3Small => Design::Photo(Description::fresh(Backbone::MobileNetV3Small, side)),
            Self::MobileNetV3Small75 => Design::Photo(Description::fresh(Backbone::MobileNetV3Small75, side)),
            Self::Resnet50 => Design::Photo(Description::fresh(Backbone::Resnet50, side)),
        }
    }
}

/// Every halving of the networks must come out even.
fn side(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(side @ 32..=1024) if side % 32 == 0 => Ok(side),
        _ => Err("a multiple of 32 from 32 to 1024 is needed".to_owned()),
    }
}

/// Where a photo network begins.
#[derive(clap::Args)]
pub(crate) struct Base {
    /// Weights to begin with, as `base` writes them.
    #[arg(long, value_name = "FILE")]
    base: PathBuf,
    /// Begin with a new last layer although that of the base has as many classes: for a base with other labels.
    #[arg(long)]
    new_head: bool,
    /// How pictures of another shape are made to fit; as the base has it (stretch) when left out.
    #[arg(long, value_enum)]
    resize: Option<Framing>,
    /// Width and height of the input in pixels, instead of the base's: fewer are quicker and see less.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(64..=512))]
    size: Option<u32>,
}

/// Arguments of `transfer`.
#[derive(clap::Args)]
pub(crate) struct Transfer {
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    base: Base,
    /// Augmentation draws of each training picture; epochs take turns through them.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    draws: u64,
}

/// Arguments of `finetune`.
#[derive(clap::Args)]
pub(crate) struct Finetune {
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    base: Base,
    /// The last stages to fit beside the classifier: a number, or `all`.
    #[arg(long, default_value_t = Unfreeze::Last(3), value_name = "N|all")]
    unfreeze: Unfreeze,
    /// How fast what is pretrained learns, as a share of --lr, which is the last layer's.
    #[arg(long, default_value_t = 0.3, value_name = "SHARE")]
    features_rate: f64,
    /// What the batch norms of those stages do.
    #[arg(long, value_enum, default_value_t = BatchNorm::Frozen)]
    batch_norm: BatchNorm,
    /// What a new last layer begins as; one that the base has for these classes is taken as it is.
    #[arg(long, value_enum, default_value_t = FirstHead::Fitted)]
    head: FirstHead,
}

/// Augmentation draws of each picture for the fitted last layer that fine-tuning begins with.
const HEAD_DRAWS: u64 = 4;

/// How that layer is fitted: as `transfer` does it unless told otherwise.
fn head_plan(plan: &Plan) -> Plan {
    Plan {
        epochs: 60,
        until: None,
        batch: 32,
        lr: 1e-3,
        optimizer: Decay::Adam,
        weight_decay: 0.1,
        warmup: 0.5,
        smoothing: 0.0,
        ema: None,
        keep: Keep::Last,
        patience: None,
        ..plan.clone()
    }
}

/// Settings that another regime wants otherwise than `scratch`; docs/training.md says what they rest on.
const DEFAULTS: &[(&str, &[(&str, &str)])] = &[
    ("transfer", &[("epochs", "60"), ("batch", "32"), ("weight_decay", "0.1")]),
    (
        "finetune",
        &[
            ("epochs", "8"),
            ("batch", "32"),
            ("lr", "3e-4"),
            ("optimizer", "adamw"),
            ("weight_decay", "0.01"),
            ("warmup", "1"),
            ("smoothing", "0.1"),
            ("ema", "0.98"),
        ],
    ),
];

/// Gives each regime its own defaults.
pub(crate) fn with_defaults(command: clap::Command) -> clap::Command {
    DEFAULTS.iter().fold(command, |command, (regime, settings)| {
        command.mut_subcommand(regime, |regime| {
            settings.iter().fold(regime, |regime, (setting, value)| {
                regime.mut_arg(setting, |setting| setting.default_value(value))
            })
        })
    })
}

/// Runs `scratch`.
pub(crate) fn scratch(arguments: &Scratch) -> anyhow::Result<ExitCode> {
    let training = &arguments.training;
    let mut design = arguments.arch.design(arguments.side);
    let set = training.begin(&design)?;
    design.name_classes(&set.classes);
    let run = Run::new(&training.out, Regime::Scratch, design, &set, &training.reading, &training.plan);
    let batches = training.batches(&set, &run);
    let course = Course { run: &run, set: &set, resume: training.resume };
    course.follow(|stage| {
        let network = Network::fresh(&run.design, set.classes.len());
        stage.fit(&network, &network, &batches)
    })
}

/// Runs `transfer`.
pub(crate) fn transfer(arguments: &Transfer) -> anyhow::Result<ExitCode> {
    let Transfer { training, base, draws } = arguments;
    let (set, description, sha256, _) = based(training, base)?;
    let regime = Regime::Transfer { base: base.base.clone(), sha256, draws: *draws };
    let design = Design::Photo(description.clone());
    let run = Run::new(&training.out, regime, design, &set, &training.reading, &training.plan);
    let batches = training.batches(&set, &run);
    let course = Course { run: &run, set: &set, resume: training.resume };
    let mut features = None;
    course.follow(|stage| {
        let network = base.network(&description, &set, Unfreeze::Nothing, 1.0)?;
        let features = match &mut features {
            Some(features) => features,
            none => none.insert(cached(&network, &set, &batches, *draws, course.fitted_in_the_end())?),
        };
        stage.fit(&network, &Head(&network), features)
    })
}

/// Runs `finetune`.
pub(crate) fn finetune(arguments: &Finetune) -> anyhow::Result<ExitCode> {
    let &Finetune { ref training, ref base, unfreeze, features_rate, batch_norm, head } = arguments;
    let (set, mut description, sha256, new_layer) = based(training, base)?;
    let regime =
        Regime::Finetune { base: base.base.clone(), sha256, unfreeze, features_rate, batch_norm, head };
    description.folded_norms &= batch_norm == BatchNorm::Frozen;
    let design = Design::Photo(description.clone());
    let run = Run::new(&training.out, regime, design, &set, &training.reading, &training.plan);
    let batches = training.batches(&set, &run);
    let course = Course { run: &run, set: &set, resume: training.resume };
    course.follow(|stage| {
        let mut network = base.network(&description, &set, unfreeze, features_rate)?;
        if new_layer && head == FirstHead::Fitted && !stage.goes_on() {
            let features = cached(&network, &set, &batches, HEAD_DRAWS, stage.fitted)?;
            if stage.fit_head(&network, &features, HEAD_DRAWS, head_plan(&run.plan))? == Ended::Interrupted {
                return Ok(Ended::Interrupted);
            }
        }
        if batch_norm == BatchNorm::Reestimate {
            let mut measured = set.part(Part::Train);
            fastrand::Rng::with_seed(mix(&[training.reading.seed, 5])).shuffle(&mut measured);
            measured.truncate(MEASURED);
            log::info!("measuring the statistics of the batch norms on {} pictures", measured.len());
            network.reestimate(&batches, &measured).map_err(|cause| {
                anyhow::Error::from_boxed(cause).context("the statistics could not be measured")
            })?;
        }
        stage.fit(&network, &network, &batches)
    })
}

/// What the frozen base makes of the pictures.
fn cached<'a>(
    network: &Network,
    set: &'a Dataset,
    batches: &'a Batches<'a>,
    draws: u64,
    fitted: &[Part],
) -> anyhow::Result<Features<'a>> {
    Features::compute(network, set, batches, draws, fitted)
        .map_err(|cause| anyhow::Error::from_boxed(cause).context("the features could not be computed"))
}

/// The data, what the network will be, the SHA-256 of its base, and whether its last layer is a new one.
fn based(training: &Training, base: &Base) -> anyhow::Result<(Dataset, Description, String, bool)> {
    let path = &base.base;
    let Some(mut description) = weights::describe(path)? else {
        bail!(
            "{} does not say what network it is; make a base of it first: portero-train base --from {} --out base.safetensors",
            path.display(),
            path.display()
        );
    };
    description.resize = base.resize.unwrap_or(description.resize);
    if let Some(side) = base.size {
        (description.width, description.height) = (side, side);
    }
    let set = training.begin(&Design::Photo(description.clone()))?;
    check_labels(path, &description, &set, base.new_head)?;
    let new_layer = base.new_head || description.classes != set.classes.len() as i64;
    description.name_classes(&set.classes);
    let sha256 = weights::sha256(path)?;
    Ok((set, description, sha256, new_layer))
}

/// A last layer for other labels is not taken over in silence.
fn check_labels(path: &Path, base: &Description, set: &Dataset, new_head: bool) -> anyhow::Result<()> {
    let same_number = base.classes == set.classes.len() as i64;
    if same_number && base.labels != set.classes && !new_head {
        let known = if base.labels.is_empty() { "not recorded".to_owned() } else { base.labels.join(", ") };
        bail!(
            "{} has {} classes like the data, but its labels are {known}, and those of the data {}; --new-head begins with \
             a new last layer",
            path.display(),
            base.classes,
            set.classes.join(", ")
        );
    }
    Ok(())
}

impl Base {
    fn network(
        &self,
        description: &Description,
        set: &Dataset,
        unfreeze: Unfreeze,
        features_rate: f64,
    ) -> anyhow::Result<Network> {
        let classes = set.classes.len();
        Ok(Network::of_base(&self.base, description, classes, unfreeze, features_rate, self.new_head)?)
    }
}

#[cfg(test)]
impl Finetune {
    /// How the weights are fitted.
    pub(crate) fn plan(&self) -> &Plan {
        &self.training.plan
    }
}

impl Training {
    /// Sets the threads, reads the data.
    fn begin(&self, design: &Design) -> anyhow::Result<Dataset> {
        if let Some(threads) = self.threads {
            tch::set_num_threads(threads);
            rayon::ThreadPoolBuilder::new().num_threads(threads.unsigned_abs() as usize).build_global()?;
        }
        let set = Dataset::load(&self.reading, &design.input())?;
        for skipped in &set.skipped {
            log::warn!("skipped {}: {}", skipped.name, skipped.reason);
        }
        Ok(set)
    }

    fn batches<'a>(&self, set: &'a Dataset, run: &Run) -> Batches<'a> {
        let augmentation = Augmentation::of(self.plan.augment, self.plan.crop);
        Batches::new(set, run.design.input(), augmentation, self.reading.seed)
    }
}

/// What `export` is told of the network of a run: its base's provenance, and where it was trained.
pub(crate) fn provenance(run: &Run, base: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut provenance = base.clone();
    let notes = [
        ("command", run.command.join(" ")),
        ("data", run.reading.data.display().to_string()),
        ("data_sha256", run.data_sha256.clone()),
        ("seed", run.reading.seed.to_string()),
        ("training", run.origin()),
    ];
    provenance.extend(notes.into_iter().map(|(key, note)| (key.to_owned(), note)));
    provenance
}
