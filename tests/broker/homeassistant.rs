//! What Home Assistant finds, and finds again.

use std::time::Duration;

use super::{Running, SOON, settings};
use crate::support::broker::Broker;
use crate::support::wait_until;

const CONFIG: &str = "homeassistant/device/portero-test/config";

#[test]
fn the_device_is_announced_and_announced_again_when_home_assistant_starts() {
    let mut broker = Broker::start();
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    let late = broker.subscribe("homeassistant/device/#");
    let found = late.wait_for(1, SOON);
    assert!(found[0].retained, "it survives a restart of Home Assistant");
    let payload: serde_json::Value = serde_json::from_str(&found[0].payload).unwrap();
    assert_eq!((&payload["dev"]["name"], &payload["o"]["name"]), (&"Test".into(), &"portero".into()));
    assert!(payload["cmps"]["front_person"].is_object());

    // Everything again, in an order that never shows `online` before the states.
    let witness = broker.subscribe("#");
    wait_until("the retained messages are here", SOON, || {
        witness.seen().iter().filter(|m| m.retained).count() >= 5
    });
    let retained = witness.seen().len();
    broker.publish("homeassistant/status", "online");
    wait_until("it is announced again", SOON, || {
        witness.seen()[retained..].iter().any(|m| m.topic == "portero/available")
    });
    let again: Vec<String> = witness.seen()[retained..].iter().map(|m| m.topic.clone()).collect();
    let expected = [
        "homeassistant/status",
        CONFIG,
        "portero/store",
        "portero/store/reason",
        "portero/front/status",
        "portero/front/health",
        "portero/front/person",
        "portero/available",
    ];
    assert_eq!(again, expected);

    drop((late, witness));
    broker.restart();
    let after = broker.subscribe(CONFIG);
    after.wait_for(1, SOON);
}

#[test]
fn alerts_come_as_events_with_their_type() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/event");
    let publisher = Running::start(settings(&broker));
    publisher.add(1);
    let seen = witness.wait_for(1, SOON);
    let event: serde_json::Value = serde_json::from_str(&seen[0].payload).unwrap();
    assert_eq!(event["event_type"], "critical");
    assert_eq!(event["camera"], "front");
    assert!(!seen[0].retained, "an event is news, not a state");
}

#[test]
fn without_discovery_nothing_is_said_to_home_assistant() {
    let broker = Broker::start();
    let witness = broker.subscribe("#");
    let plain = portero::notify::Settings { discovery_prefix: None, ..settings(&broker) };
    let mut publisher = Running::start(plain);
    publisher.add(1);
    publisher.wait_until_empty();
    publisher.stop(Duration::from_secs(5));
    witness.wait_for_last("portero/available", "offline", SOON);
    let strays =
        witness.seen().into_iter().filter(|m| !m.topic.starts_with("portero/") || m.topic == "portero/event");
    assert_eq!(strays.collect::<Vec<_>>(), []);
}
