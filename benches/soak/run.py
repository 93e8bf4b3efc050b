"""Four cameras for a long time, with something going wrong every 20 seconds: does each come back, and does nothing grow?

usage: python3 benches/soak/run.py PORTERO MINUTES

Called by scripts/soak, from the root of the project. Exit code 1 when something was found.
"""

import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from world import Broker, Folder, RtspCamera, WebCamera, child_of, pictures

PORTERO, MINUTES = os.path.abspath(sys.argv[1]), float(sys.argv[2])
ROOT = pathlib.Path.cwd()
CLIP = ROOT / "tests/data/street.mp4"
EVERY = 20.0  # seconds from fault to fault
LASTS = 7.0  # seconds until it is mended
PATIENCE = 45.0  # seconds for a camera to be back; the longest pause between two attempts is 30
SAMPLE = 2.0
WARM_UP = max(60.0, MINUTES * 60 / 4)  # the allocator's and SQLite's caches fill for ten minutes and more
SLOPE = 1.0  # MB an hour
TELLING = 20.0  # minutes after the warm-up, from which on a slope says something


def say(*words):
    print(*words, flush=True)


def configuration(folder, broker, sources):
    text = f'version = 1\n[model]\nmanifest = "{ROOT}/models/person-v3s.toml"\n[store]\npath = "{folder}/portero.db"\n'
    text += f'[mqtt]\nurl = "mqtt://127.0.0.1:{broker.port}"\n'
    for name, (source, more) in sources.items():
        text += f'[[camera]]\nid = "{name}"\nsource = {source}\nsize = [640, 480]\nfps = 5\nstall_after = "5s"\nannounce_after = "0s"\n{more}\n'
    text += '[[rule]]\nid = "somebody"\ncameras = ["file", "rtsp", "http", "folder"]\nlabel = "person"\n'
    text += 'cooldown = "20s"\nalert = "info"\nsnapshot = true\n'
    path = folder / "portero.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


class Daemon:
    def __init__(self, config, log):
        self.log = log
        self.process = subprocess.Popen([PORTERO, "run", "--config", config], stderr=log.open("w"), stdout=subprocess.DEVNULL)

    def sample(self):
        """Megabytes resident, of these anonymous; threads; descriptors."""
        proc = pathlib.Path(f"/proc/{self.process.pid}")
        status = (proc / "status").read_text()
        number = lambda key: int(re.search(rf"^{key}:\s+(\d+)", status, re.M).group(1))
        return number("VmRSS") / 1024, number("RssAnon") / 1024, number("Threads"), len(list((proc / "fd").iterdir()))

    def signal_child(self, word, what):
        pid = child_of(self.process.pid, word)
        if not pid:
            raise SystemExit(f"no child of the daemon has {word!r} in its command line: the fault would be none")
        os.kill(pid, what)


def faults(daemon, folder, web, rtsp):
    """(camera, what, how it is done, how it is mended)"""
    def served(mode):
        return ("http", f"the web camera: {mode}", lambda: setattr(web, "mode", mode), lambda: setattr(web, "mode", "well"))

    def another_size():
        web.size = 1 - web.size

    sizes = [(800, 600), (320, 240), (640, 480)]

    def restart():
        sizes.append(sizes.pop(0))
        rtsp.start(sizes[0])

    stop_rtsp = (lambda: os.kill(rtsp.process.pid, signal.SIGSTOP), lambda: os.kill(rtsp.process.pid, signal.SIGCONT))
    nothing = lambda: None
    return [
        ("file", "its ffmpeg is killed", lambda: daemon.signal_child(CLIP.name, signal.SIGKILL), nothing),
        ("rtsp", "the server is killed, and starts with another size", rtsp.kill, restart),
        served("drop"), ("folder", "emptied", folder.empty, folder.fill),
        ("file", "its ffmpeg is stopped", lambda: daemon.signal_child(CLIP.name, signal.SIGSTOP), nothing),
        served("garbage"), ("rtsp", "the server is stopped, and goes on", *stop_rtsp),
        ("folder", "garbage in place of its pictures", folder.spoil, folder.fill),
        served("silent"), ("http", "pictures of another size", another_size, nothing), served("torn"), served("bent"), served("refuse"),
        ("rtsp", "its ffmpeg is killed", lambda: daemon.signal_child("matroska", signal.SIGKILL), nothing),
    ]


def slope(samples):
    """Least squares: units of the second column an hour."""
    times, values = [t / 3600 for t, _ in samples], [v for _, v in samples]
    t, v = statistics.fmean(times), statistics.fmean(values)
    return sum((a - t) * (b - v) for a, b in zip(times, values)) / sum((a - t) ** 2 for a in times)


class Soak:
    def __init__(self, daemon, broker):
        self.daemon, self.broker, self.begun = daemon, broker, time.monotonic()
        self.samples, self.quiet, self.troubles, self.recoveries = [], [], [], {}

    def now(self):
        return time.monotonic() - self.begun

    def watch(self, until, stop=lambda: False):
        """Samples until then, or until `stop` says so."""
        while self.now() < until and not stop():
            if self.daemon.process.poll() is not None:
                raise SystemExit(f"the daemon ended: {self.daemon.log.read_text()[-3000:]}")
            time.sleep(0.25)
            if not self.samples or self.now() - self.samples[-1][0] >= SAMPLE:
                self.samples.append((self.now(), *self.daemon.sample()))

    def well(self, camera):
        return self.broker.states.get(camera) == "online"

    def suffer(self, camera, what, do, mend):
        """One fault; quiet before it."""
        self.quiet.append((self.now(), *self.daemon.sample()))
        begun = self.now()
        do()
        noticed = []
        self.watch(begun + LASTS, lambda: (not self.well(camera) and noticed.append(1)) or False)
        mend()
        mended = self.now()
        self.watch(mended + PATIENCE, lambda: self.well(camera) and self.now() > mended + 1)
        took = self.now() - mended
        if self.well(camera):
            self.recoveries.setdefault((camera, what), []).append((took, bool(noticed)))
        else:
            self.troubles.append(f"{begun:.0f} s: {camera}, {what}: not back after {took:.0f} s but {self.broker.states.get(camera)}")
        self.watch(begun + EVERY)

    def run(self, faults):
        self.watch(30, lambda: all(self.well(c) for c in ("file", "rtsp", "http", "folder")))
        say(f"all four online after {self.now():.1f} s")
        number = 0
        while self.now() < MINUTES * 60:
            self.suffer(*faults[number % len(faults)])
            number += 1
        self.watch(self.now() + 15)
        self.quiet.append((self.now(), *self.daemon.sample()))
        return number

    def report(self, faults):
        say(f"\n{'seconds to be back after it was mended':58} times   median     most   noticed")
        for camera, what, *_ in faults:
            all_took = self.recoveries.get((camera, what), [])
            if all_took:
                took = [t for t, _ in all_took]
                say(f"  {camera + ': ' + what:56} {len(took):5} {statistics.median(took):8.1f} {max(took):8.1f}   {sum(n for _, n in all_took):5}")
        warm = [s for s in self.samples if s[0] >= WARM_UP]
        quiet = [s for s in self.quiet if s[0] >= WARM_UP]
        say(f"\nafter {WARM_UP / 60:.0f} minutes of warm-up, {len(warm)} samples")
        for column, name in [(1, "resident MB"), (2, "of these anonymous")]:
            values = [s[column] for s in warm]
            rise = slope([(s[0], s[column]) for s in warm])
            say(f"  {name:20} {min(values):6.1f} to {max(values):6.1f}, first {values[0]:.1f}, last {values[-1]:.1f}; {rise:+.2f} MB an hour")
            if column == 1 and rise > SLOPE and MINUTES * 60 - WARM_UP >= TELLING * 60:
                self.troubles.append(f"memory grows by {rise:.2f} MB an hour")
        say("between the faults:")
        for column, name in [(3, "threads"), (4, "descriptors")]:
            values = [s[column] for s in quiet]
            third = max(1, len(values) // 3)
            early, late = statistics.median(values[:third]), statistics.median(values[-third:])
            say(f"  {name:20} {min(values)} to {max(values)}; median of the first third {early:.0f}, of the last {late:.0f}")
            if late > early:
                self.troubles.append(f"{name} grow from {early:.0f} to {late:.0f}")


def main():
    random.seed(1)
    place = tempfile.TemporaryDirectory(prefix="portero-soak-")
    work = pathlib.Path(place.name)
    web = WebCamera([pictures(CLIP, work / "large", (640, 480)), pictures(CLIP, work / "small", (320, 240))])
    folder = Folder(work / "folder", pictures(CLIP, work / "third", (640, 480)))
    rtsp = RtspCamera(ROOT / "tests/capture/rtsp_server.py")
    rtsp.start()
    broker = Broker(work)
    sources = {
        "file": (f'{{ ffmpeg = "{CLIP}" }}', "loop = true\nmotion = true\ntamper = true"),
        "rtsp": (f'{{ rtsp = "{rtsp.url()}" }}', "motion = true"),
        "http": (f'{{ http = "{web.url()}" }}', "motion = true\ntamper = true"),
        "folder": (f'{{ folder = "{folder.path}" }}', "loop = true"),
    }
    daemon = Daemon(configuration(work, broker, sources), work / "log")
    soak = Soak(daemon, broker)
    plan = faults(daemon, folder, web, rtsp)
    say(f"load       {pathlib.Path('/proc/loadavg').read_text().rsplit(' ', 2)[0]} before")
    try:
        number = soak.run(plan)
        daemon.process.send_signal(signal.SIGTERM)
        code = daemon.process.wait(15)
    finally:
        daemon.process.kill()
        rtsp.process.kill()
        broker.close()
    say(f"{number} faults in {soak.now() / 60:.1f} minutes, {broker.alerts} alerts received; the daemon ended with {code}")
    said = daemon.log.read_text()
    say("it said: " + next((line for line in reversed(said.splitlines()) if "stopped: " in line), "nothing of having stopped"))
    if code != 0 or "panicked" in said or not re.search(r"\b0 lost\b", said):
        soak.troubles.append("it did not end as it should")
    soak.report(plan)
    say(f"\nload       {pathlib.Path('/proc/loadavg').read_text().rsplit(' ', 2)[0]} after")
    for trouble in soak.troubles:
        say(f"FOUND      {trouble}")
    if not soak.troubles:
        say("found      nothing")
    if os.environ.get("SOAK_LOG"):
        pathlib.Path(os.environ["SOAK_LOG"]).write_text(said)
    raise SystemExit(1 if soak.troubles else 0)


main()
