//! What goes wrong at night: the broker, the power, a camera, the disk.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{fast_camera, street_site};
use crate::support::broker::{Broker, Subscriber};
use crate::support::daemon::{Daemon, Site, portero, stderr, street};
use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(120);

/// A camera that plays the clip for ever, in real time.
fn live_camera(id: &str) -> String {
    let video = street();
    format!(
        "[[camera]]\nid = \"{id}\"\nsource = {{ ffmpeg = {video:?} }}\nfps = 5\nsize = [768, 576]\nloop = true\nstall_after = \"3s\"\n"
    )
}

/// `count` rules that each alert once for the people in the street.
fn many_alerts(camera: &str, count: usize) -> String {
    (0..count)
        .map(|n| {
            format!("[[rule]]\nid = \"r{n}\"\ncamera = \"{camera}\"\nlabel = \"person\"\nagree = \"1 of 3\"\ncooldown = \"1s\"\nalert = \"warning\"\n")
        })
        .collect()
}

fn ids(witness: &Subscriber) -> BTreeSet<String> {
    let id = |payload: &str| {
        let alert: Value = serde_json::from_str(payload).unwrap();
        alert["event_id"].as_str().unwrap().to_owned()
    };
    witness.seen().iter().map(|m| id(&m.payload)).collect()
}

#[test]
fn a_broker_frozen_killed_and_restarted_costs_no_alert() {
    let mut broker = Broker::start();
    let early = broker.overhear("portero/+/alert");
    // 200 alerts from the first presence on.
    let site = Site::new(&format!(
        "[mqtt]\nurl = \"{}\"\n{}{}",
        broker.url(),
        live_camera("street"),
        many_alerts("street", 200)
    ));
    let mut daemon = site.start(&[]);
    wait_until("the first alerts arrive", PATIENCE, || early.seen().len() >= 5);
    broker.freeze();
    wait_until("all alerts are recorded", PATIENCE, || {
        site.database().exists() && site.events().len() >= 200
    });
    broker.kill();
    // Held still until the new witness is there: a broker passes on what it gets to those who listen by then.
    daemon.signal(Signal::STOP);
    broker.restart();
    let late = broker.subscribe("portero/+/alert");
    daemon.signal(Signal::CONT);
    let recorded: BTreeSet<String> = site.events().iter().map(|e| e.id.to_string()).collect();
    wait_until("every alert arrived at least once", PATIENCE, || {
        let mut arrived = ids(&late);
        arrived.extend(ids(&early));
        recorded.is_subset(&arrived)
    });
    assert!(daemon.stop().success(), "{}", daemon.log());
    assert!(daemon.log().contains("outbox 0 waiting"), "{}", daemon.log());
}

#[test]
fn alerts_wait_in_the_outbox_until_a_broker_comes() {
    let mut broker = Broker::start();
    broker.kill();
    let site = street_site(Some(&broker), &street());
    let log = site.play();
    assert!(log.contains("stay in the outbox"), "{log}");
    let waiting = site.events().iter().filter(|e| e.decision.verdict.kind() == "alert").count();
    assert!(waiting >= 1);

    broker.restart();
    let witness = broker.subscribe("portero/+/alert");
    let mut daemon = site.start(&[]);
    witness.wait_for(waiting, PATIENCE);
    assert!(daemon.stop().success());
}

#[test]
fn twenty_kills_lose_nothing_that_was_committed() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/+/alert");
    let site = Site::new(&format!(
        "[mqtt]\nurl = \"{}\"\n{}{}",
        broker.url(),
        live_camera("street").replace("loop = true", "loop = true\npace = \"fast\""),
        // The cooldown goes on over a restart: a longer one would swallow the only presence of a quick round.
        many_alerts("street", 40).replace("cooldown = \"1s\"", "cooldown = \"100ms\"")
    ));
    for round in 0..20 {
        // A new one: what the round before left in the outbox is told first, and perhaps for the second time.
        let before = ids(&witness).len();
        let daemon = site.start(&[]);
        wait_until(&format!("a new alert arrives in round {round}"), PATIENCE, || {
            ids(&witness).len() > before
        });
        drop(daemon); // kill -9
        site.assert_intact();
    }
    let recorded: BTreeSet<String> = site.events().iter().map(|e| e.id.to_string()).collect();
    let arrived = ids(&witness);
    let missing: Vec<_> = arrived.difference(&recorded).collect();
    assert!(missing.is_empty(), "told but not in the database: {missing:?}");
    assert!(arrived.len() >= 20, "{} alerts in 20 rounds", arrived.len());
}

/// The ffmpeg processes below the daemon.
fn children(daemon: &Daemon) -> Vec<i32> {
    let all = Command::new("ps").args(["-eo", "pid=,ppid=,comm="]).output().unwrap();
    let text = String::from_utf8_lossy(&all.stdout).into_owned();
    let rows: Vec<(i32, u32, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?))
        })
        .collect();
    rows.iter()
        .filter(|(_, parent, name)| *parent == daemon.pid() && *name == "ffmpeg")
        .map(|r| r.0)
        .collect()
}

#[test]
fn a_killed_source_comes_back_while_the_other_camera_goes_on() {
    let site = Site::new(&format!(
        "{}{}[[rule]]\nid = \"r\"\ncameras = [\"one\", \"two\"]\nlabel = \"person\"\nlog = true\n",
        live_camera("one"),
        live_camera("two")
    ));
    let mut daemon = site.start(&["--report", "1"]);
    daemon.wait_for_log("camera one: online", PATIENCE);
    daemon.wait_for_log("camera two: online", PATIENCE);
    wait_until("there is one child each", PATIENCE, || children(&daemon).len() == 2);
    let before = children(&daemon);
    kill_process(Pid::from_raw(before[0]).unwrap(), Signal::KILL).unwrap();
    wait_until("the lost camera is online again", PATIENCE, || {
        let log = daemon.log();
        let online = |id: &str| log.matches(&format!("camera {id}: online")).count();
        online("one") + online("two") == 3
    });
    assert!(daemon.stop().success(), "{}", daemon.log());
    assert!(children(&daemon).is_empty(), "children outlived the daemon");
}

#[test]
fn children_die_with_a_killed_daemon() {
    let site = Site::new(&format!(
        "{}[[rule]]\nid = \"r\"\ncamera = \"one\"\nlabel = \"person\"\nlog = true\n",
        live_camera("one")
    ));
    let daemon = site.start(&[]);
    daemon.wait_for_log("camera one: online", PATIENCE);
    // On a slow machine the camera may just be changing to its next child: all of them count.
    let orphans = children(&daemon);
    assert!(!orphans.is_empty());
    drop(daemon); // kill -9
    wait_until("ffmpeg is gone", PATIENCE, || {
        orphans.iter().all(|orphan| {
            let state = std::fs::read_to_string(format!("/proc/{orphan}/stat"));
            state.is_err() || state.is_ok_and(|s| s.contains(") Z "))
        })
    });
}

#[test]
fn a_video_that_is_none_is_a_state_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("fake.mp4");
    std::fs::write(&fake, "this is no video").unwrap();
    let site = street_site(None, &fake);
    let mut daemon = site.start(&[]);
    daemon.wait_for_log("camera street: offline", PATIENCE);
    assert!(daemon.stop().success(), "{}", daemon.log());
}

#[test]
fn a_second_daemon_on_the_same_database_is_refused() {
    let site = street_site(None, &street());
    let camera = live_camera("street");
    site.configure(&format!(
        "{camera}[[rule]]\nid = \"r\"\ncamera = \"street\"\nlabel = \"person\"\nlog = true\n"
    ));
    let mut first = site.start(&[]);
    first.wait_for_log("camera street: online", PATIENCE);
    let second = portero(&["run", "--config", site.config().to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1), "{}", stderr(&second));
    assert!(stderr(&second).contains("portero.db"), "{}", stderr(&second));
    assert!(first.stop().success());
}

#[test]
fn a_read_only_state_directory_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        Command::new("mount").args(arguments).arg(folder.path()).status().is_ok_and(|s| s.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs"]) {
        eprintln!("skipped: mounting needs root");
        return;
    }
    let site = street_site(None, &street());
    let text = std::fs::read_to_string(site.config()).unwrap();
    let elsewhere = text.replace("\"portero.db\"", &format!("{:?}", folder.path().join("portero.db")));
    std::fs::write(site.config(), elsewhere).unwrap();
    let output = portero(&["run", "--config", site.config().to_str().unwrap()]);
    assert!(Command::new("umount").arg(folder.path()).status().unwrap().success());
    assert!(matches!(output.status.code(), Some(1 | 78)), "{:?}", output.status);
    let said = stderr(&output);
    assert!(said.contains(folder.path().to_str().unwrap()), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn the_clip_is_played_to_its_end_without_a_broker() {
    let site = Site::new(&format!(
        "{}[[rule]]\nid = \"r\"\ncamera = \"street\"\nlabel = \"person\"\nlog = true\n",
        fast_camera("street", &street())
    ));
    let log = site.play();
    assert!(log.contains("no broker is configured"), "{log}");
}
