//! JPEG pictures with their times in one file: Matroska with the codec `V_MJPEG`.
//!
//! It is what ffmpeg is given, because it keeps the moment of each picture; and it is the clip itself where nothing can
//! make H.264 of it. Players for the desktop show it, browsers do not.

use super::ring::Kept;
use crate::matroska::{SEGMENT, block, cluster, element, head, info, track};

/// A cluster's pictures lie within this time of its beginning, in milliseconds; the format allows 32,767.
const CLUSTER_MS: u64 = 5_000;
/// Times are in milliseconds.
const TICK_NS: u64 = 1_000_000;

/// The whole file. `frames` come in the order of their stamps; the first lies at 0.
pub(super) fn file(frames: &[Kept], width: u32, height: u32) -> Vec<u8> {
    let Some((first, last)) = frames.first().zip(frames.last()) else { return Vec::new() };
    let origin = first.stamp;
    let period = last.stamp.since(origin) / frames.len().saturating_sub(1).max(1) as u32;
    let length_ms = (last.stamp.since(origin) + period).as_secs_f64() * 1e3;
    let mut segment = info(TICK_NS, Some(length_ms));
    segment.extend(track("V_MJPEG", &[], width, height));
    let mut rest = frames;
    while let Some(head) = rest.first() {
        let start = ms_since(head, first);
        let count = rest.iter().take_while(|kept| ms_since(kept, first) < start + CLUSTER_MS).count().max(1);
        let (together, after) = rest.split_at(count);
        let at = |kept| i16::try_from(ms_since(kept, first) - start).unwrap_or(i16::MAX);
        let blocks: Vec<u8> = together.iter().flat_map(|kept| block(at(kept), true, &kept.jpeg)).collect();
        segment.extend(cluster(start, &blocks));
        rest = after;
    }
    let mut file = head();
    file.extend(element(SEGMENT, &segment));
    file
}

fn ms_since(kept: &Kept, first: &Kept) -> u64 {
    kept.stamp.since(first.stamp).as_millis() as u64
}
