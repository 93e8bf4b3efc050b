//! Home Assistant: one device, found by device-based discovery.
//!
//! One retained message under `<discovery_prefix>/device/<node>/config` describes the device with all its entities
//! (Home Assistant 2024.11 and later; format: the MQTT integration's documentation, "Device discovery payload").
//! Identifiers are derived from the client id, which therefore must not change between starts.

use serde_json::{Map, Value, json};

use super::Settings;
use super::alert::Message;
use crate::domain::{CameraId, Severity};

/// Connectivity for Home Assistant: a camera that delivers, well or not so well, is connected.
const CONNECTED: &str = "{{ 'ON' if value in ['online', 'degraded'] else 'OFF' }}";

/// Tampering for Home Assistant: what it was stands in the topic and in the alert.
const TAMPERED: &str = "{{ 'OFF' if value == 'none' else 'ON' }}";

/// Trouble with the record for Home Assistant: why stands in its attributes.
const FAILS: &str = "{{ 'OFF' if value == 'ok' else 'ON' }}";

/// The same words for an availability topic.
const AVAILABLE: &str = "{{ 'online' if value in ['online', 'degraded'] else 'offline' }}";

/// The announcement of this daemon and its cameras; `None` when discovery is switched off.
pub(super) fn discovery(settings: &Settings, cameras: &[CameraId]) -> Option<Message> {
    let prefix = settings.discovery_prefix.as_ref()?;
    let node = sanitised(&settings.client_id);
    let mut components = Map::new();
    for camera in cameras {
        components.insert(format!("{camera}_connectivity"), connectivity(settings, &node, camera));
        components.insert(format!("{camera}_person"), person(settings, &node, camera));
        if settings.tamper.contains(camera) {
            components.insert(format!("{camera}_tamper"), tamper(settings, &node, camera));
        }
    }
    components.insert("record".into(), record(settings, &node));
    components.insert("alert".into(), alerts(settings, &node));
    let version = env!("CARGO_PKG_VERSION");
    let payload = json!({
        "dev": { "ids": [node], "name": settings.site, "mf": "Portero", "mdl": "Portero", "sw": version },
        "o": { "name": "portero", "sw": version },
        "cmps": components,
    });
    let topic = format!("{prefix}/device/{node}/config");
    Some(Message { topic, payload: payload.to_string().into_bytes(), retain: true })
}

/// Whether the camera delivers. It stays readable when the camera is down: only the daemon's own availability
/// counts.
fn connectivity(settings: &Settings, node: &str, camera: &CameraId) -> Value {
    let mut entity =
        named("binary_sensor", &format!("{node}_{camera}_connectivity"), &format!("{camera} camera"));
    entity["device_class"] = "connectivity".into();
    entity["entity_category"] = "diagnostic".into();
    entity["state_topic"] = settings.topic(&format!("{camera}/status")).into();
    entity["value_template"] = CONNECTED.into();
    entity["json_attributes_topic"] = settings.topic(&format!("{camera}/health")).into();
    entity["availability"] = json!([{ "topic": settings.availability_topic() }]);
    entity
}

/// Whether somebody is there; unavailable when the daemon or the camera is.
fn person(settings: &Settings, node: &str, camera: &CameraId) -> Value {
    let status = json!({ "topic": settings.topic(&format!("{camera}/status")), "value_template": AVAILABLE });
    let mut entity = named("binary_sensor", &format!("{node}_{camera}_person"), &format!("{camera} person"));
    entity["device_class"] = "occupancy".into();
    entity["state_topic"] = settings.topic(&format!("{camera}/person")).into();
    entity["availability"] = json!([{ "topic": settings.availability_topic() }, status]);
    entity["availability_mode"] = "all".into();
    entity
}

/// Whether somebody laid hands on the camera.
fn tamper(settings: &Settings, node: &str, camera: &CameraId) -> Value {
    let mut entity = named("binary_sensor", &format!("{node}_{camera}_tamper"), &format!("{camera} tamper"));
    entity["device_class"] = "tamper".into();
    entity["entity_category"] = "diagnostic".into();
    entity["state_topic"] = settings.topic(&format!("{camera}/tamper")).into();
    entity["value_template"] = TAMPERED.into();
    entity["availability"] = json!([{ "topic": settings.availability_topic() }]);
    entity
}

/// Whether decisions cannot be recorded, so that nothing is authorised.
fn record(settings: &Settings, node: &str) -> Value {
    let mut entity = named("binary_sensor", &format!("{node}_record"), "record");
    entity["device_class"] = "problem".into();
    entity["entity_category"] = "diagnostic".into();
    entity["state_topic"] = settings.topic("store").into();
    entity["value_template"] = FAILS.into();
    entity["json_attributes_topic"] = settings.topic("store/reason").into();
    entity["availability"] = json!([{ "topic": settings.availability_topic() }]);
    entity
}

/// The alerts of all cameras, as events.
fn alerts(settings: &Settings, node: &str) -> Value {
    let mut entity = named("event", &format!("{node}_alert"), "alert");
    entity["event_types"] = Severity::ALL.map(Severity::as_str).to_vec().into();
    entity["state_topic"] = settings.topic("event").into();
    entity["availability"] = json!([{ "topic": settings.availability_topic() }]);
    entity
}

/// What every entity has. Both ways to suggest an entity id: `object_id` for releases before 2026.4,
/// `default_entity_id` (with the domain) for those since 2025.10; each ignores the other.
fn named(platform: &str, id: &str, name: &str) -> Value {
    let entity_id = id.to_ascii_lowercase().replace('-', "_");
    json!({
        "p": platform,
        "unique_id": id,
        "object_id": entity_id,
        "default_entity_id": format!("{platform}.{entity_id}"),
        "name": name,
    })
}

/// Discovery topics and identifiers allow `[A-Za-z0-9_-]` only.
fn sanitised(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::alert::tests::{documented, settings};
    use super::*;

    fn cameras(names: &[&str]) -> Vec<CameraId> {
        names.iter().map(|name| CameraId::new(name).unwrap()).collect()
    }

    fn payload(settings: &Settings, names: &[&str]) -> Value {
        serde_json::from_slice(&discovery(settings, &cameras(names)).unwrap().payload).unwrap()
    }

    /// The rules of the format: required keys of the root, the device, the origin and each platform.
    fn assert_valid(payload: &Value) {
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        assert!(payload["dev"]["ids"].as_array().is_some_and(|ids| ids.iter().all(text)), "{payload}");
        assert!(text(&payload["dev"]["name"]) && text(&payload["o"]["name"]), "{payload}");
        let mut unique = HashSet::new();
        for (key, entity) in payload["cmps"].as_object().unwrap() {
            assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "{key}");
            let platform = entity["p"].as_str().unwrap();
            assert!(["binary_sensor", "event"].contains(&platform), "{platform}");
            assert!(text(&entity["state_topic"]), "{key} needs a state topic");
            assert!(unique.insert(entity["unique_id"].as_str().unwrap().to_owned()), "{key} is not unique");
            let entity_id = entity["default_entity_id"].as_str().unwrap();
            let (domain, object) = entity_id.split_once('.').unwrap();
            assert_eq!((domain, object), (platform, entity["object_id"].as_str().unwrap()));
            assert!(
                object.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                "{object}"
            );
            let topics = entity["availability"].as_array().unwrap();
            assert!(topics.iter().all(|availability| text(&availability["topic"])), "{key}");
            assert_eq!(platform == "event", entity.get("event_types").is_some(), "{key}");
        }
    }

    #[test]
    fn the_announcement_keeps_the_rules_of_the_format() {
        let message = discovery(&settings(), &cameras(&["front", "back-yard"])).unwrap();
        assert_eq!(message.topic, "homeassistant/device/portero-home/config");
        assert!(message.retain);
        let payload: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_valid(&payload);
        assert_eq!(
            payload["cmps"].as_object().unwrap().len(),
            7,
            "two per camera, one watched for tampering, the record, and the alerts"
        );
        let seen = &payload["cmps"]["back-yard_person"];
        assert_eq!(seen["default_entity_id"], "binary_sensor.portero_home_back_yard_person");
    }

    #[test]
    fn the_documented_announcement_is_the_real_one() {
        assert_eq!(documented("discovery"), payload(&settings(), &["front"]));
    }

    #[test]
    fn connectivity_stays_readable_when_the_camera_is_down() {
        let payload = payload(&settings(), &["front"]);
        let topics = |key: &str| {
            let list = payload["cmps"][key]["availability"].as_array().unwrap();
            list.iter().map(|a| a["topic"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(topics("front_connectivity"), ["portero/available"]);
        assert_eq!(topics("front_person"), ["portero/available", "portero/front/status"]);
        assert_eq!(payload["cmps"]["front_person"]["availability_mode"], "all");
    }

    #[test]
    fn an_odd_client_id_makes_valid_identifiers() {
        let odd = Settings { client_id: "Tür/1 +#".into(), ..settings() };
        assert_eq!(discovery(&odd, &[]).unwrap().topic, "homeassistant/device/T_r_1___/config");
        assert_valid(&payload(&odd, &["front"]));
    }

    #[test]
    fn discovery_can_be_switched_off() {
        assert_eq!(discovery(&Settings { discovery_prefix: None, ..settings() }, &[]), None);
    }
}
