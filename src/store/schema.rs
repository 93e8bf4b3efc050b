//! The schema and its upgrades.
//!
//! Each version is one SQL file, never changed once released, run in one transaction together with the new
//! `user_version`: a file is at one version or at the next, never between.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::StoreError;

/// The upgrades in order: the first makes version 1 of an empty file.
pub(super) const UPGRADES: [&str; 4] = [
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
];

/// The newest version known here.
pub const SCHEMA_VERSION: u32 = UPGRADES.len() as u32;

/// Marks the file as ours (`PRAGMA application_id`): "PRTO" in ASCII.
const APPLICATION_ID: u32 = 0x5052_544F;

/// Brings the database to [`SCHEMA_VERSION`]. An empty file becomes a database; one of a newer version or of
/// another program is refused and left as it is.
pub(super) fn upgrade(conn: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(conn, path)?;
    for (next, sql) in (1..).zip(UPGRADES).skip(found as usize) {
        install(conn, next, sql).map_err(|source| StoreError::Migrate {
            path: path.to_owned(),
            version: next,
            source,
        })?;
        log::info!("{} is at schema version {next}", path.display());
    }
    Ok(())
}

fn install(conn: &mut Connection, version: u32, sql: &str) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(sql)?;
    tx.pragma_update(None, "user_version", version)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.commit()
}

/// The version of an existing database, 0 for an empty file.
pub(super) fn version(conn: &Connection, path: &Path) -> Result<u32, StoreError> {
    let number = |pragma: &str| {
        conn.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0))
            .map_err(|source| opening(path, source))
    };
    let (found, program) = (number("user_version")?, number("application_id")?);
    if program != APPLICATION_ID && (found != 0 || program != 0 || has_tables(conn, path)?) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if found > SCHEMA_VERSION {
        return Err(StoreError::TooNew { path: path.to_owned(), found, supported: SCHEMA_VERSION });
    }
    Ok(found)
}

fn has_tables(conn: &Connection, path: &Path) -> Result<bool, StoreError> {
    conn.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
        .map_err(|source| opening(path, source))
}

/// What SQLite says while a file is being opened, in words that name the remedy.
pub(super) fn opening(path: &Path, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => StoreError::NotADatabase(path.to_owned()),
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged { path: path.to_owned(), source },
        Some(ErrorCode::ReadOnly) => StoreError::ReadOnly { path: path.to_owned(), source: None },
        _ => StoreError::Open { path: path.to_owned(), source },
    }
}
