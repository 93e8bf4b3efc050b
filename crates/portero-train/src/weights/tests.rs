//! Files that are sound, foreign, damaged, or cannot be written.

use super::*;
use tch::Device;

fn description() -> Description {
    Description {
        arch: Backbone::MobileNetV3Small,
        padding: Padding::Tensorflow,
        folded_norms: false,
        width: 224,
        height: 224,
        mean: [127.5; 3],
        std: [127.5; 3],
        resize: Framing::Crop,
        classes: 3,
        labels: vec!["a".into(), "b".into(), "c".into()],
        temperature: Some(1.25),
        reject_below: None,
        provenance: BTreeMap::from([("licence".into(), "Apache-2.0".into())]),
    }
}

fn mobilenet(classes: i64) -> (nn::VarStore, Net) {
    let store = nn::VarStore::new(Device::Cpu);
    let net = Net::new(&store.root(), Backbone::MobileNetV3Small, Padding::Torch, classes);
    (store, net)
}

#[test]
fn what_is_saved_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let (store, _) = mobilenet(3);
    save(&path, &store, &description()).unwrap();
    assert_eq!(describe(&path).unwrap(), Some(description()));
    let (saved, read) = (store.variables(), read(&path).unwrap());
    assert_eq!(saved.len(), read.len());
    assert!(saved.iter().all(|(name, tensor)| tensor.equal(&read[name])), "a tensor changed");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");
}

#[test]
fn weights_of_another_network_are_named_tensor_by_tensor() {
    let store = nn::VarStore::new(Device::Cpu);
    let resnet = Net::new(&store.root(), Backbone::Resnet50, Padding::Torch, 5);
    let (theirs, _) = mobilenet(3);
    let before = store.variables()["conv1.weight"].copy();
    let tensors = theirs.variables().into_iter().collect();
    let error = copy_into(&store, &resnet, Backbone::Resnet50, &tensors, Path::new("w.safetensors"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("w.safetensors does not hold the weights of resnet50: bn1."), "{error}");
    assert!(
        error.contains("is missing, bn1") && error.contains("more; it looks like mobilenet-v3-small"),
        "{error}"
    );
    assert!(store.variables()["conv1.weight"].equal(&before), "nothing is copied");
}

#[test]
fn another_shape_is_told_from_a_missing_tensor() {
    let (store, net) = mobilenet(3);
    let mut tensors: Tensors =
        store.variables().into_iter().map(|(name, tensor)| (name, tensor.detach().copy())).collect();
    tensors.insert(
        "features.2.block.1.0.weight".into(),
        Tensor::zeros([72, 1, 5, 5], (Kind::Float, Device::Cpu)),
    );
    tensors.remove("features.10.block.0.0.weight");
    let error = copy_into(&store, &net, Backbone::MobileNetV3Small, &tensors, Path::new("w")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "w does not hold the weights of mobilenet-v3-small: features.2.block.1.0.weight is 72x1x5x5, needed \
         72x1x3x3, features.10.block.0.0.weight is missing"
    );
}

#[test]
fn another_number_of_classes_keeps_the_new_head_and_says_so() {
    let ((theirs, _), (store, net)) = (mobilenet(1000), mobilenet(2));
    let head = store.variables()["classifier.3.weight"].copy();
    let tensors: Tensors = theirs.variables().into_iter().collect();
    let copied = copy_into(&store, &net, Backbone::MobileNetV3Small, &tensors, Path::new("w")).unwrap();
    assert_eq!(copied, Copied { head_replaced_from: Some(1000), unused: vec![] });
    let ours = store.variables();
    assert!(ours["classifier.3.weight"].equal(&head));
    assert!(ours["classifier.0.weight"].equal(&tensors["classifier.0.weight"]), "the rest is copied");
}

#[test]
fn damaged_files_and_pickles_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let (store, _) = mobilenet(2);
    save(&path, &store, &description()).unwrap();
    let bytes = fs::read(&path).unwrap();
    for keep in [0, 7, 100, bytes.len() / 2] {
        fs::write(&path, &bytes[..keep]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, WeightsError::Format { .. }), "{keep} bytes: {error}");
        assert!(keep > 100 || describe(&path).is_err(), "{keep} bytes");
    }
    let error = read(&folder.path().join("w.pth")).unwrap_err().to_string();
    assert!(error.contains("w.pth is no safetensors file") && error.contains("save_file"), "{error}");
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let (store, _) = mobilenet(2);
    save(&path, &store, &description()).unwrap();
    let before = fs::read(&path).unwrap();
    // The draft's name leads to a device that is always full.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("w.safetensors.new")).unwrap();
    let error = save(&path, &store, &description()).unwrap_err();
    let WeightsError::Write { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let tensors = Tensors::from([("x".to_owned(), Tensor::from_slice(&[1.0_f32, f32::NAN]))]);
    save_tensors(&path, &tensors, &description()).unwrap();
    assert!(matches!(read(&path), Err(WeightsError::NotFinite { tensor, .. }) if tensor == "x"));
}
