"""An RTSP server for tests: a ball on black in H.264 at rtsp://127.0.0.1:PORT/cam, 15 pictures a second.

    rtsp_server.py PORT [WIDTH HEIGHT]

Says `ready` when it listens. Exit code 69, with the reason, where a part of GStreamer is missing.
"""

import sys

FPS = 15


def missing(what):
    print(what, file=sys.stderr)
    sys.exit(69)


try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ImportError, ValueError) as error:
    missing(error)

Gst.init(None)
for element in ("videotestsrc", "videoconvert", "x264enc", "h264parse", "rtph264pay"):
    if Gst.ElementFactory.find(element) is None:
        missing(f"GStreamer has no {element}")

port = sys.argv[1]
width, height = sys.argv[2:4] if len(sys.argv) > 2 else (1280, 720)
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball"
    f" ! video/x-raw,width={width},height={height},framerate={FPS}/1 ! videoconvert ! video/x-raw,format=I420"
    f" ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={2 * FPS} bitrate=2000"
    " ! video/x-h264,profile=constrained-baseline ! h264parse config-interval=-1"
    " ! rtph264pay name=pay0 pt=96 )"
)
# One encoder, however many watch.
factory.set_shared(True)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
server.get_mount_points().add_factory("/cam", factory)
if server.attach(None) == 0:
    sys.exit(f"port {port} is taken")
print("ready", flush=True)
GLib.MainLoop().run()
