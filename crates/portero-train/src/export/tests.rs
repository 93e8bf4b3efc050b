//! Exported files against the network they come from, and the whole way with real weights and real photos.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use prost::Message;
use tch::{Device, Kind, Tensor, nn, no_grad};
use tempfile::TempDir;
use tract_onnx::pb;

use super::graph::{Graph, Op};
use super::onnx::{self, Form};
use super::quantise::{self, ByteScales, Calibration, Span};
use super::{ExportError, Job, Numbers, Settings};
use crate::data::{Augment, Batches, Dataset, Part, Reading, Supply};
use crate::nets::{Backbone, Eager, Net, Padding, Walker};
use crate::weights::{self, Description};

/// A network whose norms do something.
fn network(backbone: Backbone, padding: Padding) -> (nn::VarStore, Net) {
    tch::manual_seed(3);
    let store = nn::VarStore::new(Device::Cpu);
    let net = Net::new(&store.root(), backbone, padding, 5);
    no_grad(|| {
        for norm in net.norms() {
            let _ = norm.weight.shallow_clone().uniform_(0.5, 1.0);
            let _ = norm.bias.shallow_clone().normal_(0.0, 0.2);
            let _ = norm.running_mean.shallow_clone().normal_(0.0, 0.2);
            let _ = norm.running_var.shallow_clone().uniform_(0.5, 1.5);
        }
    });
    (store, net)
}

fn noise(pictures: i64) -> Tensor {
    tch::manual_seed(5);
    Tensor::rand([pictures, 3, 224, 224], (Kind::Float, Device::Cpu)) * 2.0 - 1.0
}

/// Logits by tract of one picture.
fn by_tract(model: &pb::ModelProto, picture: &Tensor) -> Tensor {
    use tract_onnx::prelude::{Framework, InferenceModelExt, IntoRunnable, Tensor as TractTensor, tvec};
    let bytes = model.encode_to_vec();
    let plan = tract_onnx::onnx().model_for_read(&mut &bytes[..]).unwrap();
    let plan = plan.into_optimized().unwrap().into_runnable().unwrap();
    let values = Vec::<f32>::try_from(picture.flatten(0, -1)).unwrap();
    let input = TractTensor::from_shape(&[1, 3, 224, 224], &values).unwrap();
    let outputs = plan.run(tvec!(input.into())).unwrap();
    let logits = outputs[0].try_as_plain_ram().unwrap();
    Tensor::from_slice(logits.as_slice::<f32>().unwrap()).unsqueeze(0)
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

fn float_file_agrees(backbone: Backbone, padding: Padding) {
    let (_store, net) = network(backbone, padding);
    let graph = Graph::trace(&net, 224, 224);
    let model = onnx::model(&graph, "test", &Form::Float).unwrap();
    let picture = noise(1);
    let expected = no_grad(|| net.forward(&picture, Eager::EVAL));
    let scale = expected.abs().max().double_value(&[]).max(1.0);
    let difference = largest_difference(&by_tract(&model, &picture), &expected);
    assert!(difference < 1e-4 * scale, "{backbone:?} {padding:?}: off by {difference}, logits up to {scale}");
}

#[test]
fn a_float_file_gives_the_logits_of_mobilenet() {
    float_file_agrees(Backbone::MobileNetV3Small, Padding::Tensorflow);
    float_file_agrees(Backbone::MobileNetV3Small, Padding::Torch);
}

#[test]
fn a_float_file_gives_the_logits_of_resnet() {
    float_file_agrees(Backbone::Resnet50, Padding::Torch);
}

/// Puts what the file's bytes mean in the place of the weights.
fn round_weights(graph: &mut Graph) {
    for node in &mut graph.nodes {
        if let Op::Conv(conv) = &mut node.op {
            let bytes = quantise::weights(conv).unwrap();
            let numbers: Vec<f32> = bytes.bytes.iter().map(|byte| f32::from(*byte)).collect();
            let scales = Tensor::from_slice(&bytes.scales).reshape([-1, 1, 1, 1]);
            conv.weight = Tensor::from_slice(&numbers).reshape(conv.weight.size()) * scales;
        }
    }
}

#[test]
fn weights_as_bytes_are_read_back_channel_by_channel() {
    let (_store, net) = network(Backbone::MobileNetV3Small, Padding::Tensorflow);
    let mut graph = Graph::trace(&net, 224, 224);
    let model = onnx::model(&graph, "test", &Form::ByteWeights).unwrap();
    round_weights(&mut graph);
    let picture = noise(1);
    let expected = graph.run(&picture, &mut |_, x| x);
    let difference = largest_difference(&by_tract(&model, &picture), &expected);
    let scale = expected.abs().max().double_value(&[]).max(1.0);
    assert!(difference < 1e-4 * scale, "off by {difference}, logits up to {scale}");
    let floats = onnx::model(&graph, "test", &Form::Float).unwrap().encoded_len();
    assert!(model.encoded_len() * 3 < floats, "{} of {floats} bytes", model.encoded_len());
}

/// A calibrated graph.
fn calibrated(graph: &Graph) -> ByteScales {
    let batches = [noise(4)];
    quantise::calibrate(graph, &batches, Span { low: -1.0, high: 1.0 }, Calibration::MinMax).unwrap()
}

#[test]
fn everything_as_bytes_computes_what_the_scales_say() {
    let (_store, net) = network(Backbone::MobileNetV3Small, Padding::Tensorflow);
    let mut graph = Graph::trace(&net, 224, 224);
    let scales = calibrated(&graph);
    let model = onnx::model(&graph, "test", &Form::Bytes(&scales)).unwrap();
    let picture = noise(1);
    let float = graph.run(&picture, &mut |_, x| x);
    round_weights(&mut graph);
    let simulated = graph.run(&picture, &mut |value, x| match scales[value] {
        Some(s) => x.fake_quantize_per_tensor_affine(f64::from(s.scale), i64::from(s.zero_point), 0, 255),
        None => x,
    });
    let difference = largest_difference(&by_tract(&model, &picture), &simulated);
    // A number between two bytes may go either way, and then what follows does too.
    let spread = largest_difference(&float, &float.mean(Kind::Float));
    assert!(difference < 0.1 * spread, "off by {difference}, logits spread {spread}");
}

#[test]
fn every_operator_between_input_and_logits_reads_bytes() {
    let (_store, net) = network(Backbone::MobileNetV3Small, Padding::Tensorflow);
    let graph = Graph::trace(&net, 224, 224);
    let scales = calibrated(&graph);
    let proto = onnx::model(&graph, "test", &Form::Bytes(&scales)).unwrap().graph.unwrap();
    let maker: BTreeMap<&str, &str> =
        proto.node.iter().map(|node| (node.output[0].as_str(), node.op_type.as_str())).collect();
    let made_by = |name: &String| maker.get(name.as_str()).copied().unwrap_or("a constant");
    for node in &proto.node {
        let expected = match node.op_type.as_str() {
            "QuantizeLinear" | "DequantizeLinear" => continue,
            // Computed together with the convolution before it, whose sum has no bytes of its own.
            "Relu" | "Flatten" => "Conv",
            _ => "DequantizeLinear",
        };
        assert!(node.input.iter().all(|input| made_by(input) == expected), "{} {}", node.op_type, node.name);
    }
    let constants = proto.initializer.iter().map(|tensor| tensor.name.as_str());
    let mut names: Vec<&str> = maker.keys().copied().chain(constants).collect();
    names.sort_unstable();
    assert_eq!(names.windows(2).find(|pair| pair[0] == pair[1]), None, "every value has a name of its own");
    assert!(proto.value_info.is_empty(), "shapes of inner values confuse runtimes");
}

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
    }
    path.exists().then_some(path)
}

/// Of a network that was trained to tell ants from bees.
fn description() -> Description {
    Description {
        arch: Backbone::MobileNetV3Small,
        padding: Padding::Tensorflow,
        folded_norms: true,
        width: 224,
        height: 224,
        mean: [127.5; 3],
        std: [127.5; 3],
        resize: weights::Framing::Stretch,
        classes: 2,
        labels: vec!["ants".into(), "bees".into()],
        temperature: Some(1.5),
        reject_below: Some(0.6),
        provenance: BTreeMap::from([("licence".into(), "Apache-2.0".into())]),
    }
}

/// Ants and bees, some of each, with a network that tells them apart.
struct Insects {
    folder: TempDir,
    reading: Reading,
}

const EACH: usize = 40;

impl Insects {
    fn new() -> Option<Self> {
        let photos = shared("datasets/hymenoptera_224")?;
        let base = shared("models/mobilenet_v3_small.imagenet.safetensors")?;
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for part in ["train", "val"] {
            for class in ["ants", "bees"] {
                let (from, to) = (photos.join(part).join(class), data.join(part).join(class));
                fs::create_dir_all(&to).unwrap();
                let mut names: Vec<_> =
                    fs::read_dir(&from).unwrap().map(|e| e.unwrap().file_name()).collect();
                names.sort();
                for name in names.iter().take(EACH) {
                    symlink(fs::canonicalize(from.join(name)).unwrap(), to.join(name)).unwrap();
                }
            }
        }
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            reading: Reading,
        }
        let line = <Line as clap::Parser>::parse_from(["test", data.to_str().unwrap()]);
        let insects = Self { folder, reading: line.reading };
        insects.teach(&base);
        Some(insects)
    }

    fn weights(&self) -> PathBuf {
        self.folder.path().join("model.safetensors")
    }

    /// Puts a last layer on the base that looks to which class's mean the hidden features are nearer.
    fn teach(&self, base: &Path) {
        let description = description();
        let store = nn::VarStore::new(Device::Cpu);
        let net = Net::new(&store.root(), description.arch, description.padding, 2);
        weights::copy_into(&store, &net, description.arch, &weights::read(base).unwrap(), base).unwrap();
        let input = description.input();
        let set = Dataset::load(&self.reading, &input).unwrap();
        let batches = Batches::new(&set, input, Augment::None.into(), 1);
        let variables = store.variables();
        let means = [0, 1].map(|class| {
            let train = set.part(Part::Train).into_iter().filter(|i| set.samples[*i].class == class);
            let (pictures, _) = batches.plain(&train.collect::<Vec<_>>()).unwrap();
            no_grad(|| {
                let mut eager = Eager::EVAL;
                let map = net.walk_stages(&mut eager, pictures, 0..net.stage_count());
                let features = eager.average(&map).flatten(1, -1);
                let hidden =
                    features.linear(&variables["classifier.0.weight"], Some(&variables["classifier.0.bias"]));
                hidden.hardswish().mean_dim(0, false, Kind::Float)
            })
        });
        let means = Tensor::stack(&means, 0);
        no_grad(|| {
            let half: Tensor = means.square().sum_dim_intlist(1, false, Kind::Float) * -0.5;
            variables["classifier.3.weight"].shallow_clone().copy_(&means);
            variables["classifier.3.bias"].shallow_clone().copy_(&half);
        });
        weights::save(&self.weights(), &store, &description).unwrap();
    }

    fn settings(&self, form: Numbers) -> Settings {
        Settings {
            out: self.folder.path().join("models"),
            id: "insects".into(),
            form,
            percentile: 99.99,
            calibrate_on: 40,
            qat: 0,
            qat_lr: 5e-5,
            background: vec![],
            temperature: None,
            reject_below: None,
            licence: None,
            notes: None,
            golden: vec![],
            accept_loss: false,
        }
    }

    fn export(&self, settings: &Settings) -> Result<String, ExportError> {
        Job { weights: self.weights(), reading: self.reading.clone(), settings, run: None }.run()
    }
}

#[test]
fn a_trained_network_becomes_a_model_that_the_daemon_takes() {
    let Some(insects) = Insects::new() else { return };
    for (form, largest) in [(Numbers::ByteWeights, 1_700_000), (Numbers::Bytes, 1_800_000)] {
        let settings = insects.settings(form);
        let report = insects.export(&settings).unwrap();
        println!("{form:?}: {report}");
        let model = super::load(&settings.out.join("insects.toml")).unwrap();
        let manifest = model.manifest();
        assert!(fs::metadata(&manifest.file).unwrap().len() < largest);
        assert_eq!(manifest.labels.iter().map(|l| l.as_str()).collect::<Vec<_>>(), ["ants", "bees"]);
        assert_eq!((manifest.temperature, manifest.reject_below.get()), (1.5, 0.6));
        assert_eq!(manifest.golden.len(), 2, "one picture of each class");
        let text = fs::read_to_string(settings.out.join("insects.toml")).unwrap();
        for key in
            ["val_pictures = 80", "data_sha256", "padding = \"tensorflow\"", "val_mcnemar_p", "opset = 14"]
        {
            assert!(text.contains(key), "{key} is missing in\n{text}");
        }
    }
}

#[test]
fn golden_pictures_that_are_given_are_taken_and_verified() {
    let Some(insects) = Insects::new() else { return };
    let set = Dataset::load(&insects.reading, &description().input()).unwrap();
    let picture = insects.reading.data.join(&set.samples[0].name);
    let mut settings = Settings { golden: vec![picture], ..insects.settings(Numbers::ByteWeights) };
    insects.export(&settings).unwrap();
    let model = super::load(&settings.out.join("insects.toml")).unwrap();
    let kept = model.manifest().golden[0].image.clone();
    assert_eq!(model.manifest().golden.len(), 1);
    // Again, now from where the first export put it.
    let before = fs::read(&kept).unwrap();
    settings.golden = vec![kept.clone()];
    insects.export(&settings).unwrap();
    assert_eq!(fs::read(&kept).unwrap(), before);
    settings.golden = vec![insects.weights()];
    let error = insects.export(&settings).unwrap_err();
    assert!(matches!(&error, ExportError::Golden { .. }), "{error}");
}

#[test]
fn a_model_that_quantising_spoils_is_refused_unless_accepted() {
    let Some(insects) = Insects::new() else { return };
    let mut settings = Settings { percentile: 50.0, ..insects.settings(Numbers::Bytes) };
    let error = insects.export(&settings).unwrap_err();
    assert!(matches!(error, ExportError::Loss { points, .. } if points > 5.0), "{error}");
    assert!(fs::read_dir(&settings.out).unwrap().next().is_none(), "nothing is left");
    settings.accept_loss = true;
    insects.export(&settings).unwrap();
}

#[test]
fn what_is_not_trained_or_of_other_labels_is_not_exported() {
    let Some(insects) = Insects::new() else { return };
    let settings = insects.settings(Numbers::Float);
    let base = shared("models/mobilenet_v3_small.imagenet.safetensors").unwrap();
    let error = Job { weights: base, reading: insects.reading.clone(), settings: &settings, run: None }
        .run()
        .unwrap_err();
    assert!(matches!(error, ExportError::Untrained { .. }), "{error}");
    fs::rename(insects.reading.data.join("train/ants"), insects.reading.data.join("train/wasps")).unwrap();
    fs::rename(insects.reading.data.join("val/ants"), insects.reading.data.join("val/wasps")).unwrap();
    let error = insects.export(&settings).unwrap_err().to_string();
    assert!(error.contains("trained for [\"ants\", \"bees\"]") && error.contains("wasps"), "{error}");
}
