//! Why a layer could not be written.

use std::io;
use std::path::PathBuf;

use crate::sparse::StreamError;

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// In a layer such a name says that a file of a lower layer is gone.
    #[error("`{}` cannot be in a layer, where names that start with `.wh.` mark deleted files", path.display())]
    Whiteout {
        /// The file.
        path: PathBuf,
    },
    /// The file that it is another name of is not there.
    #[error("hard link `{}` leads to no file", path.display())]
    DeadLink {
        /// The link.
        path: PathBuf,
    },
    /// Layers have no holes.
    #[error(
        "the files take {total_bytes} bytes without their holes, which is more than the disk has; the largest is `{}`",
        path.display()
    )]
    Holes {
        /// The largest file.
        path: PathBuf,
        /// Length of all files together.
        total_bytes: u64,
    },
    /// A file does not read.
    #[error("cannot read `{}` of the root file system", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The output does not take what is written.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
    /// The caller asked for the end.
    #[error(transparent)]
    Stream(#[from] StreamError),
}
