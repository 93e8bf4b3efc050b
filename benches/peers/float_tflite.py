"""Turns a TFLite network of bytes into one of floats with the same weights.

usage: python3 benches/peers/float_tflite.py BYTES.tflite FLOATS.tflite

Every constant becomes `(value - zero point) * scale`, every other quantised tensor a tensor of floats; the operators stay,
since each of them is defined for both. Where the range of a quantised output ends at 0 the saturation was the Relu, and where it
goes from 0 to 6 the Relu6: they are written out. Needs ai-edge-litert (for the schema) and numpy.
"""

import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

KINDS = {schema.TensorType.UINT8: np.uint8, schema.TensorType.INT8: np.int8, schema.TensorType.INT32: np.int32}


def activate(options, output):
    """Writes out the activation that the range of a quantised output implies."""
    if not hasattr(options, "fusedActivationFunction") or output.quantization.zeroPoint[0] != 0:
        return
    six = abs(255 * output.quantization.scale[0] - 6) < 0.05
    kinds = schema.ActivationFunctionType
    options.fusedActivationFunction = kinds.RELU6 if six else kinds.RELU


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as file:
        model = schema.ModelT.InitFromPackedBuf(file.read(), 0)
    graph = model.subgraphs[0]
    for operator in graph.operators:
        activate(operator.builtinOptions, graph.tensors[operator.outputs[0]])
    for tensor in graph.tensors:
        quantisation = tensor.quantization
        if quantisation is None or quantisation.scale is None or len(quantisation.scale) == 0:
            continue
        buffer = model.buffers[tensor.buffer]
        if buffer.data is not None and len(buffer.data):
            values = np.frombuffer(bytes(buffer.data), KINDS[tensor.type]).astype(np.float64)
            if len(quantisation.scale) != 1:
                sys.exit(f"{tensor.name}: a scale per channel is not provided for")
            floats = (values - quantisation.zeroPoint[0]) * quantisation.scale[0]
            # A buffer of its own: tensors of different scales may share one.
            floats = schema.BufferT(data=np.frombuffer(floats.astype("<f4").tobytes(), np.uint8))
            tensor.buffer = len(model.buffers)
            model.buffers.append(floats)
        tensor.type = schema.TensorType.FLOAT32
        tensor.quantization = None
    builder = flatbuffers.Builder(1 << 24)
    builder.Finish(model.Pack(builder), b"TFL3")
    with open(sys.argv[2], "wb") as file:
        file.write(builder.Output())


if __name__ == "__main__":
    main()
