//! What a timeline must never do, on media clocks as cameras have them.

use proptest::prelude::*;

use super::*;

const MS: i64 = 1_000;
const PERIOD: i64 = 200 * MS;

fn at(us: i64) -> Stamp {
    Stamp::new(10_000_000 + us.unsigned_abs(), 0)
}

fn media(us: i64) -> Option<MediaTime> {
    Some(MediaTime { us, step: 1 })
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
        Worth::Passed | Worth::Hopeless(_) => None,
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
    let told = play((0..4000).map(|n| (n * PERIOD, n * PERIOD + n * PERIOD * 200 / 1_000_000)));
    assert!(told.iter().all(|(_, withheld)| withheld.is_none()), "a clock may drift");
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
        assert_eq!(judge(n * PERIOD), (Worth::Fresh(at(n * PERIOD)), None));
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
    assert!(matches!(told[0], Worth::Passed) && told.iter().any(|worth| matches!(worth, Worth::Hopeless(_))));
}

#[test]
fn a_source_that_is_slow_or_trembles_is_not_called_late() {
    for (period, tremble) in [(5_000 * MS, 900 * MS), (100 * MS, 80 * MS), (2_000 * MS, 0)] {
        let mut timeline = Timeline::new(Duration::ZERO);
        for n in 0..100 {
            let us = n * period + (n * 7919 % 100) * tremble / 100;
            let worth = timeline.judge(at(us), None, at(us));
            assert!(matches!(worth, Worth::Fresh(_)), "picture {n} of one every {period} us");
            assert_eq!(timeline.withheld(at(us)), None);
        }
    }
}

#[test]
fn what_waits_in_a_decoder_grows_old_there() {
    let mut timeline = Timeline::new(Duration::ZERO);
    for n in 0..10 {
        let _ = timeline.judge(at(n * PERIOD), media(n * PERIOD), at(n * PERIOD));
    }
    let worth = timeline.judge(at(10 * PERIOD), media(10 * PERIOD), at(10 * PERIOD + 4_000 * MS));
    assert_eq!(worth, Worth::Passed);
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
