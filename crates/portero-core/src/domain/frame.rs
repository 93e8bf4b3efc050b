//! Frames, what is looked at in them, and what the model says of it.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{CameraId, FrameSeq, Label, ModelId, NormRect, Pixels, Planes, Sighting, Stamp, ZoneId, yuv};

/// A probability or confidence: finite, within 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Score(f32);

impl Score {
    /// What was measured, not guessed.
    pub const CERTAIN: Score = Score(1.0);

    /// `None` unless `value` is finite and within 0..=1.
    #[must_use]
    pub fn new(value: f32) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// The number, within 0..=1.
    #[must_use]
    pub fn get(self) -> f32 {
        self.0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

/// Pixels whose number does not fit the stated size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a {width}x{height} {layout} frame has {wanted} bytes, found {found}")]
pub struct FrameSizeError {
    /// Stated width in pixels.
    pub width: u32,
    /// Stated height in pixels.
    pub height: u32,
    /// Name of the layout.
    pub layout: &'static str,
    /// Bytes of such a picture.
    pub wanted: u128,
    /// Bytes found.
    pub found: usize,
}

/// Which frame of which moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
    /// Its number since the camera was first opened.
    pub seq: FrameSeq,
    /// When it was captured: its arrival, less its lag beyond the smallest lag of its connection.
    pub stamp: Stamp,
    /// Grows whenever the camera's time broke: what was seen in one run is no evidence in another.
    pub run: u32,
    /// How its age is known.
    pub clock: FrameClock,
}

impl FrameRef {
    /// A frame of the first run, of a source with a clock of its own.
    #[must_use]
    pub fn new(seq: FrameSeq, stamp: Stamp) -> Self {
        Self { seq, stamp, run: 0, clock: FrameClock::Media }
    }
}

/// How the age of a source's frames is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameClock {
    /// The source dates its pictures: a frame that waited somewhere is known to be old.
    Media,
    /// It does not: a frame counts as old as its arrival, as long as they arrive at their usual rate.
    Arrival,
}

/// Why a frame opens no door, whatever it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Withheld {
    /// The camera has been online for less than `settle`.
    Settling,
    /// The camera's time broke, and it does not yet run at its own rate again.
    Unsteady,
    /// The camera is tampered with.
    Tampered(Tamper),
    /// The picture, or the loop that it is part of, was seen before.
    Repeated,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Withheld::Settling => f.write_str("the camera came online a moment ago"),
            Withheld::Unsteady => f.write_str("the camera's time broke a moment ago"),
            Withheld::Tampered(tamper) => write!(f, "the camera is {}", tamper.as_str()),
            Withheld::Repeated => f.write_str("the camera's picture repeats itself"),
        }
    }
}

/// One picture of one camera. It keeps the layout in which the camera gave it: most frames show nothing that anybody
/// asks for in colour.
#[derive(Clone)]
pub struct Frame {
    camera: CameraId,
    at: FrameRef,
    width: u32,
    height: u32,
    pixels: Pixels,
    /// The same in RGB, once somebody has asked.
    converted: OnceLock<Vec<u8>>,
    withheld: Option<Withheld>,
}

impl Frame {
    /// # Errors
    /// [`FrameSizeError`] unless `pixels` fills `width * height` exactly and both sides are at least 1.
    pub fn new(
        camera: CameraId,
        at: FrameRef,
        width: u32,
        height: u32,
        pixels: impl Into<Pixels>,
    ) -> Result<Self, FrameSizeError> {
        let pixels = pixels.into();
        let (wanted, found) = (pixels.wanted(width, height), pixels.len());
        if wanted == 0 || wanted != found as u128 {
            return Err(FrameSizeError { width, height, layout: pixels.layout(), wanted, found });
        }
        Ok(Self { camera, at, width, height, pixels, converted: OnceLock::new(), withheld: None })
    }

    /// The same frame, which opens no door for the given reason.
    #[must_use]
    pub fn withhold(self, why: Option<Withheld>) -> Self {
        Self { withheld: why, ..self }
    }

    /// Why its camera says that it opens no door.
    #[must_use]
    pub fn withheld(&self) -> Option<Withheld> {
        self.withheld
    }

    /// The camera it came from.
    #[must_use]
    pub fn camera(&self) -> &CameraId {
        &self.camera
    }

    /// Number and moment.
    #[must_use]
    pub fn at(&self) -> FrameRef {
        self.at
    }

    /// Width in pixels, at least 1.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, `height` rows of `width` RGB triples. What came in another layout is converted at the first call,
    /// which takes about half a millisecond for 768x576.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        match (&self.pixels, self.planes()) {
            (Pixels::Rgb(rgb), _) => rgb,
            (_, Some(planes)) => self.converted.get_or_init(|| yuv::planes_to_rgb(&planes)),
            (_, None) => &[],
        }
    }

    /// One pixel as RGB, without a conversion of all. Both must lie within the picture.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let (x, y, width) = (x as usize, y as usize, self.width as usize);
        match self.planes() {
            Some(planes) => {
                let chroma = y / 2 * planes.chroma_size().0 + x / 2;
                yuv::pixel(planes.y[y * width + x], planes.u[chroma], planes.v[chroma])
            }
            None => self.rgb().as_chunks::<3>().0[y * width + x],
        }
    }

    /// The planes of a picture that came in I420; `None` of one in RGB.
    #[must_use]
    pub fn planes(&self) -> Option<Planes<'_>> {
        self.pixels.planes(self.width as usize, self.height as usize)
    }

    /// Makes the pixels `columns` of row `row` black for everyone: they were never seen. Both must lie within the picture.
    pub fn black_out(&mut self, row: usize, columns: Range<usize>) {
        self.converted.take();
        self.pixels.black_out((self.width as usize, self.height as usize), row, columns);
    }
}

/// Two frames are the same when they are of one moment and look the same.
impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        let key = |frame: &Self| (frame.camera.clone(), frame.at, frame.width, frame.height);
        key(self) == key(other) && self.rgb() == other.rgb()
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} #{} {}x{})", self.camera, self.at.seq, self.width, self.height)
    }
}

/// A part of a frame that is worth a classification. `zone` is `None` for the whole picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// The zone this region stands for.
    pub zone: Option<ZoneId>,
    /// Where it is.
    pub rect: NormRect,
}

/// A frame that the watch room found worth a look: with regions to classify, with a sighting of things, or both.
#[derive(Debug, Clone)]
pub struct Look {
    /// The picture, shared between its regions.
    pub frame: Arc<Frame>,
    /// What to classify in it, in configuration order.
    pub regions: Vec<Region>,
    /// What moves or is to be detected in it, where rules ask for tracks or covered areas.
    pub sighting: Option<Sighting>,
    /// Why it opens no door, as its camera or the watch says.
    pub withheld: Option<Withheld>,
}

/// What the model says of one region of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The camera.
    pub camera: CameraId,
    /// The zone; `None` for the whole picture.
    pub zone: Option<ZoneId>,
    /// Number and moment of the frame.
    pub frame: FrameRef,
    /// Why it opens no door, whatever the model says.
    pub withheld: Option<Withheld>,
    /// The model that spoke.
    pub model: ModelId,
    /// Labels with calibrated probabilities, most probable first; never empty.
    pub top: Vec<(Label, Score)>,
    /// The best probability is below the model's rejection threshold.
    pub rejected: bool,
    /// Wall time that preprocessing and inference took; what the regions of one look took together is shared evenly.
    pub latency: Duration,
}

impl Prediction {
    /// The answer that rules work with: the best label, or *unknown* when it was rejected.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self.top.first() {
            Some((label, _)) if !self.rejected => Answer::Label(label.clone()),
            _ => Answer::Unknown,
        }
    }

    /// The best probability, 0 when there is none.
    #[must_use]
    pub fn score(&self) -> f32 {
        self.top.first().map_or(0.0, |(_, score)| score.get())
    }

    /// How far the best probability is ahead of the second; the whole of it when there is no second.
    #[must_use]
    pub fn margin(&self) -> f32 {
        self.score() - self.top.get(1).map_or(0.0, |(_, score)| score.get())
    }
}

/// A label, or the honest *unknown*.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// One of the model's classes.
    Label(Label),
    /// The model would not commit itself.
    Unknown,
}

impl Answer {
    /// The label's text, or `unknown`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Answer::Label(label) => label.as_str(),
            Answer::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a camera delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CameraState {
    /// Not opened yet.
    Starting,
    /// Frames arrive.
    Online,
    /// Frames arrive, but fewer than asked for, or many of them damaged.
    Degraded,
    /// Open, but no frame for longer than `stall_after`.
    Stalled,
    /// Cannot be opened or was lost; a retry is under way.
    Offline,
    /// A file or folder without `loop` came to its end: nothing more will come, and that is as asked.
    Ended,
}

impl CameraState {
    /// Whether frames arrive.
    #[must_use]
    pub fn delivers(self) -> bool {
        matches!(self, CameraState::Online | CameraState::Degraded)
    }

    /// The word used in logs, topics and rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CameraState::Starting => "starting",
            CameraState::Online => "online",
            CameraState::Degraded => "degraded",
            CameraState::Stalled => "stalled",
            CameraState::Offline => "offline",
            CameraState::Ended => "ended",
        }
    }
}

/// What somebody did to a camera, or what befell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tamper {
    /// Nothing of the scene is left, though light reaches the sensor.
    Covered,
    /// The picture is black: the lens is covered, or the light is out. Nobody can tell which from the picture.
    Dark,
    /// A part of the picture has lost its scene.
    Sprayed,
    /// The scene is there, its details are not.
    Defocused,
    /// It looks elsewhere.
    Moved,
    /// Frames arrive, and all are the same one.
    Frozen,
}

impl Tamper {
    /// All of them.
    pub const ALL: [Tamper; 6] =
        [Tamper::Covered, Tamper::Dark, Tamper::Sprayed, Tamper::Defocused, Tamper::Moved, Tamper::Frozen];

    /// The word used in configuration, topics and rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tamper::Covered => "covered",
            Tamper::Dark => "dark",
            Tamper::Sprayed => "sprayed",
            Tamper::Defocused => "defocused",
            Tamper::Moved => "moved",
            Tamper::Frozen => "frozen",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_probabilities() {
        assert!(Score::new(0.0).is_some() && Score::new(1.0).is_some());
        for bad in [-0.01, 1.01, f32::NAN, f32::INFINITY] {
            assert!(Score::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn frames_hold_exactly_their_pixels() {
        let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
        let frame = |w, h, n| Frame::new(CameraId::new("c").unwrap(), at, w, h, vec![0; n]);
        assert!(frame(2, 3, 18).is_ok());
        assert!(frame(2, 3, 17).is_err());
        assert!(frame(0, 3, 0).is_err());
        assert!(frame(u32::MAX, u32::MAX, 3).is_err(), "the product must not overflow");
        let planar = |w, h, n| Frame::new(CameraId::new("c").unwrap(), at, w, h, Pixels::Yuv420p(vec![0; n]));
        assert!(planar(3, 3, 9 + 4 + 4).is_ok());
        let error = planar(4, 2, 11).unwrap_err().to_string();
        assert_eq!(error, "a 4x2 I420 frame has 12 bytes, found 11");
        assert!(planar(0, 2, 0).is_err());
        assert!(planar(u32::MAX, u32::MAX, 3).is_err());
    }

    #[test]
    fn planar_pixels_are_blacked_out_for_everyone_at_any_size() {
        let at = FrameRef::new(FrameSeq(0), Stamp::new(0, 0));
        for (width, height) in [(5u32, 5u32), (4, 2), (1, 1)] {
            let n = (width * height + 2 * width.div_ceil(2) * height.div_ceil(2)) as usize;
            let pixels = Pixels::Yuv420p(vec![200; n]);
            let mut frame = Frame::new(CameraId::new("c").unwrap(), at, width, height, pixels).unwrap();
            let (row, columns) = (height as usize - 1, width as usize / 2..width as usize);
            let before = frame.rgb().to_vec();
            frame.black_out(row, columns.clone());
            let seen = frame.rgb().as_chunks::<3>().0;
            for (i, pixel) in seen.iter().enumerate() {
                let (x, y) = (i % width as usize, i / width as usize);
                let masked = y == row && columns.contains(&x);
                assert_eq!(*pixel == [0; 3], masked, "{x},{y} of {width}x{height}: {pixel:?}");
                // Chroma is shared by four pixels: only those beside the mask may lose their colour.
                if y / 2 != row / 2 || x / 2 < columns.start / 2 {
                    assert_eq!(pixel[..], before[i * 3..i * 3 + 3]);
                }
            }
        }
    }
}
