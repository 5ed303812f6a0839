//! The tables.
//!
//! A record is one JSON document: what the program reads, shows and stores is the same text. Columns
//! that queries need are computed from it by SQLite, so they can never disagree with it.

use std::time::Duration;

use camino::Utf8Path;
use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// Version of the tables below, kept in `PRAGMA user_version`.
pub(super) const SCHEMA: i64 = 5;

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

/// What version 3 added. A message is written with the event that it tells of, whatever process does
/// that, and holds the record as it was then. New images, which have had no state before, are told of from their
/// next state on. A receiver that does not answer has so many messages waiting at most.
const CALLBACKS: &str = "
CREATE TABLE callbacks (
  ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
  job TEXT NOT NULL,
  address BLOB NOT NULL,
  shown TEXT NOT NULL,
  delivered INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  last_error TEXT
);
CREATE INDEX callbacks_by_job ON callbacks (job);
CREATE TABLE callback_images (
  image TEXT NOT NULL,
  callback INTEGER NOT NULL,
  tier TEXT NOT NULL,
  PRIMARY KEY (image, callback)
) WITHOUT ROWID;
CREATE TABLE callback_messages (
  callback INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  image TEXT NOT NULL,
  time TEXT NOT NULL,
  kind TEXT NOT NULL,
  tier TEXT NOT NULL,
  record TEXT,
  attempts INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (callback, sequence)
);
CREATE TRIGGER callbacks_are_told AFTER INSERT ON events
WHEN NEW.kind ->> 'event' = 'transition' AND NEW.kind ->> 'from' IS NOT NULL
BEGIN
  UPDATE callbacks SET failed = failed + 1, last_error = 'too many messages wait'
    WHERE ordinal IN (SELECT callback FROM callback_images WHERE image = NEW.image)
      AND (SELECT count(*) FROM callback_messages WHERE callback = ordinal) >= 1000;
  INSERT INTO callback_messages (callback, sequence, image, time, kind, tier, record)
    SELECT i.callback, NEW.sequence, NEW.image, NEW.time, NEW.kind, i.tier,
      (SELECT record FROM images WHERE id = NEW.image)
    FROM callback_images i WHERE i.image = NEW.image
      AND (SELECT count(*) FROM callback_messages m WHERE m.callback = i.callback) < 1000;
END;
CREATE TABLE build_totals (
  tier TEXT NOT NULL,
  plugin TEXT NOT NULL,
  status TEXT NOT NULL,
  bucket INTEGER NOT NULL,
  builds INTEGER NOT NULL,
  seconds REAL NOT NULL,
  waited_seconds REAL NOT NULL,
  PRIMARY KEY (tier, plugin, status, bucket)
) WITHOUT ROWID;
CREATE TRIGGER builds_are_counted AFTER INSERT ON events
WHEN NEW.kind ->> 'event' = 'transition'
  AND NEW.kind ->> 'to' IN ('COMPLETE', 'FAILED', 'SKIPPED', 'CANCELLED')
BEGIN
  INSERT INTO build_totals
    SELECT tier, plugin, status,
      CASE WHEN s <= 1 THEN 0 WHEN s <= 5 THEN 1 WHEN s <= 15 THEN 2 WHEN s <= 30 THEN 3
           WHEN s <= 60 THEN 4 WHEN s <= 120 THEN 5 WHEN s <= 300 THEN 6 WHEN s <= 900 THEN 7
           WHEN s <= 3600 THEN 8 WHEN s <= 14400 THEN 9 ELSE 10 END, 1, s, w
    FROM (SELECT tier, status, coalesce(record ->> '$.plugin.name', '') AS plugin,
        max(0, coalesce((julianday(record ->> 'finished') - julianday(record ->> 'started')) * 86400, 0)) AS s,
        max(0, coalesce((julianday(record ->> 'started') - julianday(record ->> 'created')) * 86400, 0)) AS w
      FROM images WHERE id = NEW.image) WHERE true
    ON CONFLICT DO UPDATE SET builds = builds + 1, seconds = seconds + excluded.seconds,
      waited_seconds = waited_seconds + excluded.waited_seconds;
END;
";

/// What version 4 added: who is to be cancelled is asked several times a second, lists are of one tier, and
/// every command looks for what is left of deleted images.
const INDEXES: &str = "
CREATE INDEX images_to_cancel ON images (id) WHERE cancel_requested = 1;
CREATE INDEX images_by_tier ON images (tier);
CREATE INDEX events_of_deletions ON events (time) WHERE kind ->> 'to' = 'DELETED';
";

/// What version 5 added: receivers are forgotten, and what they were told is counted ever after.
const CALLBACK_TOTALS: &str = "
CREATE INDEX callback_images_by_callback ON callback_images (callback);
CREATE TABLE callback_totals (
  delivered INTEGER NOT NULL,
  failed INTEGER NOT NULL
);
INSERT INTO callback_totals VALUES (0, 0);
CREATE TRIGGER callbacks_are_counted AFTER DELETE ON callbacks
BEGIN
  UPDATE callback_totals
    SET delivered = delivered + OLD.delivered, failed = failed + OLD.failed;
END;
";

/// Upper bounds of durations of builds, in seconds, as the trigger above has them.
pub(super) const DURATION_BUCKETS: [u32; 10] = [1, 5, 15, 30, 60, 120, 300, 900, 3600, 14_400];

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
        if found < 3 {
            transaction.execute_batch(CALLBACKS)?;
        }
        if found < 4 {
            transaction.execute_batch(INDEXES)?;
        }
        if found < 5 {
            transaction.execute_batch(CALLBACK_TOTALS)?;
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
