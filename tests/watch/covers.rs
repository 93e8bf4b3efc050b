//! What is held before the lens: each cover in each light is told in time, and what is no cover is not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use portero::domain::{Frame, Tamper};
use portero::watch::{Settings, TamperSettings, Watched, Watcher};

use super::{HEIGHT, WIDTH, frames};
use crate::support::daemon::street;

/// The lights that a scene is seen in: by day, at dusk, under infrared lamps.
const LIGHTS: [&str; 3] =
    ["null", "eq=brightness=-0.25:contrast=0.5", "hue=s=0,curves=all='0/0.1 0.5/0.7 1/1'"];

/// Grain of a sensor: up to `most` steps either way, other at every pixel and in every frame.
fn grain(seed: u32, most: u8) -> i16 {
    let mixed = (seed ^ seed >> 15).wrapping_mul(0x2c1b_3c6d);
    let mixed = (mixed ^ mixed >> 12).wrapping_mul(0x297a_2d39);
    i16::from((mixed >> 16) as u8) % (2 * i16::from(most) + 1) - i16::from(most)
}

/// What lies before the lens: a colour, the grain of the sensor, and how it changes over the picture.
struct Cover {
    name: &'static str,
    colour: [i16; 3],
    grain: u8,
    cloth: fn(u32, u32) -> i16,
    told: &'static [Tamper],
}

fn plain(_: u32, _: u32) -> i16 {
    0
}

/// A finger glows in the middle.
fn glow(x: u32, y: u32) -> i16 {
    let off = |at: u32, size: u32| (at as f32 / size as f32 - 0.5).powi(2);
    -(160.0 * (off(x, WIDTH) + off(y, HEIGHT))) as i16
}

/// Threads across and along.
fn woven(x: u32, y: u32) -> i16 {
    let wave = |at: u32, length: f32| (at as f32 / length).sin();
    (14.0 * wave(x + y, 9.0) + 10.0 * wave(x + 3 * y, 14.0)) as i16
}

/// Coarse cloth: each patch is as bright as it likes.
fn felt(x: u32, y: u32) -> i16 {
    grain(x / 12 * 7_919 + y / 12 * 104_729, 20)
}

const COVERS: [Cover; 11] = {
    const fn cover(
        name: &'static str,
        colour: [i16; 3],
        grain: u8,
        cloth: fn(u32, u32) -> i16,
        told: &'static [Tamper],
    ) -> Cover {
        Cover { name, colour, grain, cloth, told }
    }
    const DARK: &[Tamper] = &[Tamper::Dark];
    const COVERED: &[Tamper] = &[Tamper::Covered];
    // A patterned cloth shows a scene of its own.
    const CLOTH: &[Tamper] = &[Tamper::Covered, Tamper::Moved];
    [
        cover("black without grain", [0, 0, 0], 0, plain, DARK),
        cover("black", [2, 2, 2], 3, plain, DARK),
        cover("black with much grain", [4, 4, 4], 12, plain, DARK),
        cover("nearly black", [24, 24, 24], 4, plain, COVERED),
        cover("grey without grain", [128, 128, 128], 0, plain, COVERED),
        cover("grey", [128, 128, 128], 6, plain, COVERED),
        cover("skin", [160, 128, 112], 6, plain, COVERED),
        cover("a finger in the light", [190, 60, 40], 6, glow, COVERED),
        cover("dark cloth", [60, 60, 60], 4, woven, CLOTH),
        cover("blue cloth", [40, 60, 130], 4, woven, CLOTH),
        cover("grey felt", [120, 120, 120], 4, felt, CLOTH),
    ]
};

impl Cover {
    /// The frame with this cover before the lens. What it shows hangs on the frame's number alone, so that each is drawn
    /// once for all tests.
    fn before(&self, frame: &Frame) -> Frame {
        static DRAWN: Mutex<BTreeMap<(&str, u64), Vec<u8>>> = Mutex::new(BTreeMap::new());
        let seq = frame.at().seq.0;
        let mut drawn = DRAWN.lock().unwrap();
        let rgb = drawn.entry((self.name, seq)).or_insert_with(|| self.draw(seq as u32 * 1_000_003)).clone();
        Frame::new(frame.camera().clone(), frame.at(), WIDTH, HEIGHT, rgb).unwrap()
    }

    fn draw(&self, seed: u32) -> Vec<u8> {
        let mut rgb = vec![0; (WIDTH * HEIGHT * 3) as usize];
        let mut i = 0;
        while i < WIDTH * HEIGHT {
            let shade = (self.cloth)(i % WIDTH, i / WIDTH) + grain(seed.wrapping_add(i), self.grain);
            let at = 3 * i as usize;
            for channel in 0..3 {
                rgb[at + channel] = (self.colour[channel] + shade).clamp(0, 255) as u8;
            }
            i += 1;
        }
        rgb
    }
}

const AFTER: Duration = Duration::from_secs(3);

fn watcher() -> Watcher {
    let tamper = TamperSettings { after: AFTER, frozen_after: Duration::from_secs(60) };
    Watcher::new(Settings { tamper: Some(tamper), ..Settings::new(vec![Watched::picture()], None) })
}

/// The second in which the covers come, and that in which they must have been told.
const COVERED_AT: u64 = 8;
const TOLD_BY: u64 = COVERED_AT + AFTER.as_secs() + 1;

#[test]
fn every_cover_is_told_within_a_second_more_than_asked_by_day_at_dusk_and_under_infrared() {
    for light in LIGHTS {
        let mut watched: Vec<_> = COVERS.iter().map(|cover| (cover, watcher(), None)).collect();
        frames(&street(), 2, &format!("trim=0:{},fps=2,{light}", TOLD_BY + 1), |frame| {
            let second = frame.at().stamp.mono_us() as f64 / 1e6;
            for (cover, watcher, told) in &mut watched {
                let covered = second >= COVERED_AT as f64;
                let _ = watcher.look(if covered { cover.before(&frame) } else { frame.clone() });
                assert!(covered || watcher.tamper().is_none(), "{light}: {:?}", watcher.tamper());
                *told = told.or(watcher.tamper().map(|tamper| (second, tamper)));
            }
        });
        for (cover, _, told) in watched {
            let (second, tamper) = told.unwrap_or_else(|| panic!("{light}: {} is not told", cover.name));
            assert!(cover.told.contains(&tamper), "{light}: {} is told as {tamper:?}", cover.name);
            assert!(second <= TOLD_BY as f64, "{light}: {} is told at {second} s", cover.name);
        }
    }
}

#[test]
fn a_cover_from_the_first_picture_on_is_told_and_never_becomes_what_the_scene_should_look_like() {
    let plain = COVERS.iter().filter(|cover| cover.told.len() == 1);
    let mut watched: Vec<_> = plain.map(|cover| (cover, watcher(), Vec::new())).collect();
    frames(&street(), 2, "trim=0:16,fps=2", |frame| {
        let covered = frame.at().stamp.mono_us() < 6_000_000;
        for (cover, watcher, told) in &mut watched {
            let _ = watcher.look(if covered { cover.before(&frame) } else { frame.clone() });
            if told.last() != Some(&watcher.tamper()) {
                told.push(watcher.tamper());
            }
        }
    });
    for (cover, _, told) in watched {
        assert_eq!(told, [None, Some(cover.told[0]), None], "{}", cover.name);
    }
}

#[test]
fn dusk_is_not_dark_while_the_scene_is_seen_and_is_when_it_is_not() {
    let mut watcher = watcher();
    let mut told = Vec::new();
    frames(&street(), 2, "fps=2,fade=t=out:st=4:d=10", |frame| {
        let _ = watcher.look(frame.clone());
        if let Some(tamper) = watcher.tamper() {
            told.push((frame.at().stamp.mono_us() / 1_000_000, tamper));
        }
    });
    assert!(told.iter().all(|(_, tamper)| *tamper == Tamper::Dark), "{told:?}");
    assert!(told.first().is_some_and(|(second, _)| (15..=18).contains(second)), "{told:?}");
}

#[test]
fn a_lorry_before_the_camera_for_a_moment_and_a_rain_of_noise_are_no_cover() {
    for filter in [
        "drawbox=x=60:y=0:w=700:h=576:c=0x405060:t=fill:enable='between(t,8,10.8)'",
        "noise=alls=40:allf=t:enable='gte(t,8)'",
        "eq=brightness=0.15:contrast=0.7:enable='gte(t,8)'",
        "hue=s=0:enable='between(t,5,11)'",
    ] {
        let mut watcher = watcher();
        frames(&street(), 5, &format!("fps=5,{filter}"), |frame| {
            let _ = watcher.look(frame);
            assert_eq!(watcher.tamper(), None, "{filter}");
        });
    }
}
