//! The version of a plugin: `SemVer` when it can be parsed, else a text that sorts lowest.

use std::fmt;

use semver::{Version, VersionReq};
use serde::{Serialize, Serializer};

/// The version of a plugin.
///
/// Upstream's `1.0` is no `SemVer`; such a text is kept as it is and sorts below every `SemVer`,
/// so that a release with a real version always counts as newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginVersion {
    /// Any other text; compared as text.
    Opaque(String),
    /// A `SemVer`.
    Semantic(Version),
}

impl PluginVersion {
    /// The version that `text` names.
    pub fn new(text: &str) -> Self {
        Version::parse(text).map_or_else(|_| Self::Opaque(text.to_owned()), Self::Semantic)
    }

    /// Whether this version is in `range`; an opaque one is only in `*`.
    pub fn satisfies(&self, range: &VersionReq) -> bool {
        match self {
            Self::Opaque(_) => *range == VersionReq::STAR,
            Self::Semantic(version) => range.matches(version),
        }
    }
}

impl fmt::Display for PluginVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opaque(text) => f.pad(text),
            Self::Semantic(version) => version.fmt(f),
        }
    }
}

impl Serialize for PluginVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
