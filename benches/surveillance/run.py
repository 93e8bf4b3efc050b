"""What watching one camera costs: portero beside Debian's motion and beside a plain Python script, on the same H.264 files.

usage: python3 benches/surveillance/run.py SHARED WORK PORTERO [SECONDS [ROUNDS]]

Called by scripts/bench-surveillance, from the root of the project. Every program plays the file at the camera's own rate, in turn; what
counts is the CPU time (user and system) of its whole process tree over SECONDS, after it has settled, per picture of the camera.
WORK takes what is made and may be kept.
"""

import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from importlib.metadata import version

import cv2
import numpy as np

SHARED, WORK, PORTERO = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).absolute(), os.path.abspath(sys.argv[3])
SECONDS = float(sys.argv[4]) if len(sys.argv) > 4 else 40.0
ROUNDS = int(sys.argv[5]) if len(sys.argv) > 5 else 3
SETTLE = 8.0
FPS = 10
SIZE = (768, 576)
ROOT = pathlib.Path.cwd()


def say(*words):
    print(*words, flush=True)


def quiet_scene(source, target, seconds=60):
    """The temporal median of a clip, with the noise of a sensor, encoded as the clip was."""
    capture = cv2.VideoCapture(str(source))
    pictures = [picture for n in range(790) for ok, picture in [capture.read()] if ok and n % 16 == 0]
    still = np.median(np.stack(pictures), axis=0)
    encoder = subprocess.Popen(
        ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", str(FPS)]
        + ["-i", "-", "-c:v", "libx264", "-crf", "26", "-pix_fmt", "yuv420p", str(target)], stdin=subprocess.PIPE)
    noise = np.random.default_rng(1)
    for _ in range(seconds * FPS):
        picture = still + noise.normal(0, 3, still.shape)
        encoder.stdin.write(np.clip(picture, 0, 255).astype(np.uint8).tobytes())
    encoder.stdin.close()
    if encoder.wait():
        raise SystemExit("ffmpeg could not encode the quiet scene")


# What the threads of portero do, by the beginning of their names.
DUTIES = {"cam-": "receive and watch", "infer-": "inference"}


def cpu_seconds(pid):
    """CPU time of a process's threads by their duty, in nanoseconds of the scheduler: the ticks of /proc/PID/stat are as long as five
    pictures take."""
    spent = {}
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*"):
        try:
            name, cpu = (task / "comm").read_text().strip(), int((task / "schedstat").read_text().split()[0])
        except (OSError, IndexError):
            continue  # it has just ended
        duty = next((duty for start, duty in DUTIES.items() if name.startswith(start)), "itself")
        spent[duty] = spent.get(duty, 0) + cpu / 1e9
    return spent


def tree(pid):
    """A process and all below it, with their CPU seconds by duty."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        name, fields = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 1:].split()
        found[int(entry.parent.name)] = (int(fields[1]), name)
    members, grown = {pid}, True
    while grown:
        more = {p for p, (parent, _) in found.items() if parent in members} - members
        members |= more
        grown = bool(more)
    return {p: (found[p][1], cpu_seconds(p)) for p in members if p in found}


def cost(command, folder, **options):
    """CPU milliseconds per picture of a program, by the duties of its threads, and of its children by their names."""
    log = open(folder / "log", "w")
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
    try:
        time.sleep(SETTLE)
        before, begun = tree(process.pid), time.monotonic()
        time.sleep(SECONDS)
        after, took = tree(process.pid), time.monotonic() - begun
        if process.poll() is not None:
            raise SystemExit(f"{command} ended: {(folder / 'log').read_text()[-2000:]}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
    spent = {}
    for pid, (name, duties) in after.items():
        for duty, cpu in duties.items():
            whose = duty if pid == process.pid else name
            since = cpu - before.get(pid, (name, {}))[1].get(duty, 0.0)
            spent[whose] = spent.get(whose, 0) + since * 1e3 / (took * FPS)
    return spent


def fresh(name):
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def portero(video, port, fps, motion, cameras=1, decode="all", program=None):
    folder = fresh("portero")
    text = f'version = 1\n[model]\nmanifest = "{ROOT}/models/person-v3s.toml"\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n'
    text += f'[store]\npath = "{folder}/portero.db"\n'
    ids = [f"c{n}" for n in range(cameras)]
    for name in ids:
        text += f'[[camera]]\nid = "{name}"\nsource = {{ ffmpeg = "{video}", decode = "{decode}" }}\nsize = [{SIZE[0]}, {SIZE[1]}]\n'
        text += f"fps = {fps}\nloop = {str('://' not in str(video)).lower()}\nmotion = {str(motion).lower()}\n"
    text += f'[[rule]]\nid = "r"\ncameras = {ids}\nlabel = "person"\nagree = "4 of 5"\ncooldown = "1m"\nalert = "info"\n'.replace("'", '"')
    config = folder / "portero.toml"
    config.write_text(text)
    config.chmod(0o600)
    spent = cost([program or PORTERO, "run", "--config", config], folder)
    return spent, (folder / "log").read_text()


def motion(video):
    folder = fresh("motion")
    config = folder / "motion.conf"
    config.write_text(
        f"daemon off\nlog_level 5\nsetup_mode off\nnetcam_url file://{video}\nwidth {SIZE[0]}\nheight {SIZE[1]}\nframerate {FPS}\n"
        f"target_dir {folder}\npicture_output off\nmovie_output off\nstream_port 0\nwebcontrol_port 0\nthreshold 1500\n")
    return cost(["motion", "-n", "-c", str(config)], folder)


def script(video, port, looks):
    folder = fresh("script")
    program = str(ROOT / "benches/surveillance/script.py")
    arguments = [video, WORK / "float.onnx", folder / "script.db", port, FPS, looks]
    return cost([sys.executable, program, *map(str, arguments)], folder)


def broker():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = WORK / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    return port, subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def total(spent):
    return sum(spent.values())


def apart(runs):
    """The medians of what each part of a tree spent: threads by their duty, children by their names."""
    return ", ".join(f"{name} {statistics.median(r.get(name, 0) for r in runs):.2f}" for name in sorted(runs[0]))


def summary(log):
    """What the daemon counted, as it says when it stops."""
    return next((line for line in reversed(log.splitlines()) if "stopped: " in line), "nothing")


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    busy = (SHARED / "media/vtest_h264_crf26.mp4").resolve()
    quiet = (WORK / "quiet.mp4").resolve()
    if not quiet.exists():
        quiet_scene(busy, quiet)
    if not (WORK / "float.onnx").exists():
        weights = SHARED / "models/mobilenet_v3_small.imagenet.safetensors"
        subprocess.run([sys.executable, "models/imagenet.py", weights, WORK / "float.onnx"], check=True, stdout=subprocess.DEVNULL)
    port, server = broker()
    say(f"processor  {cpu_name()}, {os.cpu_count()} cores; load before {pathlib.Path('/proc/loadavg').read_text().rsplit(' ', 2)[0]}")
    say(f"versions   {first_line([PORTERO, '--version'])}, {first_line(['motion', '-h'])}, {first_line(['ffmpeg', '-version'])[:20]},"
        f" opencv {cv2.__version__}, onnxruntime {version('onnxruntime')}, paho-mqtt {version('paho-mqtt')}")
    say(f"files      768x576 H.264 at {FPS} pictures a second; {SECONDS:.0f} s after {SETTLE:.0f} s, {ROUNDS} rounds in turn")
    runs = {}
    try:
        for _ in range(ROUNDS):
            for name, run in [
                ("quiet scene: motion", lambda: motion(quiet)),
                ("quiet scene: portero, motion gate", lambda: portero(quiet, port, FPS, True)[0]),
                ("busy street, every picture: script", lambda: script(busy, port, FPS)),
                ("busy street, every picture: portero", lambda: portero(busy, port, FPS, False)[0]),
                ("busy street, 5 looks a second: script", lambda: script(busy, port, 5)),
                ("busy street, 5 looks a second: portero", lambda: portero(busy, port, 5, False)[0]),
                ("busy street, 5 looks a second: portero, decode = \"referenced\"",
                 lambda: portero(busy, port, 5, False, decode="referenced")[0]),
            ]:
                runs.setdefault(name, []).append(run())
        eight, log = portero(busy, port, FPS, True, cameras=8)
    finally:
        server.terminate()
    say("\nCPU ms per picture of the camera, whole process tree, median (least to most)")
    for name, spent in runs.items():
        totals = [total(s) for s in spent]
        say(f"  {statistics.median(totals):6.2f}  ({min(totals):.2f} to {max(totals):.2f})  {name}: {apart(spent)}")
    for mine in runs:
        if "portero" not in mine:
            continue
        # The other of the same scene, which ran just before.
        other = next(name for name in runs if name.split(": ")[0] == mine.split(": ")[0])
        ratios = [total(a) / total(b) for a, b in zip(runs[mine], runs[other])]
        say(f"  {statistics.median(ratios):6.2f}  ({min(ratios):.2f} to {max(ratios):.2f})  {mine} / {other.split(': ')[1]}")
    cores = total(eight) * FPS / 1e3
    say(f"\n8 cameras of the busy street at {FPS} pictures a second, motion gate: {cores:.2f} cores of {os.cpu_count()} in use; the daemon says:")
    say(summary(log))


def cpu_name():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    return next((line.split(": ", 1)[1] for line in text.splitlines() if line.startswith("model name")), "unknown processor")


def first_line(command):
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0].strip() if lines else command[0]


if __name__ == "__main__":
    main()
