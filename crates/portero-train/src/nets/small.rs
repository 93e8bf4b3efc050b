//! The two small networks, for 28x28 pictures and for learning what the trainer does.

use tch::nn::{self, Module, ModuleT};

fn conv(path: nn::Path<'_>, from: i64, to: i64, kernel: i64, padding: i64) -> nn::Conv2D {
    nn::conv2d(path, from, to, kernel, nn::ConvConfig { padding, ..Default::default() })
}

/// Two convolutions of 3x3 with ReLU and 2x2 max-pool, two dense layers with dropout between: 421,642
/// parameters beside the last layer's for 10 classes.
pub(crate) fn simple_cnn(path: &nn::Path<'_>, classes: i64) -> impl ModuleT + use<> {
    let conv1 = conv(path / "conv1", 3, 32, 3, 1);
    let conv2 = conv(path / "conv2", 32, 64, 3, 1);
    let fc1 = nn::linear(path / "fc1", 64 * 7 * 7, 128, Default::default());
    let fc2 = nn::linear(path / "fc2", 128, classes, Default::default());
    nn::func_t(move |x, train| {
        let x = conv1.forward(x).relu().max_pool2d_default(2);
        let x = conv2.forward(&x).relu().max_pool2d_default(2);
        let x = fc1.forward(&x.flatten(1, -1)).relu().dropout(0.4, train);
        fc2.forward(&x)
    })
}

/// LeNet-5: 5x5 convolutions to 6 and 16 planes, tanh, 2x2 mean-pool; dense layers of 120, 84 and `classes`.
pub(crate) fn lenet5(path: &nn::Path<'_>, classes: i64) -> impl ModuleT + use<> {
    let conv1 = conv(path / "conv1", 3, 6, 5, 2);
    let conv2 = conv(path / "conv2", 6, 16, 5, 0);
    let fc1 = nn::linear(path / "fc1", 16 * 5 * 5, 120, Default::default());
    let fc2 = nn::linear(path / "fc2", 120, 84, Default::default());
    let fc3 = nn::linear(path / "fc3", 84, classes, Default::default());
    nn::func_t(move |x, _train| {
        let x = conv1.forward(x).tanh().avg_pool2d_default(2);
        let x = conv2.forward(&x).tanh().avg_pool2d_default(2);
        let x = fc1.forward(&x.flatten(1, -1)).tanh();
        let x = fc2.forward(&x).tanh();
        fc3.forward(&x)
    })
}
