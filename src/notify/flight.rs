//! What was handed to the connection and waits for its acknowledgement.
//!
//! The client library takes messages without giving them a name; it reports the packet identifier later, in the
//! order of handing over. So a queue of what was handed over, then a table by packet identifier, lead from the
//! broker's PUBACK back to the outbox row. One [`Flight`] belongs to one network connection and is dropped with
//! it; what it still held stays in the outbox.

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::domain::{EventId, Stamp};

/// One message in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// The outbox row it belongs to; `None` for states and announcements.
    pub(super) row: Option<i64>,
    /// Size of its payload.
    pub(super) bytes: usize,
    /// When its acknowledgement is overdue.
    pub(super) deadline: Stamp,
}

/// A row with messages in flight.
#[derive(Debug, Clone, Copy)]
struct Row {
    event: EventId,
    /// A picture goes along.
    pictured: bool,
    /// Messages not yet acknowledged.
    left: usize,
}

/// The books of one connection.
#[derive(Debug, Default)]
pub(super) struct Flight {
    handed: VecDeque<Part>,
    by_pkid: HashMap<u16, Part>,
    rows: BTreeMap<i64, Row>,
    bytes: usize,
}

impl Flight {
    /// A row's messages are about to be handed over, `parts` of them.
    pub(super) fn open_row(&mut self, row: i64, event: EventId, pictured: bool, parts: usize) {
        self.rows.insert(row, Row { event, pictured, left: parts });
    }

    /// A message was handed over.
    pub(super) fn handed(&mut self, part: Part) {
        self.bytes += part.bytes;
        self.handed.push_back(part);
    }

    /// The next message in order got this packet identifier (never 0).
    pub(super) fn numbered(&mut self, pkid: u16) {
        if let Some(part) = self.handed.pop_front() {
            self.by_pkid.insert(pkid, part);
        }
    }

    /// The broker acknowledged this packet. Returns the row that is complete by it.
    pub(super) fn acked(&mut self, pkid: u16) -> Option<(i64, EventId)> {
        let part = self.by_pkid.remove(&pkid)?;
        self.bytes -= part.bytes;
        let number = part.row?;
        let row = self.rows.get_mut(&number)?;
        row.left -= 1;
        let (event, done) = (row.event, row.left == 0);
        done.then(|| self.rows.remove(&number)).map(|_| (number, event))
    }

    /// Messages not yet acknowledged.
    pub(super) fn len(&self) -> usize {
        self.handed.len() + self.by_pkid.len()
    }

    /// Their payloads together.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an acknowledgement should have come by now.
    pub(super) fn is_overdue(&self, now: Stamp) -> bool {
        self.handed.iter().chain(self.by_pkid.values()).any(|part| now >= part.deadline)
    }

    /// Rows not yet acknowledged.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The events of the rows not yet acknowledged.
    pub(super) fn events(&self) -> impl Iterator<Item = EventId> {
        self.rows.values().map(|row| row.event)
    }

    /// The event of the first row not acknowledged, if a picture goes along with it.
    pub(super) fn first_pictured(&self) -> Option<EventId> {
        self.rows.first_key_value().filter(|(_, row)| row.pictured).map(|(_, row)| row.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u128) -> EventId {
        EventId::from_u128(n)
    }

    fn part(row: Option<i64>, bytes: usize) -> Part {
        Part { row, bytes, deadline: Stamp::new(1_000, 0) }
    }

    #[test]
    fn a_row_is_complete_when_its_last_message_is_acknowledged() {
        let mut flight = Flight::default();
        flight.open_row(5, event(5), true, 2);
        flight.handed(part(Some(5), 100));
        flight.handed(part(Some(5), 10));
        flight.handed(part(None, 1));
        for pkid in [1, 2, 3] {
            flight.numbered(pkid);
        }
        assert_eq!(flight.first_pictured(), Some(event(5)));
        assert_eq!(flight.acked(2), None, "the other half is still out");
        assert_eq!(flight.acked(3), None, "a state belongs to no row");
        assert_eq!((flight.len(), flight.bytes(), flight.rows()), (1, 100, 1));
        assert_eq!(flight.acked(1), Some((5, event(5))));
        assert_eq!((flight.len(), flight.bytes(), flight.rows()), (0, 0, 0));
    }

    #[test]
    fn one_missing_acknowledgement_is_noticed_although_others_come() {
        let mut flight = Flight::default();
        flight.handed(part(None, 1));
        flight.handed(Part { deadline: Stamp::new(9_000, 0), ..part(None, 1) });
        flight.numbered(1);
        flight.numbered(2);
        assert!(!flight.is_overdue(Stamp::new(999, 0)));
        assert!(flight.is_overdue(Stamp::new(1_000, 0)));
        flight.acked(1);
        assert!(!flight.is_overdue(Stamp::new(1_000, 0)));
    }

    #[test]
    fn acknowledgements_may_come_out_of_order_and_unasked() {
        let mut flight = Flight::default();
        for row in [1, 2] {
            flight.open_row(row, event(row.unsigned_abs().into()), false, 1);
            flight.handed(part(Some(row), 1));
            flight.numbered(u16::try_from(row).unwrap());
        }
        assert_eq!(flight.acked(2), Some((2, event(2))));
        assert_eq!(flight.acked(2), None);
        assert_eq!(flight.acked(99), None);
        assert_eq!(flight.acked(1), Some((1, event(1))));
    }
}
