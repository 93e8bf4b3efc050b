//! `portero events`, as people and programs see it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portero::clock::{Clock, SystemClock};
use portero::domain::{
    Answer, CameraId, Decision, DoorId, Event, FrameRef, FrameSeq, Label, ModelId, Observation, Outcome,
    RuleId, Score, Severity, Stamp, Verdict, ZoneId,
};
use portero::store::{Keep, NewEvent, Picture, Retention, Settings, Store};
use serde_json::Value;

const HOUR_US: i64 = 3_600_000_000;

/// A database that a daemon holds open, with a few events in it.
struct Kept {
    folder: tempfile::TempDir,
    store: Store,
    events: Vec<Event>,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep { age: Duration::MAX, bytes: u64::MAX };
        let settings = Settings {
            path: folder.path().join("events.db"),
            max_bytes: 1 << 30,
            outbox_percent: 50,
            keep_free: 0,
            retention: Retention { authorise: keep, deny: keep, alert: keep, log: keep },
        };
        let mut store = Store::open(&settings).unwrap();
        let door = DoorId::new("front").unwrap();
        let warning = Verdict::Alert { severity: Severity::Warning, snapshot: true };
        let batch = vec![
            event(3 * 24, Verdict::Log),
            event(2, Verdict::Authorise { door: door.clone() }),
            NewEvent { picture: Picture::Jpeg(vec![0xFF, 0xD8, 0xFF, 0xD9]), ..event(1, warning) },
            event(0, Verdict::Deny { door }),
        ];
        let events: Vec<Event> = store.record(batch).unwrap().into_iter().map(|r| r.event).collect();
        let refused = Outcome::Refused("busy: the door, \"front\", is just being opened".to_owned());
        store.set_outcome(events[1].id, refused).unwrap();
        Self { folder, store, events }
    }

    fn path(&self) -> PathBuf {
        self.store.path().clone()
    }

    fn short(&self, index: usize) -> String {
        let id = self.events[index].id.to_string();
        id[id.len() - 8..].to_owned()
    }
}

/// An event of `hours` ago.
fn event(hours: i64, verdict: Verdict) -> NewEvent {
    let now = SystemClock.now();
    let at = Stamp::new(now.mono_us(), now.wall_us() - hours * HOUR_US);
    let person = Label::new("person").unwrap();
    let unknown = verdict == Verdict::Log;
    NewEvent {
        decision: Decision {
            rule: RuleId::new("someone-there").ok().filter(|_| verdict.kind() != "deny"),
            verdict,
            observation: Observation {
                camera: CameraId::new(if unknown { "yard" } else { "street" }).unwrap(),
                zone: ZoneId::new("gate").ok(),
                answer: if unknown { Answer::Unknown } else { Answer::Label(person.clone()) },
                agreed: 4,
                of: 6,
                mean: Score::new(0.97).unwrap(),
                first: at,
                last: at,
                track: None,
            },
            frame: FrameRef::new(FrameSeq(17), at),
            model: ModelId::new("person-v3s").unwrap(),
            top: vec![(person, Score::new(0.97).unwrap())],
            reason: "person 4 of 6, mean 0.97 ≥ 0.80".to_owned(),
            at,
        },
        model_sha256: Arc::from("ab".repeat(32)),
        config_sha256: Arc::from("cd".repeat(32)),
        picture: Picture::None,
        clip: None,
    }
}

fn portero(db: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portero"))
        .args(["events", arguments[0], "--db"])
        .arg(db)
        .args(&arguments[1..])
        .env("TZ", "UTC")
        .output()
        .unwrap()
}

#[track_caller]
fn printed(db: &Path, arguments: &[&str]) -> String {
    let output = portero(db, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(db: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = portero(db, arguments);
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_list_is_a_table_with_the_newest_first() {
    let kept = Kept::new();
    let text = printed(&kept.path(), &["list"]);
    let lines: Vec<Vec<&str>> =
        text.lines().map(|l| l.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect()).collect();
    assert_eq!(lines[0], ["TIME", "VERDICT", "CAMERA/ZONE", "SEEN", "RULE", "OUTCOME", "CLIP", "ID"]);
    let ids = [3, 2, 1, 0].map(|i| kept.short(i));
    let busy = "refused: busy: the door, \"front\", is just being opened";
    assert_eq!(lines[1][1..], ["deny front", "street/gate", "person 0.97", "-", "done", "-", &ids[0]]);
    assert_eq!(
        lines[2][1..],
        ["alert warning", "street/gate", "person 0.97", "someone-there", "waiting", "-", &ids[1]]
    );
    assert_eq!(
        lines[3][1..],
        ["authorise front", "street/gate", "person 0.97", "someone-there", busy, "-", &ids[2]]
    );
    assert_eq!(lines[4][1..], ["log", "yard/gate", "unknown 0.97", "someone-there", "done", "-", &ids[3]]);
    let columns: Vec<usize> = text.lines().map(|line| line.rfind("  ").unwrap()).collect();
    assert!(columns.iter().all(|c| *c == columns[0]), "the columns stand under each other:\n{text}");
    assert_eq!(lines.len(), 5);
    let two = printed(&kept.path(), &["list", "--limit", "2"]);
    assert!(two.lines().count() == 4 && two.contains("the newest 2"), "{two}");
}

/// Who looks into the record by hand has neither the credentials that systemd hands to the service nor, perhaps, the model.
#[test]
fn the_record_opens_although_the_rest_of_the_configuration_does_not_load() {
    let kept = Kept::new();
    let config = kept.folder.path().join("portero.toml");
    let broker =
        "[mqtt]\nurl = \"mqtts://broker.example\"\nuser = \"p\"\npassword_file = \"credential:mqtt\"\n";
    let write = |store: &str| std::fs::write(&config, format!("version = 1\n{broker}{store}")).unwrap();
    let list = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portero"));
        command.args(["events", "list", "--config"]).arg(&config).env_remove("CREDENTIALS_DIRECTORY");
        let output = command.output().unwrap();
        (output.status.code(), [output.stdout, output.stderr].concat())
    };
    write("[store]\npath = \"events.db\"\n");
    let (code, text) = list();
    let text = String::from_utf8(text).unwrap();
    assert_eq!((code, text.lines().count()), (Some(0), 5), "{text}");
    write("[store]\npath = 7\n");
    let (code, text) = list();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("portero.toml:7:8") && text.contains("--db FILE"), "{text}");
}

#[test]
fn filters_choose_events() {
    let kept = Kept::new();
    let chosen = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["list", "--json"].iter().chain(arguments).copied().collect();
        let text = printed(&kept.path(), &arguments);
        let verdicts = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["verdict"].clone());
        verdicts.map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(chosen(&[]), "deny alert authorise log");
    assert_eq!(chosen(&["--camera", "yard"]), "log");
    assert_eq!(chosen(&["--rule", "someone-there"]), "alert authorise log");
    assert_eq!(chosen(&["--label", "unknown"]), "log");
    assert_eq!(chosen(&["--label", "person", "--verdict", "alert"]), "alert");
    assert_eq!(chosen(&["--since", "90m"]), "deny alert");
    assert_eq!(chosen(&["--until", "90m"]), "authorise log");
    assert_eq!(chosen(&["--since", "1d", "--until", "30m"]), "alert authorise");
    assert_eq!(chosen(&["--since", "2020-01-01", "--limit", "1"]), "deny");
    assert_eq!(printed(&kept.path(), &["list", "--until", "2020-01-01"]), "no events\n");
}

#[test]
fn an_event_is_shown_with_all_its_grounds() {
    let kept = Kept::new();
    let picture = kept.folder.path().join("picture.jpg");
    let text = printed(&kept.path(), &["show", &kept.short(2), "--snapshot", &picture.to_string_lossy()]);
    for part in [
        &kept.events[2].id.to_string(),
        "alert warning",
        "someone-there",
        "street/gate",
        "person, 4 of 6, mean 0.970",
        "person 4 of 6, mean 0.97 ≥ 0.80",
        "person-v3s, sha256 abab",
        "sha256 cdcd",
        "waits for the broker",
        "4 bytes, JPEG",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert_eq!(std::fs::read(&picture).unwrap(), [0xFF, 0xD8, 0xFF, 0xD9]);
    let json: Value =
        serde_json::from_str(&printed(&kept.path(), &["show", &kept.short(2), "--json"])).unwrap();
    assert_eq!(json["top"], serde_json::json!([{"label": "person", "p": 0.97}]));
    assert_eq!((&json["delivery"], &json["snapshot_bytes"]), (&"waiting".into(), &4.into()));

    let (code, text) =
        refused(&kept.path(), &["show", &kept.short(0), "--snapshot", &picture.to_string_lossy()]);
    assert!(code == Some(1) && text.contains("has no picture"), "{text}");
}

#[test]
fn exports_are_complete_and_in_order() {
    let kept = Kept::new();
    let json = printed(&kept.path(), &["export", "--format", "json"]);
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines.iter().map(|line| line["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, kept.events.iter().map(|e| e.id.to_string()).collect::<Vec<_>>(), "the oldest first");

    let csv = printed(&kept.path(), &["export", "--format", "csv"]);
    let records: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(records.len(), 5);
    let header: Vec<&str> = records[0].split(',').collect();
    let keys = lines[0].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
    let mut sorted = header.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, keys, "the same names in both forms");
    assert!(
        records[2].contains(",refused,\"busy: the door, \"\"front\"\", is just being opened\","),
        "{}",
        records[2]
    );
    assert!(records[1].contains(",\"[{\"\"label\"\":\"\"person\"\",\"\"p\"\":0.97}]\","), "{}", records[1]);
    assert!(records[1].contains(",unknown,0.97,4,6,"), "{}", records[1]);
}

#[test]
fn what_cannot_be_answered_is_said() {
    let kept = Kept::new();
    let db = kept.path();
    let (code, text) = refused(&db, &["show", "ffffffff"]);
    assert!(code == Some(1) && text.contains("there is no event ffffffff"), "{text}");
    let (code, text) = refused(&db, &["show", "front"]);
    assert!(code == Some(1) && text.contains("is no event id"), "{text}");
    let (code, text) = refused(&kept.folder.path().join("other.db"), &["list"]);
    assert!(code == Some(1) && text.contains("other.db: has the daemon run yet?"), "{text}");
    for (arguments, part) in [
        (["list", "--since", "soon"], "`2h`"),
        (["list", "--verdict", "maybe"], "authorise, deny, alert, log"),
        (["list", "--camera", "Front Door"], "allowed are 1 to 32 of a-z"),
        (["export", "--format", "xml"], "json, csv"),
    ] {
        let (code, text) = refused(&db, &arguments);
        assert!(code == Some(64) && text.contains(part), "{arguments:?}: {text}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut kept = Kept::new();
    for _ in 0..20 {
        kept.store.record((0..200).map(|_| event(0, Verdict::Log)).collect()).unwrap();
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_portero"))
        .args(["events", "export", "--format", "csv", "--db"])
        .arg(kept.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("event_id,"), "{line}");
    // The pipe is closed here, long before the 4,000 lines are through.
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaints.as_str()), (Some(0), ""));
}
