//! Callbacks in the store. A trigger writes the messages: see the tables.

use rusqlite::{OptionalExtension, Row, Transaction, named_params};

use super::follow::event;
use super::schema::Durability;
use super::write::parse;
use super::{Store, StoreError};
use crate::images::callback::{CallbackCounts, CallbackState, Message, NewCallback};
use crate::images::{EventKind, ImageId, Job, JobId, Status};

impl Store {
    /// Callbacks that have something to tell, oldest first.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn callbacks_to_tell(&self) -> Result<Vec<i64>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT callback FROM callback_messages ORDER BY callback",
            )?;
            let rows = statement.query_map([], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The job and the sealed address of a callback.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn callback_address(&self, callback: i64) -> Result<(String, Vec<u8>), StoreError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT job, address FROM callbacks WHERE ordinal = ?1")?;
            Ok(statement.query_row([callback], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }

    /// The oldest message of a callback.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn next_message(&self, callback: i64) -> Result<Option<Message>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT sequence, image, time, kind, tier, record, attempts
                 FROM callback_messages WHERE callback = ?1 ORDER BY sequence LIMIT 1",
            )?;
            let found = statement.query_row([callback], |row| {
                let texts: [String; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
                let tier: String = row.get(4)?;
                let record: Option<String> = row.get(5)?;
                Ok((row.get::<_, i64>(0)?, texts, tier, record, row.get::<_, u32>(6)?))
            });
            let Some((sequence, texts, tier, record, attempts)) = found.optional()? else {
                return Ok(None);
            };
            let id = &texts[0];
            let damaged = |source| StoreError::Damaged { id: id.clone(), source };
            Ok(Some(Message {
                callback,
                tier: serde_json::from_value(tier.into()).map_err(damaged)?,
                record: record.map(|text| parse(&text, id)).transpose()?.map(Box::new),
                event: event(sequence, &texts)?,
                attempts,
            }))
        })
    }

    /// Records that a message was acknowledged.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn message_delivered(&self, message: &Message) -> Result<(), StoreError> {
        self.write(Durability::Process, |transaction| {
            transaction.execute(
                "UPDATE callbacks SET delivered = delivered + 1, last_error = NULL
                 WHERE ordinal = ?1",
                [message.callback],
            )?;
            settle(transaction, message)
        })
    }

    /// Records that a message was not acknowledged, and why; with `give_up` it is not sent again.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn message_refused(
        &self,
        message: &Message,
        why: &str,
        give_up: bool,
    ) -> Result<(), StoreError> {
        self.write(Durability::Process, |transaction| {
            transaction.execute(
                "UPDATE callbacks SET last_error = ?2, failed = failed + ?3 WHERE ordinal = ?1",
                (message.callback, why, give_up),
            )?;
            if give_up {
                return settle(transaction, message);
            }
            transaction.execute(
                "UPDATE callback_messages SET attempts = attempts + 1
                 WHERE callback = ?1 AND sequence = ?2",
                (message.callback, number(message.event.sequence)),
            )?;
            Ok(())
        })
    }

    /// How far the receivers of a job have been told, in the order in which they were given.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn callbacks_of(&self, job: JobId) -> Result<Vec<CallbackState>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT shown, delivered, failed, last_error,
                   (SELECT count(*) FROM callback_messages WHERE callback = ordinal),
                   coalesce((SELECT attempts FROM callback_messages WHERE callback = ordinal
                             ORDER BY sequence LIMIT 1), 0)
                 FROM callbacks WHERE job = ?1 ORDER BY ordinal",
            )?;
            let rows = statement.query_map([job.to_string()], |row| {
                Ok(CallbackState {
                    url: row.get(0)?,
                    delivered: count(row, 1)?,
                    failed: count(row, 2)?,
                    last_error: row.get(3)?,
                    pending: count(row, 4)?,
                    attempts: row.get(5)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The messages of all receivers, those that are forgotten included.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn callback_counts(&self) -> Result<CallbackCounts, StoreError> {
        self.read(|connection| {
            Ok(connection.query_row(
                "SELECT delivered + (SELECT coalesce(sum(delivered), 0) FROM callbacks),
                   failed + (SELECT coalesce(sum(failed), 0) FROM callbacks),
                   (SELECT count(*) FROM callback_messages)
                 FROM callback_totals",
                [],
                |row| {
                    Ok(CallbackCounts {
                        delivered: count(row, 0)?,
                        failed: count(row, 1)?,
                        pending: count(row, 2)?,
                    })
                },
            )?)
        })
    }
}

/// Adds the receivers of a job, who are told of its images from now on, and of what has already
/// happened to those that are made for it.
pub(super) fn add(
    transaction: &Transaction<'_>,
    job: &Job,
    callbacks: &[NewCallback],
) -> Result<(), StoreError> {
    let id = job.id.to_string();
    for callback in callbacks {
        transaction.execute(
            "INSERT INTO callbacks (job, address, shown) VALUES (?1, ?2, ?3)",
            (&id, &callback.address, &callback.shown),
        )?;
    }
    watch(transaction, job.id, &job.images)?;
    transaction.execute(
        "INSERT INTO callback_messages (callback, sequence, image, time, kind, tier, record)
         SELECT c.ordinal, e.sequence, e.image, e.time, e.kind, r.tier, r.record
         FROM callbacks c, json_each(:made) j
           JOIN events e ON e.image = j.value JOIN images r ON r.id = j.value
         WHERE c.job = :job
           AND e.kind ->> 'event' = 'transition' AND e.kind ->> 'from' IS NOT NULL",
        named_params! {":job": id, ":made": serde_json::json!(job.made).to_string()},
    )?;
    Ok(())
}

/// Has the receivers of a job told of `images`, too.
pub(super) fn watch(
    transaction: &Transaction<'_>,
    job: JobId,
    images: &[ImageId],
) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT OR IGNORE INTO callback_images (image, callback, tier)
         SELECT r.id, c.ordinal, r.tier FROM callbacks c, json_each(:images) j
           JOIN images r ON r.id = j.value
         WHERE c.job = :job",
        named_params! {
            ":job": job.to_string(),
            ":images": serde_json::json!(images).to_string(),
        },
    )?;
    Ok(())
}

/// Forgets a message, and after the last one of an image that its receiver was told of it.
fn settle(transaction: &Transaction<'_>, message: &Message) -> Result<(), StoreError> {
    transaction.execute(
        "DELETE FROM callback_messages WHERE callback = ?1 AND sequence = ?2",
        (message.callback, number(message.event.sequence)),
    )?;
    if matches!(message.event.kind, EventKind::Transition { to: Status::Deleted, .. }) {
        transaction.execute(
            "DELETE FROM callback_images WHERE image = ?1 AND callback = ?2",
            (message.event.image.to_string(), message.callback),
        )?;
    }
    Ok(())
}

fn count(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get(column).map(i64::unsigned_abs)
}

fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
