//! Which of a device's formats to take, and which device a path means. Pure, so that it can be tested without one.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use super::super::CaptureError;

/// Layouts of a device that we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Yuyv,
    Mjpeg,
}

/// Something a device can deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) layout: Layout,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Frames a second; only whole numbers, because a device left at another rate cannot be opened again.
    pub(super) rate: u32,
}

/// What is wanted of a device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wish {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fps: f32,
}

impl Wish {
    /// The wanted rate as a whole number, at least 1.
    pub(super) fn rate(&self) -> u32 {
        (self.fps.ceil() as u32).max(1)
    }
}

/// Sorts the offers, the best first: the smallest size that covers the wish, else the largest there is; in that
/// size a rate that is high enough, YUYV (which costs least to read) before MJPEG, and the lowest such rate, else
/// the highest there is.
pub(super) fn ranked(mut offers: Vec<Offer>, wish: &Wish) -> Vec<Offer> {
    offers.sort_by_key(|offer| {
        let area = u64::from(offer.width) * u64::from(offer.height);
        let covers = offer.width >= wish.width && offer.height >= wish.height;
        let fast = offer.rate >= wish.rate();
        let rate = if fast { i64::from(offer.rate) } else { -i64::from(offer.rate) };
        let size = if covers { i128::from(area) } else { -i128::from(area) };
        (Reverse(covers), size, Reverse(fast), offer.layout == Layout::Mjpeg, rate)
    });
    offers.dedup();
    offers
}

/// A side of a frame within `min..=max` in steps of `step`: the nearest at or above `wanted`, else the largest.
pub(super) fn stepped(wanted: u32, min: u32, max: u32, step: u32) -> u32 {
    let step = step.max(1);
    let above = wanted.saturating_sub(min).div_ceil(step).saturating_mul(step).saturating_add(min);
    if above <= max { above } else { max.saturating_sub(max.saturating_sub(min) % step) }
}

/// The device node that `device` means, and its number: a bare number, a node, or a link to one (as below
/// `/dev/v4l/by-id/`).
pub(super) fn resolve(device: &Path) -> Result<(PathBuf, u32), CaptureError> {
    let named = match device.to_str().and_then(|text| text.parse::<u32>().ok()) {
        Some(number) => PathBuf::from(format!("/dev/video{number}")),
        None => device.to_owned(),
    };
    let node = named.canonicalize().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => CaptureError::Missing { path: named.clone() },
        _ => CaptureError::File { path: named.clone(), source },
    })?;
    let number = number_of(&node).ok_or_else(|| {
        let why = if node == named {
            "give /dev/videoN, a link to one, or a number".to_owned()
        } else {
            format!("it leads to {}, not to a /dev/videoN", node.display())
        };
        CaptureError::NotACamera { device: named, why }
    })?;
    Ok((node, number))
}

/// The number of a node named `/dev/videoN`.
pub(super) fn number_of(node: &Path) -> Option<u32> {
    let digits = node.to_str()?.strip_prefix("/dev/video")?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(text: &str) -> Vec<Offer> {
        let offer = |word: &str| {
            let (kind, rest) = word.split_at(1);
            let numbers: Vec<u32> = rest.split(['x', '@']).map(|n| n.parse().unwrap()).collect();
            let layout = if kind == "y" { Layout::Yuyv } else { Layout::Mjpeg };
            Offer { layout, width: numbers[0], height: numbers[1], rate: numbers[2] }
        };
        text.split_whitespace().map(offer).collect()
    }

    #[test]
    fn the_nearest_size_above_then_the_rate_then_the_cheaper_layout() {
        let webcam = "y640x480@30 y640x480@15 y1280x720@10 y1280x720@5 m640x480@30 m1280x720@30 m1280x720@60 m1920x1080@30";
        for (width, height, fps, best) in [
            (640, 480, 5.0, "y640x480@15"),
            (640, 480, 20.0, "y640x480@30"),
            (768, 576, 5.0, "y1280x720@5"),
            (1280, 720, 7.5, "y1280x720@10"),
            (1280, 720, 25.0, "m1280x720@30"),
            (1280, 720, 90.0, "y1280x720@10"),
            (1280, 1024, 5.0, "m1920x1080@30"),
            (4000, 3000, 5.0, "m1920x1080@30"),
        ] {
            let found = ranked(offers(webcam), &Wish { width, height, fps })[0];
            assert_eq!(vec![found], offers(best), "{width}x{height} at {fps}");
        }
        assert!(ranked(vec![], &Wish { width: 1, height: 1, fps: 1.0 }).is_empty());
    }

    #[test]
    fn steps_are_kept() {
        assert_eq!(stepped(700, 16, 1920, 16), 704);
        assert_eq!(stepped(5000, 16, 1925, 16), 1920);
        assert_eq!(stepped(1, 16, 1920, 16), 16);
        assert_eq!(stepped(5, 0, 10, 0), 5);
        assert_eq!(stepped(u32::MAX, 1, u32::MAX, 2), u32::MAX);
    }

    #[test]
    fn a_device_is_a_number_a_node_or_a_link() {
        assert_eq!(number_of(Path::new("/dev/video12")), Some(12));
        for other in ["/dev/video", "/dev/video1a", "/dev/vbi0", "/tmp/video1", "/dev/video-1"] {
            assert_eq!(number_of(Path::new(other)), None, "{other}");
        }
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("front-door");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        let error = resolve(&link).unwrap_err().to_string();
        assert!(error.ends_with("is no V4L2 camera: it leads to /dev/null, not to a /dev/videoN"), "{error}");
    }
}
