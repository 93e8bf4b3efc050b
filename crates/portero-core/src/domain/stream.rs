//! Pieces of a camera's own stream, as they come from it, not decoded.

use std::sync::Arc;

use super::Stamp;

/// What a video is coded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// H.264.
    H264,
    /// H.265.
    Hevc,
}

/// One coded picture. Nothing in it is masked: whoever holds one answers for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamPart {
    /// When it was captured.
    pub stamp: Stamp,
    /// What it is coded in.
    pub codec: Codec,
    /// Whether it can be decoded without those before it.
    pub is_key: bool,
    /// Packets of MPEG-TS (ISO/IEC 13818-1), 188 bytes each, before a key picture also those that describe the stream; or
    /// a cluster of Matroska (RFC 9559). Parts put one after the other, the first of them a key picture, are a stream again.
    pub bytes: Arc<[u8]>,
    /// Of a key picture in Matroska: what a film that begins with it begins with. A film has one head only.
    pub head: Option<Arc<[u8]>>,
}
