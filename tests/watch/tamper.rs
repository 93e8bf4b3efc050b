//! Cameras that were tampered with: the street clip, and from its eighth second on what was done to it.

use std::time::Duration;

use portero::domain::{Tamper, Verdict};
use portero::watch::{Settings, TamperSettings, Watched, Watcher};
use serde_json::Value;

use super::frames;
use crate::support::broker::Broker;
use crate::support::daemon::{Site, street};

/// What the watch says of the street after `filter`, with the second in which it says it.
fn said(filter: &str) -> Vec<(u64, Option<Tamper>)> {
    let tamper = TamperSettings { after: Duration::from_secs(3), frozen_after: Duration::from_secs(5) };
    let settings = Settings::new(vec![Watched::picture()], None);
    let mut watcher = Watcher::new(Settings { tamper: Some(tamper), ..settings });
    let (mut said, mut last) = (Vec::new(), None);
    frames(&street(), 5, &format!("fps=5,{filter}"), |frame| {
        let at = frame.at().stamp.mono_us() / 1_000_000;
        let _ = watcher.look(frame);
        if watcher.tamper() != last {
            last = watcher.tamper();
            said.push((at, last));
        }
    });
    said
}

#[track_caller]
fn assert_seen(tamper: Tamper, filter: &str) {
    let said = said(filter);
    let [(at, seen)] = said.as_slice() else { panic!("{filter}: {said:?}") };
    assert_eq!(*seen, Some(tamper), "{filter}");
    assert!((10..=14).contains(at), "{filter}: at {at} s, it was done at 8 s");
}

#[test]
fn a_hand_before_the_lens_is_covered() {
    assert_seen(Tamper::Covered, "drawbox=c=0x101010:t=fill:enable='gte(t,8)',noise=alls=6:allf=t");
    assert_seen(Tamper::Covered, "drawbox=c=0xa08070:t=fill:enable='gte(t,8)',noise=alls=6:allf=t");
}

#[test]
fn paint_on_the_glass_is_sprayed() {
    assert_seen(Tamper::Sprayed, "drawbox=x=60:y=80:w=420:h=400:c=0x807060:t=fill:enable='gte(t,8)'");
}

#[test]
fn a_turned_focus_is_defocused() {
    assert_seen(Tamper::Defocused, "boxblur=4:enable='gte(t,8)'");
    assert_seen(Tamper::Defocused, "boxblur=10:2:enable='gte(t,8)'");
}

#[test]
fn another_view_is_moved() {
    for view in ["crop=640:480:100:60", "crop=728:546:40:30"] {
        assert_seen(
            Tamper::Moved,
            &format!("split[a][b];[b]{view},scale=768:576[c];[a][c]overlay=enable='gte(t,8)'"),
        );
    }
}

#[test]
fn a_still_is_frozen() {
    assert_seen(Tamper::Frozen, "trim=0:8,tpad=stop_mode=clone:stop_duration=10");
}

#[test]
fn people_light_and_the_infrared_switch_are_no_tampering() {
    for filter in [
        "null",
        "eq=brightness=0.15:contrast=0.7:enable='gte(t,8)'",
        "eq=brightness=-0.25:contrast=0.5:enable='gte(t,8)'",
        "hue=s=0:enable='gte(t,8)',curves=all='0/0.1 0.5/0.7 1/1':enable='gte(t,8)'",
    ] {
        assert_eq!(said(filter), [], "{filter}");
    }
}

#[test]
fn it_is_told_when_it_is_over() {
    let said = said("drawbox=c=0x101010:t=fill:enable='between(t,6,12)',noise=alls=6:allf=t");
    let what: Vec<_> = said.iter().map(|(_, tamper)| *tamper).collect();
    assert_eq!(what, [Some(Tamper::Covered), None], "{said:?}");
}

/// The street, covered from its eighth second on, as a film.
fn covered_street(folder: &std::path::Path) -> std::path::PathBuf {
    let film = folder.join("covered.mp4");
    let status = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-i"])
        .arg(street())
        .args(["-vf", "drawbox=c=0x101010:t=fill:enable='gte(t,8)',noise=alls=6:allf=t"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
        .arg(&film)
        .status();
    assert!(status.unwrap().success());
    film
}

fn camera(film: &std::path::Path) -> String {
    format!("{}tamper = {{ after = \"3s\" }}\n", crate::pipeline::fast_camera("street", film))
}

#[test]
fn a_covered_camera_is_an_event_an_alert_and_a_state() {
    let broker = Broker::start();
    let (alerts, states) =
        (broker.subscribe("portero/street/alert"), broker.subscribe("portero/street/tamper"));
    let site = Site::new("");
    let film = covered_street(site.folder());
    site.configure(&format!(
        "[mqtt]\nurl = \"{}\"\n{}[[rule]]\nid = \"hands-off\"\ncamera = \"street\"\ntamper = \"any\"\nalert = \"critical\"\nsnapshot = true\n",
        broker.url(),
        camera(&film)
    ));
    let log = site.play();
    let events = site.events();
    let [event] = events.as_slice() else { panic!("{events:#?}\n{log}") };
    let decision = &event.decision;
    assert!(matches!(decision.verdict, Verdict::Alert { snapshot: true, .. }), "{decision:?}");
    assert_eq!((decision.observation.answer.as_str(), decision.model.as_str()), ("covered", "watch"));
    assert_eq!(decision.reason, "the camera is covered");
    let told = alerts.wait_for(1, Duration::from_secs(20));
    let alert: Value = serde_json::from_str(&told[0].payload).unwrap();
    assert_eq!((&alert["label"], &alert["rule"]), (&"covered".into(), &"hands-off".into()));
    assert!(alert["snapshot"]["bytes"].as_u64().unwrap() > 1000, "{alert}");
    let states: Vec<String> =
        states.wait_for(2, Duration::from_secs(20)).iter().map(|m| m.payload.clone()).collect();
    assert_eq!(states, ["none", "covered"]);
}

#[test]
fn it_is_remembered_though_no_rule_waits_for_it() {
    let site = Site::new("");
    let film = covered_street(site.folder());
    site.configure(&format!(
        "{}[[rule]]\nid = \"never\"\ncamera = \"street\"\nlabel = \"person\"\nmin_score = 1.0\nlog = true\n",
        camera(&film)
    ));
    site.play();
    let events = site.events();
    let [event] = events.as_slice() else { panic!("{events:#?}") };
    assert_eq!((&event.decision.rule, &event.decision.verdict), (&None, &Verdict::Log));
    assert_eq!(event.decision.observation.answer.as_str(), "covered");
}
