"""What two builds of portero cost beside each other, on the same sources: CPU per picture of the whole process tree, and memory.

usage: python3 benches/surveillance/versions.py SHARED WORK BEFORE AFTER [SECONDS [ROUNDS [SCENE]]]

From the root of the project, with the environment of scripts/bench-surveillance. The builds run in turn, BEFORE and AFTER, then AFTER and
BEFORE; the ratio of each pair is taken, because a machine is not equally quick all day. Exit code 1 when a median is more than 5 % above 1.
"""

import os
import pathlib
import socket
import statistics
import subprocess
import sys

BUILDS = [os.path.abspath(path) for path in sys.argv[3:5]]
sys.argv[3:5] = [BUILDS[1]]
ONLY = sys.argv[6] if len(sys.argv) > 6 else ""
import run  # noqa: E402 - it reads the arguments

MOST = 1.05


def rtsp_camera():
    """A camera of the size of the files, as the tests have it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(run.ROOT / "tests/capture/rtsp_server.py")
    server = subprocess.Popen(["/usr/bin/python3", program, str(port), *map(str, run.SIZE)], stdout=subprocess.PIPE, text=True)
    if server.stdout.readline().strip() != "ready":
        raise SystemExit("the RTSP server does not start")
    return f"rtsp://127.0.0.1:{port}/cam", server


def resident(log):
    """Megabytes of the daemon at the end, which the wrapper notes."""
    return float(log.rsplit("resident ", 1)[1].split()[0])


def wrapper(build):
    """A program that runs a build and says at its end what memory it had."""
    script = run.WORK / f"run-{BUILDS.index(build)}"
    script.write_text(
        f"""#!{sys.executable}
import pathlib, signal, subprocess, sys
child = subprocess.Popen([{build!r}, *sys.argv[1:]])
lines = []
def end(*_):
    lines.extend(pathlib.Path(f"/proc/{{child.pid}}/status").read_text().splitlines())
    child.send_signal(signal.SIGTERM)
signal.signal(signal.SIGTERM, end)
child.wait()
kilobytes = next((line.split()[1] for line in lines if line.startswith("VmRSS")), "0")
print(f"resident {{int(kilobytes) / 1024:.1f}} MB", flush=True)
""")
    script.chmod(0o755)
    return str(script)


def main():
    run.WORK.mkdir(parents=True, exist_ok=True)
    busy, quiet = (run.SHARED / "media/vtest_h264_crf26.mp4").resolve(), (run.WORK / "quiet.mp4").resolve()
    if not quiet.exists():
        run.quiet_scene(busy, quiet)
    port, broker = run.broker()
    url, camera = rtsp_camera()
    scenes = {
        "quiet scene, motion gate": (quiet, run.FPS, True),
        "busy street, every picture": (busy, run.FPS, False),
        "busy street, 5 looks a second": (busy, 5, False),
        "RTSP camera, 15 pictures a second, motion gate": (url, 15, True),
    }
    scenes = {scene: how for scene, how in scenes.items() if ONLY in scene}
    load = pathlib.Path("/proc/loadavg").read_text().rsplit(" ", 2)[0]
    run.say(f"processor  {run.cpu_name()}, {os.cpu_count()} cores; load before {load}")
    for build in BUILDS:
        run.say(f"build      {build}: {run.first_line([build, '--version'])}")
    run.say(f"sources    768x576 H.264; {run.SECONDS:.0f} s after {run.SETTLE:.0f} s, {run.ROUNDS} rounds, the order reversed in every second")
    costs = {scene: ([], []) for scene in scenes}
    memory = {scene: ([], []) for scene in scenes}
    try:
        for number in range(run.ROUNDS):
            for scene, (video, fps, motion) in scenes.items():
                for which in (0, 1) if number % 2 == 0 else (1, 0):
                    spent, log = run.portero(video, port, fps, motion, program=wrapper(BUILDS[which]))
                    costs[scene][which].append(run.total(spent))
                    memory[scene][which].append(resident(log))
    finally:
        broker.terminate()
        camera.terminate()
    dearer = []
    run.say("\nCPU ms per picture of a file's ten a second: before, after, ratio of pairs (least to most); memory in MB: before, after")
    for scene in scenes:
        (before, after), ram = costs[scene], [statistics.median(m) for m in memory[scene]]
        ratios = [b / a for a, b in zip(before, after)]
        middle = statistics.median(ratios)
        run.say(f"  {statistics.median(before):.2f}  {statistics.median(after):.2f}  {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                f"   {ram[0]:.1f}  {ram[1]:.1f}   {scene}")
        if middle > MOST:
            dearer.append(scene)
    if dearer:
        raise SystemExit(f"more than 5 % dearer: {', '.join(dearer)}")


main()
