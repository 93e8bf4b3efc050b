//! The one writing connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};
use uuid::{ContextV7, Timestamp, Uuid};

use super::event::{NewEvent, Recorded, Write};
use super::history::Kept;
use super::lock::WriterLock;
use super::schema::{self, opening};
use super::tally::{OutboxBound, Tally, share_percent, verdict_index};
use super::trouble::Note;
use super::{COMMIT_BYTES, Settings, StoreError, clips, row};
use crate::budget::{Extra, WriteBudget};
use crate::domain::{Event, EventId, Outcome, Severity, Stamp, Verdict};

/// How long a write waits for another program's lock (an owner's `sqlite3` shell; readers take none).
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The WAL file is cut back to this size after a checkpoint, in bytes.
const WAL_LIMIT: i64 = 4 << 20;

/// The database, open for writing by this process alone.
#[derive(Debug)]
pub struct Store {
    pub(super) conn: Connection,
    pub(super) settings: Settings,
    pub(super) tally: Tally,
    pub(super) kept: Kept,
    ids: ContextV7,
    budget: Arc<WriteBudget>,
    left_open: usize,
    pub(super) trouble: Note,
    /// Dropped last: nobody else may write before the connection is closed.
    _lock: WriterLock,
}

impl Store {
    /// Opens the database, creating or upgrading it. Events whose outcome a crash left pending become
    /// `unknown`: what was to be done about them is never done later.
    ///
    /// Blocks for as long as an upgrade takes.
    ///
    /// # Errors
    /// A [`StoreError`] that names the path and the remedy.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let path = &settings.path;
        let lock = WriterLock::take(path)?;
        let mut conn = connect(path)?;
        lock.confirm(path)?;
        schema::upgrade(&mut conn, path)?;
        let left_open = close_pending(&conn).map_err(|source| opening(path, source))?;
        let tally = Tally::count(&conn).map_err(|source| opening(path, source))?;
        let kept = Kept::read(&conn).map_err(|source| opening(path, source))?;
        let budget = Arc::default();
        Ok(Self {
            conn,
            settings: settings.clone(),
            tally,
            kept,
            ids: ContextV7::new(),
            budget,
            left_open,
            trouble: Note::open(path),
            _lock: lock,
        })
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.settings.path
    }

    /// From now on what is written counts towards this budget, and snapshots that pass it are left out.
    pub fn set_budget(&mut self, budget: Arc<WriteBudget>) {
        self.budget = budget;
    }

    /// How many events a crash had left pending when this store was opened.
    #[must_use]
    pub fn left_open(&self) -> usize {
        self.left_open
    }

    /// Alerts refused since the store was opened because the outbox was full, per severity, least severe first.
    #[must_use]
    pub fn refused(&self) -> [u64; 3] {
        self.tally.refused
    }

    /// Bytes that wait in the outbox.
    #[must_use]
    pub fn outbox_bytes(&self) -> u64 {
        self.tally.outbox
    }

    /// Records the batch in one transaction. When it returns, everything in it is on the disk.
    ///
    /// Grants come back `pending`; alerts `done`, that is handed to the outbox, or `refused` when it is full.
    ///
    /// # Errors
    /// [`StoreError::Write`]; then nothing of the batch is in the file.
    pub fn record(&mut self, batch: Vec<NewEvent>) -> Result<Vec<Recorded>, StoreError> {
        let now = batch.last().map_or(Stamp::new(0, 0), |new| new.decision.at);
        let writes: Vec<_> = batch.into_iter().map(|new| self.prepare(new, now)).collect();
        self.commit(&writes, now)
    }

    /// Notes how an event ended. An event that is no longer kept is no error.
    ///
    /// # Errors
    /// [`StoreError::Write`]
    pub fn set_outcome(&mut self, event: EventId, outcome: Outcome) -> Result<(), StoreError> {
        self.commit(&[Write::Outcome { event, outcome }], Stamp::new(0, 0)).map(drop)
    }

    /// Takes acknowledged alerts out of the outbox; `now` is noted as the time of their delivery.
    ///
    /// # Errors
    /// [`StoreError::Write`]; then all of them stay.
    pub fn delivered(&mut self, rows: &[i64], now: Stamp) -> Result<(), StoreError> {
        self.commit(&[Write::Delivered(rows.to_vec())], now).map(drop)
    }

    /// Moves everything from the write-ahead log into the file and closes it.
    ///
    /// # Errors
    /// [`StoreError::Write`]; nothing is lost then, the next start finds it in the log.
    pub fn close(self) -> Result<(), StoreError> {
        self.conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .and_then(|()| self.conn.close().map_err(|(_, error)| error))
            .map_err(StoreError::Write)
    }

    /// Assigns the id and encodes the picture: what must not happen twice when the write has to be repeated. `now` dates
    /// what is written.
    pub(super) fn prepare(&self, new: NewEvent, now: Stamp) -> Write {
        let outcome = match new.decision.verdict {
            Verdict::Authorise { .. } => Outcome::Pending,
            Verdict::Deny { .. } | Verdict::Alert { .. } | Verdict::Log => Outcome::Done,
        };
        let event = Event {
            id: self.new_id(new.decision.at),
            decision: new.decision,
            model_sha256: new.model_sha256,
            config_sha256: new.config_sha256,
            outcome,
        };
        let (jpeg, picture_refused) = self.within_budget(new.picture.into_jpeg(), &event, now);
        Write::Event { event, jpeg, picture_refused, clip: new.clip }
    }

    /// The picture, or why it is left out.
    fn within_budget(
        &self,
        jpeg: Option<Vec<u8>>,
        event: &Event,
        now: Stamp,
    ) -> (Option<Vec<u8>>, Option<String>) {
        let Some(jpeg) = jpeg else { return (None, None) };
        if self.budget.admit(Extra::Snapshot, jpeg.len() as u64, now) {
            return (Some(jpeg), None);
        }
        let why = self.budget.reason();
        log::warn!("event {}: its picture is not kept: {why}", event.id);
        (None, Some(why))
    }

    fn new_id(&self, at: Stamp) -> EventId {
        let wall_us = at.wall_us().max(0).unsigned_abs();
        let nanos = u32::try_from(wall_us % 1_000_000).unwrap_or(0) * 1_000;
        let time = Timestamp::from_unix(&self.ids, wall_us / 1_000_000, nanos);
        EventId::from_u128(Uuid::new_v7(time).as_u128())
    }

    /// Writes all in one transaction.
    pub(super) fn commit(&mut self, writes: &[Write], now: Stamp) -> Result<Vec<Recorded>, StoreError> {
        let bound = OutboxBound::new(&self.settings);
        let (mut tally, mut kept) = (self.tally.clone(), self.kept.clone());
        let books = (&mut tally, &mut kept);
        let recorded = write_all(&mut self.conn, writes, now, books, bound).map_err(StoreError::Write)?;
        (self.tally, self.kept) = (tally, kept);
        // Without a date it belongs to no day.
        if now.wall_us() > 0 {
            self.budget.spend(must_write(writes), now);
        }
        Ok(recorded)
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let failed = |source| opening(path, source);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    conn.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // Read before anything is set: a foreign or newer file must stay as it is.
    schema::version(&conn, path)?;
    if conn.is_readonly("main").map_err(failed)? {
        return Err(StoreError::ReadOnly { path: path.to_owned(), source: None });
    }
    configure(&conn).map_err(failed)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(StoreError::NoWal(path.to_owned()));
    }
    Ok(conn)
}

/// The settings of the writing connection, before the journal mode: `auto_vacuum` only takes effect in a file
/// that has no page yet.
fn configure(conn: &Connection) -> rusqlite::Result<()> {
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "journal_size_limit", WAL_LIMIT)
}

fn close_pending(conn: &Connection) -> rusqlite::Result<usize> {
    conn.execute("UPDATE event SET outcome = 'unknown' WHERE outcome = 'pending'", [])
}

fn write_all(
    conn: &mut Connection,
    writes: &[Write],
    now: Stamp,
    (tally, kept): (&mut Tally, &mut Kept),
    bound: OutboxBound,
) -> rusqlite::Result<Vec<Recorded>> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut recorded = Vec::new();
    for write in writes {
        match write {
            Write::Event { event, jpeg, picture_refused, clip } => {
                let picture = (jpeg.as_deref(), picture_refused.as_deref());
                let mut written = write_event(&tx, event, picture, tally, bound)?;
                written.1.clip = *clip;
                kept.note(&event.decision, written.0);
                if clip.is_some() {
                    clips::begin(&tx, written.0)?;
                }
                recorded.push(written.1);
            }
            Write::Outcome { event, outcome } => write_outcome(&tx, *event, outcome)?,
            Write::Delivered(rows) => {
                for row in rows {
                    write_delivered(&tx, *row, now, tally)?;
                }
            }
            Write::Clip { events, state } => clips::set(&tx, events, state)?,
            Write::ClipsGone { files, why } => clips::gone(&tx, files, why)?,
        }
    }
    tx.commit()?;
    Ok(recorded)
}

/// Writes an event with its picture, or why there is none; returns its row, too.
fn write_event(
    tx: &Transaction<'_>,
    event: &Event,
    (jpeg, picture_refused): (Option<&[u8]>, Option<&str>),
    tally: &mut Tally,
    bound: OutboxBound,
) -> rusqlite::Result<(i64, Recorded)> {
    let bytes = row::weight(event, jpeg.map_or(0, <[u8]>::len));
    let severity = match event.decision.verdict {
        Verdict::Alert { severity, .. } => Some(severity),
        _ => None,
    };
    let mut event = event.clone();
    let admitted = severity.filter(|&severity| bound.admits(severity, tally.outbox, bytes));
    let alert_refused = severity.is_some() && admitted.is_none();
    if let Some(severity) = severity.filter(|_| alert_refused) {
        event.outcome = Outcome::Refused(full(severity));
        tally.refused[severity as usize] += 1;
    }
    let row = row::insert(&mut tx.prepare_cached(row::INSERT)?, &event, bytes, picture_refused)?;
    if let Some(jpeg) = jpeg {
        tx.prepare_cached("INSERT INTO snapshot (event, jpeg) VALUES (?1, ?2)")?
            .execute(params![row, jpeg])?;
    }
    if let Some(severity) = admitted {
        tx.prepare_cached("INSERT INTO outbox (event, severity, bytes) VALUES (?1, ?2, ?3)")?
            .execute(params![row, severity.as_str(), bytes.cast_signed()])?;
        tally.outbox += bytes;
    }
    tally.events[verdict_index(event.decision.verdict.kind())] += bytes;
    Ok((row, Recorded { event, alert_refused, clip: None }))
}

/// What these writes take beside pictures and clips, which are counted where they are admitted.
fn must_write(writes: &[Write]) -> u64 {
    let events = writes.iter().map(|write| match write {
        Write::Event { event, .. } => row::weight(event, 0) + COMMIT_BYTES / 4,
        _ => 0,
    });
    // The first of a commit brings its pages along, the others share them.
    COMMIT_BYTES * 3 / 4 + events.sum::<u64>()
}

fn full(severity: Severity) -> String {
    let share = share_percent(severity);
    format!("outbox full: {} alerts are taken up to {share} % of its size", severity.as_str())
}

fn write_outcome(tx: &Transaction<'_>, event: EventId, outcome: &Outcome) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE event SET outcome = ?2, outcome_detail = ?3 WHERE id = ?1")?
        .execute(params![event.to_string(), outcome.kind(), outcome.detail()])
        .map(drop)
}

/// A row that is not there was delivered before: brokers acknowledge repeats too.
fn write_delivered(tx: &Transaction<'_>, row: i64, now: Stamp, tally: &mut Tally) -> rusqlite::Result<()> {
    let mut delete = tx.prepare_cached("DELETE FROM outbox WHERE event = ?1 RETURNING bytes")?;
    let mut freed = delete.query(params![row])?;
    if let Some(freed) = freed.next()? {
        tally.outbox = tally.outbox.saturating_sub(freed.get::<_, i64>(0)?.unsigned_abs());
        tx.prepare_cached("UPDATE event SET delivered_wall_us = ?2 WHERE row = ?1")?
            .execute(params![row, now.wall_us()])?;
    }
    Ok(())
}
