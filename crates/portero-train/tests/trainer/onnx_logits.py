"""Opens an exported model as others would: onnx.checker, then onnxruntime on a picture.

usage: onnx_logits.py MODEL.onnx PLANES.f32   (1 x 3 x height x width, 32-bit little endian; prints the logits)
"""

import sys

import numpy
import onnx
import onnxruntime

path, planes = sys.argv[1:]
onnx.checker.check_model(path, full_check=True)
options = onnxruntime.SessionOptions()
# As the file says, not as a fused kernel would round.
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
(given,) = session.get_inputs()
picture = numpy.fromfile(planes, "<f4").reshape(given.shape)
print(*session.run(None, {given.name: picture})[0][0].tolist())
