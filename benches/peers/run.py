"""Runs the same network in portero, tract, onnxruntime and TFLite in turn, and prints one table.

usage: python3 benches/peers/run.py SHARED WORK PEERS

Called by scripts/bench-peers, from the root of the project. SHARED holds the weights and the pictures, WORK takes what is made of
them and may be kept, PEERS is the built bench `peers`. One thread each; CPU time of the thread; medians of RUNS
runs after WARM_UP, three rounds in turn.
"""

import glob
import hashlib
import json
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import time
from importlib.metadata import version

import numpy as np
import onnxruntime as ort
from PIL import Image

WARM_UP, RUNS, ROUNDS = 30, 250, 3
SIDE = 224
PYTHON = sys.executable
PEERS = sys.argv[-1]


def say(*words):
    print(*words, flush=True)


def load():
    return pathlib.Path("/proc/loadavg").read_text().rsplit(" ", 2)[0]


def peers(*arguments):
    command = [PEERS, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def photos(shared):
    """All shared photos and crops, 500 of the INRIA ones among them."""
    data = f"{shared}/datasets/"
    found = sorted(glob.glob(data + "hymenoptera_224/*/*/*")) + sorted(glob.glob(data + "coco128_train2017/images/*.jpg"))
    found += sorted(glob.glob(data + "coco_person_crops/train2017/*/*.jpg"))
    crops = [p for p in sorted(glob.glob(data + "inria_person/*/*")) if p.lower().endswith((".png", ".jpg"))]
    return found + random.Random(9).sample(crops, 500)


def prepare(shared, work):
    """The files for all engines, from the shared weights."""
    paths = photos(shared)
    weights = f"{shared}/models/mobilenet_v3_small.imagenet.safetensors"
    bytes_tflite = f"{shared}/models/v3-small_224_1.0_uint8.tflite"
    calibration = work / "calibration.txt"
    calibration.write_text("\n".join(paths[:400:2]))
    for target, script, *arguments in [
        ("float.onnx", "models/imagenet.py", weights, work / "float.onnx"),
        ("int8.onnx", "models/quantise.py", work / "float.onnx", work / "int8.onnx", calibration),
        ("float.tflite", "benches/peers/float_tflite.py", bytes_tflite, work / "float.tflite"),
    ]:
        if not (work / target).exists():
            subprocess.run([PYTHON, script, *arguments], check=True, stdout=subprocess.DEVNULL)
    for name in ("float", "int8"):
        manifest(work / f"{name}.onnx")
    if not (work / "pictures.raw").exists():
        with open(work / "pictures.raw", "wb") as out:
            for path in paths:
                out.write(np.asarray(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.BILINEAR)).tobytes())
    return bytes_tflite


def manifest(model):
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    labels = [f"c{i}" for i in range(1000)]
    model.with_suffix(".toml").write_text(
        f'version = 1\nid = "{model.stem}"\nfile = "{model.name}"\nsha256 = "{digest}"\nlicence = "Apache-2.0"\n'
        f'[input]\nwidth = {SIDE}\nheight = {SIDE}\nchannels = "rgb"\nresize = "stretch"\n'
        "mean = [127.5, 127.5, 127.5]\nstd = [127.5, 127.5, 127.5]\n"
        f'[output]\nlabels = {json.dumps(labels)}\nactivation = "softmax"\nreject_below = 0.0\n'
    )


def session(model, exact=False):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if exact:
        # Else its kernels for u8 times i8 may saturate on a processor without VNNI.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def median(run):
    for _ in range(WARM_UP):
        run()
    times = []
    for _ in range(RUNS):
        begun = time.thread_time()
        run()
        times.append((time.thread_time() - begun) * 1e3)
    return statistics.median(times)


def onnxruntime(model):
    runner = session(model)
    x = np.random.default_rng(1).uniform(-1, 1, (1, 3, SIDE, SIDE)).astype(np.float32)
    return median(lambda: runner.run(None, {"input": x}))


def tflite(model):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    x = np.random.default_rng(1).uniform(0, 255, entry["shape"]) if entry["dtype"] == np.uint8 else np.zeros(entry["shape"])
    interpreter.set_tensor(entry["index"], x.astype(entry["dtype"]))
    return median(interpreter.invoke)


def agreement(work):
    """How often portero and onnxruntime name the same class first, on the same file."""
    runner = session(work / "int8.onnx", exact=True)
    pictures = np.fromfile(work / "pictures.raw", np.uint8).reshape(-1, SIDE, SIDE, 3)
    peers("answers", work / "int8.toml", work / "pictures.raw", work / "answers.f32")
    ours = np.fromfile(work / "answers.f32", np.float32).reshape(len(pictures), -1)
    same = exact = 0
    for picture, probabilities in zip(pictures, ours):
        x = ((picture.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
        logits = runner.run(None, {"input": np.ascontiguousarray(x)})[0].ravel()
        theirs = np.exp(logits - logits.max())
        theirs /= theirs.sum()
        # Logits are steps of a scale: where two are equal, either may stand first.
        same += np.isclose(theirs[probabilities.argmax()], theirs.max())
        exact += np.abs(theirs - probabilities).max() < 1e-5
    return len(pictures), same / len(pictures), exact / len(pictures)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    shared, work = sys.argv[1], pathlib.Path(sys.argv[2])
    work.mkdir(parents=True, exist_ok=True)
    bytes_tflite = prepare(shared, work)
    processor = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    lock = pathlib.Path("Cargo.lock").read_text()
    tract = re.search(r'name = "tract-onnx"\nversion = "(.*)"', lock)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    say("date       ", time.strftime("%FT%TZ", time.gmtime()))
    say("processor  ", processor.group(1) if processor else "?", f"({os.cpu_count()} cores)")
    say("load       ", load(), "before")
    say("versions   ", f"portero {commit}, tract {tract.group(1)}, onnxruntime {ort.__version__}, ai-edge-litert {version('ai-edge-litert')}")
    say("network     MobileNetV3-Small 1.0, 224x224, ImageNet head (TFLite: 1001 classes), one thread")

    engines = {
        "portero int8": lambda: ours(work / "int8.toml"),
        "portero float": lambda: ours(work / "float.toml"),
        "tract fp32": lambda: ours(work / "float.onnx"),
        "onnxruntime fp32": lambda: onnxruntime(work / "float.onnx"),
        "onnxruntime int8": lambda: onnxruntime(work / "int8.onnx"),
        "TFLite fp32": lambda: tflite(work / "float.tflite"),
        "TFLite int8": lambda: tflite(bytes_tflite),
    }
    plans = {}

    def ours(file):
        line = peers("time", file)[0]
        plans[file.name] = line
        return line["ms"]

    times = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, run in engines.items():
            times[name].append(run())
    say("load       ", load(), "after")
    say()
    say(f"{'engine':<18} {'CPU ms':>7}   rounds, each a median of {RUNS} after {WARM_UP}")
    ms = {name: statistics.median(rounds) for name, rounds in times.items()}
    for name, rounds in times.items():
        say(f"{name:<18} {ms[name]:7.2f}  ", ", ".join(f"{t:.2f}" for t in rounds))
    say()
    for name in ("int8", "float"):
        plan = plans[f"{name}.toml"]
        say(f"plan of {name}: {plan['operators']} operators, {plan['int8']} in integers, {plan['float']} in floats of ours; "
            f"loaded in {plan['load_ms']:.0f} ms of CPU")
    rivals = ["onnxruntime fp32", "onnxruntime int8", "TFLite fp32", "TFLite int8"]
    best = min(rivals, key=ms.get)
    say()
    for us, them in [("portero int8", best), ("portero int8", "tract fp32"), ("portero float", "onnxruntime fp32")]:
        ratios = [a / b for a, b in zip(times[us], times[them])]
        say(f"{us} / {them}: {statistics.median(ratios):.2f} (" + ", ".join(f"{r:.2f}" for r in ratios) + ")")
    many, same, exact = agreement(work)
    say(f"the same first class as onnxruntime on the same int8 file: {same:.2%} of {many} pictures; "
        f"probabilities equal to 1e-5 on {exact:.2%}")


if __name__ == "__main__":
    main()
