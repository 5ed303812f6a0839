//! Rows that nobody needs any more.
//!
//! Images stay until somebody deletes them. What tells of deleted ones is kept for a while and goes by itself, so
//! that a store that is used for years holds what there is and not what there was.

use jiff::{SignedDuration, Timestamp};
use rusqlite::named_params;

use super::schema::Durability;
use super::{Store, StoreError};

/// How long the last event of a deleted image is kept.
const KEEP_LAST_EVENTS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long a job is kept at least, and so how long its idempotency key is good: a client that sends a request
/// again does so within hours, and a month is what people look back.
const KEEP_JOBS: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Jobs that are over: old, with nothing left of what they made, and with nothing more to be told to a receiver.
const OVER: &str = "SELECT id FROM jobs WHERE state = 'done' AND created < :limit
  AND NOT EXISTS (SELECT 1 FROM json_each(made) m JOIN images i ON i.id = m.value)
  AND NOT EXISTS (SELECT 1 FROM callbacks c JOIN callback_messages m ON m.callback = c.ordinal
    WHERE c.job = jobs.id)
  AND NOT EXISTS (SELECT 1 FROM callbacks c JOIN callback_images w ON w.callback = c.ordinal
    JOIN images i ON i.id = w.image WHERE c.job = jobs.id)";

impl Store {
    /// Forgets what is over: the last events of images that are long gone, and jobs whose images are. It looks at
    /// every job that is done, so it is for a daemon at its start and now and then.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn forget_what_is_over(&self) -> Result<(), StoreError> {
        self.forget_ends()?;
        let limit = (Timestamp::now() - KEEP_JOBS).to_string();
        let over = self.read(|connection| {
            let mut statement = connection.prepare(OVER)?;
            let rows = statement.query_map(named_params! {":limit": limit}, |row| row.get(0))?;
            Ok(rows.collect::<Result<Vec<String>, _>>()?)
        })?;
        if over.is_empty() {
            return Ok(());
        }
        // Nothing makes a job begin again, nor gives its receivers another image.
        self.write(Durability::Process, |transaction| {
            for job in &over {
                transaction.execute(
                    "DELETE FROM callback_images
                     WHERE callback IN (SELECT ordinal FROM callbacks WHERE job = ?1)",
                    [job],
                )?;
                transaction.execute("DELETE FROM callbacks WHERE job = ?1", [job])?;
                transaction.execute("DELETE FROM jobs WHERE id = ?1", [job])?;
            }
            Ok(())
        })?;
        tracing::info!(jobs = over.len(), "old jobs are forgotten whose images are deleted");
        Ok(())
    }

    /// Drops the last events of images that have been gone for long; the others went with them.
    pub(super) fn forget_ends(&self) -> Result<(), StoreError> {
        let limit = (Timestamp::now() - KEEP_LAST_EVENTS).to_string();
        let ends = "FROM events WHERE kind ->> 'to' = 'DELETED' AND time < :limit";
        let (count, delete) = (format!("SELECT count(*) {ends}"), format!("DELETE {ends}"));
        let old: i64 = self.read(|connection| {
            Ok(connection.query_row(&count, named_params! {":limit": limit}, |row| row.get(0))?)
        })?;
        if old == 0 {
            return Ok(());
        }
        self.write(Durability::Process, |transaction| {
            transaction.execute(&delete, named_params! {":limit": limit})?;
            Ok(())
        })
    }
}
