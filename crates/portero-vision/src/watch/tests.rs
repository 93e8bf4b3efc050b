//! The motion gate on scenes made up for the purpose.

use super::*;
use portero_core::domain::{CameraId, FrameRef, FrameSeq, Stamp, ZoneId};

pub(super) const WIDTH: u32 = 160;
pub(super) const HEIGHT: u32 = 120;

/// A scene with some structure, a light (gain, offset), noise of a few steps and a bright square at `at`.
pub(super) struct Scene {
    pub(super) random: u32,
    pub(super) frames: u64,
}

impl Scene {
    pub(super) fn frame(&mut self, light: (f32, f32), at: Option<(u32, u32)>) -> Frame {
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
        let at = FrameRef::new(FrameSeq(self.frames), stamp);
        self.frames += 1;
        Frame::new(CameraId::new("c").unwrap(), at, WIDTH, HEIGHT, rgb).unwrap()
    }
}

pub(super) const DAY: (f32, f32) = (1.0, 0.0);

fn region(zone: &str, rect: NormRect) -> Watched {
    Watched { region: Region { zone: Some(ZoneId::new(zone).unwrap()), rect }, ..Watched::picture() }
}

/// A gate that takes its time for the tests.
fn motion() -> MotionSettings {
    MotionSettings { min_area: 0.02, hold: Duration::from_secs(1), ..MotionSettings::default() }
}

/// A watcher over the left and the right half that has learnt the scene.
fn watching() -> (Watcher, Scene) {
    let half = |x0, x1| NormRect::new(x0, 0.0, x1, 1.0).unwrap();
    let regions = vec![region("left", half(0.0, 0.5)), region("right", half(0.5, 1.0))];
    let mut watcher = Watcher::new(Settings::new(regions, Some(motion())));
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
    let mut watcher = Watcher::new(Settings::new(vec![Watched::picture()], None));
    let mut scene = Scene { random: 1, frames: 0 };
    for _ in 0..5 {
        assert_eq!(watcher.look(scene.frame(DAY, None)).unwrap().regions, regions);
    }
    assert_eq!(watcher.counts(), WatchCounts { looks: 5, gated: 0, relit: 0 });
}

#[test]
fn without_regions_there_is_no_look() {
    let mut watcher = Watcher::new(Settings::new(vec![], None));
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

#[test]
fn a_region_is_looked_at_every_so_often_though_nothing_moves() {
    let every = Some(Duration::from_secs(2));
    let mut watcher =
        Watcher::new(Settings::new(vec![Watched { every, ..Watched::picture() }], Some(motion())));
    let mut scene = Scene { random: 1, frames: 0 };
    let looks: Vec<bool> = (0..36).map(|_| watcher.look(scene.frame(DAY, None)).is_some()).collect();
    let after_learning: Vec<usize> = (6..36).filter(|n| looks[*n]).collect();
    assert_eq!(after_learning, [14, 24, 34], "2 s at 5 frames a second, from the last look of the learning");
}

#[test]
fn a_crop_follows_what_moves_within_its_zone() {
    let mut watcher = Watcher::new(Settings {
        crops: Crops::Motion,
        ..Settings::new(vec![Watched::picture()], Some(motion()))
    });
    let mut scene = Scene { random: 1, frames: 0 };
    (0..10).for_each(|_| drop(watcher.look(scene.frame(DAY, None))));
    for x in [40, 60, 80, 100] {
        let look = watcher.look(scene.frame(DAY, Some((x, 60)))).expect("it moves");
        let (w, h) = (WIDTH as f32, HEIGHT as f32);
        let thing = NormRect::new(x as f32 / w, 60.0 / h, (x + 24) as f32 / w, 84.0 / h).unwrap();
        let crop = look.regions[0].rect;
        assert!(crop.intersection(&thing).is_some_and(|both| both.iou(&thing) > 0.99), "{crop:?} at {x}");
        assert!(crop.area() < 4.0 * thing.area(), "{crop:?} at {x}");
        assert!(watcher.moving()[0].iou(&thing) > 0.7, "{:?} at {x}", watcher.moving());
    }
}

#[test]
fn flicker_smaller_than_min_size_is_no_motion() {
    let large = MotionSettings { min_area: 0.0001, min_size: 0.05, ..motion() };
    let mut watcher = Watcher::new(Settings::new(vec![Watched::picture()], Some(large)));
    let mut scene = Scene { random: 1, frames: 0 };
    (0..10).for_each(|_| drop(watcher.look(scene.frame(DAY, None))));
    assert!(watcher.look(scene.frame(DAY, Some((40, 40)))).is_none(), "3 % of the picture");
}

#[test]
fn a_shadow_is_no_motion_unless_it_is_asked_for_and_a_thing_as_dark_is() {
    for (shadows, pattern, expected) in [(false, true, false), (true, true, true), (false, false, true)] {
        let mut watcher = Watcher::new(Settings::new(
            vec![Watched::picture()],
            Some(MotionSettings { shadows, ..motion() }),
        ));
        let mut scene = Scene { random: 1, frames: 0 };
        (0..10).for_each(|_| drop(watcher.look(scene.frame(DAY, None))));
        let frame = scene.frame(DAY, None);
        let mut rgb = frame.rgb().to_vec();
        for y in 40..90usize {
            for value in &mut rgb[(y * 160 + 50) * 3..][..60 * 3] {
                *value = if pattern { (f32::from(*value) * 0.6) as u8 } else { 40 + *value % 8 };
            }
        }
        let frame =
            Frame::new(frame.camera().clone(), frame.at(), frame.width(), frame.height(), rgb).unwrap();
        assert_eq!(watcher.look(frame).is_some(), expected, "shadows {shadows}, pattern {pattern}");
    }
}
