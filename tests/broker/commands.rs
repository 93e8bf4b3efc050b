//! Door commands: on a live connection now, or never.

use portero::notify::{LinkDown, Settings};

use super::line::Line;
use super::{Running, SOON, settings, soon};
use crate::support::broker::Broker;
use crate::support::wait_until;

const DOOR: &str = "doors/main/open";

#[test]
fn a_command_on_a_live_connection_is_confirmed_and_not_retained() {
    let broker = Broker::start();
    let witness = broker.subscribe("doors/#");
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    for n in 0..20 {
        let payload = format!("{{\"id\":{n}}}");
        assert_eq!(publisher.handles.link.send(DOOR, payload.into_bytes(), soon()), Ok(()));
    }
    let seen = witness.wait_for(20, SOON);
    assert!(seen.iter().all(|m| m.qos == 0 && !m.retained && m.topic == DOOR));
    assert_eq!(publisher.handles.counters.read().commands_sent, 20);
    let late = broker.subscribe("doors/#");
    broker.publish("doors/end", "end");
    assert_eq!(late.wait_for(1, SOON)[0].topic, "doors/end", "nothing was retained");
}

#[test]
fn a_command_does_not_wait_behind_alerts() {
    let broker = Broker::start();
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    (1..=2_000).for_each(|row| publisher.rows.add(row, Some(vec![b'x'; 20_000])));
    publisher.handles.wake.ring();
    wait_until("alerts flow", SOON, || !publisher.rows.delivered().is_empty());
    assert_eq!(publisher.handles.link.send(DOOR, b"{}".to_vec(), soon()), Ok(()));
    assert!(publisher.rows.waiting() > 0, "the command went in between");
}

#[test]
fn a_command_to_a_frozen_broker_is_refused_and_never_arrives() {
    let mut broker = Broker::start();
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    broker.freeze();
    assert_eq!(publisher.handles.link.send(DOOR, b"{\"id\":1}".to_vec(), soon()), Err(LinkDown::NoAnswer));

    // Not even when the same broker goes on with the same connection, or a new one.
    let witness = {
        broker.thaw();
        broker.subscribe("doors/#")
    };
    publisher.wait_until_live();
    wait_until("the link works again", SOON, || {
        publisher.handles.link.send(DOOR, b"{\"id\":2}".to_vec(), soon()).is_ok()
    });
    assert_eq!(witness.wait_for(1, SOON)[0].payload, "{\"id\":2}");

    // Nor when it is killed and another takes its place.
    broker.freeze();
    assert!(publisher.handles.link.send(DOOR, b"{\"id\":3}".to_vec(), soon()).is_err());
    drop(witness);
    broker.restart();
    let witness = broker.subscribe("doors/#");
    wait_until("the link works again", SOON, || {
        publisher.handles.link.send(DOOR, b"{\"id\":4}".to_vec(), soon()).is_ok()
    });
    assert_eq!(witness.wait_for(1, SOON)[0].payload, "{\"id\":4}");
    assert!(witness.seen().iter().all(|m| m.payload != "{\"id\":3}"));
}

#[test]
fn without_a_broker_a_command_is_refused_at_once() {
    let mut broker = Broker::start();
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    broker.kill();
    wait_until("the loss is noticed", SOON, || !publisher.handles.counters.is_live());
    assert_eq!(publisher.handles.link.send(DOOR, b"{}".to_vec(), soon()), Err(LinkDown::NotConnected));

    broker.restart();
    let witness = broker.subscribe("doors/#");
    wait_until("the link works again", SOON, || {
        publisher.handles.link.send(DOOR, b"{\"id\":2}".to_vec(), soon()).is_ok()
    });
    assert_eq!(witness.wait_for(1, SOON)[0].payload, "{\"id\":2}");
}

#[test]
fn a_command_that_is_not_confirmed_is_said_to_be_so_and_not_repeated() {
    let broker = Broker::start();
    let witness = broker.subscribe("doors/#");
    let line = Line::to(&broker, 64 * 1024);
    let publisher = Running::start(Settings { port: line.port, ..settings(&broker) });
    publisher.wait_until_live();
    line.go_deaf_after_the_next_unsuback();
    let sent = publisher.handles.link.send(DOOR, b"{\"id\":1}".to_vec(), soon());
    assert_eq!(sent, Err(LinkDown::Unconfirmed), "the first sign of life came, the second did not");
    publisher.wait_until_live();
    wait_until("the link works again", SOON, || {
        publisher.handles.link.send(DOOR, b"{\"id\":2}".to_vec(), soon()).is_ok()
    });
    let payloads: Vec<String> = witness.wait_for(2, SOON).into_iter().map(|m| m.payload).collect();
    assert_eq!(payloads, ["{\"id\":1}", "{\"id\":2}"], "the first had arrived, once");
}
