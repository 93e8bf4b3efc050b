//! Commands for cameras that plain V4L2 does not show usefully. Each writes what `command` sources read.

/// A Raspberry Pi camera module through libcamera: writes MJPEG.
///
/// rpicam-apps, `rpicam-vid`: `-t 0` runs until stopped, `-n` shows no preview, `--inline` and `--flush` are not
/// needed for MJPEG. A frame rate below 1 is asked for as 1 and thinned by us.
#[must_use]
pub fn rpicam_vid(width: u32, height: u32, fps: f32) -> Vec<String> {
    let fps = whole_rate(fps).to_string();
    let (width, height) = (width.to_string(), height.to_string());
    let argv = [
        "rpicam-vid",
        "-t",
        "0",
        "-n",
        "--codec",
        "mjpeg",
        "--width",
        &width,
        "--height",
        &height,
        "--framerate",
        &fps,
        "-o",
        "-",
    ];
    argv.map(str::to_owned).to_vec()
}

/// A CSI camera of an NVIDIA Jetson: writes raw `yuv420p` frames of exactly this size.
///
/// The sensor runs in one of its own modes, which `nvvidconv` scales; `videorate` thins what the sensor gives.
#[must_use]
pub fn jetson(width: u32, height: u32, fps: f32) -> Vec<String> {
    let convert = format!("video/x-raw,format=I420,width={width},height={height}");
    let rate = format!("video/x-raw,framerate={}/1", whole_rate(fps));
    let argv = [
        "gst-launch-1.0",
        "-q",
        "nvarguscamerasrc",
        "!",
        "video/x-raw(memory:NVMM)",
        "!",
        "nvvidconv",
        "!",
        &convert,
        "!",
        "videorate",
        "drop-only=true",
        "!",
        &rate,
        "!",
        "fdsink",
        "fd=1",
        "sync=false",
    ];
    argv.map(str::to_owned).to_vec()
}

/// The rate as a whole number, rounded up, at least 1: both programs want one.
fn whole_rate(fps: f32) -> u32 {
    (fps.ceil() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_ask_for_the_wanted_size_and_rate() {
        let pi = rpicam_vid(1280, 720, 4.5).join(" ");
        assert!(pi.contains("--width 1280 --height 720 --framerate 5 -o -"), "{pi}");
        let jetson = jetson(1280, 720, 0.2).join(" ");
        assert!(jetson.contains("width=1280,height=720 !") && jetson.contains("framerate=1/1"), "{jetson}");
    }
}
