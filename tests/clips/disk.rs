//! Clips on a disk that fills up, and in a daemon that is killed.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use portero::domain::ClipState;
use portero::store::{Filter, Order, Reader};

use super::{busy_camera, camera, clips, files, played, rule, stored};
use crate::support::daemon::Site;
use crate::support::mount::Mount;
use crate::support::wait_until;

const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn a_daemon_killed_again_and_again_leaves_no_half_clip_and_no_open_question() {
    let settings = rule("agree = \"1 of 1\"\ncooldown = \"3s\"\nclip = { before = \"1s\", after = \"0s\" }");
    let site = Site::new(&(busy_camera("loop = true") + &settings));
    let mut whole = BTreeSet::new();
    for round in 0..4 {
        let daemon = site.start(&[]);
        wait_until(&format!("a new clip in round {round}"), PATIENCE, || {
            let is_new =
                |name: &String| name.ends_with(".mp4") && !name.starts_with('.') && !whole.contains(name);
            files(&clips(&site)).iter().any(is_new)
        });
        drop(daemon); // kill -9, while the next clips are under way
        whole = files(&clips(&site)).into_iter().filter(|name| !name.starts_with('.')).collect();
    }
    // What a kill in the middle of a write would have left.
    let partial = clips(&site).join(".partial-street-20260301T120000Z-x.mp4");
    fs::write(&partial, "half").unwrap();
    site.configure(&(camera("") + &rule("agree = \"64 of 64\"\nwithin = \"1h\"\nclip = true")));
    let log = site.play();
    assert!(!partial.exists(), "{log}");
    let there: BTreeSet<String> = files(&clips(&site)).into_iter().collect();
    assert!(whole.is_subset(&there), "{whole:?} {there:?}");
    for name in &there {
        assert_eq!(played(&clips(&site).join(name)).0, "h264", "{name}");
    }
    let events = stored(&site);
    let mut kinds = BTreeSet::new();
    for event in &events {
        let clip = event.clip.as_ref().unwrap();
        kinds.insert(clip.kind());
        match clip {
            ClipState::Written(file) => assert!(there.contains(&file.name), "{} is not there", file.name),
            ClipState::Failed(why) => assert_eq!(why, "the daemon ended before it was written"),
            other => panic!("{other:?}"),
        }
    }
    assert!(kinds.contains("written"), "{kinds:?}\n{log}");
    site.assert_intact();
}

#[test]
fn on_a_full_disk_the_oldest_clips_go_and_the_record_goes_on() {
    let Some(mount) = Mount::new("16m") else { return };
    let folder = mount.path().to_owned();
    let store = format!("clips = {:?}\nkeep_free = \"10MiB\"\n", folder.join("clips"));
    let rules = rule("agree = \"1 of 1\"\ncooldown = \"8s\"\nclip = { before = \"4s\", after = \"2s\" }");
    let site = Site::new(&(store + &busy_camera("loop = true") + &rules));
    let text = fs::read_to_string(site.config()).unwrap();
    let database = folder.join("portero.db");
    fs::write(site.config(), text.replace("\"portero.db\"", &format!("{database:?}"))).unwrap();
    let events = || {
        // The daemon may be making it just now.
        let Ok(reader) = Reader::open(&database) else { return Vec::new() };
        reader.events(&Filter::default(), 1_000_000, Order::OldestFirst).unwrap()
    };
    let kinds =
        |kind: &str| events().iter().filter(|e| e.clip.as_ref().is_some_and(|c| c.kind() == kind)).count();
    let mut daemon = site.start(&["--report", "1"]);
    wait_until("the disk holds no more clips, and the oldest go", PATIENCE, || {
        database.exists() && kinds("pruned") > 0 && kinds("written") > 0
    });
    let kept: BTreeSet<String> = files(&folder.join("clips")).into_iter().collect();
    assert!(!kept.is_empty());
    let gone = events().iter().rposition(|e| e.clip.as_ref().is_some_and(|c| c.kind() == "pruned")).unwrap();
    let there = events().iter().position(|e| e.clip.as_ref().is_some_and(|c| c.kind() == "written")).unwrap();
    assert!(gone > 0 && there > 0, "{gone} {there}");

    // Now somebody else takes everything that is left: clips give way until the record has room again.
    mount.fill();
    let before = events().len();
    wait_until("all clips have given way", PATIENCE, || {
        files(&folder.join("clips")).iter().all(|name| !kept.contains(name))
    });
    wait_until("events are recorded again", PATIENCE, || events().len() > before + 5);
    wait_until("a clip is refused for want of room", PATIENCE, || kinds("refused") > 0);
    mount.free();
    let written = || events().iter().rev().take(200).any(|e| matches!(e.clip, Some(ClipState::Written(_))));
    wait_until("clips are written again", PATIENCE, written);
    assert!(daemon.stop().success(), "{}", daemon.log());
    let log = daemon.log();
    assert!(log.contains("0 lost") && !log.contains("panicked"), "{log}");
    let check = std::process::Command::new("sqlite3").arg(&database).arg("PRAGMA integrity_check").output();
    assert_eq!(String::from_utf8_lossy(&check.unwrap().stdout).trim(), "ok");
}
