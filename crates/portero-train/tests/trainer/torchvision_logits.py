"""Logits of torchvision's networks, for comparison: torchvision_logits.py NETWORK[:WIDTH] FOLDER [WEIGHTS]

Writes FOLDER/weights.safetensors (random, seeded, unless WEIGHTS is given), FOLDER/input.safetensors and
FOLDER/logits.safetensors. With WEIGHTS the strided convolutions of MobileNetV3 are padded as TensorFlow does.
Needs Debian's python3-torch and python3-torchvision.
"""

import json
import struct
import sys

import numpy
import torch
import torchvision
from torch import nn


def save(path, tensors):
    header, end = {}, 0
    arrays = {name: tensor.detach().numpy().astype("<f4") for name, tensor in tensors.items()}
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.tobytes())


def load(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        body = file.read()
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        array = numpy.frombuffer(body[begin:end], "<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(array.copy())
    return tensors


def pad_as_tensorflow(network):
    """Replaces the padding of every strided convolution by an explicit one, for even sizes."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and child.stride[0] == 2:
                before, after = {3: (0, 1), 5: (1, 2)}[child.kernel_size[0]]
                child.padding = (0, 0)
                setattr(module, name, nn.Sequential(nn.ZeroPad2d((before, after, before, after)), child))


def main():
    network, folder = sys.argv[1:3]
    torch.manual_seed(7)
    torch.set_num_threads(1)
    network, _, width = network.partition(":")
    options = {"width_mult": float(width)} if width else {}
    model = getattr(torchvision.models, network)(weights=None, **options)
    if len(sys.argv) > 3:
        model.load_state_dict(load(sys.argv[3]), strict=False)
        pad_as_tensorflow(model)
    else:
        for module in model.modules():  # norms that do something
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.bias, 0.0, 0.2)
                nn.init.normal_(module.running_mean, 0.0, 0.2)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
            elif isinstance(module, nn.Linear):  # logits that differ
                nn.init.normal_(module.weight, 0.0, 0.1)
        state = {n: t for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked")}
        save(f"{folder}/weights.safetensors", state)
    pictures = torch.rand(2, 3, 224, 224) * 2 - 1
    with torch.no_grad():
        logits = model.eval()(pictures)
    save(f"{folder}/input.safetensors", {"input": pictures})
    save(f"{folder}/logits.safetensors", {"logits": logits})


if __name__ == "__main__":
    main()
