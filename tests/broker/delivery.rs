//! Alerts arrive at least once, whatever happens to the broker; the last will and `offline` are told.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portero::domain::CameraState;
use portero::notify::{SNAPSHOT_LIMIT_BYTES, Settings, Timing};

use super::line::Line;
use super::{Rows, Running, SOON, camera, first_arrivals, quick, rows_of, settings, settings_on};
use crate::support::broker::Broker;
use crate::support::wait_until;

const ALERTS: &str = "portero/front/alert";

#[test]
fn alerts_arrive_in_order_and_leave_the_outbox() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/#");
    let publisher = Running::start(settings(&broker));
    (1..=100).for_each(|row| publisher.add(row));
    publisher.wait_until_empty();
    wait_until("the witness has seen them", SOON, || witness.on(ALERTS).len() == 100);
    assert_eq!(rows_of(&witness.on(ALERTS)), (1..=100).collect::<Vec<_>>());
    assert_eq!(publisher.rows.delivered(), (1..=100).collect::<Vec<_>>());
    assert!(witness.seen().iter().filter(|m| m.topic == ALERTS).all(|m| m.qos == 1 && !m.retained));
    let counts = publisher.handles.counters.read();
    assert_eq!((counts.published, counts.acked, counts.republished), (100, 100, 0));
}

#[test]
fn a_delivery_that_was_not_recorded_is_reported_again_and_not_sent_again() {
    let broker = Broker::start();
    let witness = broker.subscribe(ALERTS);
    let publisher = Running::start(settings(&broker));
    publisher.rows.loses_a_report.store(true, Ordering::SeqCst);
    publisher.add(1);
    wait_until("the report is lost", SOON, || !publisher.rows.loses_a_report.load(Ordering::SeqCst));
    publisher.wait_until_empty();
    publisher.add(2);
    publisher.wait_until_empty();
    wait_until("the second arrives", SOON, || witness.on(ALERTS).len() >= 2);
    assert_eq!(rows_of(&witness.on(ALERTS)), [1, 2], "once each");
}

#[test]
fn nothing_is_lost_when_the_broker_is_frozen_killed_and_restarted_without_memory() {
    let mut broker = Broker::start();
    let before = broker.overhear(ALERTS);
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    (1..=50).for_each(|row| publisher.add(row));
    wait_until("some are delivered", SOON, || publisher.rows.delivered().len() >= 20);

    broker.freeze();
    (51..=120).for_each(|row| publisher.add(row));
    wait_until("the frozen broker is given up", SOON, || publisher.handles.counters.read().failures > 0);
    let acked: BTreeSet<i64> = publisher.rows.delivered().into_iter().collect();
    broker.kill();
    (121..=200).for_each(|row| publisher.add(row));
    // Nothing of what the dead broker had not acknowledged counts as delivered.
    assert!(publisher.rows.waiting() >= 200 - 50);

    // Held back until the witness is there: a broker without memory forgets what nobody reads.
    let rows = publisher.rows.clone();
    drop(publisher);
    broker.restart();
    let after = broker.subscribe(ALERTS);
    let publisher = Running::start_with(settings(&broker), quick(), rows);
    publisher.wait_until_empty();
    let unacked = (1..=200).filter(|row| !acked.contains(row)).collect::<Vec<_>>();
    wait_until("the rest arrives", SOON, || {
        first_arrivals(&rows_of(&after.on(ALERTS))).len() == unacked.len()
    });
    assert_eq!(first_arrivals(&rows_of(&after.on(ALERTS))), unacked, "in order");
    // An acknowledged alert had been passed to the witness of that time.
    let seen_before: BTreeSet<i64> = rows_of(&before.on(ALERTS)).into_iter().collect();
    assert!(acked.is_subset(&seen_before), "{:?}", acked.difference(&seen_before));
}

#[test]
fn a_thawed_broker_gets_what_it_missed_from_the_same_publisher() {
    let broker = Broker::start();
    let witness = broker.subscribe(ALERTS);
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    broker.freeze();
    (1..=60).for_each(|row| publisher.add(row));
    wait_until("the frozen broker is given up", SOON, || publisher.handles.counters.read().failures > 0);
    broker.thaw();
    publisher.wait_until_empty();
    wait_until("all arrive", SOON, || first_arrivals(&rows_of(&witness.on(ALERTS))).len() == 60);
    assert!(
        publisher.handles.counters.read().republished > 0,
        "the window of the dead connection was repeated"
    );
}

#[test]
fn wills_of_connections_given_up_do_not_outlive_the_return() {
    let broker = Broker::start();
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    broker.freeze();
    // Each try leaves a connection in the frozen broker's queue, with its last will.
    wait_until("several tries fail", SOON, || publisher.handles.counters.read().failures >= 4);
    broker.thaw();
    publisher.wait_until_live();
    publisher.add(1);
    publisher.wait_until_empty();
    let witness = broker.subscribe("portero/available");
    // A second alert gives wills that are under way the time to arrive.
    publisher.add(2);
    publisher.wait_until_empty();
    witness.wait_for_last("portero/available", "online", SOON);
    let failures = publisher.handles.counters.read().failures;
    publisher.add(3);
    publisher.wait_until_empty();
    assert_eq!(witness.on("portero/available").last().map(String::as_str), Some("online"));
    assert_eq!(publisher.handles.counters.read().failures, failures, "and the connection stands");
}

#[test]
fn an_idle_frozen_broker_is_noticed() {
    let broker = Broker::start();
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    broker.freeze();
    wait_until("the silence is noticed", SOON, || !publisher.handles.counters.is_live());
    broker.thaw();
    publisher.wait_until_live();
}

#[test]
fn a_picture_arrives_before_its_alert() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/front/#");
    let publisher = Running::start(settings(&broker));
    publisher.rows.add(1, Some(vec![b'x'; 300_000]));
    publisher.rows.add(2, Some(vec![b'y'; SNAPSHOT_LIMIT_BYTES + 1]));
    publisher.handles.wake.ring();
    publisher.wait_until_empty();
    wait_until("both alerts arrive", SOON, || witness.on(ALERTS).len() == 2);
    let seen = witness.seen();
    let order: Vec<&str> =
        seen.iter().filter(|m| !m.retained && m.qos == 1).map(|m| m.topic.as_str()).collect();
    let first_picture = order.iter().position(|topic| *topic == "portero/front/snapshot").unwrap();
    assert_eq!(order[first_picture + 1], ALERTS);
    let pictures = witness.on("portero/front/snapshot");
    assert_eq!(pictures.iter().map(String::len).collect::<Vec<_>>(), [300_000], "the giant is left out");
    let alerts = witness.on(ALERTS);
    assert!(alerts[0].contains("\"bytes\":300000"), "{}", alerts[0]);
    assert!(alerts[1].contains("snapshot_left_out"), "{}", alerts[1]);
    assert_eq!(publisher.handles.counters.read().snapshots_left_out, 1);
}

#[test]
fn large_pictures_cross_a_slow_line_on_one_connection() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/front/snapshot");
    // 6.4 MB/s: writing a packet takes longer than a turn of the publisher's loop.
    let line = Line::to(&broker, 64 * 1024);
    // The patience of the daemon itself: what a loaded machine delays is no broken connection.
    let slow = Settings { port: line.port, ..settings(&broker) };
    let publisher = Running::start_with(slow, Timing::default(), Rows::default());
    publisher.wait_until_live();
    (1..=3).for_each(|row| publisher.rows.add(row, Some(vec![b'x'; SNAPSHOT_LIMIT_BYTES])));
    publisher.handles.wake.ring();
    publisher.wait_until_empty();
    wait_until("the pictures arrive", SOON, || witness.seen().len() == 3);
    assert!(witness.seen().iter().all(|m| m.payload.len() == SNAPSHOT_LIMIT_BYTES));
    let counts = publisher.handles.counters.read();
    assert_eq!((counts.connections, counts.failures, counts.republished), (1, 0, 0));
}

#[test]
fn a_picture_that_the_broker_hangs_up_on_does_not_block_the_outbox() {
    let broker = Broker::start_with("allow_anonymous true\nmax_packet_size 20000\n", &[]);
    let witness = broker.subscribe(ALERTS);
    let publisher = Running::start(settings(&broker));
    publisher.rows.add(1, Some(vec![b'x'; 50_000]));
    publisher.add(2);
    publisher.wait_until_empty();
    wait_until("both alerts arrive", SOON, || first_arrivals(&rows_of(&witness.on(ALERTS))).len() == 2);
    assert!(witness.on(ALERTS).iter().any(|alert| alert.contains("snapshot_left_out")));
}

#[test]
fn a_clean_stop_says_offline_and_what_is_in_flight_is_acknowledged() {
    let broker = Broker::start();
    let mut publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    (1..=10).for_each(|row| publisher.rows.add(row, None));
    publisher.stop(Duration::from_secs(20));
    assert_eq!(publisher.rows.waiting(), 0);
    let late = broker.subscribe("portero/available");
    let seen = late.wait_for(1, SOON);
    assert_eq!((seen[0].payload.as_str(), seen[0].retained), ("offline", true));
    let log = broker.log();
    assert!(log.contains("portero-test disconnected"), "a goodbye, not a hang-up: {log}");
}

#[test]
fn stopping_takes_no_longer_when_the_broker_is_frozen() {
    let broker = Broker::start();
    let mut publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    broker.freeze();
    (1..=40).for_each(|row| publisher.add(row));
    publisher.stop(Duration::from_secs(1));
    assert_eq!(publisher.rows.waiting(), 40, "nothing was acknowledged, so everything is kept");

    // And neither while it waits for a greeting that never comes.
    let mut waiting = Running::start_with(settings(&broker), quick(), Rows::default());
    wait_until("it tries", SOON, || waiting.handles.counters.heartbeat_us() > 0);
    waiting.stop(Duration::from_secs(1));
}

#[test]
fn the_loop_turns_while_the_broker_is_away() {
    let mut broker = Broker::start();
    broker.kill();
    let publisher = Running::start(settings(&broker));
    let beat = || publisher.handles.counters.heartbeat_us();
    wait_until("it starts", SOON, || beat() > 0);
    let first = beat();
    wait_until("it turns on", SOON, || beat() > first + 1_000_000);
    assert!(publisher.handles.counters.read().failures > 0);
    assert!(!publisher.handles.counters.is_live());
}

#[test]
fn every_state_is_told_again_to_a_broker_that_forgot_them() {
    let mut broker = Broker::start();
    let publisher = Running::start(settings(&broker));
    publisher.wait_until_live();
    publisher.handles.states.set_camera(&camera(), CameraState::Online, "");
    publisher.handles.states.set_person(&camera(), true);
    broker.restart();
    let witness = broker.subscribe("portero/#");
    for (topic, value) in
        [("portero/available", "online"), ("portero/front/status", "online"), ("portero/front/person", "ON")]
    {
        witness.wait_for_last(topic, value, SOON);
    }
    publisher.handles.states.set_camera(&camera(), CameraState::Offline, "");
    witness.wait_for_last("portero/front/status", "offline", SOON);
    witness.wait_for_last("portero/front/person", "OFF", SOON);
    let late = broker.subscribe("portero/front/status");
    assert!(late.wait_for(1, SOON)[0].retained);
}

/// Not a test by itself: the child of the next one.
#[test]
#[ignore = "started by the_last_will_is_told_when_the_daemon_is_killed"]
fn child_publisher() {
    let Ok(port) = std::env::var("PORTERO_TEST_PORT") else { return };
    let publisher = Running::start(settings_on(port.parse().unwrap()));
    wait_until("to be killed", Duration::from_secs(60), || {
        publisher.handles.counters.heartbeat_us() == u64::MAX
    });
}

#[test]
fn the_last_will_is_told_when_the_daemon_is_killed() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/available");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "broker::delivery::child_publisher", "--ignored"])
        .env("PORTERO_TEST_PORT", broker.port().to_string())
        .spawn()
        .unwrap();
    witness.wait_for_last("portero/available", "online", SOON);
    child.kill().unwrap();
    child.wait().unwrap();
    witness.wait_for_last("portero/available", "offline", SOON);
    let late = broker.subscribe("portero/available");
    assert!(late.wait_for(1, SOON)[0].retained);
}
