//! Rules about tracks in the real daemon: real video, real models, a real database, a real broker.

use std::time::Duration;

use portero::domain::{Event, Line, LineId, Stamp};
use portero::track::{Settings, Tracker};
use serde_json::Value;

use super::yolox;
use crate::pipeline::fast_camera;
use crate::support::broker::Broker;
use crate::support::daemon::{Site, portero, stderr, street};
use crate::watch::motion::{normalised, reference};

/// A line across the street from above to below, and the rules about it.
const RULES: &str = r#"
[[camera.line]]
id = "middle"
from = [0.5, 0.1]
to = [0.5, 0.95]

[[camera.zone]]
id = "path"
box = [0.45, 0.25, 0.95, 0.80]

[[rule]]
id = "crossed"
camera = "street"
crossed = "middle"
cooldown = "1s"
alert = "info"

[[rule]]
id = "entered"
camera = "street"
zone = "path"
entered = true
LABEL
log = true

[[rule]]
id = "left"
camera = "street"
zone = "path"
left = true
log = true

[[rule]]
id = "three"
camera = "street"
count = ">= 3"
for = "1s"
log = true

[[rule]]
id = "covered"
camera = "street"
zone = "path"
covered = 0.05
log = true
"#;

fn rules(label: &str) -> String {
    RULES.replace("LABEL", label)
}

fn of<'a>(events: &'a [Event], rule: &str) -> Vec<&'a Event> {
    events.iter().filter(|e| e.decision.rule.as_ref().is_some_and(|r| r.as_str() == rule)).collect()
}

/// How often the persons of the clip cross the line, as the boxes of onnxruntime have it.
fn crossings() -> usize {
    let line = Line::new(LineId::new("middle").unwrap(), (0.5, 0.1), (0.5, 0.95)).unwrap();
    let reference = reference();
    let mut tracker = Tracker::new(Settings { sure: 0.4, ..Settings::default() });
    let (mut feet, mut crossings) = (std::collections::BTreeMap::new(), 0);
    for n in (500..700).step_by(2) {
        let boxes = reference.get(&n).into_iter().flatten().filter_map(|(b, score)| {
            let score = portero::domain::Score::new(*score)?;
            Some(portero::domain::Detection { rect: normalised(*b)?, score, prediction: None })
        });
        for track in tracker.step(Stamp::new(n * 100_000, 0), boxes.collect()).seen {
            let foot = track.rect.foot();
            let before = feet.insert(track.id, foot);
            crossings += usize::from(before.is_some_and(|before| line.crossed(before, foot).is_some()));
        }
    }
    crossings
}

#[track_caller]
fn assert_told(events: &[Event], log: &str) {
    for rule in ["crossed", "entered", "left", "three", "covered"] {
        assert!(!of(events, rule).is_empty(), "rule {rule} said nothing:\n{log}");
    }
    for event in events {
        let decision = &event.decision;
        let about_one = !["three", "covered"].contains(&decision.rule.as_ref().unwrap().as_str());
        assert_eq!(decision.observation.track.is_some(), about_one, "{decision:?}");
    }
    let expected = crossings();
    let crossed = of(events, "crossed");
    assert!(expected >= 5, "only {expected} cross the line");
    let off = crossed.len().abs_diff(expected);
    assert!(off * 3 <= expected, "{} crossed, expected about {expected}:\n{log}", crossed.len());
    assert!(crossed.iter().all(|e| e.decision.reason.contains("crossed line middle to the")), "{crossed:?}");
}

#[test]
fn motion_alone_tells_who_crosses_enters_leaves_and_how_many_there_are() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/street/alert");
    let mqtt = format!("[mqtt]\nurl = \"{}\"\n", broker.url());
    let camera = fast_camera("street", &street()) + "motion = true\n";
    let site = Site::new(&(mqtt + &camera + &rules("label = \"person\"\nagree = \"2 of 4\"")));
    let log = site.play();
    let events = site.events();
    assert_told(&events, &log);
    let persons = of(&events, "entered");
    assert!(persons.iter().all(|e| e.decision.observation.answer.as_str() == "person"), "{persons:?}");

    let crossed = of(&events, "crossed");
    let told = witness.wait_for(crossed.len(), Duration::from_secs(20));
    for (message, event) in told.iter().zip(crossed) {
        let alert: Value = serde_json::from_str(&message.payload).unwrap();
        let track = event.decision.observation.track.unwrap();
        assert_eq!(alert["event_id"].as_str().unwrap(), event.id.to_string());
        assert_eq!(alert["track"].as_u64(), Some(track.id.0));
        assert_eq!(alert["box"].as_array().map(Vec::len), Some(4));
    }
    site.assert_intact();
}

#[test]
fn the_detector_serves_the_same_rules_with_its_own_labels() {
    let folder = tempfile::tempdir().unwrap();
    let Some(manifest) = yolox(&folder) else { return };
    let detector = format!("[detector]\nmanifest = {manifest:?}\nlabels = [\"person\"]\n");
    let camera = fast_camera("street", &street()) + "motion = true\n";
    let site = Site::new(&(detector + &camera + &rules("label = \"person\"")));
    let log = site.play();
    let events = site.events();
    assert_told(&events, &log);
    let by_detector = |event: &&Event| event.decision.model.as_str() == "yolox-nano";
    let entered = of(&events, "entered");
    assert!(entered.iter().all(by_detector), "{entered:?}");
    let hash = "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14";
    assert!(entered.iter().all(|event| &*event.model_sha256 == hash));

    let wrong = detector_less(&site);
    assert!(
        wrong.contains("the detector knows no label `persn`") && wrong.contains("did you mean `person`?"),
        "{wrong}"
    );
}

/// What `check` says when the detector is asked for what it does not know.
fn detector_less(site: &Site) -> String {
    let text = std::fs::read_to_string(site.config()).unwrap();
    std::fs::write(site.config(), text.replacen("labels = [\"person\"]", "labels = [\"persn\"]", 1)).unwrap();
    let output = portero(&["check", "--config", site.config().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    stderr(&output) + &String::from_utf8_lossy(&output.stdout)
}
