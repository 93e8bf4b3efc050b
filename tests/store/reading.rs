//! Reading: what comes back equals what was recorded, filters, ids, and readers beside the writer.

use std::sync::Arc;

use portero::domain::{
    Answer, CameraId, Decision, DoorId, EventId, FrameRef, FrameSeq, Label, ModelId, NormRect, Observation,
    Outcome, RuleId, Score, Severity, Stamp, TrackId, TrackRef, Verdict, ZoneId,
};
use portero::store::{Delivery, Filter, NewEvent, Order, Picture, Reader, Store, StoreError};
use proptest::prelude::*;

use super::{alert, at, grant, log_event, new_event, settings};

fn any_score() -> impl Strategy<Value = Score> {
    prop_oneof![(0.0f32..=1.0), Just(0.0), Just(1.0), Just(f32::MIN_POSITIVE), Just(1.0 - f32::EPSILON / 2.0)]
        .prop_map(|v| Score::new(v).unwrap())
}

fn any_label() -> impl Strategy<Value = Label> {
    "[a-zA-Z0-9 ./äöß人\"\\\\']{1,20}".prop_filter_map("reserved", |text| Label::new(&text).ok())
}

fn any_stamp() -> impl Strategy<Value = Stamp> {
    (any::<u64>(), any::<i64>()).prop_map(|(mono, wall)| Stamp::new(mono, wall))
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    let door = || "[a-z0-9_-]{1,32}".prop_map(|d| DoorId::new(&d).unwrap());
    prop_oneof![
        door().prop_map(|door| Verdict::Authorise { door }),
        door().prop_map(|door| Verdict::Deny { door }),
        (prop::sample::select(&Severity::ALL[..]), any::<bool>())
            .prop_map(|(severity, snapshot)| Verdict::Alert { severity, snapshot }),
        Just(Verdict::Log),
    ]
}

fn any_track() -> impl Strategy<Value = TrackRef> {
    let corners = (0.0..0.5_f32, 0.0..0.5_f32, 0.5..1.0_f32, 0.5..1.0_f32);
    (any::<u64>(), corners).prop_map(|(id, (x0, y0, x1, y1))| TrackRef {
        id: TrackId(id),
        rect: NormRect::new(x0, y0, x1 + f32::EPSILON, y1 + f32::EPSILON).unwrap_or(NormRect::FULL),
    })
}

fn any_decision() -> impl Strategy<Value = Decision> {
    let seen = (
        prop::option::of("[a-z0-9_-]{1,32}"),
        prop::option::of(any_label()),
        any::<(u32, u32)>(),
        any_score(),
        (any_stamp(), any_stamp()),
        prop::option::of(any_track()),
    )
        .prop_map(|(zone, label, (agreed, of), mean, (first, last), track)| Observation {
            camera: CameraId::new("street").unwrap(),
            zone: zone.map(|z| ZoneId::new(&z).unwrap()),
            answer: label.map_or(Answer::Unknown, Answer::Label),
            agreed,
            of,
            mean,
            first,
            last,
            track,
        });
    let rest = (
        prop::option::of("[a-z0-9_-]{1,32}"),
        any::<u64>(),
        any_stamp(),
        prop::collection::vec((any_label(), any_score()), 0..6),
        ".{0,80}",
        any_stamp(),
    );
    (any_verdict(), seen, rest).prop_map(|(verdict, observation, (rule, seq, stamp, top, reason, at))| {
        Decision {
            rule: rule.map(|r| RuleId::new(&r).unwrap()),
            verdict,
            observation,
            frame: FrameRef::new(FrameSeq(seq), stamp),
            model: ModelId::new("m").unwrap(),
            top,
            reason,
            at,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_event_comes_back_as_it_was_recorded(decisions in prop::collection::vec(any_decision(), 32)) {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let mut store = Store::open(&settings).unwrap();
        let batch = decisions.iter().map(|decision| NewEvent {
            decision: decision.clone(),
            model_sha256: Arc::from("ab"),
            config_sha256: Arc::from("cd"),
            picture: Picture::None,
            clip: None,
        });
        let recorded = store.record(batch.collect()).unwrap();
        let reader = Reader::open(&settings.path).unwrap();
        for (recorded, decision) in recorded.iter().zip(&decisions) {
            prop_assert_eq!(&recorded.event.decision, decision);
            let stored = reader.event(recorded.event.id).unwrap().unwrap();
            prop_assert_eq!(&stored.event, &recorded.event);
        }
    }
}

#[test]
fn outcomes_come_back_with_their_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    let outcomes = [
        Outcome::Done,
        Outcome::Opened,
        Outcome::Observed,
        Outcome::Refused("stale: 2.1 s old".to_owned()),
        Outcome::Failed("exit status 3".to_owned()),
        Outcome::Unknown,
    ];
    for outcome in outcomes {
        let id = store.record(vec![grant(0)]).unwrap()[0].event.id;
        assert_eq!(reader.event(id).unwrap().unwrap().event.outcome, Outcome::Pending);
        store.set_outcome(id, outcome.clone()).unwrap();
        assert_eq!(reader.event(id).unwrap().unwrap().event.outcome, outcome);
    }
}

fn ids(reader: &Reader, filter: &Filter) -> Vec<u64> {
    let events = reader.events(filter, 100, Order::OldestFirst).unwrap();
    events.iter().map(|stored| stored.event.decision.frame.seq.0).collect()
}

#[test]
fn filters_take_what_fits_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let mut events = vec![log_event(0), grant(10), alert(Severity::Info, 20, 0), log_event(30)];
    events[1].decision.observation.camera = CameraId::new("yard").unwrap();
    events[2].decision.rule = None;
    events[3].decision.observation.answer = Answer::Unknown;
    store.record(events).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    let person = Some(Answer::Label(Label::new("person").unwrap()));

    let all = Filter::default();
    assert_eq!(ids(&reader, &all), [0, 10, 20, 30]);
    assert_eq!(ids(&reader, &Filter { camera: CameraId::new("yard").ok(), ..all.clone() }), [10]);
    assert_eq!(ids(&reader, &Filter { rule: RuleId::new("someone-there").ok(), ..all.clone() }), [0, 10, 30]);
    assert_eq!(ids(&reader, &Filter { answer: Some(Answer::Unknown), ..all.clone() }), [30]);
    assert_eq!(ids(&reader, &Filter { verdict: Some("log".into()), answer: person, ..all.clone() }), [0]);
    let (since, until) = (at(11).wall_us(), at(31).wall_us());
    let between = Filter { since_wall_us: Some(since), until_wall_us: Some(until), ..all.clone() };
    assert_eq!(ids(&reader, &between), [10, 20], "decided at 11 s and at 21 s; the end is exclusive");

    let newest = reader.events(&all, 2, Order::NewestFirst).unwrap();
    assert_eq!(newest.iter().map(|s| s.event.decision.frame.seq.0).collect::<Vec<_>>(), [30, 20]);
}

#[test]
fn an_event_is_found_by_either_end_of_its_id() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let recorded = store.record(vec![log_event(0), log_event(0), log_event(500_000)]).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    let text: Vec<String> = recorded.iter().map(|r| r.event.id.to_string()).collect();

    for (id, recorded) in text.iter().zip(&recorded) {
        assert_eq!(reader.find(id).unwrap().event, recorded.event);
        assert_eq!(reader.find(&id[28..]).unwrap().event.id, recorded.event.id, "the last eight digits");
        assert_eq!(reader.find(&id.to_uppercase()).unwrap().event.id, recorded.event.id);
    }
    assert_eq!(
        reader.find(&text[2][..8]).unwrap().event.id,
        recorded[2].event.id,
        "another time, another beginning"
    );
    assert!(matches!(reader.find(&text[0][..8]), Err(StoreError::Ambiguous(_))), "two of the same moment");
    assert!(matches!(reader.find("ffffffff"), Err(StoreError::NoEvent(_))));
    for bad in ["", "abc", "%", "abcdef%", "not an id at all"] {
        assert!(matches!(reader.find(bad), Err(StoreError::NotAnId(_))), "{bad}");
    }
    assert_eq!(reader.event(EventId::from_u128(1)).unwrap(), None);
}

#[test]
fn ids_sort_by_time_and_by_order_within_a_moment() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&settings(folder.path())).unwrap();
    let recorded = store.record((0..200).map(|i| log_event(i / 50)).collect()).unwrap();
    assert!(recorded.is_sorted_by(|a, b| a.event.id < b.event.id));
    let id = uuid::Uuid::from_u128(recorded[0].event.id.as_u128());
    assert_eq!(id.get_version_num(), 7);
    assert_eq!(id.get_timestamp().unwrap().to_unix().0, at(1).wall_us().unsigned_abs() / 1_000_000);
}

#[test]
fn snapshots_stay_with_their_events() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let mut later = new_event(Verdict::Alert { severity: Severity::Warning, snapshot: true }, 1);
    later.picture = Picture::Later(Box::new(|| Some(b"late".to_vec())));
    let mut broken = new_event(Verdict::Alert { severity: Severity::Warning, snapshot: true }, 2);
    broken.picture = Picture::Later(Box::new(|| None));
    let recorded = store.record(vec![alert(Severity::Info, 0, 50_000), later, broken]).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    let pictures: Vec<_> = recorded.iter().map(|r| reader.snapshot(r.event.id).unwrap()).collect();
    assert_eq!(pictures[0], Some(vec![0xA5; 50_000]));
    assert_eq!(pictures[1].as_deref(), Some(&b"late"[..]));
    assert_eq!(pictures[2], None, "an alert without its picture is better than none");
    let sizes: Vec<_> =
        recorded.iter().map(|r| reader.event(r.event.id).unwrap().unwrap().snapshot_bytes).collect();
    assert_eq!(sizes, [Some(50_000), Some(4), None]);
    let outbox = reader.outbox_after(0, 10).unwrap();
    assert_eq!(outbox.iter().map(|a| a.snapshot.clone()).collect::<Vec<_>>(), pictures);
}

#[test]
fn a_readers_view_follows_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    let recorded = store.record(vec![alert(Severity::Info, 0, 100), log_event(1), grant(2)]).unwrap();
    let counts = reader.counts().unwrap();
    assert_eq!(
        counts.by_verdict().collect::<Vec<_>>(),
        [("authorise", 1), ("deny", 0), ("alert", 1), ("log", 1)]
    );
    assert_eq!((counts.total(), counts.outbox, counts.snapshots), (3, 1, 1));
    assert_eq!(counts.outbox_bytes, store.outbox_bytes());
    let waiting = reader.event(recorded[0].event.id).unwrap().unwrap();
    assert_eq!(waiting.delivery, Delivery::Waiting);

    store.delivered(&[waiting.row], at(9)).unwrap();
    let delivered = reader.event(recorded[0].event.id).unwrap().unwrap();
    assert_eq!(delivered.delivery, Delivery::At(at(9).wall_us()));
    assert_eq!(reader.counts().unwrap().outbox, 0);
    store.close().unwrap();
    assert_eq!(reader.counts().unwrap().total(), 3, "a reader outlives the daemon");
}

#[test]
fn the_journal_view_is_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut store = Store::open(&settings).unwrap();
    let id = store.record(vec![grant(0)]).unwrap()[0].event.id;
    store.set_outcome(id, Outcome::Refused("door busy".to_owned())).unwrap();
    let conn = rusqlite::Connection::open(&settings.path).unwrap();
    let line: (String, String, String, String) = conn
        .query_row("SELECT verdict, place, answer, outcome FROM journal", [], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?))
        })
        .unwrap();
    let expected = ("authorise front", "street/gate", "person", "refused: door busy");
    assert_eq!((&*line.0, &*line.1, &*line.2, &*line.3), expected);
}
