//! What a timeline must never do, on media clocks as cameras have them.

use proptest::prelude::*;

use super::*;

const MS: i64 = 1_000;
const PERIOD: i64 = 200 * MS;

fn at(us: i64) -> Stamp {
    Stamp::new(10_000_000 + us.unsigned_abs(), 0)
}

fn micros_of(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn media(us: i64) -> Option<MediaTime> {
    Some(MediaTime::fine(us))
}

/// Plays pictures, each with its arrival and its media time, and tells what each is worth and why it opens no door.
fn play(pictures: impl IntoIterator<Item = (i64, i64)>) -> Vec<(Worth, Option<Withheld>)> {
    let mut timeline = Timeline::new(Duration::ZERO);
    let mut told = Vec::new();
    for (arrived, time) in pictures {
        let worth = timeline.judge(at(arrived), media(time), at(arrived));
        told.push((worth, timeline.withheld(at(arrived))));
    }
    told
}

fn age(worth: &Worth, arrived: i64) -> Option<i64> {
    match worth {
        Worth::Fresh(taken) => Some((at(arrived).since(*taken).as_micros() as i64).max(0)),
        Worth::Skipped | Worth::Hopeless(_) => None,
    }
}

#[test]
fn a_burst_after_a_held_network_is_never_taken_for_the_present() {
    // Five a second; from the 20th on the network holds for 9 s, then everything comes at once.
    let arrival = |n: i64| if (20..65).contains(&n) { 65 * PERIOD } else { n * PERIOD };
    let told = play((0..120).map(|n| (arrival(n) + n * 10, n * PERIOD)));
    for (n, (worth, withheld)) in told.iter().enumerate().skip(20) {
        let lag = arrival(n as i64) - n as i64 * PERIOD;
        if lag > micros_of(LATE) {
            assert_eq!(age(worth, arrival(n as i64)), None, "picture {n} is {lag} us late");
        }
        if (20..65).contains(&n) {
            assert!(withheld.is_some(), "picture {n} might open a door");
        }
    }
    assert!(
        told[..20].iter().all(|(worth, withheld)| matches!(worth, Worth::Fresh(_)) && withheld.is_none())
    );
    assert_eq!(told[119].1, None, "it runs steadily again");
}

#[test]
fn a_clock_that_is_set_breaks_the_run_and_blinds_nobody() {
    for jump in [10_000, 86_400, -10_000, -2] {
        let mut timeline = Timeline::new(Duration::ZERO);
        let (mut runs, mut fresh) = (Vec::new(), 0);
        for n in 0..100i64 {
            let time = n * PERIOD + if n >= 40 { jump * 1_000_000 } else { 0 };
            let worth = timeline.judge(at(n * PERIOD), media(time), at(n * PERIOD));
            fresh += usize::from(matches!(worth, Worth::Fresh(_)));
            runs.push(timeline.run());
            assert_eq!(
                timeline.withheld(at(n * PERIOD)).is_some(),
                (40..70).contains(&n),
                "{jump} s, picture {n}"
            );
        }
        assert!(runs[39] < runs[40] && runs[40] == runs[99], "{jump} s");
        assert_eq!(fresh, 100, "{jump} s: none was made up, none is lost");
        assert!(timeline.complaint(at(40 * PERIOD)).unwrap().contains("jumped by"), "{jump} s");
    }
}

#[test]
fn what_repeats_is_passed_over() {
    let told = play([(0, 0), (200, 200), (400, 200), (600, 100), (800, 800)].map(|(a, m)| (a * MS, m * MS)));
    let fresh: Vec<bool> = told.iter().map(|(worth, _)| matches!(worth, Worth::Fresh(_))).collect();
    assert_eq!(fresh, [true, true, false, false, true]);
}

#[test]
fn time_that_runs_too_fast_never_opens_a_door() {
    // After the first seconds, in which nothing is held against a camera.
    for percent in [5, 10, 100] {
        let told = play((0..400).map(|n| (n * PERIOD, n * PERIOD * (100 + percent) / 100)));
        let open = told.iter().skip(60).filter(|(_, withheld)| withheld.is_none()).count();
        assert_eq!(open, 0, "{percent} % too fast");
    }
}

#[test]
fn a_clock_that_drifts_as_far_as_it_may_is_never_held_against_a_camera() {
    const DAY: i64 = 86_400;
    for (ppm, fps) in [200, -200].into_iter().flat_map(|ppm| [5, 15, 30, 125].map(|fps| (ppm, fps))) {
        let mut timeline = Timeline::new(Duration::ZERO);
        for n in 0..DAY * fps {
            let arrived = n * 1_000_000 / fps;
            let worth = timeline.judge(at(arrived), media(arrived + arrived * ppm / 1_000_000), at(arrived));
            let age = age(&worth, arrived).expect("it is fresh");
            assert!(age < 10 * MS, "{ppm} ppm at {fps} a second: {age} us at {arrived}");
            assert_eq!(timeline.withheld(at(arrived)), None, "{ppm} ppm at {fps} a second, at {arrived} us");
        }
    }
}

#[test]
fn a_clock_that_is_set_back_a_little_makes_nothing_old_for_long() {
    for back in [300, 600, 900] {
        let time = |n: i64| n * PERIOD - if n >= 50 { back * MS } else { 0 };
        let told = play((0..120).map(|n| (n * PERIOD, time(n))));
        for (n, (worth, withheld)) in told.iter().enumerate().skip(90) {
            assert_eq!(age(worth, n as i64 * PERIOD), Some(0), "{back} ms, picture {n}");
            assert_eq!(*withheld, None, "{back} ms, picture {n}");
        }
    }
    // Only a clock that was set does that: what is held up stays old.
    let told = play((0..400).map(|n| (n * PERIOD + if n >= 50 { 900 * MS } else { 0 }, n * PERIOD)));
    assert!(age(&told[399].0, 399 * PERIOD + 900 * MS) > Some(870 * MS));
}

#[test]
fn a_clock_beyond_all_time_is_judged_without_a_panic() {
    let far = [i64::MIN, i64::MAX, 0, i64::MIN + 1, i64::MAX - 1];
    play(far.into_iter().cycle().take(40).enumerate().map(|(n, time)| (n as i64 * PERIOD, time)));
}

#[test]
fn pictures_with_and_without_a_date_are_not_compared() {
    let mut timeline = Timeline::new(Duration::ZERO);
    for n in 0..200i64 {
        let time = media(n * PERIOD + 1_700_000_000_000_000).filter(|_| n % 2 == 1);
        let worth = timeline.judge(at(n * PERIOD), time, at(n * PERIOD));
        assert_eq!(worth, Worth::Fresh(at(n * PERIOD)), "picture {n}");
        assert_eq!(timeline.complaint(at(n * PERIOD)), None, "picture {n}");
    }
}

#[test]
fn a_clock_that_stands_still_blinds_nobody_for_ever() {
    let told = play((0..100).map(|n| (n * PERIOD, n.min(20) * PERIOD)));
    let hopeless = told.iter().position(|(worth, _)| matches!(worth, Worth::Hopeless(_)));
    assert_eq!(hopeless, Some(21 + 25), "after five seconds of repeats");
}

/// Which of the last pictures are looked at, and the clock in the end, of five pictures a second for a minute.
fn in_the_end(time: impl Fn(i64) -> MediaTime) -> (usize, FrameClock) {
    let mut timeline = Timeline::new(Duration::ZERO);
    let told: Vec<Worth> =
        (0..300).map(|n| timeline.judge(at(n * PERIOD), Some(time(n)), at(n * PERIOD))).collect();
    assert!(!told.iter().any(|worth| matches!(worth, Worth::Hopeless(_))));
    let fresh = told[250..].iter().filter(|worth| matches!(worth, Worth::Fresh(_))).count();
    assert_eq!(timeline.withheld(at(300 * PERIOD)), None);
    (fresh, timeline.clock())
}

#[test]
fn what_is_no_clock_is_not_believed() {
    // Milliseconds that are taken for seconds, and a date in whole seconds that never changes.
    for time in [(|n: i64| MediaTime::fine(n * PERIOD * 1000)) as fn(i64) -> MediaTime, |_| MediaTime {
        step: 1_000_000,
        ..MediaTime::fine(1_000_000)
    }] {
        assert_eq!(in_the_end(time), (50, FrameClock::Arrival));
    }
    let seconds =
        |n: i64| MediaTime { step: 1_000_000, ..MediaTime::fine(n * PERIOD / 1_000_000 * 1_000_000) };
    assert_eq!(in_the_end(seconds), (50, FrameClock::Media));
}

#[test]
fn pictures_that_stay_late_are_hopeless_and_a_slow_clock_drifts_into_nothing() {
    let told = play((0..100).map(|n| (n * PERIOD + if n >= 20 { 5_000 * MS } else { 0 }, n * PERIOD)));
    let first = told.iter().position(|(worth, _)| matches!(worth, Worth::Hopeless(_))).expect("it gives up");
    assert_eq!(first, 20 + 25, "after five seconds");
    let told = play((0..20_000).map(|n| (n * PERIOD, n * PERIOD - n * PERIOD * 150 / 1_000_000)));
    assert!(told.iter().all(|(worth, withheld)| matches!(worth, Worth::Fresh(_)) && withheld.is_none()));
}

#[test]
fn a_source_without_a_clock_owes_what_it_was_silent_for() {
    let mut timeline = Timeline::new(Duration::ZERO);
    let mut judge = |us: i64| {
        let worth = timeline.judge(at(us), None, at(us));
        (worth, timeline.withheld(at(us)))
    };
    for n in 0..50 {
        let (worth, withheld) = judge(n * PERIOD);
        assert_eq!(worth, Worth::Fresh(at(n * PERIOD)));
        assert_eq!(withheld.is_some(), n < 20, "picture {n}: its rate is known after four seconds");
    }
    // Held for 9 s, then 45 pictures at once, then it goes on.
    let end = 95 * PERIOD;
    for n in 0..30 {
        let (worth, withheld) = judge(end + n * MS);
        assert!(!matches!(worth, Worth::Fresh(_)) && withheld.is_some(), "picture {n} of the burst");
    }
    for n in 30..45 {
        assert!(judge(end + n * MS).1.is_some(), "picture {n} of the burst");
    }
    let (worth, _) = judge(end + 2 * PERIOD);
    assert!(matches!(worth, Worth::Fresh(_)));
    let (_, withheld) = (3..60).map(|n| judge(end + n * PERIOD)).last().unwrap();
    assert_eq!(withheld, None, "it runs at its own rate again");
    // Silent once more, but nothing had piled up: only a new opening can tell.
    let again = end + 200 * PERIOD;
    let told: Vec<Worth> = (0..20).map(|n| judge(again + n * PERIOD).0).collect();
    assert!(
        matches!(told[0], Worth::Skipped) && told.iter().any(|worth| matches!(worth, Worth::Hopeless(_)))
    );
}

#[test]
fn a_source_that_is_slow_or_trembles_is_not_called_late() {
    for (period, tremble) in [(5_000 * MS, 900 * MS), (100 * MS, 80 * MS), (2_000 * MS, 0)] {
        let mut timeline = Timeline::new(Duration::ZERO);
        for n in 0..100 {
            let us = n * period + (n * 7919 % 100) * tremble / 100;
            let worth = timeline.judge(at(us), None, at(us));
            assert!(matches!(worth, Worth::Fresh(_)), "picture {n} of one every {period} us");
            assert_eq!(timeline.complaint(at(us)), None);
            assert!(n < 50 || timeline.withheld(at(us)).is_none());
        }
    }
}

#[test]
fn a_source_without_a_clock_that_trembles_for_hours_is_never_held_up() {
    for (fps, tremble) in [(5, 30), (5, 80), (25, 80), (25, 150)] {
        let (mut timeline, mut random, mut arrived) = (Timeline::new(Duration::ZERO), 1u64, 0);
        for n in 0..6 * 3_600 * fps {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let period = 1_000_000 / fps;
            let wait = (random >> 33) as i64 % (period * tremble / 100);
            arrived = (arrived + 1).max(n * period + wait);
            let worth = timeline.judge(at(arrived), None, at(arrived));
            let age = age(&worth, arrived).expect("it is looked at");
            assert!(age < 1_000 * MS, "{fps} a second, {tremble} %: {age} us at {arrived}");
            assert_eq!(timeline.complaint(at(arrived)), None, "{fps} a second, {tremble} %: at {arrived}");
        }
        assert_eq!(timeline.withheld(at(arrived)), None);
    }
}

/// Plays what comes without a date, each picture with its arrival and the moment when it was taken; returns the age of the
/// oldest that might open a door.
fn oldest_without_a_clock(pictures: impl IntoIterator<Item = (i64, i64)>) -> i64 {
    let mut timeline = Timeline::new(Duration::ZERO);
    let mut oldest = 0;
    for (arrived, taken) in pictures {
        let worth = timeline.judge(at(arrived), None, at(arrived));
        if timeline.withheld(at(arrived)).is_none() && age(&worth, arrived).is_some() {
            let told = age(&worth, arrived).unwrap();
            oldest = oldest.max(arrived - taken - told);
        }
    }
    oldest
}

#[test]
fn small_gaps_without_a_clock_add_up() {
    // From the 60th on each tenth picture is held for 0.5 s more, and nothing is made up for: a backlog of 15 s in the end.
    let lag = |n: i64| (n - 60).max(0) / 10 * 500 * MS;
    let oldest = oldest_without_a_clock((0..360).map(|n| (n * PERIOD + lag(n), n * PERIOD)));
    assert!(oldest < 1_500 * MS, "{oldest} us older than was told");
}

#[test]
fn a_rate_that_falls_slowly_without_a_clock_is_not_learnt_for_good() {
    // Each interval is half a percent longer than the one before, up to twice as long: the pictures are held back.
    let mut arrived = 0.0;
    let pictures: Vec<(i64, i64)> = (0..400)
        .map(|n| {
            arrived += PERIOD as f64 * 1.005f64.powi((n - 60).clamp(0, 139) as i32);
            (arrived as i64, n * PERIOD)
        })
        .collect();
    let mut timeline = Timeline::new(Duration::ZERO);
    let worth = |&(arrived, _): &(i64, i64)| timeline.judge(at(arrived), None, at(arrived));
    let told: Vec<Worth> = pictures.iter().map(worth).collect();
    assert!(told.iter().any(|worth| matches!(worth, Worth::Hopeless(_))), "it falls back without an end");
}

#[test]
fn a_gap_before_the_rate_is_known_opens_no_door() {
    // Four pictures, 9 s of silence, then what was held comes at once.
    let arrival = |n: i64| if (4..49).contains(&n) { 49 * PERIOD + n * MS } else { n * PERIOD + 49 * MS };
    let oldest = oldest_without_a_clock((0..200).map(|n| (arrival(n), n * PERIOD)));
    assert!(oldest < 200 * MS, "{oldest} us older than was told");
}

#[test]
fn what_waits_in_a_decoder_grows_old_there() {
    let mut timeline = Timeline::new(Duration::ZERO);
    for n in 0..10 {
        let _ = timeline.judge(at(n * PERIOD), media(n * PERIOD), at(n * PERIOD));
    }
    let worth = timeline.judge(at(10 * PERIOD), media(10 * PERIOD), at(10 * PERIOD + 4_000 * MS));
    assert_eq!(worth, Worth::Skipped);
    assert!(timeline.complaint(at(10 * PERIOD)).unwrap().contains("4.0 s late"));
}

/// What may befell a picture on its way: how long it waits (ms), how far the camera's clock is set (s), how often it comes.
fn fates() -> impl Strategy<Value = Vec<(i64, i64, usize)>> {
    let wait = prop_oneof![8 => 0i64..40, 1 => 0i64..12_000];
    let set = prop_oneof![60 => Just(0i64), 1 => -100_000i64..100_000, 1 => Just(47_721), 1 => -3i64..3];
    let copies = prop_oneof![20 => Just(1usize), 1 => 2usize..5];
    prop::collection::vec((wait, set, copies), 20..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// By the definition of the room's page: a picture is as old as its lag lies beyond the smallest of its connection, since
    /// its clock was last set. None is given a younger age than that, and none twice.
    #[test]
    fn no_picture_is_younger_than_its_lag_says_and_none_is_made_up(fates in fates(), drift in -190i64..190) {
        let mut timeline = Timeline::new(Duration::ZERO);
        let (mut arrived, mut offset, mut smallest) = (0i64, 0i64, i64::MAX);
        let mut begun = 0;
        let mut shown = std::collections::BTreeSet::new();
        for (n, (wait, set, copies)) in fates.into_iter().enumerate() {
            let taken = n as i64 * PERIOD;
            offset += set * 1_000_000;
            if set != 0 {
                (smallest, begun) = (i64::MAX, taken);
            }
            for copy in 0..copies {
                arrived = (arrived + 50).max(taken + wait * MS);
                let time = taken + taken * drift / 1_000_000 + offset;
                let worth = timeline.judge(at(arrived), media(time), at(arrived));
                smallest = smallest.min(arrived - taken);
                let Worth::Fresh(stamp) = worth else { continue };
                prop_assert!(copy == 0 && shown.insert(n), "picture {} was looked at twice", n);
                if timeline.withheld(at(arrived)).is_some() {
                    continue;
                }
                let told = at(arrived).since(stamp).as_micros() as i64;
                let true_age = arrived - taken - smallest;
                // What two clocks may drift apart, and what a small step of the camera's clock may hide.
                let tolerance = (arrived - begun) * (200 + 190) / 1_000_000 + 1_000;
                prop_assert!(told + tolerance >= true_age, "picture {}: {} us told, {} us true", n, told, true_age);
            }
        }
    }

    /// A connection that begins with a backlog, which is drained a little faster than time passes: while that lasts, no picture
    /// that is older than any door allows opens one.
    #[test]
    fn a_backlog_that_drains_slowly_opens_no_door(
        permille in prop_oneof![1_005i64..1_050, 1_050i64..2_000],
        backlog in 3_000i64..60_000,
        fps in prop_oneof![Just(5i64), Just(15), Just(30)],
        waits in prop::collection::vec(0i64..5_000, 64),
        jump in prop_oneof![Just(None), (100i64..400).prop_map(Some)],
    ) {
        // As every camera has it.
        let mut timeline = Timeline::new(Duration::from_secs(10));
        let period = 1_000_000 / fps;
        let (mut arrived, mut offset) = (0, 0);
        for n in 0..i64::min(20_000, fps * 2_000) {
            let taken = n * period - backlog * MS;
            // So many pictures come in a second as the rate says, until there is none left.
            let drained = n * period * 1_000 / permille;
            arrived = (drained.max(taken) + waits[(n % 64) as usize]).max(arrived + 1);
            if jump == Some(n) {
                offset = 3_600_000_000;
            }
            let worth = timeline.judge(at(arrived), media(taken + offset), at(arrived));
            if timeline.withheld(at(arrived)).is_some() {
                continue;
            }
            let told = age(&worth, arrived).unwrap_or(i64::MAX / 2);
            prop_assert!(arrived - taken - told < 1_500 * MS, "picture {} is {} us old", n, arrived - taken);
        }
    }

    #[test]
    fn stamps_never_go_back(fates in fates()) {
        let mut timeline = Timeline::new(Duration::ZERO);
        let (mut arrived, mut offset, mut newest) = (0i64, 0i64, at(0));
        for (n, (wait, set, _)) in fates.into_iter().enumerate() {
            let taken = n as i64 * PERIOD;
            offset += set * 1_000_000;
            arrived = (arrived + 50).max(taken + wait * MS);
            if let Worth::Fresh(stamp) = timeline.judge(at(arrived), media(taken + offset), at(arrived)) {
                prop_assert!(stamp >= newest, "picture {}", n);
                newest = stamp;
            }
        }
    }
}
