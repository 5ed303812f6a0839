//! A folder for the work of one command that is no build: a virtual machine, a conversion.

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use uuid::Uuid;

use super::files::create_private;
use super::{Store, StoreError};
use crate::images::remove_tree;

/// A private folder in the data directory, removed when it is dropped. Should its process be killed,
/// the next start removes it.
#[derive(Debug)]
pub struct Scratch {
    path: Utf8PathBuf,
    /// Tells [`Store::recover`] that its process lives.
    _lock: File,
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        drop(remove_tree(&self.path));
    }
}

impl Store {
    /// Makes a folder for work of this process.
    ///
    /// # Errors
    /// [`StoreError`]: no permission, no space.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        // Under this lock, nobody takes the folder for a leftover before it is locked.
        let _store = self.lock()?;
        let path = self.data_dir.join("tmp").join(Uuid::new_v4().to_string());
        let located = |error: StoreError| error.within(&self.data_dir);
        create_private(&path).map_err(located)?;
        let lock = || {
            let folder = File::open(&path)?;
            folder.lock()?;
            Ok(folder)
        };
        let lock =
            lock().map_err(|source: std::io::Error| located(StoreError::file(&path, source)))?;
        Ok(Scratch { path, _lock: lock })
    }
}
