//! Every section of the file and every key in it. What is not listed here is an unknown key.

/// A kind of table in the file.
#[derive(Debug)]
pub(super) struct Section {
    /// As people write it, e.g. `[[camera]]`.
    pub(super) title: &'static str,
    /// Its keys, in the order in which they are documented.
    pub(super) keys: &'static [&'static str],
}

macro_rules! sections {
    ($($name:ident $title:literal [$($key:literal),* $(,)?])*) => {
        $(pub(super) const $name: Section = Section { title: $title, keys: &[$($key),*] };)*
        /// All of them.
        pub(super) const ALL: &[&Section] = &[$(&$name),*];
    };
}

sections! {
    FILE "the file" ["version", "site", "model", "detector", "mqtt", "store", "presence", "camera", "schedule", "rule", "door"]
    SITE "[site]" ["name", "timezone"]
    MODEL "[model]" ["manifest", "workers"]
    DETECTOR "[detector]" ["manifest", "labels"]
    MQTT "[mqtt]" [
        "url", "user", "password_file", "ca_file", "prefix", "discovery_prefix", "client_id",
    ]
    STORE "[store]" [
        "path", "max_size", "outbox_percent", "retention", "clips", "clips_max", "clips_age", "clips_memory", "keep_free",
        "write_budget_per_day",
    ]
    RETENTION "[store.retention]" ["authorize", "deny", "alert", "log"]
    KEEP "{ age, size }" ["age", "size"]
    PRESENCE "[presence]" ["gap"]
    CAMERA "[[camera]]" [
        "id", "source", "fps", "size", "settle", "stall_after", "announce_after", "pace", "loop", "clips", "motion", "crops",
        "tamper", "mask", "zone", "line",
    ]
    SOURCE "source = { … }" [
        "v4l2", "rtsp", "transport", "ffmpeg", "connect", "decoder", "codec", "decode", "http", "ca_file", "user", "password_file", "folder", "watch", "command",
        "format", "preset",
    ]
    MOTION "motion = { … }" ["min_area", "min_change", "min_size", "shadows", "hold"]
    TAMPER "tamper = { … }" ["after", "frozen_after"]
    MASK "[[camera.mask]]" ["polygon", "box"]
    ZONE "[[camera.zone]]" ["id", "polygon", "box"]
    LINE "[[camera.line]]" ["id", "from", "to"]
    SCHEDULE "[schedule.NAME]" ["days", "from", "to"]
    RULE "[[rule]]" [
        "id", "camera", "cameras", "tamper", "entered", "left", "loiters", "crossed", "direction", "count", "covered",
        "zone", "label", "labels", "min_score", "margin", "agree", "within", "for", "during", "every", "cooldown",
        "max_per_hour", "authorize", "alert", "snapshot", "boxes", "clip", "log",
    ]
    CLIP "clip = { … }" ["before", "after"]
    DOOR "[[door]]" [
        "id", "kind", "mode", "max_age", "min_interval", "trust_arrival", "topic", "expires_after", "argv", "time_limit",
    ]
}
