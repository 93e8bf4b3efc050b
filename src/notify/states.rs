//! The latest state of every camera, as the broker is told of it.
//!
//! Whoever knows something sets it here; the publisher tells the broker when it can. Only the latest value counts,
//! so nothing queues up while the broker is away, and after every reconnect everything is told again: nobody is
//! left with a state from yesterday.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::Notify;

use super::Settings;
use super::alert::Message;
use crate::domain::{CameraId, CameraState, RecordState, Tamper};

/// Sets states from any thread. Never blocks on the broker. Cloning shares.
#[derive(Clone)]
pub struct States {
    table: Arc<Mutex<Vec<Camera>>>,
    record: Arc<Mutex<Record>>,
    bell: Arc<Notify>,
}

/// Whether decisions can be recorded, why not, and what the current connection was told last.
#[derive(Default)]
struct Record {
    now: (RecordState, String),
    told: Option<(RecordState, String)>,
}

struct Camera {
    id: CameraId,
    state: CameraState,
    /// Why, in words; may be empty.
    why: String,
    person: bool,
    tamper: Option<Tamper>,
    /// What the current connection was told last.
    told: Option<Tellable>,
}

/// State, reason, person, tamper.
type Tellable = (CameraState, String, bool, Option<Tamper>);

impl Camera {
    /// A camera that does not deliver sees nobody, whatever it saw last.
    fn tellable(&self) -> Tellable {
        (self.state, self.why.clone(), self.person && self.state.delivers(), self.tamper)
    }
}

impl States {
    /// Every camera is `starting` and sees nobody.
    pub(super) fn new(cameras: &[CameraId], bell: Arc<Notify>) -> Self {
        let camera = |id: &CameraId| Camera {
            id: id.clone(),
            state: CameraState::Starting,
            why: String::new(),
            person: false,
            tamper: None,
            told: None,
        };
        Self {
            table: Arc::new(Mutex::new(cameras.iter().map(camera).collect())),
            record: Arc::default(),
            bell,
        }
    }

    /// The camera's connectivity, and why it is so. A camera that is not in the configuration is ignored.
    pub fn set_camera(&self, camera: &CameraId, state: CameraState, why: &str) {
        self.change(camera, |row| (row.state, row.why) = (state, why.to_owned()));
    }

    /// Whether the camera sees somebody. Told as long as the camera delivers.
    pub fn set_person(&self, camera: &CameraId, person: bool) {
        self.change(camera, |row| row.person = person);
    }

    /// What was done to the camera; told of those that are watched for it.
    pub fn set_tamper(&self, camera: &CameraId, tamper: Option<Tamper>) {
        self.change(camera, |row| row.tamper = tamper);
    }

    /// Whether decisions can be recorded, and if not, why.
    pub fn set_record(&self, state: RecordState, why: &str) {
        let mut record = self.record();
        if record.now.0 != state || record.now.1 != why {
            record.now = (state, why.to_owned());
            self.bell.notify_one();
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The messages about the record, if they are news.
    fn record_changes(&self, settings: &Settings) -> Vec<Message> {
        let mut record = self.record();
        if record.told.as_ref() == Some(&record.now) {
            return Vec::new();
        }
        record.told = Some(record.now.clone());
        let (state, why) = &record.now;
        let reason = json!({ "reason": why }).to_string();
        [("store", state.as_str().to_owned()), ("store/reason", reason)]
            .map(|(topic, value)| Message {
                topic: settings.topic(topic),
                payload: value.into_bytes(),
                retain: true,
            })
            .into()
    }

    fn change(&self, camera: &CameraId, set: impl FnOnce(&mut Camera)) {
        let mut table = self.table();
        let Some(row) = table.iter_mut().find(|row| row.id == *camera) else { return };
        let before = row.tellable();
        set(row);
        if row.tellable() != before {
            self.bell.notify_one();
        }
    }

    /// The messages that bring the broker up to date, at most `room` of them and the rest of one camera's, counted as told.
    pub(super) fn take_changes(&self, settings: &Settings, room: usize) -> Vec<Message> {
        let mut messages = self.record_changes(settings);
        for row in self.table().iter_mut() {
            let now = row.tellable();
            if messages.len() >= room || row.told.as_ref() == Some(&now) {
                continue;
            }
            let (state, why, person, tamper) = now.clone();
            let told = row.told.as_ref();
            if told.map(|told| told.0) != Some(state) {
                messages.push(retained(settings, &row.id, "status", state.as_str()));
            }
            if told.map(|told| (told.0, told.1.as_str())) != Some((state, why.as_str())) {
                let health = json!({ "state": state.as_str(), "reason": why }).to_string();
                messages.push(retained(settings, &row.id, "health", &health));
            }
            if told.map(|told| told.2) != Some(person) {
                messages.push(retained(settings, &row.id, "person", if person { "ON" } else { "OFF" }));
            }
            if settings.tamper.contains(&row.id) && told.map(|told| told.3) != Some(tamper) {
                let tamper = tamper.map_or("none", Tamper::as_str);
                messages.push(retained(settings, &row.id, "tamper", tamper));
            }
            row.told = Some(now);
        }
        messages
    }

    /// Everything is to be told again.
    pub(super) fn forget_told(&self) {
        self.table().iter_mut().for_each(|row| row.told = None);
        self.record().told = None;
    }

    fn table(&self) -> MutexGuard<'_, Vec<Camera>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn retained(settings: &Settings, camera: &CameraId, what: &str, value: &str) -> Message {
    Message { topic: settings.topic(&format!("{camera}/{what}")), payload: value.into(), retain: true }
}

#[cfg(test)]
mod tests {
    use super::super::alert::tests::settings;
    use super::*;

    fn told(states: &States) -> Vec<String> {
        let line = |m: Message| format!("{} {}", m.topic, String::from_utf8(m.payload).unwrap());
        states.take_changes(&settings(), usize::MAX).into_iter().map(line).collect()
    }

    #[test]
    fn only_changes_are_told_and_after_a_reconnect_everything() {
        let (front, yard) = (CameraId::new("front").unwrap(), CameraId::new("yard").unwrap());
        let states = States::new(&[front.clone(), yard], Arc::new(Notify::new()));
        let all = [
            "store ok",
            r#"store/reason {"reason":""}"#,
            "front/status starting",
            r#"front/health {"reason":"","state":"starting"}"#,
            "front/person OFF",
            "front/tamper none",
            "yard/status starting",
            r#"yard/health {"reason":"","state":"starting"}"#,
            "yard/person OFF",
        ];
        assert_eq!(told(&states), all.map(|line| format!("portero/{line}")));

        states.set_camera(&front, CameraState::Online, "640x480");
        states.set_person(&front, true);
        let health = r#"portero/front/health {"reason":"640x480","state":"online"}"#;
        assert_eq!(told(&states), ["portero/front/status online", health, "portero/front/person ON"]);
        assert!(told(&states).is_empty());

        states.set_camera(&front, CameraState::Online, "1280x720");
        assert_eq!(told(&states), [r#"portero/front/health {"reason":"1280x720","state":"online"}"#]);
        states.set_tamper(&front, Some(Tamper::Covered));
        assert_eq!(told(&states), ["portero/front/tamper covered"]);
        states.forget_told();
        assert_eq!(told(&states).len(), 9);

        states.set_record(RecordState::Dead, "the disk is gone");
        assert_eq!(
            told(&states),
            ["portero/store dead", r#"portero/store/reason {"reason":"the disk is gone"}"#]
        );
        assert!(told(&states).is_empty());
    }

    #[test]
    fn a_lost_camera_sees_nobody_until_it_is_back_and_a_poor_one_goes_on_seeing() {
        let front = CameraId::new("front").unwrap();
        let states = States::new(std::slice::from_ref(&front), Arc::new(Notify::new()));
        let brief = |states: &States| -> Vec<String> {
            told(states).into_iter().filter(|line| !line.contains("/health ")).collect()
        };
        states.set_camera(&front, CameraState::Online, "");
        states.set_person(&front, true);
        brief(&states);
        states.set_camera(&front, CameraState::Degraded, "");
        assert_eq!(brief(&states), ["portero/front/status degraded"]);
        states.set_camera(&front, CameraState::Offline, "");
        assert_eq!(brief(&states), ["portero/front/status offline", "portero/front/person OFF"]);
        states.set_camera(&front, CameraState::Online, "");
        assert_eq!(brief(&states), ["portero/front/status online", "portero/front/person ON"]);
    }
}
