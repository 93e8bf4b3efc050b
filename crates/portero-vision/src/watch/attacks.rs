//! Attacks on a camera's picture: covers that outlast a reload, stills, and recordings played again and again.

use super::tests::{DAY, HEIGHT, Scene, WIDTH};
use super::*;
use portero_core::domain::{FrameRef, FrameSeq, Stamp};

const BLACK: (f32, f32) = (0.0, 8.0);

/// Five frames of the scene a second, for `seconds`; what was done to the camera after the last of them.
fn play(watcher: &mut Watcher, scene: &mut Scene, seconds: u32, light: (f32, f32)) -> Option<Tamper> {
    for _ in 0..seconds * 5 {
        let _ = watcher.look(scene.frame(light, None));
    }
    watcher.tamper()
}

fn asked() -> Settings {
    let tamper = TamperSettings { after: Duration::from_secs(3), frozen_after: Duration::from_secs(30) };
    let settings = Settings::new(vec![Watched::picture()], Some(MotionSettings::default()));
    Settings { tamper: Some(tamper), ..settings }
}

fn mask(x0: f32, y0: f32, x1: f32, y1: f32) -> Vec<Polygon> {
    vec![NormRect::new(x0, y0, x1, y1).unwrap().into()]
}

#[test]
fn no_reload_clears_a_tamper_alarm_or_makes_a_covered_picture_the_reference() {
    let other = TamperSettings { after: Duration::from_secs(4), frozen_after: Duration::from_secs(9) };
    let motion = MotionSettings { min_area: 0.5, ..MotionSettings::default() };
    let reloads = [
        ("nothing", asked()),
        ("tamper", Settings { tamper: Some(other), ..asked() }),
        ("motion", Settings { motion: Some(motion), ..asked() }),
        ("no motion", Settings { motion: None, ..asked() }),
        ("no regions", Settings { regions: Vec::new(), ..asked() }),
        ("a mask", Settings { masks: mask(0.0, 0.0, 0.5, 0.4), ..asked() }),
        ("replay", Settings { replay: true, ..asked() }),
    ];
    for (what, reload) in reloads {
        for light in [BLACK, (0.0, 120.0)] {
            let (mut watcher, mut scene) = (Watcher::new(asked()), Scene { random: 1, frames: 0 });
            assert_eq!(play(&mut watcher, &mut scene, 8, DAY), None);
            let told = play(&mut watcher, &mut scene, 5, light);
            assert!(told.is_some(), "{what}");
            watcher.reconfigure(reload.clone());
            for second in 0..40 {
                let still = play(&mut watcher, &mut scene, 1, light);
                assert_eq!(still, told, "{what}, {second} s after the reload");
            }
            assert_eq!(play(&mut watcher, &mut scene, 6, DAY), None, "{what}: it is over");
            assert_eq!(play(&mut watcher, &mut scene, 6, light), told, "{what}: it is told again");
        }
    }
}

/// The same picture in another size, turned upside down where the camera was turned.
fn resized(frame: &Frame, (width, height): (u32, u32), is_turned: bool) -> Frame {
    let mut places: Vec<(u32, u32)> = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).collect();
    if is_turned {
        places.reverse();
    }
    let at = |(x, y): (u32, u32)| ((y * HEIGHT / height * WIDTH + x * WIDTH / width) * 3) as usize;
    let rgb: Vec<u8> = places.into_iter().flat_map(|place| frame.rgb()[at(place)..][..3].to_vec()).collect();
    Frame::new(frame.camera().clone(), frame.at(), width, height, rgb).unwrap()
}

#[test]
fn what_a_camera_shows_that_comes_back_in_another_size_is_never_the_reference_unseen() {
    for is_turned in [true, false] {
        let (mut watcher, mut scene) = (Watcher::new(asked()), Scene { random: 1, frames: 0 });
        assert_eq!(play(&mut watcher, &mut scene, 20, DAY), None);
        for n in 0..200 {
            let _ = watcher.look(resized(&scene.frame(DAY, None), (240, 180), is_turned));
            // It is told after three seconds.
            if !is_turned || n >= 20 {
                assert_eq!(watcher.tamper().is_some(), is_turned, "{is_turned}, picture {n}");
            }
        }
    }
}

#[test]
fn a_suspicion_outlasts_a_reload_after_which_too_little_is_known() {
    let masked = |x0, x1| Settings { masks: mask(x0, 0.0, x1, 1.0), ..asked() };
    let (mut watcher, mut scene) = (Watcher::new(masked(0.5, 1.0)), Scene { random: 1, frames: 0 });
    assert_eq!(play(&mut watcher, &mut scene, 8, DAY), None);
    let mut turned = |watcher: &mut Watcher, pictures| {
        for _ in 0..pictures {
            let _ = watcher.look(resized(&scene.frame(DAY, None), (WIDTH, HEIGHT), true));
        }
        watcher.tamper()
    };
    assert_eq!(turned(&mut watcher, 5), None, "not certain yet");
    watcher.reconfigure(masked(0.0, 0.5));
    assert!(turned(&mut watcher, 20).is_some());
}

#[test]
fn what_is_covered_at_the_moment_of_a_reload_is_told_all_the_same() {
    for reload in [asked(), Settings { masks: mask(0.4, 0.4, 0.6, 0.6), ..asked() }] {
        let (mut watcher, mut scene) = (Watcher::new(asked()), Scene { random: 1, frames: 0 });
        play(&mut watcher, &mut scene, 8, DAY);
        assert_eq!(play(&mut watcher, &mut scene, 1, BLACK), None, "not certain yet");
        watcher.reconfigure(reload);
        assert_eq!(play(&mut watcher, &mut scene, 3, BLACK), Some(Tamper::Dark));
    }
}

#[test]
fn tampering_that_nobody_asks_for_for_a_while_is_still_known_afterwards() {
    let (mut watcher, mut scene) = (Watcher::new(asked()), Scene { random: 1, frames: 0 });
    play(&mut watcher, &mut scene, 8, DAY);
    assert!(play(&mut watcher, &mut scene, 5, (0.0, 120.0)).is_some());
    watcher.reconfigure(Settings { tamper: None, ..asked() });
    assert_eq!(play(&mut watcher, &mut scene, 5, (0.0, 120.0)), None, "nobody asks");
    watcher.reconfigure(asked());
    assert_eq!(play(&mut watcher, &mut scene, 5, (0.0, 120.0)), Some(Tamper::Covered));
}

#[test]
fn masks_that_are_drawn_and_taken_away_are_no_tampering() {
    let (mut watcher, mut scene) = (Watcher::new(asked()), Scene { random: 1, frames: 0 });
    let masks = [mask(0.0, 0.0, 0.6, 1.0), Vec::new(), mask(0.3, 0.3, 1.0, 1.0), mask(0.0, 0.0, 0.2, 0.2)];
    play(&mut watcher, &mut scene, 8, DAY);
    for masks in masks {
        watcher.reconfigure(Settings { masks: masks.clone(), ..asked() });
        let mut mask = Mask::new(masks);
        for _ in 0..50 {
            let mut frame = scene.frame(DAY, None);
            mask.black_out(&mut frame);
            let _ = watcher.look(frame);
            assert_eq!(watcher.tamper(), None);
        }
    }
    assert!(play(&mut watcher, &mut scene, 5, (0.0, 120.0)).is_some(), "and a cover is told");
}

#[test]
fn the_background_of_the_motion_gate_outlasts_a_reload() {
    let (mut watcher, mut scene) = (Watcher::new(asked()), Scene { random: 1, frames: 0 });
    play(&mut watcher, &mut scene, 5, DAY);
    watcher.reconfigure(Settings { replay: true, tamper: None, ..asked() });
    assert!(watcher.look(scene.frame(DAY, None)).is_none(), "it learns nothing anew");
    assert!(watcher.look(scene.frame(DAY, Some((40, 40)))).is_some());
}

fn doorkeeper() -> Watcher {
    Watcher::new(Settings { replay: true, ..Settings::new(vec![Watched::picture()], None) })
}

/// A picture that was taken `n` fifths of a second after the first.
fn again(frame: &Frame, n: u64) -> Frame {
    let at = FrameRef::new(FrameSeq(n), Stamp::new(n * 200_000, 0));
    Frame::new(frame.camera().clone(), at, WIDTH, HEIGHT, frame.rgb().to_vec()).unwrap()
}

/// Frames in which somebody walks from the left to the right and back again, at `pace` pixels a frame, and never twice in
/// quite the same way.
fn walk(scene: &mut Scene, frames: u32, pace: f32) -> Vec<Frame> {
    let step = |n: u32| {
        let x = (n as f32 * pace) % 250.0;
        let sway = scene.random >> 27;
        scene.frame(DAY, Some(((if x > 125.0 { 250.0 - x } else { x }) as u32, 40 + sway)))
    };
    (0..frames).map(step).collect()
}

fn withheld(watcher: &mut Watcher, frame: Frame) -> bool {
    watcher.look(frame).expect("every frame is looked at").withheld == Some(Withheld::Repeated)
}

#[test]
fn a_still_is_a_repetition_from_its_second_picture_on_and_when_it_comes_back() {
    let (mut watcher, mut scene) = (doorkeeper(), Scene { random: 1, frames: 0 });
    let [empty, person] = [None, Some((60, 40))].map(|at| scene.frame(DAY, at));
    let shown = [&empty, &empty, &person, &person, &empty, &person];
    let said: Vec<bool> =
        (0..).zip(shown).map(|(n, frame)| withheld(&mut watcher, again(frame, n))).collect();
    assert_eq!(said, [false, true, false, true, true, true]);
}

#[test]
fn a_recording_is_known_in_its_second_round_with_fresh_grain_over_it_too() {
    for grain in [0, 3] {
        let (mut watcher, mut scene) = (doorkeeper(), Scene { random: 1, frames: 0 });
        let recorded = walk(&mut scene, 25, 9.0);
        let mut random = 7u32;
        let mut n = 0;
        for round in 0..4 {
            for (i, frame) in recorded.iter().enumerate() {
                let mut rgb = frame.rgb().to_vec();
                for value in &mut rgb {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    *value = value.saturating_add((random >> 16) as u8 % (grain + 1));
                }
                let frame = Frame::new(frame.camera().clone(), frame.at(), WIDTH, HEIGHT, rgb).unwrap();
                let known = withheld(&mut watcher, again(&frame, n));
                assert!(round > 0 || !known, "round {round}, frame {i}, grain {grain}");
                assert!(round == 0 || i < 3 || known, "round {round}, frame {i}, grain {grain}");
                n += 1;
            }
        }
        assert!(watcher.is_replayed());
    }
}

#[test]
fn a_recording_of_somebody_who_stands_still_is_known_though_each_round_shows_other_pictures_of_it() {
    let (mut watcher, mut scene) = (doorkeeper(), Scene { random: 1, frames: 0 });
    // Half of the recorded pictures are seen in one round, the other half in the next.
    for round in 0..5 {
        for n in 0..25 {
            let at = (n >= 15).then_some((60, 40));
            let known = withheld(&mut watcher, scene.frame(DAY, at));
            assert!(round < 3 || known, "round {round}, frame {n}");
        }
    }
}

#[test]
fn whoever_walks_the_same_way_again_and_a_quiet_scene_are_no_repetition() {
    let (mut watcher, mut scene) = (doorkeeper(), Scene { random: 1, frames: 0 });
    // Now and then somebody stands just where he stood, or the scene is empty again all of a sudden; one picture later
    // that is over.
    let mut single = 0;
    for pace in [9.0, 8.3, 9.7, 7.1] {
        for frame in walk(&mut scene, 50, pace) {
            single += u32::from(withheld(&mut watcher, frame));
            assert!(!watcher.is_replayed(), "at {pace}");
        }
        single += u32::from(withheld(&mut watcher, scene.frame(DAY, None)));
        for _ in 0..100 {
            assert!(!withheld(&mut watcher, scene.frame(DAY, None)), "after {pace}");
        }
    }
    assert!(single <= 20, "{single} of 204");
}

#[test]
fn where_no_door_is_opened_nothing_is_remembered() {
    let settings = Settings::new(vec![Watched::picture()], None);
    let (mut watcher, mut scene) = (Watcher::new(settings), Scene { random: 1, frames: 0 });
    let frame = scene.frame(DAY, None);
    assert!(!(0..9).any(|n| withheld(&mut watcher, again(&frame, n))));
}
