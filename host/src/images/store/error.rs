//! What the store can answer instead of doing what it was asked.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::DelegateErrorKind;
use plugin_kit::sparse::StreamError;

use super::Room;
use crate::atomic_file::AtomicFileError;
use crate::failures::{Exit, Failure};
use crate::images::{ImageId, Status, TransitionError, TreeError};

/// Why the store did not do what it was asked. Nothing was changed, unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data directory cannot be written.
    #[error("data directory `{path}` is read-only")]
    ReadOnly {
        /// The data directory.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The data directory belongs to somebody else.
    #[error("no permission to use data directory `{path}`")]
    Denied {
        /// The data directory.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// What is to be the data directory, or holds it, is something else.
    #[error("data directory `{path}` cannot be made: there is no directory")]
    NotADirectory {
        /// The data directory.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// There is no space left.
    #[error("no space left in data directory `{path}`")]
    NoSpace {
        /// The data directory.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// What a request wants to reserve does not fit beside what others did.
    #[error(
        "{} MiB of disk are to be reserved in `{path}`, and of {} MiB that are free, {} MiB are promised to \
         builds under way",
        mebibytes(room.wanted_bytes),
        room.free_bytes >> 20,
        mebibytes(room.outstanding_bytes)
    )]
    NoRoom {
        /// The data directory.
        path: Utf8PathBuf,
        /// The figures.
        room: Room,
    },
    /// A file operation failed.
    #[error("cannot use `{path}`")]
    File {
        /// The file or folder.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The path of the data directory is not UTF-8.
    #[error("the path of data directory `{path}` is not UTF-8")]
    NotUtf8 {
        /// The path as given.
        path: Utf8PathBuf,
    },
    /// The database was written by a newer version.
    #[error("`{path}` has schema {found}, and this version knows schemas up to {supported}")]
    NewerSchema {
        /// The database.
        path: Utf8PathBuf,
        /// The schema that it has.
        found: i64,
        /// The newest schema that is known.
        supported: i64,
    },
    /// Other processes kept the database locked.
    #[error("the database in `{path}` is in use by other processes")]
    Busy {
        /// The data directory.
        path: Utf8PathBuf,
    },
    /// The database failed.
    #[error("the image database failed")]
    Database(#[from] rusqlite::Error),
    /// A record does not read.
    #[error("record `{id}` in the image database is damaged")]
    Damaged {
        /// The identifier, as far as it is known.
        id: String,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// No image is called so.
    #[error("there is no image `{reference}`")]
    NotFound {
        /// Identifier, beginning of one, or name.
        reference: String,
    },
    /// There is no such job.
    #[error("there is no job `{id}`")]
    NoJob {
        /// The identifier.
        id: crate::images::JobId,
    },
    /// Several images are called so.
    #[error("`{reference}` may be any of {} images", candidates.len())]
    Ambiguous {
        /// Beginning of an identifier, or name.
        reference: String,
        /// What each of the images is: identifier, tier, name and state.
        candidates: Vec<String>,
    },
    /// The state of the image does not allow it.
    #[error("image `{id}`: {refused}")]
    Transition {
        /// The image.
        id: ImageId,
        /// The transition that is not in the table.
        refused: TransitionError,
    },
    /// The build is over.
    #[error("image `{id}` is {status} already")]
    Finished {
        /// The image.
        id: ImageId,
        /// Its state.
        status: Status,
    },
    /// Another process works on the image.
    #[error("image `{id}` is in use by another process")]
    InUse {
        /// The image.
        id: ImageId,
    },
    /// Others were made from the image.
    #[error("image `{id}` is used by {} other images", dependents.len())]
    HasDependents {
        /// The image.
        id: ImageId,
        /// Those that were made from it.
        dependents: Vec<ImageId>,
    },
    /// The image that a new one is to be made from is being deleted, or was.
    #[error("image `{id}`, which the new one is made from, is {status}")]
    BadParent {
        /// The lower image.
        id: ImageId,
        /// Its state.
        status: Status,
    },
    /// The image has no body.
    #[error("image `{id}` is {status} and has no body")]
    NoBody {
        /// The image.
        id: ImageId,
        /// Its state.
        status: Status,
    },
    /// A body or artifact that is to be recorded is no regular file.
    #[error("`{path}` is not a regular file")]
    NotAFile {
        /// The path.
        path: Utf8PathBuf,
    },
    /// An artifact lies elsewhere than in the folder of its build.
    #[error("`{path}` cannot be an artifact: it is not in the folder of its build")]
    NotOwn {
        /// The path.
        path: Utf8PathBuf,
    },
    /// An artifact cannot be called so.
    #[error("`{name}` is not a name for an artifact")]
    ArtifactName {
        /// The name.
        name: String,
    },
    /// A copy or a digest failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// An exported file could not be put in place.
    #[error(transparent)]
    Export(#[from] AtomicFileError),
    /// Files of an image could not be removed; some may be gone.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl StoreError {
    /// Whose fault it is; exit code and HTTP status follow from it.
    pub fn kind(&self) -> DelegateErrorKind {
        match self {
            Self::ReadOnly { .. }
            | Self::Denied { .. }
            | Self::NotADirectory { .. }
            | Self::NoSpace { .. }
            | Self::NotUtf8 { .. }
            | Self::NewerSchema { .. } => DelegateErrorKind::MissingRequirement,
            Self::NotFound { .. } | Self::NoJob { .. } => DelegateErrorKind::NotFound,
            Self::Ambiguous { .. }
            | Self::NotAFile { .. }
            | Self::NotOwn { .. }
            | Self::ArtifactName { .. } => DelegateErrorKind::InvalidInput,
            Self::Busy { .. }
            | Self::NoRoom { .. }
            | Self::Transition { .. }
            | Self::Finished { .. }
            | Self::InUse { .. }
            | Self::HasDependents { .. }
            | Self::BadParent { .. }
            | Self::NoBody { .. }
            | Self::Export(AtomicFileError::Exists { .. }) => DelegateErrorKind::Conflict,
            Self::Stream(StreamError::Cancelled) => DelegateErrorKind::Cancelled,
            _ => DelegateErrorKind::Failed,
        }
    }

    /// What the reader can do about it, one line each.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::ReadOnly { .. }
            | Self::Denied { .. }
            | Self::NotADirectory { .. }
            | Self::NotUtf8 { .. } => "name a directory that you may write to with `--data-dir`",
            Self::NoSpace { .. } => {
                "free space there (`imageforge images delete ID`), or name another directory with \
                 `--data-dir`"
            },
            Self::NoRoom { .. } => {
                "free space there (`imageforge images delete ID`), wait for the builds, name another directory \
                 with `--data-dir`, or reserve less: `reserve_mib` below `[limits]` in the settings file"
            },
            Self::NewerSchema { .. } => "use the newer version, or another `--data-dir`",
            Self::NotFound { .. } => "`imageforge images list` shows what there is",
            Self::Ambiguous { candidates, .. } => return candidates.clone(),
            Self::InUse { .. } => "wait, or end its build with `imageforge images cancel ID`",
            Self::HasDependents { dependents, .. } => {
                let listed: Vec<String> = dependents.iter().map(ImageId::to_string).collect();
                return vec![
                    format!("they are {}", listed.join(", ")),
                    "`--cascade` deletes them as well, `--force` leaves them without it".to_owned(),
                ];
            },
            Self::Damaged { .. } => {
                "restore `store.db` from a copy, or give the image up with `imageforge images \
                 delete ID --force`"
            },
            Self::ArtifactName { .. } => {
                "use at most 128 letters, digits, `.`, `_` and `-`, not beginning with `.`"
            },
            Self::Export(AtomicFileError::Exists { .. }) => {
                "name another file, or say that it may be replaced"
            },
            Self::Tree(TreeError::Mounted { .. }) => "unmount it and try again",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }

    pub(crate) fn file(path: &Utf8Path, source: impl Into<io::Error>) -> Self {
        Self::File { path: path.to_owned(), source: source.into() }
    }

    /// Gives the failures that concern the whole data directory their own variants.
    pub(crate) fn within(self, data_dir: &Utf8Path) -> Self {
        let path = || data_dir.to_owned();
        match self {
            Self::File { path: at, source } if at.starts_with(data_dir) => match source.kind() {
                io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path: path(), source },
                io::ErrorKind::PermissionDenied => Self::Denied { path: path(), source },
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Self::NoSpace { path: path(), source }
                },
                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                    Self::NotADirectory { path: path(), source }
                },
                _ => Self::File { path: at, source },
            },
            Self::Stream(StreamError::Write { path: at, source })
                if at.starts_with(data_dir)
                    && matches!(
                        source.kind(),
                        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                    ) =>
            {
                Self::NoSpace { path: path(), source }
            },
            Self::Database(error) => Self::database(error, data_dir),
            other => other,
        }
    }

    fn database(error: rusqlite::Error, data_dir: &Utf8Path) -> Self {
        use rusqlite::ErrorCode;
        let path = data_dir.to_owned();
        let extended = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::NoSpace { path, source: io::Error::other(error) },
            // The shared memory file beside the database does not grow.
            Some(ErrorCode::SystemIoFailure)
                if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) =>
            {
                Self::NoSpace { path, source: io::Error::other(error) }
            },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
                Self::ReadOnly { path, source: io::Error::other(error) }
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            _ => Self::Database(error),
        }
    }
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        let exit = match error.kind() {
            // A directory that cannot be used is the machine's matter, not a plugin's.
            DelegateErrorKind::MissingRequirement => Exit::Internal,
            kind => kind.into(),
        };
        Self::from_error(exit, error).hints(error.hints())
    }
}

/// Rounded up: what does not fit must not look as if it did.
fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
