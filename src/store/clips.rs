//! What became of the clips: rows beside the events, files elsewhere.

use std::collections::BTreeSet;

use rusqlite::{Row, Transaction, TransactionBehavior, params};

use super::{Store, StoreError};
use crate::domain::{ClipFile, ClipState, EventId};

/// What is read of a clip, beside the event's own columns.
pub(super) const COLUMNS: &str =
    "clip.state, clip.detail, clip.file, clip.bytes, clip.from_wall_us, clip.until_wall_us";

/// The state from columns that begin at `at` with [`COLUMNS`]; `None` where the event has no clip.
pub(super) fn read(row: &Row<'_>, at: usize, number: i64) -> Result<Option<ClipState>, StoreError> {
    let Some(kind) = row.get::<_, Option<String>>(at)? else { return Ok(None) };
    let detail = row.get::<_, Option<String>>(at + 1)?.unwrap_or_default();
    let number_at = |index: usize| row.get::<_, Option<i64>>(index).map(Option::unwrap_or_default);
    Ok(Some(match kind.as_str() {
        "pending" => ClipState::Pending,
        "refused" => ClipState::Refused(detail),
        "failed" => ClipState::Failed(detail),
        "pruned" => ClipState::Pruned(detail),
        "written" => ClipState::Written(ClipFile {
            name: row.get(at + 2)?,
            bytes: number_at(at + 3)?.unsigned_abs(),
            from_wall_us: number_at(at + 4)?,
            until_wall_us: number_at(at + 5)?,
        }),
        _ => return Err(StoreError::BadRow { row: number, column: "clip.state", found: kind }),
    }))
}

/// Begins the row of an event that is to have a clip.
pub(super) fn begin(tx: &Transaction<'_>, row: i64) -> rusqlite::Result<()> {
    tx.prepare_cached("INSERT INTO clip (event, state) VALUES (?1, 'pending')")?.execute([row]).map(drop)
}

/// Notes the state of the clip of these events; those that are no longer kept are passed over.
pub(super) fn set(tx: &Transaction<'_>, events: &[EventId], state: &ClipState) -> rusqlite::Result<()> {
    let file = state.file();
    let mut update = tx.prepare_cached(
        "UPDATE clip SET state = ?2, detail = ?3, file = ?4, bytes = ?5, from_wall_us = ?6, until_wall_us = ?7 \
         WHERE event = (SELECT row FROM event WHERE id = ?1)",
    )?;
    for event in events {
        update.execute(params![
            event.to_string(),
            state.kind(),
            state.detail(),
            file.map(|file| &file.name),
            file.map(|file| file.bytes.cast_signed()),
            file.map(|file| file.from_wall_us),
            file.map(|file| file.until_wall_us),
        ])?;
    }
    Ok(())
}

/// These files are gone.
pub(super) fn gone(tx: &Transaction<'_>, files: &[String], why: &str) -> rusqlite::Result<()> {
    let mut update = tx.prepare_cached(
        "UPDATE clip SET state = 'pruned', detail = ?2 WHERE file = ?1 AND state = 'written'",
    )?;
    files.iter().try_for_each(|file| update.execute(params![file, why]).map(drop))
}

impl Store {
    /// To be called before anything is recorded: compares the rows with the files that are there, as the event that each
    /// was begun for, its name and its size. What the last run left pending is written after all when its file is there,
    /// and failed otherwise; what was written and is there no more is pruned. Returns how many were left pending.
    ///
    /// # Errors
    /// [`StoreError::Write`]; then nothing was changed.
    pub fn settle_clips(&mut self, files: &[(EventId, String, u64)]) -> Result<usize, StoreError> {
        self.settle(files).map_err(StoreError::Write)
    }

    fn settle(&mut self, files: &[(EventId, String, u64)]) -> rusqlite::Result<usize> {
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut adopt = tx.prepare(
            "UPDATE clip SET state = 'written', file = ?2, bytes = ?3, \
             from_wall_us = (SELECT at_wall_us FROM event WHERE row = clip.event), \
             until_wall_us = (SELECT at_wall_us FROM event WHERE row = clip.event) \
             WHERE state = 'pending' AND event = (SELECT row FROM event WHERE id = ?1)",
        )?;
        let mut left = 0;
        for (event, name, bytes) in files {
            left += adopt.execute(params![event.to_string(), name, bytes.cast_signed()])?;
        }
        drop(adopt);
        left += tx.execute(
            "UPDATE clip SET state = 'failed', detail = 'the daemon ended before it was written' WHERE state = 'pending'",
            [],
        )?;
        let there: BTreeSet<&str> = files.iter().map(|(_, name, _)| name.as_str()).collect();
        let missing: Vec<String> = {
            let mut known = tx.prepare("SELECT DISTINCT file FROM clip WHERE state = 'written'")?;
            let names = known.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            names.into_iter().filter(|name| !there.contains(name.as_str())).collect()
        };
        gone(&tx, &missing, "its file was taken away")?;
        tx.commit()?;
        Ok(left)
    }

    /// Bytes that were written at or after this moment (microseconds since 1970-01-01 UTC), as far as rows still tell.
    ///
    /// # Errors
    /// [`StoreError::Read`]
    pub fn written_since(&self, wall_us: i64) -> Result<u64, StoreError> {
        let sum = |sql: &str| self.conn.query_row(sql, [wall_us], |row| row.get::<_, i64>(0));
        let (events, bytes): (i64, i64) = self.conn.query_row(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM event WHERE at_wall_us >= ?1",
            [wall_us],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let clips =
            sum("SELECT coalesce(sum(bytes), 0) FROM (SELECT DISTINCT file, clip.bytes AS bytes FROM clip \
             JOIN event ON event.row = clip.event WHERE at_wall_us >= ?1)")?;
        Ok(bytes.unsigned_abs() + events.unsigned_abs() * super::COMMIT_BYTES + clips.unsigned_abs())
    }
}
