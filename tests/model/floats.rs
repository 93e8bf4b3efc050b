//! Networks of floats: they run in our kernels and answer as tract does by itself.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use portero::domain::NormRect;
use portero::infer::{Model, Preprocessor};
use prost::Message;
use tract_onnx::pb;
use tract_onnx::prelude::*;

use super::onnx::{integers, node, tensor, value};
use super::quantised::{Files, SIDE, count};
use super::{Copy, frame};
use crate::support::allocations::allocations;

/// tract alone on the model's file.
struct Bare {
    plan: Arc<TypedRunnableModel>,
    preprocessor: Preprocessor,
    sides: [usize; 2],
    temperature: f32,
}

impl Bare {
    fn new(model: &Model) -> Self {
        let manifest = model.manifest();
        let plan = tract_onnx::onnx().model_for_path(&manifest.file).unwrap();
        let plan = plan.into_optimized().unwrap().into_runnable().unwrap();
        Self {
            plan,
            preprocessor: Preprocessor::new(manifest.input.clone()),
            sides: [manifest.input.height as usize, manifest.input.width as usize],
            temperature: manifest.temperature,
        }
    }

    fn probabilities(&mut self, picture: &Path) -> Vec<f32> {
        let mut planes = vec![0.0; self.preprocessor.len()];
        self.preprocessor.fill(&frame(picture), NormRect::FULL, &mut planes);
        let shape = [1, 3, self.sides[0], self.sides[1]];
        let outputs =
            self.plan.run(tvec!(Tensor::from_shape(&shape, &planes).unwrap().into_tvalue())).unwrap();
        let logits = outputs[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap().to_vec();
        let exps: Vec<f32> = logits.iter().map(|l| (l / self.temperature).exp()).collect();
        exps.iter().map(|e| e / exps.iter().sum::<f32>()).collect()
    }
}

/// Compares a model with tract alone on some pictures; returns the operators of its plan.
fn agrees(model: Model, pictures: &[&Path]) -> Vec<String> {
    let model = Arc::new(model);
    let (mut worker, mut bare) = (model.worker().unwrap(), Bare::new(&model));
    let mut answers = Vec::new();
    for picture in pictures {
        let found = worker.probabilities(&frame(picture), NormRect::FULL).unwrap();
        let expected = bare.probabilities(picture);
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-4, "{}: {found:?}, tract says {expected:?}", picture.display());
        }
        answers.push(found);
    }
    assert!(answers.windows(2).any(|two| two[0] != two[1]), "the pictures do not matter: {answers:?}");
    model.operators()
}

/// The same network with floats between its operators: what QuantizeLinear and DequantizeLinear did to them is left out.
fn without_rounding(bytes: &[u8]) -> Vec<u8> {
    let mut model = pb::ModelProto::decode(bytes).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let input_of = |node: &pb::NodeProto| (node.output[0].clone(), node.input[0].clone());
    let is = |op: &'static str| move |node: &&pb::NodeProto| node.op_type == op;
    let quantised: HashMap<_, _> = graph.node.iter().filter(is("QuantizeLinear")).map(input_of).collect();
    let back: HashMap<_, _> = (graph.node.iter().filter(is("DequantizeLinear")).map(input_of))
        .filter_map(|(floats, bytes)| Some((floats, quantised.get(&bytes)?.clone())))
        .collect();
    assert!(back.len() > 100, "the shipped model rounds {} values only", back.len());
    graph.node.retain(|n| !quantised.contains_key(&n.output[0]) && !back.contains_key(&n.output[0]));
    for name in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if let Some(floats) = back.get(name) {
            name.clone_from(floats);
        }
    }
    model.encode_to_vec()
}

#[test]
fn the_shipped_network_in_floats_answers_as_tract_does() {
    let copy = Copy::new();
    let bytes = fs::read(copy.folder.path().join("person-v3s.onnx")).unwrap();
    copy.replace_model(&without_rounding(&bytes));
    let model = Model::load(&copy.manifest()).unwrap();
    let golden: Vec<_> = model.manifest().golden.iter().map(|g| g.image.clone()).collect();
    let operators = agrees(model, &golden.iter().map(|g| g.as_path()).collect::<Vec<_>>());
    for (name, times) in
        [("FloatDense", 43), ("FloatDepthwise", 11), ("FloatAverage", 10), ("FloatGate", 9), ("FloatAdd", 6)]
    {
        assert_eq!(count(&operators, name), times, "{name} in {operators:?}");
    }
    let others: Vec<_> = operators.iter().filter(|o| !o.starts_with("Float")).collect();
    assert!(others.is_empty(), "left with tract: {others:?}");
}

#[test]
fn floats_of_several_parts_answer_as_alone_and_ask_for_no_memory() {
    let copy = Copy::new();
    let bytes = fs::read(copy.folder.path().join("person-v3s.onnx")).unwrap();
    copy.replace_model(&without_rounding(&bytes));
    let model = Arc::new(Model::load(&copy.manifest()).unwrap());
    let (mut together, mut alone) = (model.worker().unwrap(), model.worker().unwrap());
    let picture = frame(&model.manifest().golden[0].image);
    // More than one batch, and a smaller one after it.
    for parts in [11, 2] {
        let rects: Vec<NormRect> = (0..parts)
            .map(|i| NormRect::new(i as f32 / 20.0, 0.1, 0.6 + i as f32 / 40.0, 0.9).unwrap())
            .collect();
        let found = together.probabilities_of(&picture, &rects).unwrap();
        assert_ne!(found[0], found[1], "the parts look alike");
        for (rect, found) in rects.iter().zip(found) {
            let expected = alone.probabilities(&picture, *rect).unwrap();
            // The same sums, perhaps in another order.
            let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "{found:?}, alone {expected:?}");
        }
    }
    let mut planes = vec![0.0; Preprocessor::new(model.manifest().input.clone()).len()];
    planes.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 251) as f32 / 125.0 - 1.0);
    alone.logits(&planes).unwrap();
    assert_eq!(allocations(|| assert!(!alone.logits(&planes).unwrap().is_empty())), 0);
}

/// A network of floats that is written down operator by operator.
#[derive(Default)]
struct Floats {
    graph: pb::GraphProto,
    seed: u32,
}

impl Floats {
    fn noise(&mut self, many: usize, reach: f32) -> Vec<f32> {
        let mut next = || {
            // A linear congruential generator (Numerical Recipes).
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from((self.seed >> 24) as i8) / 128.0 * reach
        };
        (0..many).map(|_| next()).collect()
    }

    fn scalar(&mut self, value: f32) -> String {
        let name = format!("constant.{}", self.graph.initializer.len());
        self.graph.initializer.push(tensor(&name, &[], &[value]));
        name
    }

    fn op(&mut self, op: &str, inputs: &[&str], name: &str) -> String {
        self.graph.node.push(node(op, inputs, name, vec![]));
        name.into()
    }

    /// A convolution that keeps the size of its input but for the stride.
    fn conv(
        &mut self,
        input: &str,
        name: &str,
        dims: [i64; 4],
        group: i64,
        stride: i64,
        dilation: i64,
    ) -> String {
        let each = dims[1..].iter().product::<i64>() as usize;
        let weights = self.noise(dims[0] as usize * each, 2.0 / (each as f32).sqrt());
        let bias = self.noise(dims[0] as usize, 0.5);
        let [w, b] = ["w", "b"].map(|part| format!("{name}.{part}"));
        self.graph.initializer.push(tensor(&w, &dims, &weights));
        self.graph.initializer.push(tensor(&b, &[dims[0]], &bias));
        let pad = dilation * (dims[2] / 2);
        let list = vec![
            integers("group", &[group]),
            integers("strides", &[stride; 2]),
            integers("pads", &[pad; 4]),
            integers("dilations", &[dilation; 2]),
        ];
        self.graph.node.push(node("Conv", &[input, &w, &b], name, list));
        name.into()
    }
}

/// Every way to write an activation that the trainers of this world have, and some layers that no kernel knows.
fn network() -> pb::GraphProto {
    let mut n = Floats { seed: 5, ..Floats::default() };
    let [zero, three, six, sixth] = [0.0, 3.0, 6.0, 1.0 / 6.0].map(|value| n.scalar(value));
    let x = n.conv("input", "stem", [20, 3, 3, 3], 1, 2, 1);
    let x = n.op("HardSwish", &[&x], "stem.act");
    // x * clip(x + 3, 0, 6) / 6
    let y = n.conv(&x, "expand", [44, 20, 1, 1], 1, 1, 1);
    let ramp = n.op("Add", &[&y, &three], "expand.plus");
    let ramp = n.op("Clip", &[&ramp, &zero, &six], "expand.clip");
    let ramp = n.op("Mul", &[&y, &ramp], "expand.times");
    let y = n.op("Div", &[&ramp, &six], "expand.act");
    // x * HardSigmoid(x)
    let y = n.conv(&y, "depthwise", [44, 1, 5, 5], 44, 1, 1);
    let ramp = n.op("Add", &[&y, &three], "depthwise.plus");
    let ramp = n.op("Clip", &[&ramp, &zero, &six], "depthwise.clip");
    let ramp = n.op("Mul", &[&ramp, &sixth], "depthwise.ramp");
    let y = n.op("Mul", &[&y, &ramp], "depthwise.act");
    let s = n.op("GlobalAveragePool", &[&y], "pool");
    let s = n.conv(&s, "reduce", [9, 44, 1, 1], 1, 1, 1);
    let s = n.op("Relu", &[&s], "reduce.act");
    let s = n.conv(&s, "grow", [44, 9, 1, 1], 1, 1, 1);
    let s = n.op("HardSigmoid", &[&s], "grow.act");
    let y = n.op("Mul", &[&s, &y], "gated");
    let y = n.conv(&y, "project", [20, 44, 1, 1], 1, 1, 1);
    let y = n.op("Add", &[&y, &x], "sum");
    let y = n.op("Relu", &[&y], "sum.act");
    // What is read twice keeps its own value.
    let bare = n.conv(&y, "twice", [20, 20, 3, 3], 1, 1, 1);
    let relu = n.op("Relu", &[&bare], "twice.act");
    let y = n.op("Sub", &[&relu, &bare], "twice.both");
    let y = n.conv(&y, "grouped", [20, 10, 1, 1], 2, 1, 1);
    let y = n.conv(&y, "dilated", [20, 1, 3, 3], 20, 1, 2);
    let y = n.op("Sigmoid", &[&y], "dilated.act");
    let y = n.conv(&y, "down", [20, 1, 3, 3], 20, 2, 1);
    let y = n.conv(&y, "step", [30, 20, 1, 1], 1, 2, 1);
    let y = n.op("GlobalAveragePool", &[&y], "last");
    let y = n.op("Flatten", &[&y], "flat");
    let weights = n.noise(90, 1.0);
    n.graph.initializer.push(tensor("head.w", &[30, 3], &weights));
    n.op("MatMul", &[&y, "head.w"], "logits");
    n.graph.input.push(value("input", &[1, 3, i64::from(SIDE), i64::from(SIDE)]));
    n.graph.output.push(value("logits", &[1, 3]));
    n.graph.name = "floats".into();
    n.graph
}

#[test]
fn what_is_recognised_and_what_is_not_answer_together_as_tract_does() {
    let files = Files::new(network());
    let pictures = [1, 3, 7].map(|strength| files.picture(strength));
    let operators =
        agrees(Model::load(&files.path("n.toml")).unwrap(), &pictures.each_ref().map(|p| p.as_path()));
    for (name, times) in [
        ("FloatDense", 7),
        ("FloatDepthwise", 2),
        ("FloatAverage", 2),
        ("FloatGate", 1),
        ("FloatAdd", 1),
        ("Sigmoid", 1),
    ] {
        assert_eq!(count(&operators, name), times, "{name} in {operators:?}");
    }
    // The grouped and the dilated convolution stay tract's; the activations are no operators any more.
    assert!(operators.iter().any(|o| o.contains("Conv") || o.contains("Dep")), "{operators:?}");
}
