//! What a file system shall be like, apart from its content.

use crate::error::Error;

/// Choices for a new file system; the same choices and the same tree give the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Size of the partition; what is beyond the last whole 4 KiB block stays unused.
    pub size_bytes: u64,
    /// Identifies the file system (`root=UUID=…`) and seeds its checksums.
    pub uuid: [u8; 16],
    /// Spreads the hashes of directory indexes. Default: the UUID.
    pub hash_seed: [u8; 16],
    /// At most 16 bytes; may be empty.
    pub label: String,
    /// Seconds since 1970: when the file system was made, and the latest time that an entry may have
    /// (`SOURCE_DATE_EPOCH`).
    pub timestamp: i64,
    /// Share of the blocks that only root may fill, 0 to 50. Default: 5, as `mke2fs` does.
    pub reserved_percent: u8,
    /// Number of inodes, rounded up. Default: one per 16 KiB, and a quarter more than the tree needs.
    pub inodes: Option<u32>,
    /// Size of the journal.
    pub journal: Journal,
}

/// Size of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Journal {
    /// As `mke2fs` chooses: 64 MiB from 2 GiB on, less below, none under 8 MiB, at most 1 GiB.
    #[default]
    Auto,
    /// No journal.
    None,
    /// This many bytes, rounded up to blocks; at least 4 MiB.
    Bytes(u64),
}

impl Options {
    /// The defaults for everything that cannot be guessed.
    pub fn new(size_bytes: u64, uuid: [u8; 16], timestamp: i64) -> Self {
        Self {
            size_bytes,
            uuid,
            hash_seed: uuid,
            label: String::new(),
            timestamp,
            reserved_percent: 5,
            inodes: None,
            journal: Journal::Auto,
        }
    }

    /// Sets the label.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Sets the size of the journal.
    #[must_use]
    pub fn journal(mut self, journal: Journal) -> Self {
        self.journal = journal;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.label.len() > 16 {
            return Err(Error::LabelTooLong { label: self.label.clone() });
        }
        if self.label.contains('\0') {
            return Err(Error::Option { option: "label", reason: "it holds a zero byte" });
        }
        if self.reserved_percent > 50 {
            return Err(Error::Option {
                option: "reserved_percent",
                reason: "0 to 50 are allowed",
            });
        }
        // The superblock's times have 40 bits, those of inodes reach to the year 2446.
        if !(0..1 << 33).contains(&self.timestamp) {
            return Err(Error::Option { option: "timestamp", reason: "0 to 2^33 - 1 are allowed" });
        }
        if matches!(self.journal, Journal::Bytes(bytes) if !(4 << 20..=1 << 40).contains(&bytes)) {
            return Err(Error::Option { option: "journal", reason: "4 MiB to 1 TiB are allowed" });
        }
        Ok(())
    }
}
