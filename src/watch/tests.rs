//! The motion gate on scenes made up for the purpose.

use super::*;
use crate::domain::{CameraId, FrameRef, FrameSeq, ZoneId};

const WIDTH: u32 = 160;
const HEIGHT: u32 = 120;

/// A scene with some structure, a light (gain, offset), noise of a few steps and a bright square at `at`.
struct Scene {
    random: u32,
    frames: u64,
}

impl Scene {
    fn frame(&mut self, light: (f32, f32), at: Option<(u32, u32)>) -> Frame {
        let mut rgb = Vec::new();
        for (y, x) in (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (y, x))) {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (self.random >> 24) as f32 / 16.0 - 8.0;
            let base = 40.0 + (x / 20 * 23 % 90) as f32 + (y / 15 * 17 % 40) as f32;
            let inside = at.is_some_and(|(px, py)| (px..px + 24).contains(&x) && (py..py + 24).contains(&y));
            let value = if inside { 20.0 } else { base * light.0 + light.1 };
            rgb.extend([(value + noise) as u8; 3]);
        }
        let stamp = Stamp::new(self.frames * 200_000, 0);
        let at = FrameRef { seq: FrameSeq(self.frames), stamp };
        self.frames += 1;
        Frame::new(CameraId::new("c").unwrap(), at, WIDTH, HEIGHT, rgb).unwrap()
    }
}

const DAY: (f32, f32) = (1.0, 0.0);

fn region(zone: &str, rect: NormRect) -> Region {
    Region { zone: Some(ZoneId::new(zone).unwrap()), rect }
}

/// A watcher over the left and the right half that has learnt the scene.
fn watching() -> (Watcher, Scene) {
    let half = |x0, x1| NormRect::new(x0, 0.0, x1, 1.0).unwrap();
    let regions = vec![region("left", half(0.0, 0.5)), region("right", half(0.5, 1.0))];
    let motion = MotionSettings { min_area: 0.02, min_change: 12, hold: Duration::from_secs(1) };
    let mut watcher = Watcher::new(Settings { regions, motion: Some(motion) });
    let mut scene = Scene { random: 1, frames: 0 };
    for n in 0..5 {
        let look = watcher.look(scene.frame(DAY, None)).expect("learning looks");
        assert_eq!(look.regions.len(), 2, "frame {n}");
    }
    for n in 0..20 {
        assert!(watcher.look(scene.frame(DAY, None)).is_none(), "noise opened the gate at frame {n}");
    }
    (watcher, scene)
}

fn zones(look: Option<Look>) -> Vec<String> {
    let regions = look.map(|look| look.regions).unwrap_or_default();
    regions.iter().filter_map(|r| r.zone.as_ref().map(ToString::to_string)).collect()
}

#[test]
fn without_the_gate_every_frame_is_looked_at() {
    let regions = vec![Region { zone: None, rect: NormRect::FULL }];
    let mut watcher = Watcher::new(Settings { regions: regions.clone(), motion: None });
    let mut scene = Scene { random: 1, frames: 0 };
    for _ in 0..5 {
        assert_eq!(watcher.look(scene.frame(DAY, None)).unwrap().regions, regions);
    }
    assert_eq!(watcher.counts(), WatchCounts { looks: 5, gated: 0, relit: 0 });
}

#[test]
fn without_regions_there_is_no_look() {
    let mut watcher = Watcher::new(Settings { regions: vec![], motion: None });
    assert!(watcher.look(Scene { random: 1, frames: 0 }.frame(DAY, None)).is_none());
    assert_eq!(watcher.counts().gated, 1);
}

#[test]
fn only_the_region_with_motion_is_looked_at_and_only_while_it_is_held() {
    let (mut watcher, mut scene) = watching();
    for step in 0..10 {
        let look = watcher.look(scene.frame(DAY, Some((10 + step * 3, 40))));
        assert_eq!(zones(look), ["left"], "step {step}");
    }
    let held: Vec<bool> = (0..10).map(|_| watcher.look(scene.frame(DAY, None)).is_some()).collect();
    assert_eq!(held, [[true; 5], [false; 5]].concat(), "1 s at 5 frames a second");
}

#[test]
fn a_visitor_who_stands_still_stays_in_sight_for_a_while() {
    let (mut watcher, mut scene) = watching();
    for n in 0..100 {
        assert_eq!(zones(watcher.look(scene.frame(DAY, Some((100, 40))))), ["right"], "frame {n}");
    }
}

#[test]
fn light_is_learnt_at_once_but_who_comes_with_it_is_seen() {
    for light in [(1.5, 10.0), (0.6, 0.0), (1.0, 60.0), (0.5, 30.0)] {
        let (mut watcher, mut scene) = watching();
        for n in 0..10 {
            assert!(
                watcher.look(scene.frame(light, None)).is_none(),
                "{light:?} opened the gate at frame {n}"
            );
        }
        assert_eq!(watcher.counts().relit, 1, "{light:?}");
    }
    let (mut watcher, mut scene) = watching();
    assert_eq!(zones(watcher.look(scene.frame((1.5, 10.0), Some((20, 20))))), ["left"]);
    assert_eq!(watcher.counts().relit, 1);
}

#[test]
fn another_scene_is_not_taken_for_light() {
    let (mut watcher, mut scene) = watching();
    let mut frame = scene.frame(DAY, None);
    let upside_down: Vec<u8> = frame.rgb().chunks(3).rev().flatten().copied().collect();
    frame = Frame::new(frame.camera().clone(), frame.at(), WIDTH, HEIGHT, upside_down).unwrap();
    assert_eq!(zones(watcher.look(frame)), ["left", "right"]);
    assert_eq!(watcher.counts().relit, 0);
}

#[test]
fn frames_of_another_size_are_learnt_anew() {
    let (mut watcher, mut scene) = watching();
    let frame = scene.frame(DAY, None);
    let half = frame.rgb()[..frame.rgb().len() / 2].to_vec();
    let frame = Frame::new(frame.camera().clone(), frame.at(), WIDTH, HEIGHT / 2, half).unwrap();
    assert_eq!(zones(watcher.look(frame)), ["left", "right"]);
}
