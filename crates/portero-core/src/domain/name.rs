//! Names and identifiers, checked once when they enter.

use std::fmt;
use std::sync::Arc;

/// A name that does not fit `[a-z0-9_-]{1,32}` (or, for a [`Label`], 1 to 64 printable characters).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no valid {what}: allowed are {allowed}")]
pub struct BadName {
    /// What was being named, e.g. `camera id`.
    pub what: &'static str,
    /// The offending text.
    pub found: String,
    /// The rule in words.
    pub allowed: &'static str,
}

const NAME_RULE: &str = "1 to 32 of a-z, 0-9, '_' and '-'";
const LABEL_RULE: &str = "1 to 64 printable characters";

fn fits_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text` against `[a-z0-9_-]{1,32}`.
            ///
            /// # Errors
            /// [`BadName`] says what was found and what is allowed.
            pub fn new(text: &str) -> Result<Self, BadName> {
                if fits_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(BadName { what: $what, found: text.to_owned(), allowed: NAME_RULE })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}

names! {
    /// The name of a camera in the configuration.
    CameraId = "camera id";
    /// The name of a zone, unique within its camera.
    ZoneId = "zone id";
    /// The name of a line, unique within its camera.
    LineId = "line id";
    /// The name of a rule.
    RuleId = "rule id";
    /// The name of a door.
    DoorId = "door id";
    /// The name of a model, from its manifest.
    ModelId = "model id";
    /// The name of a schedule.
    ScheduleId = "schedule name";
}

impl ModelId {
    /// Stands where a decision rests on no model but on the picture itself: a tampered camera, a covered zone, a thing
    /// that moves.
    #[must_use]
    pub fn watch() -> Self {
        Self("watch".into())
    }
}

/// A class name of a model, as its manifest spells it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    /// Takes 1 to 64 printable characters. `unknown` is reserved: it is the answer below the rejection threshold.
    ///
    /// # Errors
    /// [`BadName`] says what was found and what is allowed.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let printable = !text.chars().any(char::is_control);
        if printable && (1..=64).contains(&text.chars().count()) && text != "unknown" {
            Ok(Self(text.into()))
        } else {
            let allowed = if text == "unknown" { "any word but the reserved `unknown`" } else { LABEL_RULE };
            Err(BadName { what: "label", found: text.to_owned(), allowed })
        }
    }

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A globally unique event identifier (UUID version 7, RFC 9562: sortable by time). Whoever receives an alert
/// twice recognises the repeat by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u128);

impl EventId {
    /// Builds the identifier from its 128 bits.
    #[must_use]
    pub fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// The 128 bits.
    #[must_use]
    pub fn as_u128(self) -> u128 {
        self.0
    }

    /// Reads what `Display` writes: 32 hexadecimal digits, with or without hyphens.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        uuid::Uuid::try_parse(text).ok().map(|u| Self(u.as_u128()))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).as_hyphenated().fmt(f)
    }
}

/// The number of a frame since its camera was opened for the first time, from 0, without gaps at capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FrameSeq(pub u64);

impl fmt::Display for FrameSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_alphabet() {
        for good in ["front", "a", "cam_1-x", "abcdefghijklmnopqrstuvwxyz012345"] {
            assert_eq!(CameraId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "Front", "a b", "ü", "a/b", "abcdefghijklmnopqrstuvwxyz0123456"] {
            let error = DoorId::new(bad).unwrap_err();
            assert_eq!((error.what, error.found.as_str()), ("door id", bad));
        }
    }

    #[test]
    fn unknown_is_no_label() {
        assert!(Label::new("unknown").is_err());
        assert!(Label::new("T-shirt/top").is_ok());
        assert!(Label::new("tab\there").is_err());
    }

    #[test]
    fn event_ids_survive_text() {
        let id = EventId::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001);
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        assert_eq!(EventId::parse("door"), None);
    }
}
