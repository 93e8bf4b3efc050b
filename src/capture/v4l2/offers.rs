//! What V4L2 devices there are, and what each offers.

use std::io;
use std::path::PathBuf;

use v4l::capability::Flags;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::video::Capture;
use v4l::{Device, FourCC};

use super::choice::{self, Layout, Offer, Wish};

pub(super) const MJPG: &[u8; 4] = b"MJPG";
pub(super) const YUYV: &[u8; 4] = b"YUYV";
/// nokhwa makes a list entry for each step of a range; more steps than this are no sane answer of a driver.
const MOST_STEPS: u32 = 100_000;

/// A device as the system lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its node, `/dev/videoN`.
    pub path: PathBuf,
    /// What it calls itself; empty when it could not be asked.
    pub name: String,
    /// What it delivers that we can read, such as `MJPEG 1280x720 at 30, 15`.
    pub formats: Vec<String>,
    /// Why it could not be asked.
    pub problem: Option<String>,
}

/// Lists capture devices, by number. Devices that cannot be asked are listed with the reason. Never fails; opens
/// each device for a moment.
#[must_use]
pub fn list() -> Vec<DeviceInfo> {
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut nodes: Vec<(u32, PathBuf)> = entries
        .map(|entry| entry.path())
        .filter_map(|path| Some((choice::number_of(&path)?, path)))
        .collect();
    nodes.sort();
    nodes.into_iter().filter_map(|(_, path)| describe(path)).collect()
}

/// What a node is; `None` when it is no capture device (metadata, output, codec).
fn describe(path: PathBuf) -> Option<DeviceInfo> {
    let ask = || -> io::Result<Option<(String, Vec<String>)>> {
        let device = Device::with_path(&path)?;
        let caps = device.query_caps()?;
        if !caps.capabilities.contains(Flags::VIDEO_CAPTURE) {
            return Ok(None);
        }
        Ok(Some((caps.card, formats(&device)?)))
    };
    let (name, formats, problem) = match ask() {
        Ok(None) => return None,
        Ok(Some((name, formats))) => (name, formats, None),
        Err(error) => (String::new(), Vec::new(), Some(error.to_string())),
    };
    Some(DeviceInfo { path, name, formats, problem })
}

fn formats(device: &Device) -> io::Result<Vec<String>> {
    let mut lines: Vec<(String, Vec<String>)> = Vec::new();
    for offer in offers(device, &Wish { width: 1280, height: 720, fps: 10.0 })? {
        let layout = if offer.layout == Layout::Mjpeg { "MJPEG" } else { "YUYV" };
        let line = format!("{layout} {}x{} at ", offer.width, offer.height);
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, rates)) => rates.push(offer.rate.to_string()),
            None => lines.push((line, vec![offer.rate.to_string()])),
        }
    }
    Ok(lines.into_iter().map(|(line, rates)| line + &rates.join(", ")).collect())
}

/// Everything the device offers that we can read. A range of sizes or rates counts as the one nearest to the wish.
pub(super) fn offers(device: &Device, wish: &Wish) -> io::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    for description in device.enum_formats()? {
        let layout = match &description.fourcc.repr {
            MJPG => Layout::Mjpeg,
            YUYV => Layout::Yuyv,
            _ => continue,
        };
        for size in device.enum_framesizes(description.fourcc)? {
            let (width, height) = match size.size {
                FrameSizeEnum::Discrete(size) => (size.width, size.height),
                FrameSizeEnum::Stepwise(range) => (
                    choice::stepped(wish.width, range.min_width, range.max_width, range.step_width),
                    choice::stepped(wish.height, range.min_height, range.max_height, range.step_height),
                ),
            };
            let rates = rates(device, description.fourcc, width, height, wish);
            offers.extend(rates.into_iter().map(|rate| Offer { layout, width, height, rate }));
        }
    }
    Ok(offers)
}

/// The whole rates at a size; the wanted one where the device does not say.
fn rates(device: &Device, fourcc: FourCC, width: u32, height: u32, wish: &Wish) -> Vec<u32> {
    let mut rates = Vec::new();
    let intervals = device.enum_frameintervals(fourcc, width, height).unwrap_or_default();
    for interval in &intervals {
        match &interval.interval {
            FrameIntervalEnum::Discrete(d) if d.numerator == 1 => rates.push(d.denominator),
            FrameIntervalEnum::Discrete(_) => {}
            FrameIntervalEnum::Stepwise(range) => {
                let slowest = range.max.denominator.div_ceil(range.max.numerator.max(1)).max(1);
                let fastest = range.min.denominator / range.min.numerator.max(1);
                rates.push(wish.rate().clamp(slowest, fastest.max(slowest)));
            }
        }
    }
    if intervals.is_empty() {
        rates.push(wish.rate());
    }
    rates.retain(|&rate| rate > 0);
    rates
}

/// Whether nokhwa, which walks every range of every format, would panic or never come back.
pub(super) fn breaks_nokhwa(device: &Device) -> io::Result<bool> {
    let bad = |min: u32, max: u32, step: u32| step == 0 || max.saturating_sub(min) / step > MOST_STEPS;
    for description in device.enum_formats()? {
        for size in device.enum_framesizes(description.fourcc)? {
            let (width, height) = match size.size {
                FrameSizeEnum::Discrete(size) => (size.width, size.height),
                FrameSizeEnum::Stepwise(r) => {
                    if bad(r.min_width, r.max_width, r.step_width)
                        || bad(r.min_height, r.max_height, r.step_height)
                    {
                        return Ok(true);
                    }
                    (r.min_width, r.min_height)
                }
            };
            let intervals = device.enum_frameintervals(description.fourcc, width, height).unwrap_or_default();
            if intervals.iter().any(|interval| match &interval.interval {
                FrameIntervalEnum::Discrete(_) => false,
                FrameIntervalEnum::Stepwise(r) => bad(r.min.numerator, r.max.numerator, r.step.numerator),
            }) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
