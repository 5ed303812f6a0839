//! Why an image could not be read.

use std::io;
use std::path::Path;

use thiserror::Error;

/// Why an image gave no tree.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// What is there is something else, or nothing.
    #[error("there is no ext4 file system")]
    NoFileSystem,
    /// It was in use when the image was taken.
    #[error("the file system was not unmounted: its journal is still to be replayed")]
    InUse,
    /// A feature that is not read here.
    #[error("the file system uses `{feature}`, which is not read")]
    Unsupported {
        /// Its name, as `mke2fs` calls it.
        feature: &'static str,
    },
    /// The structures contradict each other.
    #[error("the file system is damaged: {what}")]
    Damaged {
        /// Where and how.
        what: String,
    },
    /// A path is longer than any program could open.
    #[error("the file system holds a path of more than {limit} bytes")]
    PathTooLong {
        /// Bytes of the longest path that is read.
        limit: usize,
    },
    /// More than could be kept in memory.
    #[error("the file system holds more than {limit} names")]
    TooManyNames {
        /// The most that are read.
        limit: usize,
    },
    /// The image itself could not be read.
    #[error("cannot read {length} bytes at byte {offset} of the file system")]
    Read {
        /// Where, from the start of the file system.
        offset: u64,
        /// How many.
        length: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ImageError {
    /// Names on a disk may hold what a terminal would obey.
    pub(super) fn damaged(what: impl AsRef<str>) -> Self {
        Self::Damaged { what: what.as_ref().escape_debug().to_string() }
    }

    /// Says which entry is damaged.
    pub(super) fn of(self, path: &Path) -> Self {
        match self {
            Self::Damaged { what } => {
                let path = path.display().to_string();
                Self::Damaged { what: format!("`{}`: {what}", path.escape_debug()) }
            },
            other => other,
        }
    }
}

impl From<ImageError> for io::Error {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Read { source, .. } => source,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
