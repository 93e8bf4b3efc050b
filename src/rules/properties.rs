//! What holds for all rules and all inputs. `oracle.rs` is what they are measured by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::oracle::{self, MONDAY_US};
use super::scripts::{secs, set};
use super::*;
use crate::domain::*;

const HOUR_US: u64 = 3_600_000_000;

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(super::scripts::label("person")),
        1 => Just(super::scripts::label("cat")),
        1 => Just(Answer::Unknown),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let door = |name| Action::Authorise(DoorId::new(name).unwrap());
    prop_oneof![
        4 => Just(door("front")),
        1 => Just(door("back")),
        1 => Just(Action::Alert { severity: Severity::Info, snapshot: false }),
        1 => Just(Action::Log),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let evidence = (
        prop::collection::vec(answer(), 1..3),
        prop_oneof![Just(0.5_f32), Just(0.8)],
        prop_oneof![Just(0.0_f32), Just(0.3)],
        (1..5_u32, 0..3_u32, prop_oneof![Just(1_u64), Just(5), Just(60)]),
    );
    let when = (
        prop_oneof![2 => Just(0_u64), 1 => Just(500), 1 => Just(2000)],
        prop_oneof![2 => Just(None), 1 => Just(Some("workdays")), 1 => Just(Some("!workdays"))],
        prop_oneof![Just(0_u64), Just(10), Just(600)],
        prop_oneof![Just(None), Just(Some(1_u32)), Just(Some(3))],
    );
    let cameras = prop_oneof![2 => Just(vec!["a"]), 1 => Just(vec!["a", "b"]), 1 => Just(vec!["b"])];
    let zone = prop_oneof![3 => Just(None), 1 => Just(Some("porch"))];
    (cameras, zone, evidence, when, prop::collection::vec(action(), 1..3)).prop_map(
        |(
            cameras,
            zone,
            (answers, score, margin, (k, more, within)),
            (hold, schedule, cooldown, budget),
            actions,
        )| {
            Rule {
                trigger: Trigger::Predictions,
                id: RuleId::new("r").unwrap(),
                cameras: cameras.into_iter().map(|c| CameraId::new(c).unwrap()).collect(),
                zone: zone.map(|z| ZoneId::new(z).unwrap()),
                answers,
                min_score: Score::new(score).unwrap(),
                margin,
                agree: Agreement { k, n: k + more, within: Duration::from_secs(within) },
                hold: Duration::from_millis(hold),
                during: schedule.and_then(super::scripts::during),
                cooldown: Duration::from_secs(cooldown),
                max_per_hour: budget,
                actions,
            }
        },
    )
}

fn rules() -> impl Strategy<Value = Arc<RuleSet>> {
    prop::collection::vec(rule(), 1..5).prop_map(|mut rules| {
        for (i, rule) in rules.iter_mut().enumerate() {
            rule.id = RuleId::new(&format!("r{i}")).unwrap();
        }
        set(&rules)
    })
}

/// A prediction without its stamp.
fn prediction() -> impl Strategy<Value = Prediction> {
    let top = prop_oneof![
        4 => Just(("person", 0.95, 0.02, false)),
        1 => Just(("person", 0.6, 0.35, false)),
        1 => Just(("cat", 0.9, 0.05, false)),
        1 => Just(("person", 0.4, 0.3, true)),
        2 => Just(("empty", 0.97, 0.02, false)),
    ];
    let camera = prop_oneof![3 => Just("a"), 1 => Just("b")];
    let zone = prop_oneof![3 => Just(None), 1 => Just(Some("porch"))];
    let withheld = prop_oneof![5 => Just(None), 1 => Just(Some(Withheld::Unsteady))];
    (camera, zone, top, withheld).prop_map(|(camera, zone, (first, score, second, rejected), withheld)| {
        Prediction {
            camera: CameraId::new(camera).unwrap(),
            zone: zone.map(|z| ZoneId::new(z).unwrap()),
            frame: FrameRef::new(FrameSeq(0), Stamp::new(0, 0)),
            withheld,
            model: ModelId::new("m").unwrap(),
            top: vec![
                (Label::new(first).unwrap(), Score::new(score).unwrap()),
                (Label::new("other").unwrap(), Score::new(second).unwrap()),
            ],
            rejected,
            latency: Duration::ZERO,
        }
    })
}

fn input() -> impl Strategy<Value = Input> {
    let state =
        prop_oneof![Just(CameraState::Offline), Just(CameraState::Stalled), Just(CameraState::Online)];
    prop_oneof![
        60 => prediction().prop_map(Input::Prediction),
        2 => Just(Input::Tick),
        1 => state.prop_map(|state| Input::CameraHealth { camera: CameraId::new("a").unwrap(), state }),
        1 => any::<bool>().prop_map(Input::ClockSync),
    ]
}

/// Inputs with the microseconds that pass before each: mostly a frame's time, sometimes minutes or hours.
fn story() -> impl Strategy<Value = Vec<(u64, Input)>> {
    let pause = prop_oneof![
        20 => Just(200_000_u64),
        4 => 1..2_000_000_u64,
        2 => Just(3_000_000),
        1 => 10_000_000..2_000_000_000_u64,
        1 => Just(5 * HOUR_US),
    ];
    prop::collection::vec((pause, input()), 1..150)
}

/// Sets the stamps of a story's frames; returns every input with its moment.
fn told(story: &[(u64, Input)]) -> Vec<(Stamp, Input)> {
    let mut mono = 0_u64;
    let timed = story.iter().enumerate().map(|(i, (pause, input))| {
        mono += pause;
        let stamp = Stamp::new(mono, MONDAY_US + i64::try_from(mono).unwrap());
        let mut input = input.clone();
        if let Input::Prediction(prediction) = &mut input {
            prediction.frame = FrameRef::new(FrameSeq(i as u64), stamp);
        }
        (stamp, input)
    });
    timed.collect()
}

fn play(rules: &Arc<RuleSet>, story: &[(Stamp, Input)]) -> Vec<(usize, Decision)> {
    let mut engine = Engine::new(Arc::clone(rules));
    let decided = |(i, (now, input)): (usize, &(Stamp, Input))| {
        engine.step(input, *now).into_iter().map(|d| (i, d)).collect::<Vec<_>>()
    };
    story.iter().enumerate().flat_map(decided).collect()
}

fn granted(decision: &Decision) -> Option<&DoorId> {
    match &decision.verdict {
        Verdict::Authorise { door } => Some(door),
        _ => None,
    }
}

fn prediction_at(story: &[(Stamp, Input)], i: usize) -> &Prediction {
    match &story[i].1 {
        Input::Prediction(p) => p,
        other => panic!("{other:?} led to a decision"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every grant has a rule that matches, and no rule before it in the file matches for the same door.
    #[test]
    fn no_grant_without_a_rule_and_only_by_the_first(rules in rules(), story in story()) {
        let story = told(&story);
        for (i, decision) in play(&rules, &story) {
            let Some(door) = granted(&decision) else { continue };
            let p = prediction_at(&story, i);
            let first = rules.rules.iter().find(|rule| oracle::may_grant(rule, door, &story, i, p));
            prop_assert_eq!(first.map(|rule| &rule.id), decision.rule.as_ref(), "{:?}", decision);
        }
    }

    /// The other way round: where a rule matches that has never matched, and nobody else was let in, it grants.
    #[test]
    fn the_first_match_of_a_story_grants(rules in rules(), story in story()) {
        let story = told(&story);
        let decisions = play(&rules, &story);
        let first = (0..story.len()).find_map(|i| {
            let Input::Prediction(p) = &story[i].1 else { return None };
            let front = DoorId::new("front").unwrap();
            let rule = rules.rules.iter().find(|rule| oracle::may_grant(rule, &front, &story, i, p))?;
            Some((i, rule, front))
        });
        let Some((i, rule, door)) = first else { return Ok(()) };
        // A rule that also speaks, or opens another door, may have fired before.
        if rule.actions != [Action::Authorise(door.clone())] {
            return Ok(());
        }
        let grant = decisions.iter().find(|(_, d)| granted(d) == Some(&door));
        prop_assert_eq!(grant.map(|(i, d)| (*i, d.rule.as_ref())), Some((i, Some(&rule.id))));
    }

    #[test]
    fn cooldown_and_budget_are_kept(rules in rules(), story in story()) {
        let story = told(&story);
        let mut firings: BTreeMap<RuleId, Vec<(CameraId, Stamp)>> = BTreeMap::new();
        for (_, d) in play(&rules, &story) {
            let Some(rule) = d.rule else { continue };
            let firing = (d.observation.camera, d.frame.stamp);
            let list = firings.entry(rule).or_default();
            if list.last() != Some(&firing) {
                list.push(firing);
            }
        }
        for rule in &rules.rules {
            let list = firings.remove(&rule.id).unwrap_or_default();
            for (i, (camera, at)) in list.iter().enumerate() {
                for (other, later) in &list[i + 1..] {
                    prop_assert!(other != camera || later.since(*at) >= rule.cooldown);
                }
                let in_the_hour = list[i..].iter().filter(|(_, s)| s.since(*at).as_micros() < HOUR_US.into()).count();
                prop_assert!(rule.max_per_hour.is_none_or(|max| in_the_hour as u64 <= max.into()));
            }
        }
    }

    /// After a grant no other rule opens the door until the granting rule's agreement was gone for the gap.
    #[test]
    fn one_presence_is_let_in_by_one_rule(rules in rules(), story in story()) {
        let story = told(&story);
        let grants: Vec<_> = play(&rules, &story).into_iter().filter(|(_, d)| granted(d).is_some()).collect();
        for (g, (i, first)) in grants.iter().enumerate() {
            let rule = rules.rules.iter().find(|r| Some(&r.id) == first.rule.as_ref()).unwrap();
            let same_place = |d: &Decision| {
                d.observation.camera == first.observation.camera
                    && d.observation.zone == first.observation.zone
                    && d.verdict == first.verdict
            };
            for (j, second) in grants[g + 1..].iter().filter(|(_, d)| same_place(d)) {
                let p = prediction_at(&story, *j);
                let history = oracle::history(&story, *j, p);
                let agreed = oracle::agreed(rule, &history, secs(3.0));
                let from = first.frame.stamp;
                let mut met: Vec<Stamp> = history
                    .iter()
                    .zip(agreed)
                    .filter(|((_, p), agreed)| *agreed && p.frame.stamp >= from)
                    .map(|((_, p), _)| p.frame.stamp)
                    .collect();
                met.push(second.frame.stamp);
                let gone = met.windows(2).any(|pair| pair[1].since(pair[0]) >= secs(3.0));
                prop_assert!(gone, "input {} granted by {:?}, input {} by {:?}", i, first.rule, j, second.rule);
            }
        }
    }

    /// One denial per presence, none where a grant was given at the same moment.
    #[test]
    fn a_denied_presence_is_denied_once(rules in rules(), story in story()) {
        let story = told(&story);
        let denials: Vec<_> = play(&rules, &story).into_iter().filter(|(_, d)| d.verdict.kind() == "deny").collect();
        for (d, (_, first)) in denials.iter().enumerate() {
            prop_assert!(first.rule.is_none() && !first.reason.is_empty());
            let again = denials[d + 1..].iter().find(|(_, second)| {
                second.verdict == first.verdict
                    && second.observation.camera == first.observation.camera
                    && second.observation.zone == first.observation.zone
            });
            // Between two denials somebody was away for the gap of 3 s and then stood there for at least 1 s.
            let apart = again.map(|(_, second)| second.frame.stamp.since(first.frame.stamp));
            prop_assert!(apart.is_none_or(|apart| apart >= secs(4.0)));
        }
    }

    /// Same inputs, same decisions, byte for byte; ticks, and `now` but for `at`, change nothing.
    #[test]
    fn replay_gives_the_same_decisions(rules in rules(), story in story()) {
        let story = told(&story);
        let (once, twice) = (play(&rules, &story), play(&rules, &story));
        prop_assert_eq!(format!("{once:?}"), format!("{twice:?}"));
        let mut ticking: Vec<(Stamp, Input)> = Vec::new();
        for (now, input) in &story {
            ticking.push((now.plus(secs(9.0)), Input::Tick));
            ticking.push((now.plus(secs(0.5)), input.clone()));
            ticking.push((now.plus(secs(9.0)), Input::Tick));
        }
        let ticked = play(&rules, &ticking).into_iter().map(|(_, d)| Decision { at: d.frame.stamp, ..d });
        prop_assert_eq!(ticked.collect::<Vec<_>>(), once.into_iter().map(|(_, d)| d).collect::<Vec<_>>());
    }

    /// A reload of the same rules at any moment changes no decision.
    #[test]
    fn a_reload_of_the_same_rules_changes_nothing(rules in rules(), story in story()) {
        let story = told(&story);
        let mut reloading = Vec::new();
        for (now, input) in &story {
            reloading.push((*now, Input::ConfigSwap(Arc::clone(&rules))));
            reloading.push((*now, input.clone()));
        }
        let plain = |decisions: Vec<(usize, Decision)>| decisions.into_iter().map(|(_, d)| d).collect::<Vec<_>>();
        prop_assert_eq!(plain(play(&rules, &reloading)), plain(play(&rules, &story)));
    }

    /// Stamps may stand still, jump or run backwards on either clock.
    #[test]
    fn no_stamp_makes_it_panic(
        rules in rules(),
        story in prop::collection::vec((wild(), wild(), 0..4_u64, input()), 1..80),
        hold in prop_oneof![Just(Duration::ZERO), Just(Duration::MAX)],
    ) {
        let mut extreme = (*rules).clone();
        for rule in &mut extreme.rules {
            rule.hold = rule.hold.max(hold);
            rule.agree.n = u32::MAX;
        }
        let extreme = Arc::new(extreme);
        let mut engine = Engine::new(Arc::clone(&rules));
        for (i, (mono, wall, seq, input)) in story.into_iter().enumerate() {
            let stamp = Stamp::new(mono, wall.cast_signed());
            let input = match input {
                Input::Prediction(p) => {
                    Input::Prediction(Prediction { frame: FrameRef::new(FrameSeq(seq), stamp), ..p })
                }
                other => other,
            };
            for decision in engine.step(&input, stamp) {
                prop_assert_eq!(decision.at, stamp);
            }
            if i == 40 {
                let _ = engine.step(&Input::ConfigSwap(Arc::clone(&extreme)), stamp);
            }
        }
    }
}

fn wild() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), Just(u64::MAX / 2), 0..5_000_000_u64, any::<u64>()]
}
