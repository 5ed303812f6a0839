//! A file that comes from elsewhere piece by piece, on its way into the store.

use fs_err::{File, OpenOptions};
use plugin_kit::sparse::Appender;

use super::{Store, StoreError, Temporary};

/// It is asked again whether there is room each time that so many bytes have come.
const ROOM_BYTES: u64 = 64 << 20;

/// The file as far as it has come. Removed when it is dropped before its end.
#[derive(Debug)]
pub struct Incoming<'s> {
    store: &'s Store,
    file: Temporary,
    open: File,
    appender: Appender,
    /// As far as it may go before room is asked for again.
    allowed_bytes: u64,
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
        Ok(Incoming { store: self, file, open, appender: Appender::default(), allowed_bytes: 0 })
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
        let end = self.bytes() + bytes.len() as u64;
        if end > self.allowed_bytes {
            self.store.room_for(ROOM_BYTES)?;
            self.allowed_bytes = end + ROOM_BYTES;
        }
        let written = self.appender.append(&self.open, bytes);
        written.map_err(|source| self.store.located(&self.file, source))
    }

    /// How much has come.
    pub fn bytes(&self) -> u64 {
        self.appender.bytes()
    }

    /// The whole file, and its SHA-256 in hex.
    ///
    /// # Errors
    /// Failures of the data directory.
    pub fn finish(self) -> Result<(Temporary, String), StoreError> {
        let digest = self.appender.finish(&self.open);
        let digest = digest.map_err(|source| self.store.located(&self.file, source))?;
        Ok((self.file, hex::encode(digest)))
    }
}
