//! Rule steps per second: twenty rules on one camera and zone, the frames of an ordinary minute.
//!
//! Whoever measures should know what is in it: every prediction is read by all twenty rules. `quiet` is an empty
//! scene, `busy` a person who stays, fired at once and then suppressed for the rest of the presence.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput};
use jiff::civil::{Weekday, time};
use jiff::tz::TimeZone;
use portero::domain::{
    Answer, CameraId, DoorId, FrameRef, FrameSeq, Label, ModelId, Prediction, RuleId, ScheduleId, Score,
    Severity, Stamp,
};
use portero::rules::{Action, Agreement, During, Engine, Input, Places, Rule, RuleSet, Schedule, Trigger};

const RULES: usize = 20;
/// Five minutes at five frames a second.
const STEPS: u64 = 1_500;
/// 2026-03-02T12:00:00Z, a Monday.
const NOON_US: i64 = 1_772_452_800_000_000;

/// Measures `rules/quiet` and `rules/busy`, in steps per second.
pub(crate) fn bench(c: &mut Criterion) {
    let rules = rules();
    let mut group = c.benchmark_group("rules");
    group.throughput(Throughput::Elements(STEPS));
    for (name, label) in [("quiet", "empty"), ("busy", "person")] {
        let inputs: Vec<Input> = (0..STEPS).map(|seq| prediction(seq, label)).collect();
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || Engine::new(Arc::clone(&rules)),
                |engine| {
                    for input in &inputs {
                        let Input::Prediction(p) = input else { continue };
                        black_box(engine.step(black_box(input), p.frame.stamp));
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

pub(crate) fn rules() -> Arc<RuleSet> {
    let schedule = ScheduleId::new("workdays").expect("a name");
    let days = Weekday::Monday.cycle_forward().take(5).collect();
    let workdays = Schedule { days, from: time(8, 0, 0, 0), to: time(18, 0, 0, 0) };
    Arc::new(RuleSet {
        timezone: TimeZone::get("Europe/Zurich").expect("bundled"),
        schedules: [(schedule.clone(), workdays)].into(),
        rules: (0..RULES).map(|i| rule(i, &schedule)).collect(),
        background: [Label::new("empty").expect("a label")].into(),
        presence_gap: Duration::from_secs(5),
        places: Places::default(),
    })
}

/// Every fourth rule grants, every second has a schedule, the rest alert and log.
fn rule(i: usize, schedule: &ScheduleId) -> Rule {
    let action = match i % 4 {
        0 => Action::Authorise(DoorId::new("front").expect("a name")),
        1 => Action::Log,
        _ => Action::Alert { severity: Severity::Info, snapshot: false },
    };
    Rule {
        id: RuleId::new(&format!("rule-{i}")).expect("a name"),
        cameras: vec![CameraId::new("cam").expect("a name")],
        zone: None,
        trigger: Trigger::Predictions,
        answers: vec![Answer::Unknown, Answer::Label(Label::new("person").expect("a label"))],
        min_score: Score::new(0.8).expect("a score"),
        margin: 0.1,
        agree: Agreement { k: 4, n: 6 + u32::try_from(i).unwrap_or(0), within: Duration::from_secs(5) },
        hold: Duration::from_millis(500),
        during: i.is_multiple_of(2).then(|| During { schedule: schedule.clone(), negated: false }),
        cooldown: Duration::from_secs(30),
        max_per_hour: Some(20),
        actions: vec![action],
    }
}

pub(crate) fn prediction(seq: u64, label: &str) -> Input {
    let us = seq * 200_000;
    let wall_us = NOON_US.saturating_add_unsigned(us);
    let other = if label == "empty" { "person" } else { "empty" };
    let scored = |label, score| (Label::new(label).expect("a label"), Score::new(score).expect("a score"));
    Input::Prediction(Prediction {
        camera: CameraId::new("cam").expect("a name"),
        zone: None,
        frame: FrameRef::new(FrameSeq(seq), Stamp::new(us, wall_us)),
        withheld: None,
        model: ModelId::new("bench").expect("a name"),
        top: vec![scored(label, 0.96), scored(other, 0.04)],
        rejected: false,
        latency: Duration::from_millis(8),
    })
}
