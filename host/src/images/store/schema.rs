//! The tables.
//!
//! A record is one JSON document: what the program reads, shows and stores is the same text. Columns
//! that queries need are computed from it by SQLite, so they can never disagree with it.

use std::time::Duration;

use camino::Utf8Path;
use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Version of the tables below, kept in `PRAGMA user_version`.
pub(super) const SCHEMA: i64 = 2;

const TABLES: &str = "
CREATE TABLE images (
  ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  record TEXT NOT NULL,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  tier TEXT GENERATED ALWAYS AS (record ->> 'tier') VIRTUAL,
  status TEXT GENERATED ALWAYS AS (record ->> 'status') VIRTUAL,
  name TEXT GENERATED ALWAYS AS (record ->> 'name') VIRTUAL,
  target TEXT GENERATED ALWAYS AS (record ->> 'target') VIRTUAL,
  base_image_id TEXT GENERATED ALWAYS AS (record ->> 'base_image_id') VIRTUAL,
  target_image_id TEXT GENERATED ALWAYS AS (record ->> 'target_image_id') VIRTUAL,
  reuse_key TEXT GENERATED ALWAYS AS (record ->> 'reuse_key') VIRTUAL
);
CREATE INDEX images_by_status ON images (status, id);
CREATE INDEX images_by_name ON images (name);
CREATE INDEX images_by_base ON images (base_image_id);
CREATE INDEX images_by_target_image ON images (target_image_id);
CREATE INDEX images_by_reuse_key ON images (reuse_key);
CREATE TABLE events (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  image TEXT NOT NULL,
  time TEXT NOT NULL,
  kind TEXT NOT NULL
);
CREATE INDEX events_by_image ON events (image, sequence);
";

/// What version 2 added.
const JOBS: &str = "
CREATE TABLE jobs (
  ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  user TEXT NOT NULL,
  state TEXT NOT NULL,
  images TEXT NOT NULL,
  made TEXT NOT NULL,
  created TEXT NOT NULL,
  request BLOB NOT NULL,
  idempotency_key TEXT,
  UNIQUE (user, idempotency_key)
);
CREATE INDEX jobs_by_state ON jobs (state, ordinal);
";

/// Opens the database file `path` and brings its tables up to date. The caller holds the store's lock,
/// since two processes that turn a new database to WAL at once disturb each other.
pub(super) fn open(path: &Utf8Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(20))?;
    let transaction = |connection: &mut Connection| -> Result<(), StoreError> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > SCHEMA {
            let path = path.to_owned();
            return Err(StoreError::NewerSchema { path, found, supported: SCHEMA });
        }
        if found < 1 {
            transaction.execute_batch(TABLES)?;
        }
        if found < 2 {
            transaction.execute_batch(JOBS)?;
        }
        if found < SCHEMA {
            transaction.pragma_update(None, "user_version", SCHEMA)?;
        }
        Ok(transaction.commit()?)
    };
    transaction(&mut connection)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        tracing::warn!(mode, "the image database cannot use a write-ahead log");
    }
    durability(&connection, Durability::Process)?;
    Ok(connection)
}

/// What a commit outlives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Durability {
    /// The death of the process. Progress and log lines come by the thousand; an fsync for each would be
    /// the cost of a build. After a power cut the database is whole, and lacks the last moments.
    Process,
    /// A power cut as well: for what a user has been told is finished.
    Machine,
}

pub(super) fn durability(
    connection: &Connection,
    durability: Durability,
) -> Result<(), rusqlite::Error> {
    connection.pragma_update(
        None,
        "synchronous",
        match durability {
            Durability::Process => "NORMAL",
            Durability::Machine => "FULL",
        },
    )
}
