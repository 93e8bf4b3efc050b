//! Where alerts wait for their acknowledgement.

use std::error::Error;

use crate::domain::Alert;

/// What an outbox may fail with; shown in the log, tried again later.
pub type OutboxError = Box<dyn Error + Send + Sync>;

/// The alerts that the broker has not acknowledged yet. A trait because this room must not know the database.
///
/// Row numbers grow in the order in which alerts are to be delivered.
pub trait Outbox: Send {
    /// At most `limit` undelivered alerts with a row number above `after_row`, lowest row first. `after_row` is 0
    /// for all of them. Called on the publisher's thread, which waits for it: it may read a database, but must not
    /// wait for a network.
    ///
    /// # Errors
    /// Whatever the store says; the publisher logs it and asks again a second later.
    fn pending(&mut self, after_row: i64, limit: usize) -> Result<Vec<Alert>, OutboxError>;

    /// The broker has acknowledged these rows: they may go. Should they be handed out again all the same, then
    /// they are recognised and reported again.
    fn delivered(&mut self, rows: &[i64]);
}
