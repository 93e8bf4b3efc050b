//! Frames, what is looked at in them, and what the model says of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{CameraId, FrameSeq, Label, ModelId, NormRect, Stamp, ZoneId};

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
#[error("a {width}x{height} RGB frame has {} bytes, found {found}", rgb_bytes(*width, *height))]
pub struct FrameSizeError {
    /// Stated width in pixels.
    pub width: u32,
    /// Stated height in pixels.
    pub height: u32,
    /// Bytes found.
    pub found: usize,
}

/// Bytes of an RGB picture; wide enough for any two sides.
fn rgb_bytes(width: u32, height: u32) -> u128 {
    u128::from(width) * u128::from(height) * 3
}

/// Which frame of which moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
    /// Its number since the camera was first opened.
    pub seq: FrameSeq,
    /// When it was captured.
    pub stamp: Stamp,
}

/// One picture of one camera: RGB, 8 bits per channel, rows from the top without padding.
#[derive(Clone, PartialEq)]
pub struct Frame {
    camera: CameraId,
    at: FrameRef,
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Frame {
    /// # Errors
    /// [`FrameSizeError`] unless `rgb` holds exactly `width * height * 3` bytes and both sides are at least 1.
    pub fn new(
        camera: CameraId,
        at: FrameRef,
        width: u32,
        height: u32,
        rgb: Vec<u8>,
    ) -> Result<Self, FrameSizeError> {
        let wanted = rgb_bytes(width, height);
        if wanted == 0 || wanted != rgb.len() as u128 {
            return Err(FrameSizeError { width, height, found: rgb.len() });
        }
        Ok(Self { camera, at, width, height, rgb })
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

    /// The pixels, `height` rows of `width` RGB triples.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The same, to be changed in place: what is blacked out here was never seen by anyone.
    pub fn rgb_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
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

/// A frame that the watch room found worth a look, with the regions to classify (at least one).
#[derive(Debug, Clone)]
pub struct Look {
    /// The picture, shared between its regions.
    pub frame: Arc<Frame>,
    /// What to classify in it, in configuration order.
    pub regions: Vec<Region>,
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
    /// Nothing of the scene is left.
    Covered,
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
    pub const ALL: [Tamper; 5] =
        [Tamper::Covered, Tamper::Sprayed, Tamper::Defocused, Tamper::Moved, Tamper::Frozen];

    /// The word used in configuration, topics and rows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Tamper::Covered => "covered",
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
        let at = FrameRef { seq: FrameSeq(0), stamp: Stamp::new(0, 0) };
        let frame = |w, h, n| Frame::new(CameraId::new("c").unwrap(), at, w, h, vec![0; n]);
        assert!(frame(2, 3, 18).is_ok());
        assert!(frame(2, 3, 17).is_err());
        assert!(frame(0, 3, 0).is_err());
        assert!(frame(u32::MAX, u32::MAX, 3).is_err(), "the product must not overflow");
    }
}
