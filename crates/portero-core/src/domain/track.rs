//! Things in the picture and the tracks they leave.

use std::fmt;

use super::{CameraId, FrameRef, NormRect, Prediction, Score, ZoneId};

/// What the watch room says of a frame beside what is worth a classification.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sighting {
    /// How the things of this frame are found.
    pub things: Things,
    /// Share of each area that something different covers, 0..=1; `None` stands for the whole picture. Empty while
    /// nothing can be said.
    pub covered: Vec<(Option<ZoneId>, f32)>,
}

/// How the things of a frame are found.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Things {
    /// Nothing can be said of this frame: whoever was there is still there, whoever was not is not.
    #[default]
    Unsaid,
    /// They are what moves: the smallest rectangle around each thing.
    Moving {
        /// The rectangles, largest first; none is an answer too.
        rects: Vec<NormRect>,
        /// What the classifier is to see of each of the first of them.
        crops: Vec<NormRect>,
    },
    /// The detector is to find them.
    Detect,
}

/// One thing found in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The smallest rectangle around it.
    pub rect: NormRect,
    /// How certain it is that there is anything; 1 for what moves.
    pub score: Score,
    /// What it is, where somebody was asked.
    pub prediction: Option<Prediction>,
}

/// The number of a track, unique for its camera since the start, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u64);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a decision's track was in the deciding frame, or last before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackRef {
    /// Which track.
    pub id: TrackId,
    /// Its box.
    pub rect: NormRect,
}

/// A track as one frame shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Which one.
    pub id: TrackId,
    /// Its box, smoothed over the frames.
    pub rect: NormRect,
    /// What the model said of it in this frame, where it was asked.
    pub prediction: Option<Prediction>,
}

/// What is known of the things before a camera with one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The camera.
    pub camera: CameraId,
    /// Number and moment of the frame.
    pub frame: FrameRef,
    /// What was found of tracks in it; `None` when nothing can be said: all are where they were.
    pub tracks: Option<Tracks>,
    /// As in [`Sighting`].
    pub covered: Vec<(Option<ZoneId>, f32)>,
}

/// The tracks of one frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tracks {
    /// Those seen in it. One that is neither here nor in `gone` is out of sight for the moment and counts as where
    /// it was.
    pub seen: Vec<Track>,
    /// Those given up with it.
    pub gone: Vec<TrackId>,
}
