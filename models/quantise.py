"""Quantises a float ONNX classifier statically: u8 activations, i8 weights per channel, every operator.

usage: python3 models/quantise.py FLOAT.onnx OUT.onnx PICTURES.txt

PICTURES.txt names one picture a line, 100 to 300 of them, as the model will see them. They are stretched to the
model's input and normalised to -1..1, as the shipped manifest says. Needs onnx, onnxruntime, numpy and pillow
(`python3 -m venv v && v/bin/pip install onnx onnxruntime pillow`). Every activation's range is its 0.01st to 99.99th
percentile over the pictures.
"""

import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from PIL import Image

# Pictures whose activations are held in memory together.
AT_A_TIME = 10


class Pictures(CalibrationDataReader):
    def __init__(self, name, size, paths):
        self.name, self.size, self.paths = name, size, iter(paths)

    def get_next(self):
        path = next(self.paths, None)
        if path is None:
            return None
        picture = Image.open(path).convert("RGB").resize(self.size, Image.BILINEAR)
        planes = (np.asarray(picture, np.float32).transpose(2, 0, 1) - 127.5) / 127.5
        return {self.name: np.ascontiguousarray(planes[None])}


def ranges(source, operators, paths, scratch):
    """The range of each activation, as onnxruntime's calibrator finds it."""
    options = {"num_bins": 2048, "percentile": 99.99, "symmetric": False}
    calibrator = create_calibrator(
        source,
        operators,
        augmented_model_path=scratch + "/augmented.onnx",
        calibrate_method=CalibrationMethod.Percentile,
        extra_options=options,
    )
    one_thread = ort.SessionOptions()
    one_thread.intra_op_num_threads = 1
    calibrator.infer_session = ort.InferenceSession(
        calibrator.augmented_model_path, one_thread, providers=["CPUExecutionProvider"]
    )
    entry = calibrator.infer_session.get_inputs()[0]
    size = (entry.shape[3], entry.shape[2])
    for start in range(0, len(paths), AT_A_TIME):
        calibrator.collect_data(Pictures(entry.name, size, paths[start : start + AT_A_TIME]))
        # The histograms have them; the tensors themselves would fill the memory.
        calibrator.intermediate_outputs = []
    return calibrator.compute_data()


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    source, target, listing = sys.argv[1:]
    with open(listing, encoding="utf-8") as lines:
        paths = [line.strip() for line in lines if line.strip()]
    model = onnx.load(source)
    operators = sorted({node.op_type for node in model.graph.node})
    with tempfile.TemporaryDirectory() as scratch:
        found = ranges(source, operators, paths, scratch)
    quantizer = QDQQuantizer(
        model,
        True,
        False,
        QuantType.QInt8,
        QuantType.QUInt8,
        found,
        [],
        [],
        operators,
        {"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantised = quantizer.model.model
    # Shapes that were inferred before are not all true any more.
    del quantised.graph.value_info[:]
    onnx.checker.check_model(quantised)
    onnx.save(quantised, target)


if __name__ == "__main__":
    main()
