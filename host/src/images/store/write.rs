//! Changes of records. Each is one transaction with the events that tell of it.

use jiff::Timestamp;
use plugin_api::ProviderIdentity;
use rusqlite::{OptionalExtension, Transaction, named_params};
use serde_json::Value;

use super::schema::Durability;
use super::{Store, StoreError};
use crate::images::{BuiltBy, EventKind, Failure, ImageId, ImageRecord, LogLine, Status};

/// What else changes in a record; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Update {
    /// Why the image ends.
    pub failure: Option<Failure>,
    /// What the image is doing.
    pub activity: Option<String>,
    /// The plugin that builds it.
    pub plugin: Option<BuiltBy>,
    /// The key under which it may be used again.
    pub reuse_key: Option<String>,
    /// Another base image that it is made from.
    pub base_image_id: Option<ImageId>,
    /// Another target image that it is made from.
    pub target_image_id: Option<ImageId>,
    /// How the provider knows it.
    pub identity: Option<ProviderIdentity>,
}

impl From<Failure> for Update {
    fn from(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }
}

impl Store {
    /// Changes a record without changing its state. Nobody is told, except of an activity.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], failures of the data directory.
    pub fn update(&self, id: ImageId, update: Update) -> Result<ImageRecord, StoreError> {
        self.modify(Durability::Process, id, |record| {
            let events =
                update.activity.iter().map(|text| EventKind::Activity { text: text.clone() });
            let events = events.collect();
            apply(record, update);
            Ok(events)
        })
    }

    /// Records how far a build is, in percent. Saying the same again costs no write.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], failures of the data directory.
    pub fn progress(&self, id: ImageId, percent: u8) -> Result<(), StoreError> {
        let percent = percent.min(100);
        if self.get(id)?.percent_complete == percent {
            return Ok(());
        }
        self.modify(Durability::Process, id, |record| {
            record.percent_complete = percent;
            Ok(vec![EventKind::Progress { percent }])
        })?;
        Ok(())
    }

    /// Records what a build is doing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], failures of the data directory.
    pub fn activity(&self, id: ImageId, text: &str) -> Result<(), StoreError> {
        self.update(id, Update { activity: Some(text.to_owned()), ..Update::default() })?;
        Ok(())
    }

    /// Records a property.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], failures of the data directory.
    pub fn set_property(&self, id: ImageId, key: &str, value: Value) -> Result<(), StoreError> {
        self.modify(Durability::Process, id, |record| {
            record.properties.insert(key.to_owned(), value.clone());
            Ok(vec![EventKind::Property { key: key.to_owned(), value }])
        })?;
        Ok(())
    }

    /// Records that a delegate's method begins.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn method(&self, id: ImageId, plugin: &str, method: &str) -> Result<(), StoreError> {
        let event = EventKind::Method { plugin: plugin.to_owned(), method: method.to_owned() };
        self.write(Durability::Process, |transaction| announce(transaction, id, &event))
    }

    /// Appends lines to the build log, all in one transaction.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn append_log(
        &self,
        id: ImageId,
        lines: impl IntoIterator<Item = LogLine>,
    ) -> Result<(), StoreError> {
        self.write(Durability::Process, |transaction| {
            lines.into_iter().try_for_each(|line| announce(transaction, id, &EventKind::Log(line)))
        })
    }

    /// Reads, changes and writes one record, with the events that tell of the change.
    pub(super) fn modify(
        &self,
        durability: Durability,
        id: ImageId,
        change: impl FnOnce(&mut ImageRecord) -> Result<Vec<EventKind>, StoreError>,
    ) -> Result<ImageRecord, StoreError> {
        let record = self.write(durability, |transaction| {
            let mut record = read(transaction, id)?;
            let events = change(&mut record)?;
            transaction
                .prepare_cached("UPDATE images SET record = :record WHERE id = :id")?
                .execute(named_params! {":record": document(&record)?, ":id": id.to_string()})?;
            events.iter().try_for_each(|event| announce(transaction, id, event))?;
            Ok(record)
        })?;
        Ok(self.with_paths(record))
    }
}

/// Moves `record` to the state `to`, with times and texts; answers the event that tells of it.
pub(super) fn advance(
    record: &mut ImageRecord,
    to: Status,
    failure: Option<&Failure>,
) -> Result<EventKind, StoreError> {
    let from = record.status;
    from.check(to).map_err(|refused| StoreError::Transition { id: record.id, refused })?;
    record.status = to;
    match to {
        Status::Building => record.started = Some(Timestamp::now()),
        Status::Complete | Status::Failed | Status::Skipped | Status::Cancelled => {
            record.finished = Some(Timestamp::now());
            record.status_detail.activity = None;
            record.reserved_bytes = None;
        },
        _ => {},
    }
    if to == Status::Complete {
        record.percent_complete = 100;
    }
    Ok(EventKind::Transition {
        from: Some(from),
        to,
        error: failure.map(|failure| failure.error.clone()),
    })
}

pub(super) fn apply(record: &mut ImageRecord, update: Update) {
    let Update { failure, activity, plugin, reuse_key, base_image_id, target_image_id, identity } =
        update;
    if let Some(failure) = failure {
        record.status_detail.kind = failure.kind;
        record.status_detail.error = Some(failure.error);
        record.status_detail.causes = failure.causes;
        record.status_detail.hints = failure.hints;
    }
    if let Some(identity) = identity {
        record.identifier_on_provider = Some(identity.identifier_on_provider);
        record.provider_account_identifier = identity.provider_account_identifier;
    }
    replace(&mut record.status_detail.activity, activity);
    replace(&mut record.plugin, plugin);
    replace(&mut record.reuse_key, reuse_key);
    replace(&mut record.base_image_id, base_image_id);
    replace(&mut record.target_image_id, target_image_id);
}

fn replace<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

/// The record of `id`, without paths.
pub(super) fn read(
    connection: &rusqlite::Connection,
    id: ImageId,
) -> Result<ImageRecord, StoreError> {
    let text: Option<String> = connection
        .prepare_cached("SELECT record FROM images WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    let text = text.ok_or_else(|| StoreError::NotFound { reference: id.to_string() })?;
    parse(&text, &id.to_string())
}

pub(super) fn parse(text: &str, id: &str) -> Result<ImageRecord, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Damaged { id: id.to_owned(), source })
}

/// The record as it is stored: without paths, so that a data directory may be moved.
pub(super) fn document(record: &ImageRecord) -> Result<String, StoreError> {
    let mut record = record.clone();
    record.path = None;
    record.artifacts.iter_mut().for_each(|artifact| artifact.path = None);
    serde_json::to_string(&record)
        .map_err(|source| StoreError::Damaged { id: record.id.to_string(), source })
}

pub(super) fn announce(
    transaction: &Transaction<'_>,
    id: ImageId,
    event: &EventKind,
) -> Result<(), StoreError> {
    let kind = serde_json::to_string(event)
        .map_err(|source| StoreError::Damaged { id: id.to_string(), source })?;
    transaction
        .prepare_cached("INSERT INTO events (image, time, kind) VALUES (?1, ?2, ?3)")?
        .execute((id.to_string(), Timestamp::now().to_string(), kind))?;
    Ok(())
}
