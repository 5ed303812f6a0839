//! A file that comes from elsewhere piece by piece, on its way into the store.

use std::os::unix::fs::FileExt;

use fs_err::{File, OpenOptions};
use plugin_kit::sparse::is_zero;
use sha2::{Digest, Sha256};

use super::{Store, StoreError, Temporary};

/// Unit in which zeros become holes.
const BLOCK_BYTES: usize = 64 << 10;
/// After so many bytes it is asked again whether there is room for as many.
const ROOM_BYTES: u64 = 64 << 20;

/// The file as far as it has come. Removed when it is dropped before its end.
#[derive(Debug)]
pub struct Incoming<'s> {
    store: &'s Store,
    file: Temporary,
    open: File,
    /// What is not written yet, less than a block.
    rest: Vec<u8>,
    written_bytes: u64,
    digest: Sha256,
}

impl Store {
    /// Begins a file of which nothing has come yet.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn receive(&self) -> Result<Incoming<'_>, StoreError> {
        let file = self.temporary()?;
        let open = OpenOptions::new().write(true).open(file.path());
        let open = open.map_err(|source| self.located(&file, source))?;
        let rest = Vec::with_capacity(BLOCK_BYTES);
        let digest = Sha256::new();
        Ok(Incoming { store: self, file, open, rest, written_bytes: 0, digest })
    }

    fn located(&self, file: &Temporary, source: std::io::Error) -> StoreError {
        StoreError::file(file.path(), source).within(&self.data_dir)
    }
}

impl Incoming<'_> {
    /// Adds bytes to its end.
    ///
    /// # Errors
    /// [`StoreError::NoRoom`] as soon as it would take what builds were promised; failures of the data
    /// directory.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.digest.update(bytes);
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.rest.len()));
            self.rest.extend_from_slice(now);
            bytes = later;
            if self.rest.len() == BLOCK_BYTES {
                self.write_block()?;
            }
        }
        Ok(())
    }

    /// How much has come.
    pub fn bytes(&self) -> u64 {
        self.written_bytes + self.rest.len() as u64
    }

    /// The whole file, and its SHA-256 in hex.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn finish(mut self) -> Result<(Temporary, String), StoreError> {
        self.write_block()?;
        // The end may be a hole.
        let sized = self.open.set_len(self.written_bytes);
        sized.map_err(|source| self.store.located(&self.file, source))?;
        Ok((self.file, hex::encode(self.digest.finalize())))
    }

    fn write_block(&mut self) -> Result<(), StoreError> {
        if self.written_bytes.is_multiple_of(ROOM_BYTES) {
            self.store.room_for(ROOM_BYTES)?;
        }
        if !is_zero(&self.rest) {
            let written = self.open.file().write_all_at(&self.rest, self.written_bytes);
            written.map_err(|source| self.store.located(&self.file, source))?;
        }
        self.written_bytes += self.rest.len() as u64;
        self.rest.clear();
        Ok(())
    }
}
