//! Reading events, as they come.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::named_params;

use super::{Store, StoreError};
use crate::images::{Event, EventKind, ImageId};

/// Pause between two looks. One look costs some 20 µs, so half a per mille of one core.
const POLL: Duration = Duration::from_millis(40);

/// Most events that one call answers, unless the caller wants fewer.
const PAGE: usize = 10_000;

impl Store {
    /// Events of `images` (of all images when it is empty) after the sequence number `after`, in order, at most
    /// `limit` and never more than 10,000.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn events_since(
        &self,
        images: &[ImageId],
        after: u64,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(|connection| {
            let clause = if images.is_empty() {
                ""
            } else {
                "AND image IN (SELECT value FROM json_each(:images))"
            };
            let mut statement = connection.prepare_cached(&format!(
                "SELECT sequence, image, time, kind FROM events
                 WHERE sequence > :after {clause} AND :images IS NOT NULL
                 ORDER BY sequence LIMIT :limit"
            ))?;
            let rows = statement.query_map(
                named_params! {
                    ":after": i64::try_from(after).unwrap_or(i64::MAX),
                    ":images": serde_json::json!(images).to_string(),
                    ":limit": i64::try_from(limit.min(PAGE)).unwrap_or(i64::MAX),
                },
                |row| {
                    let texts: [String; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
                    Ok((row.get::<_, i64>(0)?, texts))
                },
            )?;
            rows.map(|row| {
                let (sequence, texts) = row?;
                event(sequence, &texts)
            })
            .collect()
        })
    }

    /// Like [`Store::events_since`], but waits for the first event for `timeout` at most.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn wait_for_events(
        &self,
        images: &[ImageId],
        after: u64,
        timeout: Duration,
    ) -> Result<Vec<Event>, StoreError> {
        let end = Instant::now() + timeout;
        loop {
            let events = self.events_since(images, after, PAGE)?;
            let left = end.saturating_duration_since(Instant::now());
            if !events.is_empty() || left.is_zero() {
                return Ok(events);
            }
            thread::sleep(POLL.min(left));
        }
    }

    /// The sequence number of the newest event, 0 when there is none.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn last_sequence(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let newest: i64 = connection.query_row(
                "SELECT coalesce(max(sequence), 0) FROM events",
                [],
                |row| row.get(0),
            )?;
            Ok(u64::try_from(newest).unwrap_or(0))
        })
    }
}

pub(super) fn event(sequence: i64, [image, time, kind]: &[String; 3]) -> Result<Event, StoreError> {
    let damaged = |source| StoreError::Damaged { id: image.clone(), source };
    let text = |text: &str| serde_json::Value::String(text.to_owned());
    Ok(Event {
        sequence: u64::try_from(sequence).unwrap_or(0),
        image: serde_json::from_value(text(image)).map_err(damaged)?,
        time: serde_json::from_value(text(time)).map_err(damaged)?,
        kind: serde_json::from_str::<EventKind>(kind).map_err(damaged)?,
    })
}
