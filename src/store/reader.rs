//! Reading while the daemon writes.
//!
//! A reader has its own read-only connection. It never blocks the writer and is never blocked by it; each call
//! sees the file as it was at one moment.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::tally::{VERDICTS, verdict_index};
use super::{SCHEMA_VERSION, StoreError, clips, row, schema};
use crate::domain::{Alert, Answer, CameraId, ClipState, Event, EventId, RuleId};

/// The database, open for reading only.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
}

/// Which events are wanted: those that fit everything that is `Some`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// The camera.
    pub camera: Option<CameraId>,
    /// The rule.
    pub rule: Option<RuleId>,
    /// What was seen.
    pub answer: Option<Answer>,
    /// One of [`VERDICTS`].
    pub verdict: Option<String>,
    /// Decided at or after this moment, microseconds since 1970-01-01 UTC.
    pub since_wall_us: Option<i64>,
    /// Decided before this moment, microseconds since 1970-01-01 UTC.
    pub until_wall_us: Option<i64>,
}

/// In which order events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its row number: the order of commitment.
    pub row: i64,
    /// The event.
    pub event: Event,
    /// What became of its alert.
    pub delivery: Delivery,
    /// Size of the snapshot, in bytes.
    pub snapshot_bytes: Option<u64>,
    /// Why there is no snapshot although the rule asked for one.
    pub picture_refused: Option<String>,
    /// The clip that it was to have, and what became of it.
    pub clip: Option<ClipState>,
}

/// What became of an event's alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// There is none to deliver.
    None,
    /// It waits in the outbox.
    Waiting,
    /// The broker acknowledged it at this moment, microseconds since 1970-01-01 UTC.
    At(i64),
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Events per verdict, in the order of [`VERDICTS`].
    pub events: [u64; 4],
    /// Alerts that wait for the broker.
    pub outbox: u64,
    /// Their weight in bytes.
    pub outbox_bytes: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Size of the database file in bytes, without its write-ahead log.
    pub file_bytes: u64,
}

impl Reader {
    /// Opens the database at `path`; it must exist and be of this program's schema version.
    ///
    /// # Errors
    /// A [`StoreError`] that names the path and the remedy.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        // A folder that may not be entered is an error here, and SQLite's to tell.
        if let Ok(false) = path.try_exists() {
            return Err(StoreError::NoDatabase(path.to_owned()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags).map_err(|source| cannot_read(path, source))?;
        let found = schema::version(&conn, path).map_err(|error| match error {
            StoreError::Open { path, source } => cannot_read(&path, source),
            other => other,
        })?;
        if found < SCHEMA_VERSION {
            return Err(StoreError::TooOld { path: path.to_owned(), found, supported: SCHEMA_VERSION });
        }
        Ok(Self { conn })
    }

    /// At most `limit` events that fit the filter, by the time of decision.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::BadRow`]
    pub fn events(&self, filter: &Filter, limit: usize, order: Order) -> Result<Vec<Stored>, StoreError> {
        let mut found = Vec::new();
        self.each(filter, limit, order, |stored| {
            found.push(stored);
            true
        })?;
        Ok(found)
    }

    /// Calls `take` with one event after the other, so that a long list need not fit into memory, until it
    /// returns false.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::BadRow`]
    pub fn each(
        &self,
        filter: &Filter,
        limit: usize,
        order: Order,
        mut take: impl FnMut(Stored) -> bool,
    ) -> Result<(), StoreError> {
        let direction = match order {
            Order::NewestFirst => "DESC",
            Order::OldestFirst => "ASC",
        };
        let sql = format!(
            "{} WHERE at_wall_us >= ?1 AND at_wall_us < ?2 AND (?3 IS NULL OR camera = ?3) \
             AND (?4 IS NULL OR rule = ?4) AND (?5 IS NULL OR answer = ?5) AND (?6 IS NULL OR verdict = ?6) \
             ORDER BY at_wall_us {direction}, row {direction} LIMIT ?7",
            select_stored()
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![
            filter.since_wall_us.unwrap_or(i64::MIN),
            filter.until_wall_us.unwrap_or(i64::MAX),
            filter.camera.as_ref().map(CameraId::as_str),
            filter.rule.as_ref().map(RuleId::as_str),
            filter.answer.as_ref().map(Answer::as_str),
            filter.verdict,
            i64::try_from(limit).unwrap_or(i64::MAX),
        ])?;
        while let Some(row) = rows.next()? {
            if !take(stored(row)?) {
                break;
            }
        }
        Ok(())
    }

    /// The event with this id.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::BadRow`]
    pub fn event(&self, id: EventId) -> Result<Option<Stored>, StoreError> {
        let sql = format!("{} WHERE id = ?1", select_stored());
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query([id.to_string()])?;
        rows.next()?.map(stored).transpose()
    }

    /// The one event whose id begins or ends with `text`: at least 6 hexadecimal digits, hyphens are ignored.
    /// The beginning of an id is its time, so the end tells neighbours apart sooner.
    ///
    /// # Errors
    /// [`StoreError::NotAnId`], [`StoreError::NoEvent`], [`StoreError::Ambiguous`], [`StoreError::Read`]
    pub fn find(&self, text: &str) -> Result<Stored, StoreError> {
        let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
        if !(6..=32).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(StoreError::NotAnId(text.to_owned()));
        }
        let mut statement = self.conn.prepare_cached(
            "SELECT id FROM event WHERE replace(id, '-', '') LIKE ?1 || '%' OR replace(id, '-', '') LIKE '%' || ?1 LIMIT 2",
        )?;
        let ids: Vec<String> = statement.query_map([&digits], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let none = || StoreError::NoEvent(text.to_owned());
        match ids.as_slice() {
            [] => Err(none()),
            [id] => self.event(EventId::parse(id).ok_or_else(none)?)?.ok_or_else(none),
            _ => Err(StoreError::Ambiguous(text.to_owned())),
        }
    }

    /// The picture that is kept with an event, JPEG.
    ///
    /// # Errors
    /// [`StoreError::Read`]
    pub fn snapshot(&self, id: EventId) -> Result<Option<Vec<u8>>, StoreError> {
        let sql = "SELECT jpeg FROM snapshot WHERE event = (SELECT row FROM event WHERE id = ?1)";
        let mut statement = self.conn.prepare_cached(sql)?;
        Ok(statement.query_row([id.to_string()], |row| row.get(0)).optional()?)
    }

    /// At most `limit` alerts that wait for the broker, in the order of their events, beginning after outbox row
    /// `row` (0: from the first).
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::BadRow`]
    pub fn outbox_after(&self, row: i64, limit: usize) -> Result<Vec<Alert>, StoreError> {
        let sql = format!(
            "SELECT {}, (SELECT jpeg FROM snapshot WHERE snapshot.event = row) FROM event \
             WHERE row IN (SELECT event FROM outbox WHERE event > ?1 ORDER BY event LIMIT ?2) ORDER BY row",
            row::COLUMNS
        );
        let mut statement = self.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![row, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut alerts = Vec::new();
        while let Some(row) = rows.next()? {
            let (number, event) = row::event(row)?;
            alerts.push(Alert { row: number, event, snapshot: row.get(row::COLUMN_COUNT)? });
        }
        Ok(alerts)
    }

    /// How much is kept. Counts all rows: for people, not for loops.
    ///
    /// # Errors
    /// [`StoreError::Read`]
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let number =
            |sql: &str| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
        let mut counts = Counts {
            outbox: number("SELECT count(*) FROM outbox")?,
            outbox_bytes: number("SELECT coalesce(sum(bytes), 0) FROM outbox")?,
            snapshots: number("SELECT count(*) FROM snapshot")?,
            file_bytes: number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?,
            ..Counts::default()
        };
        let mut statement =
            self.conn.prepare_cached("SELECT verdict, count(*) FROM event GROUP BY verdict")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let kind: String = row.get(0)?;
            counts.events[verdict_index(&kind)] = row.get::<_, i64>(1)?.unsigned_abs();
        }
        Ok(counts)
    }
}

impl Counts {
    /// Events of all verdicts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.events.iter().sum()
    }

    /// Events of each verdict, by name.
    pub fn by_verdict(&self) -> impl Iterator<Item = (&'static str, u64)> {
        VERDICTS.into_iter().zip(self.events)
    }
}

fn select_stored() -> String {
    format!(
        "SELECT {}, delivered_wall_us, EXISTS (SELECT 1 FROM outbox WHERE outbox.event = row), \
         (SELECT length(jpeg) FROM snapshot WHERE snapshot.event = row), picture_refused, {} \
         FROM event LEFT JOIN clip ON clip.event = event.row",
        row::COLUMNS,
        clips::COLUMNS
    )
}

fn stored(row: &Row<'_>) -> Result<Stored, StoreError> {
    let (number, event) = row::event(row)?;
    let delivery = match (row.get(row::COLUMN_COUNT)?, row.get(row::COLUMN_COUNT + 1)?) {
        (Some(wall_us), _) => Delivery::At(wall_us),
        (None, true) => Delivery::Waiting,
        (None, false) => Delivery::None,
    };
    let snapshot: Option<i64> = row.get(row::COLUMN_COUNT + 2)?;
    let picture_refused = row.get(row::COLUMN_COUNT + 3)?;
    let clip = clips::read(row, row::COLUMN_COUNT + 4, number)?;
    let snapshot_bytes = snapshot.map(i64::unsigned_abs);
    Ok(Stored { row: number, event, delivery, snapshot_bytes, picture_refused, clip })
}

fn cannot_read(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = PathBuf::from(path);
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotADatabase(path),
        _ => StoreError::OpenReader { path, source },
    }
}
