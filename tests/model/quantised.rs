//! Networks whose activations are quantised: they run in our kernels and answer as an independent runtime does.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use portero::domain::NormRect;
use portero::infer::Model;
use prost::Message;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tract_onnx::pb;

use super::frame;
use super::onnx::{bytes_tensor, integers, node, tensor, value};
use crate::support::allocations::allocations;

/// Step of the logits.
const HEAD_SCALE: f32 = 0.04;

/// Side of the pictures, odd on purpose.
pub(super) const SIDE: u32 = 33;

/// A network in the form that static quantisation gives it: QuantizeLinear and DequantizeLinear around everything.
#[derive(Default)]
struct Qdq {
    graph: pb::GraphProto,
    /// Scale and zero point of each quantised tensor.
    scales: Vec<(String, f32, u8)>,
    seed: u32,
}

impl Qdq {
    fn noise(&mut self) -> i8 {
        // A linear congruential generator (Numerical Recipes).
        self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.seed >> 24) as i8
    }

    /// Quantises `floats` and turns them to floats again; returns the name of these.
    fn through_bytes(&mut self, floats: &str, scale: f32, zero: u8) -> String {
        let (s, z) = (format!("{floats}.scale"), format!("{floats}.zero"));
        let (q, d) = (format!("{floats}.q"), format!("{floats}.dq"));
        self.graph.initializer.push(tensor(&s, &[], &[scale]));
        self.graph.initializer.push(pb::TensorProto {
            data_type: pb::tensor_proto::DataType::Uint8 as i32,
            ..bytes_tensor(&z, &[], &[zero as i8])
        });
        self.graph.node.push(node("QuantizeLinear", &[floats, &s, &z], &q, vec![]));
        self.graph.node.push(node("DequantizeLinear", &[&q, &s, &z], &d, vec![]));
        self.scales.push((d.clone(), scale, zero));
        d
    }

    /// An operator of inputs that are quantised, with an output that is.
    fn op(&mut self, op: &str, inputs: &[&str], name: &str, scale: f32, zero: u8) -> String {
        self.graph.node.push(node(op, inputs, name, vec![]));
        self.through_bytes(name, scale, zero)
    }

    /// A convolution with bytes for weights, a scale for each output, and a bias.
    fn conv(
        &mut self,
        input: &str,
        name: &str,
        dims: [i64; 4],
        attributes: Attributes,
        out: (f32, u8),
    ) -> String {
        let outputs = dims[0] as usize;
        let each = dims[1..].iter().product::<i64>() as usize;
        let weights: Vec<i8> = (0..outputs * each).map(|_| self.noise().max(-127)).collect();
        let scales: Vec<f32> =
            (0..outputs).map(|i| 0.02 / (each as f32).sqrt() * (1.0 + i as f32 / 9.0)).collect();
        let bias: Vec<f32> = (0..outputs).map(|_| f32::from(self.noise()) / 200.0).collect();
        let [w, s, z, b, d] = ["w", "s", "z", "b", "wdq"].map(|part| format!("{name}.{part}"));
        self.graph.initializer.push(bytes_tensor(&w, &dims, &weights));
        self.graph.initializer.push(tensor(&s, &[dims[0]], &scales));
        self.graph.initializer.push(bytes_tensor(&z, &[dims[0]], &vec![0; outputs]));
        self.graph.initializer.push(tensor(&b, &[dims[0]], &bias));
        self.graph.node.push(node("DequantizeLinear", &[&w, &s, &z], &d, vec![integers("axis", &[0])]));
        let Attributes { group, stride, pads } = attributes;
        let list =
            vec![integers("group", &[group]), integers("strides", &[stride; 2]), integers("pads", &pads)];
        self.graph.node.push(node("Conv", &[input, &d, &b], name, list));
        self.through_bytes(name, out.0, out.1)
    }
}

#[derive(Clone, Copy)]
struct Attributes {
    group: i64,
    stride: i64,
    pads: [i64; 4],
}

const PLAIN: Attributes = Attributes { group: 1, stride: 1, pads: [0; 4] };

/// A small MobileNetV3: stem, an inverted residual with squeeze-and-excitation, another without expansion, head.
/// `between` is an operator between the blocks.
fn network(between: &str) -> Qdq {
    let mut n = Qdq { seed: 7, ..Qdq::default() };
    let x = n.through_bytes("input", 1.0 / 127.5, 127);
    let stem = Attributes { group: 1, stride: 2, pads: [0, 1, 1, 0] };
    let x = n.conv(&x, "stem", [20, 3, 3, 3], stem, (0.03, 120));
    let x = n.op("HardSwish", &[&x], "stem.act", 0.02, 20);
    let x = n.op(between, &[&x], "between", 0.02, 20);
    let wide = n.conv(&x, "expand", [40, 20, 1, 1], PLAIN, (0.03, 110));
    let wide = n.op("HardSwish", &[&wide], "expand.act", 0.02, 19);
    let across = Attributes { group: 40, stride: 1, pads: [2; 4] };
    let wide = n.conv(&wide, "depthwise", [40, 1, 5, 5], across, (0.02, 0));
    let s = n.op("GlobalAveragePool", &[&wide], "pool", 0.01, 3);
    let s = n.conv(&s, "reduce", [7, 40, 1, 1], PLAIN, (0.01, 0));
    let s = n.conv(&s, "grow", [40, 7, 1, 1], PLAIN, (0.02, 128));
    let s = n.op("HardSigmoid", &[&s], "gate", 1.0 / 255.0, 0);
    let wide = n.op("Mul", &[&wide, &s], "gated", 0.015, 0);
    let narrow = n.conv(&wide, "project", [20, 40, 1, 1], PLAIN, (0.03, 128));
    let x = n.op("Add", &[&x, &narrow], "sum", 0.04, 90);
    let down = Attributes { group: 20, stride: 2, pads: [0, 0, 1, 1] };
    let x = n.conv(&x, "down", [20, 1, 3, 3], down, (0.03, 0));
    let x = n.op("GlobalAveragePool", &[&x], "last", 0.02, 0);
    let x = n.conv(&x, "head", [3, 20, 1, 1], PLAIN, (HEAD_SCALE, 128));
    let x = n.op("Flatten", &[&x], "logits", HEAD_SCALE, 128);
    n.graph.input.push(value("input", &[1, 3, i64::from(SIDE), i64::from(SIDE)]));
    n.graph.output.push(value(&x, &[1, 3]));
    n.graph.name = "quantised".into();
    n
}

/// The network as files that `Model::load` reads.
pub(super) struct Files {
    folder: TempDir,
}

impl Files {
    pub(super) fn new(graph: pb::GraphProto) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opset = pb::OperatorSetIdProto { domain: String::new(), version: 14 };
        let model = pb::ModelProto {
            ir_version: 8,
            opset_import: vec![opset],
            graph: Some(graph),
            ..Default::default()
        };
        let bytes = model.encode_to_vec();
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        fs::write(folder.path().join("n.onnx"), bytes).unwrap();
        let manifest = format!(
            "version = 1\nid = \"n\"\nfile = \"n.onnx\"\nsha256 = \"{hash}\"\nlicence = \"MIT\"\n\
             [input]\nwidth = {SIDE}\nheight = {SIDE}\nchannels = \"rgb\"\nresize = \"stretch\"\n\
             mean = [127.5, 127.5, 127.5]\nstd = [127.5, 127.5, 127.5]\n\
             [output]\nlabels = [\"a\", \"b\", \"c\"]\nactivation = \"softmax\"\ntemperature = 4.0\nreject_below = 0.0\n"
        );
        fs::write(folder.path().join("n.toml"), manifest).unwrap();
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A picture of noise, in three strengths.
    pub(super) fn picture(&self, strength: u8) -> PathBuf {
        let mut seed = u32::from(strength) + 1;
        let picture = image::RgbImage::from_fn(SIDE, SIDE, |x, y| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb([(x * 7) as u8, (seed >> 24) as u8 / 8 * strength, (y * 5) as u8])
        });
        let path = self.path(&format!("{strength}.png"));
        picture.save(&path).unwrap();
        path
    }
}

/// What onnxruntime 1.32 answers to three pictures with all its optimisations off.
type Reference = [[f32; 3]; 3];

const MOBILENET: Reference = [[0.0905, 0.8163, 0.0932], [0.0979, 0.8072, 0.0950], [0.0908, 0.8193, 0.0899]];
const WITH_SOFTMAX: Reference =
    [[0.2016, 0.6899, 0.1085], [0.2019, 0.6906, 0.1075], [0.2051, 0.6878, 0.1071]];

/// Loads it, compares it with the reference, and returns the operators of the plan.
fn check(network: Qdq, reference: Reference) -> Vec<String> {
    let files = Files::new(network.graph);
    let model = Arc::new(Model::load(&files.path("n.toml")).unwrap());
    let mut worker = model.worker().unwrap();
    for (strength, expected) in [1, 3, 7].into_iter().zip(reference) {
        let picture = files.picture(strength);
        let found = worker.probabilities(&frame(&picture), NormRect::FULL).unwrap();
        // The reference rounds sums of floats, the kernels exact ones: a tie may fall to the other side, which
        // moves a logit by a step or two and a probability by less than this.
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 0.006, "picture {strength}: {found:?}, onnxruntime says {expected:?}");
        }
    }
    model.operators()
}

pub(super) fn count(operators: &[String], name: &str) -> usize {
    operators.iter().filter(|o| *o == name).count()
}

#[test]
fn a_quantised_network_runs_in_kernels_from_end_to_end() {
    let operators = check(network("HardSwish"), MOBILENET);
    assert!(operators.iter().all(|o| o.starts_with("Int8")), "tract still runs something: {operators:?}");
    for (name, times) in [
        ("Int8Enter", 1),
        ("Int8Dense", 6),
        ("Int8Depthwise", 2),
        ("Int8Average", 2),
        ("Int8Gate", 1),
        ("Int8Residual", 1),
        ("Int8Leave", 1),
    ] {
        assert_eq!(count(&operators, name), times, "{name} in {operators:?}");
    }
}

/// Puts a ReLU between convolutions and the bytes that are made of them, as networks are written whose quantiser leaves
/// it there. These bytes begin at zero, so it changes nothing.
fn with_relus(mut network: Qdq) -> Qdq {
    for name in ["depthwise", "reduce", "down"] {
        let nodes = &mut network.graph.node;
        let at = nodes.iter().position(|n| n.op_type == "QuantizeLinear" && n.input[0] == name).unwrap();
        nodes[at].input[0] = format!("{name}.relu");
        nodes.insert(at, node("Relu", &[name], &format!("{name}.relu"), vec![]));
    }
    network
}

#[test]
fn a_relu_before_bytes_that_begin_at_zero_is_part_of_the_convolution() {
    let operators = check(with_relus(network("HardSwish")), MOBILENET);
    assert_eq!(operators, check(network("HardSwish"), MOBILENET));
}

#[test]
fn parts_of_a_picture_answer_together_as_they_do_alone() {
    let files = Files::new(network("HardSwish").graph);
    let model = Arc::new(Model::load(&files.path("n.toml")).unwrap());
    let (mut together, mut alone) = (model.worker().unwrap(), model.worker().unwrap());
    let picture = frame(&files.picture(3));
    // More than one batch, and a smaller one after it.
    for parts in [11, 2] {
        let rects: Vec<NormRect> = (0..parts)
            .map(|i| NormRect::new(i as f32 / 20.0, 0.1, 0.6 + i as f32 / 40.0, 0.9).unwrap())
            .collect();
        let found = together.probabilities_of(&picture, &rects).unwrap();
        let expected: Vec<_> =
            rects.iter().map(|rect| alone.probabilities(&picture, *rect).unwrap()).collect();
        assert_eq!(found, expected);
        assert_ne!(found[0], found[1], "the parts look alike");
    }
}

#[test]
fn a_run_asks_for_no_memory_once_it_is_warm() {
    let files = Files::new(network("HardSwish").graph);
    let model = Arc::new(Model::load(&files.path("n.toml")).unwrap());
    let mut worker = model.worker().unwrap();
    let each = 3 * SIDE as usize * SIDE as usize;
    let planes: Vec<f32> = (0..3 * each).map(|i| (i % 251) as f32 / 125.0 - 1.0).collect();
    let cold = allocations(|| assert_eq!(worker.logits(&planes).unwrap().len(), 9));
    assert!(cold > 0, "the first run makes buffers: does the allocator count?");
    for pictures in [1, 3, 2] {
        let asked = allocations(|| {
            assert_eq!(worker.logits(&planes[..pictures * each]).unwrap().len(), 3 * pictures);
        });
        assert_eq!(asked, 0, "{pictures} pictures");
    }
}

#[test]
fn what_no_kernel_knows_stays_with_tract() {
    let operators = check(network("Softmax"), WITH_SOFTMAX);
    assert_eq!(count(&operators, "Int8Dense"), 6, "{operators:?}");
    assert!(operators.iter().any(|o| !o.starts_with("Int8") && o != "Source"), "{operators:?}");
}
