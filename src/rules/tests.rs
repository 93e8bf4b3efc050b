//! What the rules promise, as stories. See `scripts.rs` for how to read them.

use super::scripts::*;
use super::*;
use crate::domain::*;

#[test]
fn k_of_n_must_agree() {
    let rules = [Rule { agree: agree(4, 6), ..log_rule("r") }];
    check(&rules, "eppp", &[]);
    check(&rules, "pppp", &["0.6 log (r)"]);
    check(&rules, "peppep", &["1.0 log (r)"]);
    check(&rules, "peepepep", &[]);
}

#[test]
fn what_is_older_than_within_does_not_count() {
    let rules = [Rule { agree: Agreement { within: secs(1.0), ..agree(3, 64) }, ..log_rule("r") }];
    check(&rules, "p.. p.. p.. p", &[]);
    check(&rules, "p.. p.p", &["1.0 log (r)"]);
}

#[test]
fn only_what_reaches_score_and_margin_counts() {
    check(&[log_rule("r")], "wwww", &[]);
    let low = Rule { min_score: Score::new(0.5).unwrap(), ..log_rule("r") };
    check(std::slice::from_ref(&low), "ccn", &["0.4 log (r)"]);
    let ahead = Rule { margin: 0.2, ..low };
    check(&[ahead], "nnw", &["0.4 log (r)"]);
}

#[test]
fn unknown_can_be_asked_for_and_has_no_bar() {
    let rules = [Rule { answers: vec![Answer::Unknown], margin: 0.5, ..log_rule("strangers") }];
    check(&rules, "ppeu", &["0.6 log (strangers)"]);
    check(&[log_rule("r")], "uuuu", &[]);
    let either =
        [Rule { answers: vec![label("person"), Answer::Unknown], agree: agree(4, 4), ..log_rule("r") }];
    check(&either, "pupu", &["0.6 log (r)"]);
}

#[test]
fn agreement_must_hold_without_a_break() {
    let rules = [Rule { hold: secs(1.0), ..log_rule("r") }];
    check(&rules, "pppppp", &["1.0 log (r)"]);
    check(&rules, "pppeppppp", &[]);
    check(&rules, "pppepppppp", &["1.8 log (r)"]);
    check(&rules, "p[5s]ppppp", &[]);
}

#[test]
fn a_rule_fires_on_a_frame_that_counts() {
    // Four of six still agree while the person has left: the picture would show nobody.
    let rules = [Rule { agree: agree(4, 6), hold: secs(0.4), ..log_rule("r") }];
    check(&rules, "pppp ee", &[]);
    check(&rules, "pppp ep", &["1.0 log (r)"]);
}

/// A player whose rules fired at camera `cam` so many seconds before its time begins.
fn remembering(rules: &[Rule], ages: &[f64]) -> Player {
    let mut player = Player::new(rules);
    let cam = CameraId::new("cam").unwrap();
    let origin = Stamp::new(0, 1_772_452_800_000_000);
    for (rule, age) in rules.iter().flat_map(|rule| ages.iter().map(move |age| (rule, age))) {
        player.engine.remember(&rule.id, &cam, origin.minus(secs(*age)));
    }
    player
}

#[test]
fn a_cooldown_goes_on_over_a_restart_at_its_camera() {
    let rules = [Rule { cooldown: secs(10.0), ..log_rule("r") }];
    let mut player = remembering(&rules, &[86_400.0, 9.9]);
    player.play("p");
    player.expect(&[]);
    let mut player = remembering(&rules, &[86_400.0, 10.0]);
    player.play("p");
    player.expect(&["0.0 log (r)"]);
}

#[test]
fn the_budget_of_an_hour_goes_on_over_a_restart() {
    let rules = [Rule { max_per_hour: Some(2), ..log_rule("r") }];
    let mut player = remembering(&rules, &[3599.5, 60.0]);
    player.play("p [5s] p");
    player.expect(&["5.2 log (r)"]);
}

#[test]
fn one_firing_per_presence() {
    check(&[log_rule("r")], "pppppppppp eeeee ppppp", &["0.0 log (r)"]);
    check(&[log_rule("r")], "p eeeeeeeeeeeeee p", &["0.0 log (r)", "3.0 log (r)"]);
    check(&[log_rule("r")], "p[2s]p[2s]p[4s]p", &["0.0 log (r)", "8.6 log (r)"]);
    check(&[log_rule("r")], "p[2s][tick]p[2s][tick]p[2s][tick]p", &["0.0 log (r)"]);
}

#[test]
fn cooldown_suppresses_and_is_counted() {
    let rules = [Rule { cooldown: secs(10.0), ..log_rule("r") }];
    let mut player = Player::new(&rules);
    player.play("p [5s] p [5s] p");
    player.expect(&["0.0 log (r)", "10.4 log (r)"]);
    assert_eq!(player.engine.suppressed(&rules[0].id), 1);
    assert_eq!(player.engine.suppressed(&RuleId::new("other").unwrap()), 0);
}

#[test]
fn a_presence_that_outlasts_the_cooldown_does_not_fire_again() {
    let rules = [Rule { cooldown: secs(2.0), ..log_rule("r") }];
    check(&rules, &"p".repeat(100), &["0.0 log (r)"]);
    // The second presence begins in the cooldown of 6 s and outlasts it.
    let rules = [Rule { cooldown: secs(6.0), ..log_rule("r") }];
    check(&rules, &format!("p [4s] {}", "p".repeat(100)), &["0.0 log (r)"]);
}

#[test]
fn cooldown_is_per_camera_and_budget_per_rule() {
    let cameras = vec![CameraId::new("cam").unwrap(), CameraId::new("b").unwrap()];
    let rule = Rule { cooldown: secs(60.0), cameras, ..log_rule("r") };
    check(std::slice::from_ref(&rule), "p[cam b]p", &["0.0 log (r)", "0.2 log (r)"]);
    check(&[Rule { max_per_hour: Some(1), ..rule }], "p[cam b]p", &["0.0 log (r)"]);
}

#[test]
fn the_budget_slides_over_sixty_minutes() {
    let rules = [Rule { max_per_hour: Some(2), ..log_rule("r") }];
    let mut player = Player::new(&rules);
    player.play("p [20m] p [20m] p [20m] p [1m] p");
    player.expect(&["0.0 log (r)", "1200.2 log (r)", "3600.6 log (r)"]);
    assert_eq!(player.engine.suppressed(&rules[0].id), 2);
    check(&[Rule { max_per_hour: Some(0), ..log_rule("r") }], "pppp", &[]);
}

#[test]
fn schedules_open_and_close() {
    let inside = [Rule { during: during("workdays"), ..log_rule("in") }];
    let outside = [Rule { during: during("!workdays"), ..log_rule("out") }];
    // It starts on Monday at noon.
    check(&inside, "p [6h] p [14h] p", &["0.0 log (in)", "72000.4 log (in)"]);
    check(&outside, "p [6h] p [14h] p", &["21600.2 log (out)"]);
}

#[test]
fn a_clock_that_is_not_synchronised_grants_nothing_by_schedule() {
    let both = vec![Action::Authorise(front()), Action::Log];
    let scheduled = Rule { during: during("workdays"), actions: both, ..log_rule("r") };
    check(std::slice::from_ref(&scheduled), "p", &["0.0 authorise front (r)", "0.0 log (r)"]);
    check(std::slice::from_ref(&scheduled), "[unsync]p", &["0.0 log (r)"]);
    let outside = Rule { during: during("!workdays"), ..scheduled.clone() };
    check(&[outside], "[unsync][6h]p", &["21600.0 log (r)"]);
    check(std::slice::from_ref(&scheduled), "[unsync][sync]p", &["0.0 authorise front (r)", "0.0 log (r)"]);
    let always = Rule { during: None, ..grant_rule("always") };
    check(&[scheduled, always], "[unsync]p", &["0.0 log (r)", "0.0 authorise front (always)"]);
}

#[test]
fn a_grant_is_possible_once_the_clock_is_right() {
    let rules = [Rule { during: during("workdays"), ..grant_rule("r") }];
    check(&rules, "[unsync]pp[sync]p", &["0.4 authorise front (r)"]);
}

#[test]
fn the_first_match_decides_the_grant_and_all_others_speak() {
    let alert = Action::Alert { severity: Severity::Warning, snapshot: true };
    let second = Rule { actions: vec![alert, Action::Authorise(front())], ..log_rule("second") };
    check(
        &[log_rule("zero"), grant_rule("first"), second.clone(), log_rule("last")],
        "ppp",
        &["0.0 log (zero)", "0.0 authorise front (first)", "0.0 alert warning (second)", "0.0 log (last)"],
    );
    check(
        &[second, grant_rule("first")],
        "ppp",
        &["0.0 authorise front (second)", "0.0 alert warning (second)"],
    );
}

#[test]
fn a_rule_in_cooldown_or_without_budget_lets_no_later_grant_through() {
    let later = grant_rule("later");
    let cooling = Rule { cooldown: secs(60.0), ..grant_rule("first") };
    let denied = ["0.0 authorise front (first)", "6.2 deny front"];
    check(&[cooling, later.clone()], "p[5s]pppppppp", &denied);
    let poor = Rule { max_per_hour: Some(1), ..grant_rule("first") };
    check(&[poor, later.clone()], "p[5s]pppppppp", &denied);
    // Even when the first rule's agreement flickers, while its presence lasts.
    let flickers = Rule { agree: agree(2, 2), cooldown: secs(60.0), ..grant_rule("first") };
    let steady = Rule { agree: agree(3, 6), ..later };
    check(&[flickers, steady], "pp [12s] ppepepep", &["0.2 authorise front (first)", "13.8 deny front"]);
}

#[test]
fn nobody_is_let_in_twice_in_one_presence() {
    // The later rule is quicker; the earlier one matches after it has granted.
    let slow = Rule { hold: secs(1.0), ..grant_rule("slow") };
    check(&[slow, grant_rule("quick")], "pppppppppp", &["0.0 authorise front (quick)"]);
    // The earlier rule fires; then only the later one matches.
    let sure = Rule { min_score: Score::new(0.9).unwrap(), ..grant_rule("sure") };
    let lax = Rule { min_score: Score::new(0.5).unwrap(), ..grant_rule("lax") };
    check(&[sure, lax], "ppwwwwpp", &["0.0 authorise front (sure)"]);
}

#[test]
fn a_rule_that_does_not_match_stands_in_nobodys_way() {
    let closed = Rule { during: during("!workdays"), ..grant_rule("nights") };
    check(&[closed, grant_rule("days")], "p", &["0.0 authorise front (days)"]);
    let waiting = Rule { hold: secs(30.0), ..grant_rule("patient") };
    check(&[waiting, grant_rule("quick")], "p", &["0.0 authorise front (quick)"]);
    let back = Rule { actions: vec![Action::Authorise(DoorId::new("back").unwrap())], ..log_rule("back") };
    check(&[back, grant_rule("front")], "p", &["0.0 authorise back (back)", "0.0 authorise front (front)"]);
}

#[test]
fn whoever_no_rule_lets_in_is_denied_once_per_presence() {
    let rules = [Rule { agree: agree(2, 3), ..grant_rule("r") }];
    check(&rules, "cccccccccccccc", &["1.2 deny front"]);
    check(&rules, "uuuuuuuuuuuuuu", &["1.2 deny front"]);
    check(&rules, "wwwwwwwwwwwwww", &["1.2 deny front"]);
    check(&rules, "eeeeeeeeeeeeee", &[]);
    check(&rules, "pppppppppppppp", &["0.2 authorise front (r)"]);
    check(&rules, "ccccccc ee [4s] eeccccccc", &["1.2 deny front", "7.4 deny front"]);
    check(&rules, "ccccc [4s] eeecccccc", &[]);
}

#[test]
fn a_denial_waits_for_the_longest_hold_and_does_not_bar_a_later_grant() {
    let rules = [Rule { hold: secs(2.0), ..grant_rule("r") }];
    check(&rules, "cccccccccccccc", &["2.0 deny front"]);
    check(&rules, "pppppppppppppp", &["2.0 authorise front (r)"]);
    check(&[grant_rule("r")], "wwwwwwwwpp", &["1.0 deny front", "1.6 authorise front (r)"]);
}

#[test]
fn each_door_and_each_place_denies_for_itself() {
    let back = Rule { actions: vec![Action::Authorise(DoorId::new("back").unwrap())], ..log_rule("back") };
    check(&[grant_rule("r"), back.clone()], "cccccc", &["1.0 deny front", "1.0 deny back"]);
    let porch = Rule { zone: Some(ZoneId::new("porch").unwrap()), ..back };
    check(&[grant_rule("r"), porch.clone()], "cccccc", &["1.0 deny front"]);
    check(&[grant_rule("r"), porch.clone()], "[zone porch]pppppp", &["0.0 authorise back (back)"]);
    check(&[grant_rule("r"), porch], "[cam b]pppppp", &[]);
}

#[track_caller]
fn first_reason(rules: &[Rule], script: &str) -> String {
    let mut player = Player::new(rules);
    player.play(script);
    player.decisions.last().expect("a decision").reason.clone()
}

#[test]
fn a_firing_gives_its_grounds() {
    let r = Rule { agree: agree(4, 6), ..log_rule("r") };
    assert_eq!(first_reason(std::slice::from_ref(&r), "pppp"), "person 4 of 4, mean 0.95 ≥ 0.80");
    let held = Rule { hold: secs(1.0), during: during("workdays"), ..r.clone() };
    let reason = "person 6 of 6, mean 0.95 ≥ 0.80, held 1.0 s, within schedule workdays";
    assert_eq!(first_reason(&[held], "ppppppppp"), reason);
    let either = Rule { answers: vec![label("person"), Answer::Unknown], ..r };
    assert_eq!(first_reason(&[either], "uupu"), "person or unknown 4 of 4, mean 0.54");
}

#[test]
fn a_denial_gives_the_grounds_of_each_rule() {
    let grant = || Rule { agree: agree(4, 6), ..grant_rule("r") };
    let denial = |rule: Rule, script: &str| {
        let reason = first_reason(&[rule], script);
        reason.split_once("rule r: ").expect("the rule's grounds").1.to_owned()
    };
    assert_eq!(denial(grant(), "ccccppuccc"), "person 2 of 6, needs 4");
    assert_eq!(denial(grant(), "wwwwwwwwww"), "score 0.62 below 0.80");
    let ahead = Rule { min_score: Score::new(0.5).unwrap(), margin: 0.2, ..grant() };
    assert_eq!(denial(ahead, "nnnnnnnnnnnn"), "margin 0.03 below 0.20");
    let nights = Rule { during: during("!workdays"), ..grant() };
    assert_eq!(denial(nights, "pppppppppp"), "schedule workdays is open");
    let days = Rule { during: during("workdays"), ..grant() };
    assert_eq!(denial(days.clone(), "[8h]pppppppppp"), "schedule workdays is closed");
    let unsure = "the clock is not synchronised, so schedule workdays grants nothing";
    assert_eq!(denial(days, "[unsync]pppppppppp"), unsure);
    let cooling = Rule { cooldown: secs(60.0), ..grant() };
    assert_eq!(denial(cooling, "pppp[5s]ppppppppppp"), "in cooldown of 60.0 s");
    let poor = Rule { max_per_hour: Some(1), ..grant() };
    assert_eq!(denial(poor, "pppp[5s]pppppppppppp"), "already 1 times in 60 minutes");
    let patient = Rule { hold: secs(1.5), ..grant() };
    assert_eq!(denial(patient, "cccccc ppppppp"), "held 0.4 s of 1.5 s");
    assert_eq!(
        first_reason(&[grant(), Rule { hold: secs(1.2), ..grant_rule("s") }], "cccccccccccc"),
        "no grant in 1.2 s: rule r: person 0 of 6, needs 4; rule s: person 0 of 1, needs 1"
    );
}

#[test]
fn a_decision_carries_what_was_seen() {
    let mut player = Player::new(&[Rule { agree: agree(3, 4), ..log_rule("r") }]);
    player.play("peppp");
    let decision = &player.decisions[0];
    let seen = &decision.observation;
    assert_eq!((seen.agreed, seen.of, &seen.answer), (3, 4, &label("person")));
    assert_eq!((seen.first.mono_us(), seen.last.mono_us()), (0, 600_000));
    assert_eq!(decision.frame.seq, FrameSeq(3));
    assert_eq!(decision.top[0].0.as_str(), "person");
    assert_eq!(decision.model.as_str(), "test");
    assert!((seen.mean.get() - 0.95).abs() < 1e-6);
}

#[test]
fn after_an_outage_a_presence_is_agreed_anew_and_cooldowns_run_on() {
    let rules = [Rule { agree: agree(3, 4), ..log_rule("r") }];
    for outage in ["[offline]", "[stalled]"] {
        check(&rules, &format!("pp{outage}pp"), &[]);
        check(&rules, &format!("pp{outage}ppp"), &["0.8 log (r)"]);
        check(&rules, &format!("ppp{outage}ppp"), &["0.4 log (r)"]);
    }
    check(&rules, "pp[online]p", &["0.4 log (r)"]);
    check(&rules, "pp[cam b][offline][cam cam]p", &["0.4 log (r)"]);
    let held = [Rule { hold: secs(1.0), ..log_rule("r") }];
    check(&held, "ppp[offline]ppppp", &[]);
    let cooling = [Rule { cooldown: secs(60.0), ..log_rule("r") }];
    check(&cooling, "p[offline][10s]p", &["0.0 log (r)"]);
}

#[test]
fn a_late_prediction_is_ignored_and_counted() {
    let rules = [Rule { agree: agree(3, 4), ..log_rule("r") }];
    let mut player = Player::new(&rules);
    player.play("eeeeeepp[late p]e");
    player.expect(&[]);
    assert_eq!(player.engine.ignored(), 1);
    player.play("p");
    player.expect(&["1.8 log (r)"]);
}

#[test]
fn the_same_frame_twice_is_one_piece_of_evidence() {
    let mut player = Player::new(&[Rule { agree: agree(3, 4), ..log_rule("r") }]);
    player.play("p[again]p[again]");
    player.expect(&[]);
    assert_eq!(player.engine.ignored(), 2);
}

#[test]
fn a_reload_neither_fires_again_nor_lifts_a_cooldown() {
    let rules = [Rule { cooldown: secs(10.0), max_per_hour: Some(2), ..log_rule("r") }];
    let mut player = Player::new(&rules);
    player.play("pp");
    player.swap(&rules);
    player.play("pp [4s] pp");
    player.swap(&[log_rule("new"), rules[0].clone()]);
    player.play("pp [10s] p [10s] p");
    let fired = ["0.0 log (r)", "5.2 log (new)", "15.6 log (new)", "15.6 log (r)", "25.8 log (new)"];
    player.expect(&fired);
    assert_eq!(player.engine.suppressed(&rules[0].id), 2, "once by cooldown, once by budget");
}

#[test]
fn a_rule_that_one_reload_takes_out_and_the_next_brings_back_keeps_its_limits() {
    let rules = [Rule { cooldown: secs(10.0), max_per_hour: Some(2), ..log_rule("r") }];
    let away = |player: &mut Player, pause: &str| {
        player.swap(&[]);
        player.play(pause);
        player.swap(&rules);
    };
    let mut player = Player::new(&rules);
    player.play("p");
    away(&mut player, "[5s]");
    player.play("p");
    player.expect(&["0.0 log (r)"]);
    away(&mut player, "[9s]");
    player.play("p");
    player.expect(&["0.0 log (r)", "14.4 log (r)"]);
    away(&mut player, "[20s]");
    player.play("p");
    assert_eq!(player.decisions.len(), 2, "the budget of the hour is used up");
    assert_eq!(player.engine.suppressed(&rules[0].id), 2);
    away(&mut player, "[1h]");
    player.play("p");
    assert_eq!(player.decisions.len(), 3, "an hour later nothing is remembered");
}

#[test]
fn a_reload_keeps_windows_and_denials() {
    let rules = [Rule { agree: agree(4, 6), ..grant_rule("r") }];
    let mut player = Player::new(&rules);
    player.play("ppp");
    player.swap(&rules);
    player.play("p");
    player.expect(&["0.6 authorise front (r)"]);
    let mut player = Player::new(&rules);
    player.play("cccccccccc");
    player.swap(&rules);
    player.play("cccccccccc");
    player.expect(&["1.6 deny front"]);
    // Other evidence is asked for: what was seen is read anew, the hold begins anew.
    let mut player = Player::new(&[Rule { hold: secs(1.0), ..log_rule("r") }]);
    player.play("ppp");
    player.swap(&[Rule { hold: secs(1.0), agree: agree(4, 4), ..log_rule("r") }]);
    player.play("pppppp");
    player.expect(&["1.6 log (r)"]);
}

#[test]
fn what_is_told_of_doors_and_house_is_remembered() {
    let mut player = Player::new(&[grant_rule("r")]);
    let cellar = DoorId::new("cellar").unwrap();
    for door in [front(), cellar.clone()] {
        player.tell(&Input::Contact { door: door.clone(), open: true });
        player.tell(&Input::Factor { door, factor: "pin".into(), accepted: false });
    }
    player.tell(&Input::Mode("away".into()));
    player.swap(&[grant_rule("r")]);
    assert_eq!(player.engine.contact(&front()), Some(true));
    assert_eq!(player.engine.factor(&front()).map(|(name, right, _)| (name, right)), Some(("pin", false)));
    assert_eq!(player.engine.contact(&cellar), None, "no rule opens it");
    assert_eq!(player.engine.mode(), Some("away"));
    player.expect(&[]);
}

#[test]
fn a_camera_must_give_as_many_pictures_as_its_most_demanding_rule_needs() {
    let rule = |id, k, n, within| Rule { agree: Agreement { k, n, within: secs(within) }, ..log_rule(id) };
    let rules = set(&[rule("few", 1, 1, 5.0), rule("many", 4, 6, 5.0), rule("some", 3, 3, 10.0)]);
    assert!((rules.needed_rate(&CameraId::new("cam").unwrap()) - 0.6).abs() < 1e-6);
    assert!(rules.needed_rate(&CameraId::new("other").unwrap()) == 0.0);
}

#[test]
fn a_frame_that_its_camera_withholds_never_opens_a_door_and_the_denial_says_why() {
    check(&[grant_rule("r")], "[withhold] pppppppp e", &["1.0 deny front"]);
    let mut player = Player::new(&[Rule { hold: secs(0.4), ..grant_rule("r") }]);
    player.play("[withhold] pppppp");
    let why = "no grant in 1.0 s: rule r: the camera's time broke a moment ago";
    assert_eq!(player.decisions[0].reason, why);
    // What was withheld is no evidence for later pictures either.
    player.play("[trust] ppp");
    player.expect(&["1.0 deny front", "1.6 authorise front (r)"]);
    let agreed = [Rule { agree: agree(4, 6), ..grant_rule("r") }];
    check(&agreed, "[withhold] ppp [trust] ppp e", &[]);
    check(&agreed, "[withhold] ppp [trust] pppp", &["1.2 authorise front (r)"]);
    check(&agreed, "ppp [withhold] p [trust] p", &["0.8 authorise front (r)"]);
    let mut player = Player::new(&[Rule { hold: secs(1.0), ..grant_rule("r") }]);
    player.play("[withhold] p [trust] ppppp");
    let why = "no grant in 1.0 s: rule r: too many of its pictures do not count: the camera's time broke a moment ago";
    assert_eq!(player.decisions[0].reason, why);
    let mut player = Player::new(&agreed);
    player.play("[withhold] ppp [trust] pppp");
    assert_eq!(player.decisions[0].reason, "person 4 of 6, mean 0.95 ≥ 0.80");
    // Whoever asks for no door is told all the same.
    check(&[log_rule("r")], "[withhold] ppp", &["0.0 log (r)"]);
}

#[test]
fn what_was_seen_before_the_cameras_time_broke_is_no_evidence_after_it() {
    let rules = [Rule { agree: agree(4, 4), ..grant_rule("r") }];
    check(&rules, "pppp", &["0.6 authorise front (r)"]);
    check(&rules, "ppp [break] p e", &[]);
    check(&rules, "ppp [break] pppp", &["1.2 authorise front (r)"]);
    let held = [Rule { hold: secs(2.0), ..grant_rule("r") }];
    check(&held, "ppppp [break] ppppp [break] ppp e", &["2.0 deny front"]);
}
