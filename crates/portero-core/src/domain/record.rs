//! Whether decisions can be recorded.

/// The state of the record: nothing is authorised unless it is recorded first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecordState {
    /// Decisions are recorded.
    #[default]
    Ok,
    /// The database cannot be written now; it is tried again and again, and decisions wait.
    Failing,
    /// The recorder has given up: nothing more is recorded, and nothing is authorised.
    Dead,
}

impl RecordState {
    /// The word used in topics and lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RecordState::Ok => "ok",
            RecordState::Failing => "failing",
            RecordState::Dead => "dead",
        }
    }
}
