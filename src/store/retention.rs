//! What is forgotten, and when.
//!
//! The oldest go first, in small steps, so that no step keeps a grant waiting. An event whose alert waits in
//! the outbox or whose outcome is pending is never touched, nor a grant that a limit still needs
//! (`history`). When the disk is nearly full, pictures go and events stay.

use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::history::{Kept, LastHour};
use super::tally::{Tally, VERDICTS, verdict_index};
use super::{Keep, Settings, Store, StoreError};
use crate::clock;
use crate::disk::free_bytes;

/// At most so many events are deleted in one step.
const STEP_ROWS: usize = 256;
/// At most so many bytes are deleted in one step (one event more may pass it).
const STEP_BYTES: u64 = 8 << 20;
/// At most so many pages are given back to the file system in one step.
const STEP_PAGES: i64 = 512;

/// Why a picture that was there is gone.
const GAVE_WAY: &str = "it was the oldest when the disk was nearly full";

/// What one step of pruning did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneReport {
    /// Events deleted, per verdict in the order of [`VERDICTS`].
    pub deleted: [u64; 4],
    /// Pictures deleted whose events stay.
    pub pictures: u64,
    /// The weight of all of them in bytes.
    pub bytes: u64,
    /// The step ended before the work did: call again.
    pub more: bool,
}

impl Store {
    /// Deletes what is too old or too much, at most one small step of it, and gives freed pages back to the file
    /// system. `now_wall_us` is the wall clock in microseconds, `now_mono_us` the monotonic one.
    ///
    /// # Errors
    /// [`StoreError::Write`]; then nothing was deleted.
    pub fn prune(&mut self, now_wall_us: i64, now_mono_us: u64) -> Result<PruneReport, StoreError> {
        self.prune_step(now_wall_us, now_mono_us).map_err(StoreError::Write)
    }

    /// Whether a bound in bytes is passed, so that pruning should not wait for its hour.
    #[must_use]
    pub fn over_bounds(&self) -> bool {
        if self.shortage() > 0 {
            return true;
        }
        let over =
            self.tally.events.iter().zip(keeps(&self.settings)).any(|(bytes, keep)| *bytes > keep.bytes);
        over || self.tally.events.iter().sum::<u64>() > bound_of_rows(&self.settings)
    }

    /// Bytes that its disk lacks.
    fn shortage(&self) -> u64 {
        let folder = self.settings.path.parent().unwrap_or(&self.settings.path);
        let free = free_bytes(folder).unwrap_or(u64::MAX);
        (self.settings.keep_free / 2).saturating_sub(free)
    }

    fn prune_step(&mut self, now_wall_us: i64, now_mono_us: u64) -> rusqlite::Result<PruneReport> {
        let mut report = self.delete_step(now_wall_us, now_mono_us)?;
        report.more |= give_back_pages(&self.conn)?;
        if report.pictures > 0 {
            // The file and its log shrink only now. When somebody reads just now, the next step does it.
            self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(report)
    }

    fn delete_step(&mut self, now_wall_us: i64, now_mono_us: u64) -> rusqlite::Result<PruneReport> {
        let shortage = self.shortage();
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (kept, last_hour) = (&self.kept, self.kept.last_hour(now_wall_us, now_mono_us));
        let mut step =
            Step { tally: self.tally.clone(), report: PruneReport::default(), rows: 0, kept, last_hour };
        for (index, keep) in keeps(&self.settings).into_iter().enumerate() {
            step.too_old(&tx, VERDICTS[index], now_wall_us.saturating_sub(micros(keep)))?;
            let excess = step.tally.events[index].saturating_sub(keep.bytes);
            step.too_much(&tx, Some(VERDICTS[index]), excess)?;
        }
        let excess = Pages::of(&tx)?.used_bytes().saturating_sub(bound_of_rows(&self.settings));
        step.too_much(&tx, None, excess)?;
        step.pictures(&tx, shortage)?;
        if step.rows > 0 {
            tx.commit()?;
        }
        self.tally = step.tally;
        Ok(step.report)
    }
}

fn keeps(settings: &Settings) -> [Keep; 4] {
    let r = &settings.retention;
    [r.authorise, r.deny, r.alert, r.log]
}

fn micros(keep: Keep) -> i64 {
    i64::try_from(keep.age.as_micros()).unwrap_or(i64::MAX)
}

/// Five percent of the file are left to free pages, which are used again before the file grows.
fn bound_of_rows(settings: &Settings) -> u64 {
    settings.max_bytes - settings.max_bytes / 20
}

/// One step under way.
struct Step<'a> {
    tally: Tally,
    report: PruneReport,
    rows: usize,
    /// Grants that stay.
    kept: &'a Kept,
    /// All grants decided in it stay.
    last_hour: LastHour,
}

impl Step<'_> {
    fn is_full(&self) -> bool {
        self.rows >= STEP_ROWS || self.report.bytes >= STEP_BYTES
    }

    fn too_old(&mut self, tx: &Transaction<'_>, verdict: &str, before_wall_us: i64) -> rusqlite::Result<()> {
        self.delete_oldest(tx, Some(verdict), before_wall_us, u64::MAX)
    }

    fn too_much(&mut self, tx: &Transaction<'_>, verdict: Option<&str>, excess: u64) -> rusqlite::Result<()> {
        if excess > 0 { self.delete_oldest(tx, verdict, i64::MAX, excess) } else { Ok(()) }
    }

    /// Deletes the oldest pictures, until `excess` bytes are gone or the step is full.
    fn pictures(&mut self, tx: &Transaction<'_>, excess: u64) -> rusqlite::Result<()> {
        if excess == 0 {
            return Ok(());
        }
        self.let_go(oldest_pictures(tx)?, excess, |report, (row, _, bytes)| {
            tx.prepare_cached("DELETE FROM snapshot WHERE event = ?1")?.execute([row])?;
            let told = "UPDATE event SET bytes = max(bytes - ?2, 0), picture_refused = ?3 WHERE row = ?1";
            tx.prepare_cached(told)?.execute(params![row, bytes as i64, GAVE_WAY])?;
            report.pictures += 1;
            Ok(())
        })
    }

    /// Deletes the oldest that may go, until `excess` bytes are gone or the step is full.
    fn delete_oldest(
        &mut self,
        tx: &Transaction<'_>,
        verdict: Option<&str>,
        before_wall_us: i64,
        excess: u64,
    ) -> rusqlite::Result<()> {
        let candidates = self.oldest(tx, verdict, before_wall_us)?;
        self.let_go(candidates, excess, |report, (row, verdict, _)| {
            tx.prepare_cached("DELETE FROM event WHERE row = ?1")?.execute([row])?;
            report.deleted[verdict] += 1;
            Ok(())
        })
    }

    /// The oldest events that may be deleted.
    fn oldest(
        &self,
        tx: &Transaction<'_>,
        verdict: Option<&str>,
        before_wall_us: i64,
    ) -> rusqlite::Result<Vec<Candidate>> {
        let may_go = format!(
            "outcome <> 'pending' AND NOT (verdict = 'authorise' AND {}) \
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.event = event.row)",
            LastHour::sql(4)
        );
        let of_verdict = if verdict.is_some() { "verdict = ?1" } else { "?1 IS NULL" };
        let sql = format!(
            "SELECT row, verdict, bytes FROM event WHERE {of_verdict} AND at_wall_us < ?2 AND {may_go} \
             ORDER BY at_wall_us, row LIMIT ?3"
        );
        let mut statement = tx.prepare_cached(&sql)?;
        // One more than a step takes, so that the step knows that it was not the last, and room for those that stay.
        let limit = (STEP_ROWS + 1 + self.kept.len()) as i64;
        let LastHour { since_wall_us, mono_us: (from, to) } = self.last_hour;
        let bounds = params![verdict, before_wall_us, limit, since_wall_us, clock::boot_id(), from, to];
        let rows = statement.query_map(bounds, candidate)?;
        let mut found = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        found.retain(|(row, ..)| !self.kept.holds(*row));
        Ok(found)
    }

    /// Deletes one after the other with `delete`, until `excess` bytes are gone or the step is full.
    fn let_go(
        &mut self,
        candidates: Vec<Candidate>,
        mut excess: u64,
        mut delete: impl FnMut(&mut PruneReport, Candidate) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        for candidate in candidates {
            if excess == 0 {
                break;
            }
            if self.is_full() {
                self.report.more = true;
                break;
            }
            delete(&mut self.report, candidate)?;
            let (_, verdict, bytes) = candidate;
            excess = excess.saturating_sub(bytes);
            self.rows += 1;
            self.report.bytes += bytes;
            self.tally.events[verdict] = self.tally.events[verdict].saturating_sub(bytes);
        }
        Ok(())
    }
}

/// What may go: its row, the place of its verdict, its bytes.
type Candidate = (i64, usize, u64);

/// Reads a row of these three.
fn candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    let kind: String = row.get(1)?;
    Ok((row.get(0)?, verdict_index(&kind), row.get::<_, i64>(2)?.unsigned_abs()))
}

/// The oldest pictures that no alert waits for.
fn oldest_pictures(tx: &Transaction<'_>) -> rusqlite::Result<Vec<Candidate>> {
    let sql = "SELECT row, verdict, length(jpeg) FROM snapshot JOIN event ON event.row = snapshot.event \
         WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.event = event.row) ORDER BY row LIMIT ?1";
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map([STEP_ROWS as i64 + 1], candidate)?;
    rows.collect()
}

/// The file in pages.
struct Pages {
    size: i64,
    count: i64,
    free: i64,
}

impl Pages {
    fn of(conn: &Connection) -> rusqlite::Result<Self> {
        let number = |pragma: &str| conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        Ok(Self { size: number("page_size")?, count: number("page_count")?, free: number("freelist_count")? })
    }

    fn used_bytes(&self) -> u64 {
        ((self.count - self.free) * self.size).unsigned_abs()
    }

    /// Free pages beyond the five percent that are kept for use again.
    fn spare(&self) -> i64 {
        (self.free - self.count / 20).max(0)
    }
}

/// Shrinks the file by one step; returns whether there is more to give back.
fn give_back_pages(conn: &Connection) -> rusqlite::Result<bool> {
    let spare = Pages::of(conn)?.spare();
    if spare == 0 {
        return Ok(false);
    }
    // Each step of the statement frees one page.
    let mut statement = conn.prepare(&format!("PRAGMA incremental_vacuum({})", spare.min(STEP_PAGES)))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(spare > STEP_PAGES)
}
