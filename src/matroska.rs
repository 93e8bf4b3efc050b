//! What a film in Matroska is made of (RFC 9559): the elements of EBML (RFC 8794), the head of a film, its clusters.
//!
//! For films in memory and for streams without an end, with one video track and nothing else.

/// An element: its id as it is, its size in eight bytes, its body.
#[must_use]
pub fn element(id: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = opening(id, body.len() as u64 | 1 << 56);
    bytes.extend(body);
    bytes
}

/// An element's id and its size as written.
fn opening(id: u32, size: u64) -> Vec<u8> {
    let id = id.to_be_bytes();
    let mut bytes: Vec<u8> = id.into_iter().skip_while(|byte| *byte == 0).collect();
    bytes.extend(size.to_be_bytes());
    bytes
}

/// The body of an element that is a number.
#[must_use]
pub fn uint(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    bytes[first..].to_vec()
}

/// The EBML header.
#[must_use]
pub fn head() -> Vec<u8> {
    let parts = [
        element(0x4286, &uint(1)),
        element(0x42F7, &uint(1)),
        element(0x42F2, &uint(4)),
        element(0x42F3, &uint(8)),
        element(0x4282, b"matroska"),
        element(0x4287, &uint(4)),
        element(0x4285, &uint(2)),
    ];
    element(0x1A45_DFA3, &parts.concat())
}

/// The element that says what a tick is, in nanoseconds, and how many the film lasts where that is known.
#[must_use]
pub fn info(tick_ns: u64, length: Option<f64>) -> Vec<u8> {
    let mut body = element(0x002A_D7B1, &uint(tick_ns));
    if let Some(length) = length {
        body.extend(element(0x4489, &length.to_be_bytes()));
    }
    body.extend(element(0x4D80, b"portero"));
    body.extend(element(0x5741, b"portero"));
    element(0x1549_A966, &body)
}

/// The element that describes the one track, number 1: its codec, what a decoder must know beforehand (may be empty), its
/// size in pixels.
#[must_use]
pub fn track(codec: &str, private: &[u8], width: u32, height: u32) -> Vec<u8> {
    let mut video = element(0xB0, &uint(u64::from(width)));
    video.extend(element(0xBA, &uint(u64::from(height))));
    let mut entry = element(0xD7, &uint(1));
    entry.extend(element(0x73C5, &uint(1)));
    entry.extend(element(0x83, &uint(1)));
    entry.extend(element(0x9C, &uint(0)));
    entry.extend(element(0x86, codec.as_bytes()));
    if !private.is_empty() {
        entry.extend(element(0x63A2, private));
    }
    entry.extend(element(0xE0, &video));
    element(0x1654_AE6B, &element(0xAE, &entry))
}

/// A cluster that begins at `start`, in ticks, with these blocks.
#[must_use]
pub fn cluster(start: u64, blocks: &[u8]) -> Vec<u8> {
    element(0x1F43_B675, &[&element(0xE7, &uint(start)), blocks].concat())
}

/// A `SimpleBlock` of track 1, `at` ticks after its cluster's beginning.
#[must_use]
pub fn block(at: i16, is_key: bool, data: &[u8]) -> Vec<u8> {
    let at = at.to_be_bytes();
    let mut bytes = opening(0xA3, (data.len() as u64 + 4) | 1 << 56);
    bytes.extend([0x81, at[0], at[1], if is_key { 0x80 } else { 0 }]);
    bytes.extend(data);
    bytes
}

/// What a segment of known length opens with is written by [`element`]; this opens one that has no end.
#[must_use]
pub fn endless_segment() -> Vec<u8> {
    opening(0x1853_8067, 0x01FF_FFFF_FFFF_FFFF)
}

/// The id of a segment.
pub const SEGMENT: u32 = 0x1853_8067;
