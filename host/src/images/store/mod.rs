//! The store: records and events in SQLite, files in a folder per image.
//!
//! ```text
//! DATA_DIR/store.db        records and events
//!          store.lock      held while files and records appear or vanish together
//!          room.lock       held while disk space is promised
//!          locks/ID        held by whoever builds or deletes the image
//!          images/ID/      body  artifacts/NAME
//!          work/ID/        private folder of a build
//!          tmp/            files on their way into images/, or links to files on their way to where they
//!                          are exported, each locked by its writer
//!          cache/          for whoever builds; not the store's business, but for
//!          cache/locks/    locks of builds; files that nobody holds are removed
//!          libraries/      copies of plugins, and probes.json, what is known of them: of `plugins`
//! ```
//! Any number of processes and threads use a store at once. The kernel drops a lock when
//! the process that holds it dies, however it dies, and [`Store::recover`] puts in order what it left. A file
//! in `locks/` is the first thing of an image to appear and the last to go. A change is written before anybody hears of it.

mod body;
mod callbacks;
mod delete;
mod error;
mod files;
mod follow;
mod forget;
mod incoming;
mod inspect;
mod jobs;
mod lifecycle;
mod query;
mod recover;
mod room;
mod schema;
mod scratch;
mod totals;
mod write;

use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use rusqlite::{Connection, Transaction, TransactionBehavior};

pub use body::{Body, CheckReport, Damage};
pub use delete::{DeleteMode, Deletion};
pub use error::StoreError;
pub use files::{OwnedImage, Temporary};
pub use incoming::Incoming;
pub use inspect::{Health, inspect};
pub use query::{Filter, Listing};
pub use recover::Recovery;
pub use room::Room;
pub use scratch::Scratch;
pub use totals::{BuildTotals, ImageTotals};
pub use write::Update;

use super::ImageId;
use files::{create_private, lock_file};
use schema::Durability;

/// The images of one data directory.
#[derive(Debug)]
pub struct Store {
    data_dir: Utf8PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the store in `data_dir`, which is made when it is missing. Call [`Store::recover`] next.
    ///
    /// # Errors
    /// [`StoreError`]: no permission, no space, a newer schema.
    pub fn open(data_dir: &Utf8Path) -> Result<Self, StoreError> {
        let located = |error: StoreError| error.within(data_dir);
        for folder in ["", "locks", "images", "work", "tmp", "cache"] {
            create_private(&data_dir.join(folder)).map_err(located)?;
        }
        // Mount tables name real paths; so must whoever compares with them.
        let real = fs_err::canonicalize(data_dir)
            .map_err(|source| located(StoreError::file(data_dir, source)))?;
        let data_dir = Utf8PathBuf::from_path_buf(real)
            .map_err(|_| StoreError::NotUtf8 { path: data_dir.to_owned() })?;
        let located = |error: StoreError| error.within(&data_dir);
        let lock = lock_file(&data_dir.join("store.lock")).map_err(located)?;
        let connection = schema::open(&data_dir.join("store.db")).map_err(located)?;
        drop(lock);
        Ok(Self { data_dir, connection: Mutex::new(connection) })
    }

    /// The data directory, as a real path.
    pub fn data_dir(&self) -> &Utf8Path {
        &self.data_dir
    }

    /// The private folder of the build of `id`; [`Store::create`] makes it.
    pub fn work_dir(&self, id: ImageId) -> Utf8PathBuf {
        self.data_dir.join("work").join(id.to_string())
    }

    /// The folder that survives builds.
    pub fn cache_dir(&self) -> Utf8PathBuf {
        self.data_dir.join("cache")
    }

    /// Where builds keep the locks that they know by name.
    pub fn locks_dir(&self) -> Utf8PathBuf {
        self.cache_dir().join("locks")
    }

    /// The folder of `id`.
    pub fn image_dir(&self, id: ImageId) -> Utf8PathBuf {
        self.data_dir.join("images").join(id.to_string())
    }

    fn lock_path(&self, id: ImageId) -> Utf8PathBuf {
        self.data_dir.join("locks").join(id.to_string())
    }

    /// The final place of the body of `id`.
    pub fn body_path(&self, id: ImageId) -> Utf8PathBuf {
        self.image_dir(id).join("body")
    }

    fn artifact_path(&self, id: ImageId, name: &str) -> Utf8PathBuf {
        self.image_dir(id).join("artifacts").join(name)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere rolls its transaction back; the connection stays sound.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        query(&self.connection()).map_err(|error| error.within(&self.data_dir))
    }

    /// One transaction that writes: all of it happens, or nothing.
    fn write<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let attempt = || {
            let mut connection = self.connection();
            schema::durability(&connection, durability)?;
            // Immediate: a transaction that reads first and writes later may find that it came too late.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = change(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        };
        attempt().map_err(|error: StoreError| error.within(&self.data_dir))
    }
}

#[cfg(test)]
mod tests;
