//! Our networks against torchvision's: same weights, same pictures, same logits.

use std::path::{Path, PathBuf};
use std::process::Command;

use tch::{Device, Tensor, nn, no_grad};

use super::{Backbone, Eager, Net, Padding};
use crate::weights;

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if !path.exists() {
        println!("skipped: {} is not here", path.display());
    }
    path.exists().then_some(path)
}

/// Lets torchvision compute; gives its pictures and logits.
fn torchvision(network: &str, folder: &Path, weights: Option<&Path>) -> (Tensor, Tensor) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/trainer/torchvision_logits.py");
    let output = Command::new("/usr/bin/python3")
        .arg(script)
        .arg(network)
        .arg(folder)
        .args(weights)
        .output()
        .expect("/usr/bin/python3 is needed by the trainer's tests");
    assert!(
        output.status.success(),
        "torchvision is needed by the trainer's tests: apt-get install python3-torch python3-torchvision\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let only = |name: &str| weights::read(&folder.join(name)).unwrap().into_values().next().unwrap();
    (only("input.safetensors"), only("logits.safetensors"))
}

/// The largest difference between our logits and torchvision's.
fn difference(network: &str, backbone: Backbone, weights: Option<&Path>) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let (pictures, theirs) = torchvision(network, folder.path(), weights);
    let path = weights.map_or(folder.path().join("weights.safetensors"), Path::to_owned);
    let padding = if weights.is_some() { Padding::Tensorflow } else { Padding::Torch };
    let store = nn::VarStore::new(Device::Cpu);
    let net = Net::new(&store.root(), backbone, padding, 1000);
    let tensors = weights::read(&path).unwrap();
    let copied = weights::copy_into(&store, &net, backbone, &tensors, &path).unwrap();
    assert_eq!((copied.head_replaced_from, copied.unused), (None, vec![]), "every tensor has its place");
    let ours = no_grad(|| net.forward(&pictures, Eager::EVAL));
    assert!(theirs.abs().max().double_value(&[]) > 0.1, "logits that say something");
    let difference = (ours - theirs).abs().max().double_value(&[]);
    println!("{network}: {difference:e}");
    difference
}

#[test]
fn mobilenet_v3_small_computes_what_torchvision_computes() {
    assert!(difference("mobilenet_v3_small", Backbone::MobileNetV3Small, None) < 1e-4);
}

#[test]
fn mobilenet_v3_small_with_imagenet_weights_pads_as_tensorflow() {
    let Some(weights) = shared("models/mobilenet_v3_small.imagenet.safetensors") else { return };
    assert!(difference("mobilenet_v3_small", Backbone::MobileNetV3Small, Some(&weights)) < 1e-4);
}

#[test]
fn three_quarters_of_mobilenet_v3_small_compute_what_torchvision_computes() {
    assert!(difference("mobilenet_v3_small:0.75", Backbone::MobileNetV3Small75, None) < 1e-4);
}

#[test]
fn resnet50_computes_what_torchvision_computes() {
    assert!(difference("resnet50", Backbone::Resnet50, None) < 1e-4);
}
