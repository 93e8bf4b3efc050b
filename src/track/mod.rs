//! From boxes to tracks: which thing of this frame is which of the frames before.
//!
//! One [`Tracker`] per camera takes the boxes of each frame in order and gives them numbers that last. It follows
//! `ByteTrack` (Zhang et al., 2022): every track foretells where its thing is now (a Kalman filter), boxes of which the
//! detector is sure are given to the tracks first, what is left of the tracks may take boxes of which it is less
//! sure, and only sure boxes begin a track. A box counts as a thing when a second frame has confirmed it.
//!
//! This room is pure: no I/O, no clock (frames carry their stamps), no pixels. It must not decide anything about a
//! thing but which one it is; what a track means is the rules' business.

mod assignment;
mod filter;
mod tracker;

pub use tracker::{Settings, Tracker};

#[cfg(test)]
mod tests;
