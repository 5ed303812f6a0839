//! Deletion, in steps that can be taken up again after a crash.
//!
//! `DELETING` is recorded, then the files go, then the record; the event `DELETED` stays, so that whoever
//! follows the image sees its end. No tombstone record is kept.

use fs_err::File;
use plugin_api::Tier;
use rusqlite::Transaction;

use super::files::{Owner, lock_file};
use super::schema::Durability;
use super::write::{advance, announce, read};
use super::{OwnedImage, Store, StoreError, Update};
use crate::images::{Failure, ImageId, ImageRecord, Status, remove_tree};

/// What happens to images that were made from the one that is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeleteMode {
    /// The deletion is refused.
    #[default]
    Refuse,
    /// They are deleted before it.
    Cascade,
    /// They stay, and name an image that is gone.
    Force,
}

/// A deletion that has begun. Dropping it is what a crash looks like.
#[derive(Debug)]
#[must_use = "the deletion is neither finished nor failed"]
pub struct Deletion<'a> {
    store: &'a Store,
    record: ImageRecord,
    _lock: File,
}

impl Store {
    /// The images that deleting `id` would take along, itself last, so that none is deleted before one that
    /// was made from it.
    ///
    /// # Errors
    /// [`StoreError::HasDependents`] for [`DeleteMode::Refuse`].
    pub fn deletion_order(
        &self,
        id: ImageId,
        mode: DeleteMode,
    ) -> Result<Vec<ImageRecord>, StoreError> {
        let mut order = vec![self.get(id)?];
        if mode == DeleteMode::Force {
            return Ok(order);
        }
        let mut at = 0;
        while at < order.len() {
            let dependents = self.dependents(order[at].id)?;
            if mode == DeleteMode::Refuse && !dependents.is_empty() {
                let dependents = dependents.iter().map(|record| record.id).collect();
                return Err(StoreError::HasDependents { id, dependents });
            }
            for record in dependents {
                // A provider image names both its base and its target: the last mention counts.
                order.retain(|other| other.id != record.id);
                order.push(record);
            }
            at += 1;
        }
        order.sort_by_key(|record| std::cmp::Reverse(record.tier));
        Ok(order)
    }

    /// Moves an image to `DELETING`. What a plugin does with the provider comes next, then [`Deletion::finish`].
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::HasDependents`] unless the mode is [`DeleteMode::Force`],
    /// [`StoreError::Transition`].
    pub fn begin_delete(&self, id: ImageId, mode: DeleteMode) -> Result<Deletion<'_>, StoreError> {
        let _store = self.lock()?;
        self.get(id)?;
        let lock = match self.owner(id)? {
            Owner::Alive => return Err(StoreError::InUse { id }),
            Owner::Gone(Some(lock)) => lock,
            Owner::Gone(None) => lock_file(&self.lock_path(id))?,
        };
        let dependents: Vec<ImageId> =
            self.dependents(id)?.iter().map(|record| record.id).collect();
        if mode != DeleteMode::Force && !dependents.is_empty() {
            return Err(StoreError::HasDependents { id, dependents });
        }
        let record = self.transition(id, Status::Deleting, Update::default())?;
        Ok(Deletion { store: self, record, _lock: lock })
    }

    /// Deletes `id`, and what the mode takes along; answers what is gone. Provider images are deleted here
    /// only: what the provider has is for its plugin, between [`Store::begin_delete`] and [`Deletion::finish`].
    ///
    /// # Errors
    /// Those of [`Store::begin_delete`] and [`Deletion::finish`]; with [`DeleteMode::Cascade`] some may be gone.
    pub fn delete(&self, id: ImageId, mode: DeleteMode) -> Result<Vec<ImageId>, StoreError> {
        let order = self.deletion_order(id, mode)?;
        for record in &order {
            if self.is_owned(record.id)? {
                return Err(StoreError::InUse { id: record.id });
            }
        }
        let mut gone = Vec::new();
        for record in order {
            self.begin_delete(record.id, mode)?.finish()?;
            gone.push(record.id);
        }
        Ok(gone)
    }

    /// Gives up the image `id` whose record does not read: its files and its record go, and what a
    /// provider may have of it stays there.
    ///
    /// # Errors
    /// [`StoreError::InUse`]; failures of the data directory. A record that reads is left alone.
    pub fn delete_damaged(&self, id: ImageId) -> Result<(), StoreError> {
        let _store = self.lock()?;
        if self.is_owned(id)? {
            return Err(StoreError::InUse { id });
        }
        if !matches!(self.get(id), Err(StoreError::Damaged { .. })) {
            return Ok(());
        }
        self.write(Durability::Machine, |transaction| forget(transaction, id))?;
        self.remove_files(id)
    }

    /// Removes files, then the record.
    pub(super) fn finish_delete(&self, id: ImageId) -> Result<(), StoreError> {
        remove_tree(&self.work_dir(id))?;
        remove_tree(&self.image_dir(id))?;
        self.write(Durability::Machine, |transaction| {
            let mut record = read(transaction, id)?;
            let event = advance(&mut record, Status::Deleted, None)?;
            forget(transaction, id)?;
            announce(transaction, id, &event)
        })?;
        self.remove_files(id)
    }

    /// Removes every file of an image; the lock goes last, so that its holder stays the only one at work.
    pub(super) fn remove_files(&self, id: ImageId) -> Result<(), StoreError> {
        remove_tree(&self.work_dir(id))?;
        remove_tree(&self.image_dir(id))?;
        let path = self.lock_path(id);
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::file(&path, error).within(&self.data_dir))
            },
            _ => Ok(()),
        }
    }

    /// Takes back an image that nobody has seen complete.
    pub(super) fn withdraw(&self, image: OwnedImage) {
        let id = image.id();
        // On failure the image counts as abandoned, and recovery says so.
        let removed = self.write(Durability::Process, |transaction| forget(transaction, id));
        if removed.is_ok() {
            drop(self.remove_files(id));
        }
        drop(image);
    }
}

pub(super) fn forget(transaction: &Transaction<'_>, id: ImageId) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM images WHERE id = ?1", [id.to_string()])?;
    transaction.execute("DELETE FROM events WHERE image = ?1", [id.to_string()])?;
    Ok(())
}

impl Deletion<'_> {
    /// The image, as it was when its deletion began.
    pub fn record(&self) -> &ImageRecord {
        &self.record
    }

    /// Whether a plugin has something to delete at a provider.
    pub fn needs_provider(&self) -> bool {
        self.record.tier == Tier::Provider && self.record.identifier_on_provider.is_some()
    }

    /// Removes the files, then the record.
    ///
    /// # Errors
    /// [`StoreError::Tree`] and failures of the data directory; the image is `DELETEFAILED` then.
    pub fn finish(self) -> Result<(), StoreError> {
        let finished = self.store.finish_delete(self.record.id);
        if let Err(error) = &finished {
            let mut failure = Failure::new(error.kind(), error.to_string());
            failure.hints = error.hints();
            // The error itself is the one to report.
            drop(self.fail(failure));
        }
        finished
    }

    /// Records that the image could not be deleted.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn fail(self, failure: Failure) -> Result<ImageRecord, StoreError> {
        self.store.transition(self.record.id, Status::DeleteFailed, failure.into())
    }
}
