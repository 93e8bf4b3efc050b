//! JPEG pictures with their times in one file: Matroska (RFC 9559) with the codec `V_MJPEG`.
//!
//! It is what ffmpeg is given, because it keeps the moment of each picture; and it is the clip itself where nothing can
//! make H.264 of it. Players for the desktop show it, browsers do not.

use super::ring::Kept;

/// A cluster's pictures lie within this time of its beginning, in milliseconds; the format allows 32,767.
const CLUSTER_MS: u64 = 5_000;

/// The whole file. `frames` come in the order of their stamps; the first lies at 0.
pub(super) fn file(frames: &[Kept], width: u32, height: u32) -> Vec<u8> {
    let Some((first, last)) = frames.first().zip(frames.last()) else { return Vec::new() };
    let origin = first.stamp;
    let period = last.stamp.since(origin) / frames.len().saturating_sub(1).max(1) as u32;
    let length_ms = (last.stamp.since(origin) + period).as_secs_f64() * 1e3;
    let mut segment = element(0x1549_A966, &info(length_ms));
    segment.extend(element(0x1654_AE6B, &track(width, height)));
    let mut rest = frames;
    while let Some(head) = rest.first() {
        let start = ms_since(head, first);
        let count = rest.iter().take_while(|kept| ms_since(kept, first) < start + CLUSTER_MS).count().max(1);
        let (cluster, after) = rest.split_at(count);
        let mut body = element(0xE7, &uint(start));
        for kept in cluster {
            body.extend(block(ms_since(kept, first) - start, &kept.jpeg));
        }
        segment.extend(element(0x1F43_B675, &body));
        rest = after;
    }
    let mut file = element(0x1A45_DFA3, &head());
    file.extend(element(0x1853_8067, &segment));
    file
}

fn ms_since(kept: &Kept, first: &Kept) -> u64 {
    kept.stamp.since(first.stamp).as_millis() as u64
}

/// The EBML header (RFC 8794).
fn head() -> Vec<u8> {
    let mut body = element(0x4286, &uint(1));
    body.extend(element(0x42F7, &uint(1)));
    body.extend(element(0x42F2, &uint(4)));
    body.extend(element(0x42F3, &uint(8)));
    body.extend(element(0x4282, b"matroska"));
    body.extend(element(0x4287, &uint(4)));
    body.extend(element(0x4285, &uint(2)));
    body
}

/// Times are in milliseconds.
fn info(length_ms: f64) -> Vec<u8> {
    let mut body = element(0x002A_D7B1, &uint(1_000_000));
    body.extend(element(0x4489, &length_ms.to_be_bytes()));
    body.extend(element(0x4D80, b"portero"));
    body.extend(element(0x5741, b"portero"));
    body
}

fn track(width: u32, height: u32) -> Vec<u8> {
    let mut video = element(0xB0, &uint(u64::from(width)));
    video.extend(element(0xBA, &uint(u64::from(height))));
    let mut entry = element(0xD7, &uint(1));
    entry.extend(element(0x73C5, &uint(1)));
    entry.extend(element(0x83, &uint(1)));
    entry.extend(element(0x9C, &uint(0)));
    entry.extend(element(0x86, b"V_MJPEG"));
    entry.extend(element(0xE0, &video));
    element(0xAE, &entry)
}

/// A `SimpleBlock` of track 1 that stands by itself, `at_ms` after its cluster's beginning.
fn block(at_ms: u64, jpeg: &[u8]) -> Vec<u8> {
    let at = i16::try_from(at_ms).unwrap_or(i16::MAX).to_be_bytes();
    let mut body = vec![0x81, at[0], at[1], 0x80];
    body.extend(jpeg);
    element(0xA3, &body)
}

/// An element: its id as it is, its size in eight bytes, its body.
fn element(id: u32, body: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes();
    let mut bytes: Vec<u8> = id.into_iter().skip_while(|byte| *byte == 0).collect();
    bytes.extend((body.len() as u64 | 1 << 56).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn uint(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    bytes[first..].to_vec()
}
