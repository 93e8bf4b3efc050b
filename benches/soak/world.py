"""The cameras of a soak, and what befalls them: a web server with faults, an RTSP server, a folder, a broker."""

import http.server
import pathlib
import random
import shutil
import socket
import subprocess
import threading
import time

BOUNDARY = "cut"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pictures(clip, folder, size, count=40):
    """JPEG pictures of a clip, in order."""
    folder.mkdir(parents=True)
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", str(clip), "-frames:v", str(count), "-vf", f"scale={size[0]}:{size[1]}",
                    "-q:v", "4", str(folder / "%03d.jpg")], check=True)
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


class WebCamera:
    """A camera with a web server: Motion JPEG, five pictures a second. `mode` says what is wrong with it."""

    def __init__(self, sizes):
        self.sizes, self.size, self.mode = sizes, 0, "well"
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                try:
                    camera.answer(self)
                except OSError:
                    pass  # it was closed meanwhile

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server.server_address[1]}/video"

    def answer(self, request):
        if self.mode == "refuse":
            return request.send_error(503)
        request.send_response(200)
        request.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        request.end_headers()
        number, mode = 0, self.mode
        while True:
            if self.mode != mode and self.mode in ("drop", "refuse"):
                return None
            mode = self.mode
            pictures = self.sizes[self.size]
            picture = pictures[number % len(pictures)]
            number += 1
            if mode == "garbage":
                picture = random.randbytes(len(picture))
            elif mode == "torn":
                picture = picture[: len(picture) // 2]
            elif mode == "bent":
                # Right at both ends, wrong between them.
                middle = bytearray(picture)
                for _ in range(40):
                    middle[random.randrange(700, len(middle) - 2)] = random.randrange(255)
                picture = bytes(middle)
            if mode != "silent":
                request.wfile.write(f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode())
                request.wfile.write(picture + b"\r\n")
            time.sleep(0.2)


class RtspCamera:
    """The RTSP server of the tests."""

    def __init__(self, program):
        self.program, self.port, self.process = program, free_port(), None

    def url(self):
        return f"rtsp://127.0.0.1:{self.port}/cam"

    def start(self, size=(640, 480)):
        command = ["/usr/bin/python3", str(self.program), str(self.port), str(size[0]), str(size[1])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit("the RTSP server does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Folder:
    """A folder of pictures that is played again and again."""

    def __init__(self, path, good):
        self.path, self.good = path, good
        self.fill()

    def fill(self):
        self.empty()
        for number, picture in enumerate(self.good):
            (self.path / f"{number:03}.jpg").write_bytes(picture)

    def empty(self):
        self.path.mkdir(exist_ok=True)
        for path in self.path.iterdir():
            path.unlink()

    def spoil(self):
        """Only what is no picture is left."""
        self.empty()
        for number in range(5):
            (self.path / f"{number:03}.jpg").write_bytes(random.randbytes(5000))
        (self.path / "empty.jpg").write_bytes(b"")
        (self.path / "torn.jpg").write_bytes(self.good[0][:3000])


class Broker:
    """mosquitto, and what the daemon last said of each camera there."""

    def __init__(self, folder):
        self.port = free_port()
        config = folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.server = subprocess.Popen([program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.states, self.alerts = {}, 0
        time.sleep(1)
        self.client = subprocess.Popen(["mosquitto_sub", "-p", str(self.port), "-v", "-t", "portero/+/status", "-t", "portero/+/alert"],
                                       stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.client.stdout:
            topic, _, payload = line.rstrip("\n").partition(" ")
            _, camera, what = topic.split("/")
            if what == "status":
                self.states[camera] = payload
            else:
                self.alerts += 1

    def close(self):
        for process in (self.client, self.server):
            process.terminate()
            process.wait()


def child_of(parent, word):
    """The process below `parent` whose command line holds `word`."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat, line = (entry / "stat").read_text(), (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if int(stat[stat.rindex(")") + 1:].split()[1]) == parent and word in line:
            return int(entry.name)
    return None
