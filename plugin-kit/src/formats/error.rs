//! Why an image could not be written or was refused.

use camino::{Utf8Path, Utf8PathBuf};

use crate::sparse::StreamError;

/// Failure of a writer, a reader or [`inspect`](crate::formats::inspect).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A file does not open, read or write, or the caller cancelled.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The disk has more bytes than the format can address.
    #[error("a disk of {size_bytes} bytes does not fit {format}, which ends at {limit_bytes}")]
    TooLarge {
        /// The format asked for.
        format: &'static str,
        /// Virtual size, or the size the file would have.
        size_bytes: u64,
        /// The greatest size that works.
        limit_bytes: u64,
    },
    /// An option has a value that the format has no room for.
    #[error("`{value}` is no valid {option}")]
    InvalidOption {
        /// Name of the field.
        option: &'static str,
        /// What it held.
        value: String,
    },
    /// The header of an image breaks the rules of its format.
    #[error("`{path}` is no valid {format} image: {fault}")]
    Malformed {
        /// The image.
        path: Utf8PathBuf,
        /// Format that its magic number names.
        format: &'static str,
        /// The rule that it breaks.
        fault: String,
    },
    /// The image is valid, but needs something that is not read here.
    #[error("`{path}` is a {format} image with {feature}, which is not supported")]
    Unsupported {
        /// The image.
        path: Utf8PathBuf,
        /// Format that its magic number names.
        format: &'static str,
        /// What is not supported.
        feature: String,
    },
}

impl FormatError {
    /// True when the caller's own wish ended the operation.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Stream(StreamError::Cancelled))
    }

    pub(crate) fn malformed(
        path: &Utf8Path,
        format: &'static str,
        fault: impl Into<String>,
    ) -> Self {
        Self::Malformed { path: path.to_owned(), format, fault: fault.into() }
    }

    pub(crate) fn unsupported(
        path: &Utf8Path,
        format: &'static str,
        feature: impl Into<String>,
    ) -> Self {
        Self::Unsupported { path: path.to_owned(), format, feature: feature.into() }
    }
}
