//! The life of an image but its completion and its deletion: recorded, moved on, cancelled, let go.

use rusqlite::OptionalExtension;

use super::delete::forget;
use super::files::{Owner, create_private, lock_file};
use super::schema::Durability;
use super::write::{advance, announce, apply, document, read};
use super::{OwnedImage, Store, StoreError, Update};
use crate::images::{EventKind, ImageId, ImageRecord, NewImage, Status, remove_tree};

impl Store {
    /// Records a new image in state `NEW` and makes its folders. Whoever holds the answer is its owner.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and [`StoreError::BadParent`] for the images that it is made from; failures
    /// of the data directory. Nothing is left behind.
    pub fn create(&self, image: NewImage) -> Result<OwnedImage, StoreError> {
        let record = image.into_record(ImageId::new());
        let id = record.id;
        let _store = self.lock()?;
        let make = || {
            let lock = lock_file(&self.lock_path(id))?;
            create_private(&self.image_dir(id).join("artifacts"))?;
            create_private(&self.work_dir(id))?;
            self.write(Durability::Process, |transaction| {
                for parent in [record.base_image_id, record.target_image_id].into_iter().flatten() {
                    let status = read(transaction, parent)?.status;
                    if matches!(status, Status::Deleting | Status::Deleted | Status::DeleteFailed) {
                        return Err(StoreError::BadParent { id: parent, status });
                    }
                }
                transaction.execute(
                    "INSERT INTO images (id, record) VALUES (?1, ?2)",
                    (id.to_string(), document(&record)?),
                )?;
                announce(
                    transaction,
                    id,
                    &EventKind::Transition { from: None, to: Status::New, error: None },
                )
            })?;
            Ok(lock)
        };
        match make() {
            Ok(lock) => Ok(OwnedImage { record, lock }),
            Err(error) => {
                // The error that led here is the one to report.
                drop(self.remove_files(id));
                Err(StoreError::within(error, &self.data_dir))
            },
        }
    }

    /// Ends the work on an image that has reached its end: removes its private folder.
    ///
    /// # Errors
    /// [`StoreError::Tree`]; the next [`Store::recover`] tries again.
    pub fn release(&self, image: OwnedImage) -> Result<(), StoreError> {
        remove_tree(&self.work_dir(image.id()))?;
        drop(image.lock);
        Ok(())
    }

    /// Forgets an image that turned out not to be needed before its build began.
    ///
    /// # Errors
    /// [`StoreError::Finished`] once it is past `PENDING`; failures of the data directory.
    pub fn discard(&self, image: OwnedImage) -> Result<(), StoreError> {
        let id = image.id();
        let _store = self.lock()?;
        self.write(Durability::Process, |transaction| {
            let status = read(transaction, id)?.status;
            if !matches!(status, Status::New | Status::Pending) {
                return Err(StoreError::Finished { id, status });
            }
            forget(transaction, id)
        })?;
        self.remove_files(id)?;
        drop(image);
        Ok(())
    }

    /// Moves an image to the state `to`. `COMPLETE` is for [`Store::complete`], which has the body.
    ///
    /// # Errors
    /// [`StoreError::Transition`] when the table does not have it.
    #[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
    pub fn transition(
        &self,
        id: ImageId,
        to: Status,
        update: Update,
    ) -> Result<ImageRecord, StoreError> {
        let without_body = matches!(to, Status::Failed | Status::Skipped | Status::Cancelled);
        if without_body {
            let refused = self.get(id)?.status.check(to);
            refused.map_err(|refused| StoreError::Transition { id, refused })?;
            // First: a kill in between leaves an interrupted build, and not a body that nobody looks for.
            self.remove_body(id)?;
        }
        let attempt = || {
            self.modify(Durability::Process, id, |record| {
                let event = advance(record, to, update.failure.as_ref())?;
                apply(record, update.clone());
                if without_body {
                    (record.size_bytes, record.sha256, record.media_type) = (None, None, None);
                }
                Ok(vec![event])
            })
        };
        match attempt() {
            // What the build has written is of no use any more, and may be what fills the disk.
            Err(StoreError::NoSpace { .. }) if without_body => {
                remove_tree(&self.work_dir(id))?;
                attempt()
            },
            other => other,
        }
    }

    /// Asks whoever builds the image to cancel. Asking twice is the same as asking once.
    ///
    /// # Errors
    /// [`StoreError::Finished`] when the build is over.
    pub fn request_cancel(&self, id: ImageId) -> Result<(), StoreError> {
        self.write(Durability::Process, |transaction| {
            let status = read(transaction, id)?.status;
            if status.is_terminal() || status == Status::Deleting {
                return Err(StoreError::Finished { id, status });
            }
            let changed = transaction.execute(
                "UPDATE images SET cancel_requested = 1 WHERE id = ?1 AND cancel_requested = 0",
                [id.to_string()],
            )?;
            if changed > 0 { announce(transaction, id, &EventKind::Cancel) } else { Ok(()) }
        })
    }

    /// Whether somebody asked to cancel the build. Costs some 10 µs.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn cancel_requested(&self, id: ImageId) -> Result<bool, StoreError> {
        self.read(|connection| {
            let requested = connection
                .prepare_cached("SELECT cancel_requested FROM images WHERE id = ?1")?
                .query_row([id.to_string()], |row| row.get(0))
                .optional()?;
            Ok(requested.unwrap_or(false))
        })
    }

    /// Unfinished images that somebody asked to cancel.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn cancel_requests(&self) -> Result<Vec<ImageId>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id FROM images
                 WHERE cancel_requested = 1 AND status IN ('NEW', 'PENDING', 'BUILDING')",
            )?;
            let ids = statement.query_map([], |row| row.get::<_, String>(0))?;
            let ids = ids.collect::<Result<Vec<_>, _>>()?;
            // What is not called like an image is none.
            Ok(ids.iter().filter_map(|id| id.parse().ok()).collect())
        })
    }

    /// Whether a living process works on the image.
    ///
    /// # Errors
    /// Its lock file does not open.
    pub fn is_owned(&self, id: ImageId) -> Result<bool, StoreError> {
        Ok(matches!(self.owner(id)?, Owner::Alive))
    }
}
