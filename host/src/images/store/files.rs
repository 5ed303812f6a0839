//! Folders, locks and files on their way into the store.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::{File, OpenOptions};
use plugin_kit::sparse::{Control, RawDisk, Zeros, clone_file, sha256};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::atomic_file::{AtomicFile, sync_parent, temporary_name};
use crate::images::{ImageId, ImageRecord};

/// The right to build an image. While it lives, the image counts as being worked on; dropping it before
/// the image has reached a terminal state is what a crash looks like.
#[derive(Debug)]
#[must_use = "the image counts as abandoned once this is dropped"]
pub struct OwnedImage {
    /// The image as it was recorded.
    pub record: ImageRecord,
    pub(super) lock: File,
}

impl OwnedImage {
    /// The image's identifier.
    pub fn id(&self) -> ImageId {
        self.record.id
    }
}

/// Who works on an image.
pub(super) enum Owner {
    /// Nobody; the lock, unless the folder or its lock file is gone too.
    Gone(Option<File>),
    /// A process that lives.
    Alive,
}

/// A file in `tmp/`, removed when this is dropped unless it was moved away; recovery removes it when
/// its process dies.
#[derive(Debug)]
pub struct Temporary {
    pub(super) path: Utf8PathBuf,
    /// Tells [`Store::recover`] that the writer lives.
    lock: Option<File>,
}

impl Temporary {
    /// Where the file is: empty at first, on the file system of the images.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone when it was moved.
        drop(fs_err::remove_file(&self.path));
        drop(self.lock.take());
    }
}

/// What is recorded of a file in the store.
pub(super) struct Measured {
    pub(super) size_bytes: u64,
    pub(super) sha256: String,
}

impl Store {
    /// Held by whoever makes files and records appear or vanish together.
    pub(super) fn lock(&self) -> Result<File, StoreError> {
        lock_file(&self.data_dir.join("store.lock")).map_err(|error| error.within(&self.data_dir))
    }

    pub(super) fn owner(&self, id: ImageId) -> Result<Owner, StoreError> {
        let path = self.lock_path(id);
        let file = match OpenOptions::new().write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Owner::Gone(None)),
            other => other.map_err(|source| StoreError::file(&path, source))?,
        };
        match file.try_lock() {
            Ok(()) => Ok(Owner::Gone(Some(file))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(Owner::Alive),
            Err(std::fs::TryLockError::Error(source)) => Err(StoreError::file(&path, source)),
        }
    }

    /// An empty file for something on its way into the store.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn temporary(&self) -> Result<Temporary, StoreError> {
        let _store = self.lock()?;
        let path = self.data_dir.join("tmp").join(Uuid::new_v4().to_string());
        let lock = lock_file(&path).map_err(|error| error.within(&self.data_dir))?;
        Ok(Temporary { path, lock: Some(lock) })
    }

    /// Begins a file outside of the store, and a link to it in `tmp/`, by which recovery finds it.
    pub(super) fn begin_export(
        &self,
        to: &Utf8Path,
    ) -> Result<(AtomicFile, Temporary), StoreError> {
        let real = camino::absolute_utf8(to).map_err(|source| StoreError::file(to, source))?;
        let hidden = temporary_name(&real)?;
        let _store = self.lock()?;
        let path = self.data_dir.join("tmp").join(Uuid::new_v4().to_string());
        fs_err::os::unix::fs::symlink(&hidden, &path)
            .map_err(|source| StoreError::file(&path, source).within(&self.data_dir))?;
        let link = Temporary { path, lock: None };
        Ok((AtomicFile::create_as(&real, hidden, 0o666)?, link))
    }

    /// Moves the regular file `from` to `to`, which is in the store. Copies, keeping holes, when it is on
    /// another file system or has other names, under which it could still be changed.
    pub(super) fn take_in(&self, from: &Utf8Path, to: &Utf8Path) -> Result<(), StoreError> {
        let located = |error: StoreError| error.within(&self.data_dir);
        let metadata = regular_file(from)?;
        let folder = to.parent().unwrap_or(&self.data_dir);
        let there =
            fs_err::metadata(folder).map_err(|source| located(StoreError::file(folder, source)))?;
        let copy = if metadata.nlink() > 1 || metadata.dev() != there.dev() {
            let temporary = self.temporary()?;
            clone_file(from, &temporary.path, Zeros::Keep, &Control::default())
                .map_err(|error| located(error.into()))?;
            Some(temporary)
        } else {
            None
        };
        let source = copy.as_ref().map_or(from, |temporary| &temporary.path);
        let place = || -> io::Result<()> {
            // Nobody changes what is in the store; its checksum is recorded.
            fs_err::set_permissions(source, std::os::unix::fs::PermissionsExt::from_mode(0o444))?;
            File::open(source)?.sync_all()?;
            fs_err::rename(source, to)?;
            sync_parent(to)
        };
        place().map_err(|source| located(StoreError::file(to, source)))?;
        if copy.is_some() {
            // The copy is what counts; the original lies in a folder that is removed anyway.
            drop(fs_err::remove_file(from));
        }
        Ok(())
    }
}

/// Checks that `path` is a file itself: a plugin may have left a link, a socket or nothing there.
pub(super) fn regular_file(path: &Utf8Path) -> Result<std::fs::Metadata, StoreError> {
    let metadata =
        fs_err::symlink_metadata(path).map_err(|source| StoreError::file(path, source))?;
    if metadata.is_file() {
        Ok(metadata)
    } else {
        Err(StoreError::NotAFile { path: path.to_owned() })
    }
}

pub(super) fn measure(path: &Utf8Path, control: &Control<'_>) -> Result<Measured, StoreError> {
    let size_bytes = regular_file(path)?.len();
    let digest = sha256(&RawDisk::open(path)?, control)?;
    Ok(Measured { size_bytes, sha256: hex::encode(digest) })
}

/// Makes a folder, and those above it, that only their owner can look into.
pub(super) fn create_private(path: &Utf8Path) -> Result<(), StoreError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StoreError::file(path, source))
}

/// Opens `path`, made when it is missing, and waits for its lock.
pub(super) fn lock_file(path: &Utf8Path) -> Result<File, StoreError> {
    let error = |source| StoreError::file(path, source);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.options_mut().mode(0o600);
    let file = options.open(path).map_err(error)?;
    file.lock().map_err(error)?;
    Ok(file)
}
