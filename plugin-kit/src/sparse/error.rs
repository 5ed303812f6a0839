//! What can go wrong while bytes move from one disk to another.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

/// Why a stream ended early. An output file that was begun has been removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The source does not open.
    #[error("cannot open `{path}`")]
    Open {
        /// The file named by the caller.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The source does not read, or is shorter than it said.
    #[error("cannot read `{path}`")]
    Read {
        /// The disk being read.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The output cannot be created or written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file being written.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The caller's [`Control`](crate::sparse::Control) asked for the end.
    #[error("cancelled")]
    Cancelled,
}

impl StreamError {
    pub(crate) fn open(path: &Utf8Path, source: impl Into<io::Error>) -> Self {
        Self::Open { path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn read(path: &Utf8Path, source: impl Into<io::Error>) -> Self {
        Self::Read { path: path.to_owned(), source: source.into() }
    }

    pub(crate) fn write(path: &Utf8Path, source: impl Into<io::Error>) -> Self {
        Self::Write { path: path.to_owned(), source: source.into() }
    }
}
