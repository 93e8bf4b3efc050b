//! The whole way: real video → real model → rules → real SQLite file → real mosquitto.

mod faults;
mod shutdown;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use portero::domain::{Event, Outcome, Verdict};
use portero::store::Reader;
use serde_json::Value;

use crate::support::broker::Broker;
use crate::support::daemon::{Site, shared, street};

/// A camera that plays `video` as fast as it is decided.
pub(crate) fn fast_camera(id: &str, video: &Path) -> String {
    format!(
        "[[camera]]\nid = \"{id}\"\nsource = {{ ffmpeg = {video:?} }}\nfps = 5\nsize = [768, 576]\npace = \"fast\"\n"
    )
}

/// The rules that most tests use: an alert with picture for a person on the path, a log line for the scene.
const RULES: &str = r#"
[[camera.zone]]
id = "path"
box = [0.45, 0.25, 0.95, 0.80]

[[rule]]
id = "person-on-path"
camera = "street"
zone = "path"
label = "person"
agree = "3 of 5"
cooldown = "5s"
alert = "warning"
snapshot = true

[[rule]]
id = "anybody"
camera = "street"
label = "person"
agree = "2 of 4"
log = true
"#;

pub(crate) fn street_site(broker: Option<&Broker>, video: &Path) -> Site {
    let mqtt = broker.map_or(String::new(), |b| format!("[mqtt]\nurl = \"{}\"\n", b.url()));
    Site::new(&format!("{mqtt}{}{RULES}", fast_camera("street", video)))
}

fn alerts(events: &[Event]) -> Vec<&Event> {
    events.iter().filter(|e| matches!(e.decision.verdict, Verdict::Alert { .. })).collect()
}

#[test]
fn the_clip_gives_person_events_and_delivers_their_alerts() {
    let broker = Broker::start();
    let witness = broker.subscribe("portero/street/alert");
    let site = street_site(Some(&broker), &street());
    let log = site.play();

    let events = site.events();
    let alerts = alerts(&events);
    assert!(!alerts.is_empty(), "a street full of people gave no alert:\n{log}");
    assert!(alerts.iter().all(|e| e.decision.observation.answer.as_str() == "person"));
    assert!(alerts.iter().all(|e| e.outcome == Outcome::Done), "{alerts:?}");
    let logged = events.iter().filter(|e| e.decision.verdict == Verdict::Log).count();
    assert!(logged >= 1, "{log}");

    let told = witness.wait_for(alerts.len(), Duration::from_secs(10));
    let ids: Vec<String> = told
        .iter()
        .map(|m| serde_json::from_str::<Value>(&m.payload).unwrap()["event_id"].as_str().unwrap().to_owned())
        .collect();
    let recorded: Vec<String> = alerts.iter().map(|e| e.id.to_string()).collect();
    assert_eq!(ids, recorded, "what was told is what was recorded, in that order");

    let reader = Reader::open(&site.database()).unwrap();
    let jpeg = reader.snapshot(alerts[0].id).unwrap().expect("the rule asked for a picture");
    let picture = image::load_from_memory(&jpeg).unwrap();
    assert_eq!((picture.width(), picture.height()), (768, 576));

    assert!(log.contains("0 lost"), "{log}");
    assert!(log.contains("100 frames"), "every frame of a fast file is looked at, 20 s at 5 fps:\n{log}");
    site.assert_intact();
}

#[test]
fn one_presence_is_one_event_not_one_per_frame() {
    let site = street_site(None, &street());
    site.play();
    let count = site.events().len();
    assert!((1..=20).contains(&count), "{count} events for 100 frames");
}

/// The temporal median of the street, with sensor noise: the same scene without people.
fn empty_scene(folder: &Path) -> std::path::PathBuf {
    let source = shared("media/vtest.avi").unwrap_or_else(street);
    let (median, video) = (folder.join("median.png"), folder.join("empty.mp4"));
    let every = if source.ends_with("vtest.avi") { 4 } else { 1 };
    let filter = format!("select=not(mod(n\\,{every})),tmedian=radius=95");
    let ffmpeg = |arguments: &[&str]| {
        let output = Command::new("ffmpeg").args(["-v", "error", "-y", "-nostdin"]).args(arguments).output();
        let output = output.expect("ffmpeg is needed by the tests: apt-get install ffmpeg");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |p: &Path| p.to_str().unwrap().to_owned();
    ffmpeg(&["-i", &text(&source), "-vf", &filter, "-frames:v", "1", &text(&median)]);
    ffmpeg(&[
        "-loop",
        "1",
        "-framerate",
        "10",
        "-i",
        &text(&median),
        "-t",
        "20",
        "-vf",
        "noise=alls=10:allf=t",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
        &text(&video),
    ]);
    video
}

#[test]
fn an_empty_scene_gives_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let site = street_site(None, &empty_scene(folder.path()));
    let log = site.play();
    assert!(log.contains("100 frames"), "{log}");
    let events = site.events();
    assert!(events.is_empty(), "an empty street gave {events:#?}");
}

#[test]
fn the_same_video_gives_the_same_decisions() {
    let decisions = |site: &Site| {
        site.play();
        let told = |e: &Event| {
            let d = &e.decision;
            (d.frame.seq, d.rule.as_ref().map(ToString::to_string), d.verdict.clone(), d.reason.clone())
        };
        site.events().iter().map(told).collect::<Vec<_>>()
    };
    let first = decisions(&street_site(None, &street()));
    assert!(!first.is_empty());
    assert_eq!(first, decisions(&street_site(None, &street())));
}

#[test]
fn a_door_in_observe_mode_records_and_does_nothing() {
    let site = Site::new(&format!(
        "{}{}",
        fast_camera("street", &street()),
        r#"
[[door]]
id = "gate"
kind = "command"
argv = ["/usr/bin/touch", "opened"]

[[rule]]
id = "walkers"
camera = "street"
label = "person"
authorize = "gate"
"#
    ));
    let log = site.play();
    let events = site.events();
    let grants: Vec<_> =
        events.iter().filter(|e| matches!(e.decision.verdict, Verdict::Authorise { .. })).collect();
    assert!(!grants.is_empty(), "{log}");
    assert!(grants.iter().all(|e| e.outcome == Outcome::Observed), "{grants:#?}");
    assert!(!site.folder().join("opened").exists() && !Path::new("opened").exists());
}

#[test]
fn an_active_door_is_opened_after_its_event_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("opened");
    let site = Site::new(&format!(
        "{}[[door]]\nid = \"gate\"\nkind = \"command\"\nmode = \"active\"\nmax_age = \"30s\"\nargv = [\"/usr/bin/tee\", {mark:?}]\n\
         [[rule]]\nid = \"walkers\"\ncamera = \"street\"\nlabel = \"person\"\nmin_score = 0.8\nauthorize = \"gate\"\n",
        fast_camera("street", &street()).replace("\"fast\"", "\"realtime\""),
    ));
    let mut daemon = site.start(&[]);
    daemon.wait_for_log(": opened", Duration::from_secs(60));
    assert!(daemon.stop().success(), "{}", daemon.log());
    let (log, events) = (daemon.log(), site.events());
    assert!(events.iter().any(|e| e.outcome == Outcome::Opened), "{log}\n{events:#?}");
    assert!(mark.exists(), "the command was not run");
}

#[test]
fn every_event_says_by_which_model_and_configuration() {
    let site = street_site(None, &street());
    site.play();
    let events = site.events();
    let hashes: BTreeSet<_> = events.iter().map(|e| (&e.model_sha256, &e.config_sha256)).collect();
    assert_eq!(hashes.len(), 1);
    let (model, config) = hashes.first().unwrap();
    assert!(model.len() == 64 && config.len() == 64, "{model} {config}");
}
