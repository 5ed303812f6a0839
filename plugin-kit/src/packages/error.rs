//! What can go wrong with packages.

use crate::run::RunError;
use camino::Utf8PathBuf;

/// Why packages could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// apt is configured for no Debian archive, or was never updated.
    #[error("apt on this machine knows no archive of Debian")]
    NoMirror,
    /// A value would not stand for one thing in a sources list.
    #[error("`{value}` is not valid as {what}")]
    Invalid {
        /// What it should be.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// A program failed.
    #[error("cannot {action}")]
    Run {
        /// What it was to do.
        action: String,
        /// What it said.
        #[source]
        source: RunError,
    },
    /// A program said something unexpected.
    #[error("cannot understand what `{program}` says: `{line}`")]
    Output {
        /// The program.
        program: &'static str,
        /// The line.
        line: String,
    },
    /// Packages are not in the cache and may not be downloaded.
    #[error("packages `{}` of `{suite}` are not in the cache, and downloads are switched off", .packages.join("`, `"))]
    Offline {
        /// The suite.
        suite: String,
        /// The packages that were asked for.
        packages: Vec<String>,
    },
    /// A downloaded file is not what the archive announced.
    #[error("`{file}` has SHA-256 `{found}`, the archive announced `{expected}`")]
    Digest {
        /// The file.
        file: String,
        /// What was downloaded.
        found: String,
        /// What was announced.
        expected: String,
    },
    /// The cache cannot be used.
    #[error("cannot use the package cache")]
    Cache(#[source] std::io::Error),
    /// A package file is damaged.
    #[error("cannot read the package `{path}`")]
    Deb {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
}

impl PackageError {
    /// What to do about it, if that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoMirror => Some("run `apt-get update` once, or name a mirror by its URL"),
            Self::Offline { .. } => Some("allow downloads once, then the cache suffices"),
            _ => None,
        }
    }
}
