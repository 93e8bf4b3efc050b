//! The watch on real clips, and on clips made of a real one.

mod covers;
pub(crate) mod motion;
mod reload;
mod tamper;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use portero::domain::{CameraId, Frame, FrameRef, FrameSeq, Stamp};

pub(crate) const WIDTH: u32 = 768;
pub(crate) const HEIGHT: u32 = 576;

/// The frames of a clip after an ffmpeg filter graph that ends in 768x576 at `fps`.
pub(crate) fn frames(clip: &Path, fps: u32, graph: &str, mut each: impl FnMut(Frame)) {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(clip)
        .args(["-filter_complex", graph, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg is needed by the tests: apt-get install ffmpeg");
    let mut pipe = child.stdout.take().unwrap();
    let mut rgb = vec![0; (WIDTH * HEIGHT * 3) as usize];
    let mut n = 0;
    while pipe.read_exact(&mut rgb).is_ok() {
        let stamp = Stamp::new(n * 1_000_000 / u64::from(fps), 0);
        let at = FrameRef::new(FrameSeq(n), stamp);
        let camera = CameraId::new("street").unwrap();
        each(Frame::new(camera, at, WIDTH, HEIGHT, rgb.clone()).unwrap());
        n += 1;
    }
    assert!(child.wait().unwrap().success(), "ffmpeg failed at {graph}");
    assert!(n > 0, "no frame came out of {graph}");
}

/// The temporal median of the street as a PNG, for scenes in which nobody moves. It takes ffmpeg seconds, so all tests
/// share one.
pub(crate) fn median() -> &'static [u8] {
    static PICTURE: OnceLock<Vec<u8>> = OnceLock::new();
    PICTURE.get_or_init(|| {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(crate::support::daemon::street())
            .args(["-vf", "tmedian=radius=95", "-frames:v", "1", "-c:v", "png", "-f", "image2pipe", "-"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    })
}
