//! What joins rooms that do not know each other: the store's outbox to the publisher, the publisher's live
//! connection to the doors.

use std::path::{Path, PathBuf};

use crossbeam_channel::Sender;

use crate::domain::{Alert, Stamp};
use crate::doors::{CommandLink, LinkDown};
use crate::notify::{self, LiveLink, Outbox, OutboxError};
use crate::store::{Job, Reader};

/// The publisher's view of the store: reads by a connection of its own, deletes through the one writer.
pub(super) struct StoreOutbox {
    path: PathBuf,
    reader: Option<Reader>,
    jobs: Sender<Job>,
}

impl StoreOutbox {
    pub(super) fn new(path: &Path, jobs: Sender<Job>) -> Self {
        Self { path: path.to_owned(), reader: None, jobs }
    }
}

impl Outbox for StoreOutbox {
    fn pending(&mut self, after_row: i64, limit: usize) -> Result<Vec<Alert>, OutboxError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        // Only a reader that still works is kept: the next call opens a fresh one.
        let alerts = reader.outbox_after(after_row, limit)?;
        self.reader = Some(reader);
        Ok(alerts)
    }

    fn delivered(&mut self, rows: &[i64]) {
        // When the recorder is behind or gone the rows stay, are handed out again and recognised by their event.
        if self.jobs.try_send(Job::Delivered(rows.to_vec())).is_err() {
            log::debug!("{} acknowledged alerts will be reported again: the recorder is busy", rows.len());
        }
    }
}

/// Door commands over the publisher's connection, or nowhere when no broker is configured.
pub(super) struct DoorLink(pub(super) Option<LiveLink>);

impl CommandLink for DoorLink {
    fn send(&self, topic: &str, payload: Vec<u8>, deadline: Stamp) -> Result<(), LinkDown> {
        let Some(link) = &self.0 else {
            return Err(LinkDown::NotSent("no broker is configured".to_owned()));
        };
        // Each by its name: a new reason must not count as a refusal unless nothing was sent.
        link.send(topic, payload, deadline).map_err(|down| match down {
            notify::LinkDown::Unconfirmed => LinkDown::Unconfirmed(down.to_string()),
            notify::LinkDown::NotConnected
            | notify::LinkDown::NoAnswer
            | notify::LinkDown::TooLate
            | notify::LinkDown::Busy
            | notify::LinkDown::Invalid(_) => LinkDown::NotSent(down.to_string()),
        })
    }
}
