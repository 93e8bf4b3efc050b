"""Writes MobileNetV3-Small with ImageNet weights as a float ONNX classifier of 1000 classes.

usage: python3 models/imagenet.py mobilenet_v3_small.imagenet.safetensors OUT.onnx

The weights bear torchvision's names; their batch norms are folded as they are written, with TensorFlow's epsilon (1e-3) and its
padding, which puts the odd pixel on the far side. Dense layers are written as 1x1 convolutions, so that
models/quantise.py covers them too. Needs numpy and onnx.
"""

import json
import struct
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Kernel, expanded channels, output channels, squeeze-and-excitation, activation, stride (Howard et al. 2019, table 2).
BLOCKS = [
    (3, 16, 16, True, "Relu", 2),
    (3, 72, 24, False, "Relu", 2),
    (3, 88, 24, False, "Relu", 1),
    (5, 96, 40, True, "HardSwish", 2),
    (5, 240, 40, True, "HardSwish", 1),
    (5, 240, 40, True, "HardSwish", 1),
    (5, 120, 48, True, "HardSwish", 1),
    (5, 144, 48, True, "HardSwish", 1),
    (5, 288, 96, True, "HardSwish", 2),
    (5, 576, 96, True, "HardSwish", 1),
    (5, 576, 96, True, "HardSwish", 1),
]
EPSILON = 1e-3


def read_safetensors(path):
    """The tensors of a file, by name (https://github.com/huggingface/safetensors, "Format")."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        for name, entry in header.items()
    }


class Network:
    """A graph that grows at its end; every method returns the name of the tensor that it made."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], []

    def op(self, kind, *inputs, **attributes):
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x, name, weight, bias, stride=1, group=1):
        kernel = weight.shape[2]
        near = kernel // 2 if stride == 1 else (kernel - 2) // 2
        far = kernel - stride - near if stride > 1 else near
        for part, value in (("w", weight), ("b", bias)):
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), f"{name}.{part}"))
        attributes = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "group": group}
        return self.op("Conv", x, f"{name}.w", f"{name}.b", pads=[near, near, far, far], **attributes)

    def folded(self, x, name, stride=1, group=1):
        """The convolution `name.0` with the batch norm `name.1` behind it."""
        get = lambda part: self.weights[f"{name}.{part}"]
        factor = get("1.weight") / np.sqrt(get("1.running_var") + EPSILON)
        weight = get("0.weight") * factor[:, None, None, None]
        bias = get("1.bias") - get("1.running_mean") * factor
        return self.conv(x, name, weight, bias, stride, group)

    def dense(self, x, name):
        """A layer of one weight for each pair of channels, as a 1x1 convolution."""
        weight = self.weights[f"{name}.weight"]
        return self.conv(x, name, weight.reshape(*weight.shape[:2], 1, 1), self.weights[f"{name}.bias"])

    def block(self, x, number, inputs, kernel, expanded, outputs, squeeze, activation, stride):
        part = (f"features.{number}.block.{i}" for i in range(4))
        y = x
        if expanded != inputs:
            y = self.op(activation, self.folded(y, next(part)))
        y = self.op(activation, self.folded(y, next(part), stride, expanded))
        if squeeze:
            name = next(part)
            s = self.op("GlobalAveragePool", y)
            s = self.op("Relu", self.dense(s, f"{name}.fc1"))
            s = self.op("HardSigmoid", self.dense(s, f"{name}.fc2"), alpha=1 / 6, beta=0.5)
            y = self.op("Mul", y, s)
        y = self.folded(y, next(part))
        return self.op("Add", x, y) if stride == 1 and inputs == outputs else y


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    net = Network(read_safetensors(sys.argv[1]))
    x = net.op("HardSwish", net.folded("input", "features.0", 2))
    channels = 16
    for number, (kernel, expanded, outputs, squeeze, activation, stride) in enumerate(BLOCKS, 1):
        x = net.block(x, number, channels, kernel, expanded, outputs, squeeze, activation, stride)
        channels = outputs
    x = net.op("HardSwish", net.folded(x, "features.12"))
    x = net.op("HardSwish", net.dense(net.op("GlobalAveragePool", x), "classifier.0"))
    x = net.dense(x, "classifier.3")
    net.nodes.append(helper.make_node("Flatten", [x], ["logits"], name="flatten", axis=1))
    graph = helper.make_graph(
        net.nodes,
        "mobilenet-v3-small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1000])],
        net.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], producer_name="portero")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, sys.argv[2])


if __name__ == "__main__":
    main()
