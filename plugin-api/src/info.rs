//! The `.info` file: what a plugin is, what it builds and what it needs, as JSON.
//!
//! A host knows a plugin by this file alone until a build needs its code. Reading is forgiving
//! where upstream ImageFactory was (any case of `type`, unknown fields, missing trailing elements
//! of a tuple) and strict where a mistake would go unnoticed (wrong types, duplicate keys). All
//! problems of a file are reported at once, each with the path of its key.

mod json;
mod name;
mod read;
mod version;

use std::collections::BTreeMap;
use std::fmt;

use camino::Utf8PathBuf;
use semver::VersionReq;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

pub use name::{InvalidPluginName, PluginName};
pub use read::printable;
pub use version::PluginVersion;

/// Largest `.info` file that is read, in bytes.
pub const MAX_INFO_BYTES: usize = 1024 * 1024;

/// Version of this crate: what `requires.api` of a plugin is compared with.
pub const API_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What an `.info` file says.
///
/// ```
/// use plugin_api::info::{PluginInfo, Targets};
///
/// let info = PluginInfo::from_json(br#"{"type": "OS", "targets": [["Debian", "12"]]}"#)?;
/// let Targets::Os(targets) = &info.targets else { unreachable!() };
/// assert!(targets[0].matches("Debian", "12", "x86_64"));
///
/// let error = PluginInfo::from_json(br#"{"type": "cloud", "targets": ["a", 3]}"#).unwrap_err();
/// assert_eq!(error.to_string(), "targets[1]: expected a string, found 3");
/// # Ok::<(), plugin_api::info::InfoError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PluginInfo {
    /// The type of the plugin and what it claims.
    #[serde(flatten)]
    pub targets: Targets,
    /// One line about the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who looks after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintainer: Option<Maintainer>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<PluginVersion>,
    /// Its licence, as an SPDX expression or free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// The library: a file name, or a path relative to the real `.info` file. It may lead upwards
    /// (`../lib/libdebian.so`); it is never absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<Utf8PathBuf>,
    /// Which delegate of the library, when it exports several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegate: Option<String>,
    /// Decides between equally specific claims of several plugins; the higher one wins.
    pub priority: i64,
    /// JSON Schema (2020-12) of the build parameters that the plugin reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// JSON Schema (2020-12) of the plugin's own settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Value>,
    /// JSON Schema (2020-12) of what a user may write as provider. It is shown; the plugin reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Value>,
    /// JSON Schema (2020-12) of what a user may write as credentials. It is shown; the plugin reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Value>,
    /// What must be there before a build is accepted.
    pub requires: Requires,
    /// Other plugins by name, with the versions that will do.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub depends: BTreeMap<PluginName, VersionReq>,
    /// Fields that this version does not know, by key path (`maintainer.phone`).
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub unknown: Map<String, Value>,
}

/// The type of a plugin together with its claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "targets", rename_all = "lowercase")]
pub enum Targets {
    /// Builds operating systems.
    Os(Vec<OsTarget>),
    /// Delivers to clouds, each named by a string.
    Cloud(Vec<String>),
}

/// One claim of an operating-system plugin: name, version, architecture; `None` means any.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OsTarget([Option<String>; 3]);

/// Who looks after a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Maintainer {
    /// Name of a person or a team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where to write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where to read more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What a plugin needs on the build machine and of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Requires {
    /// External programs, by name or absolute path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Versions of this crate that will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<VersionReq>,
}

/// One thing that is wrong with an `.info` file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InfoProblem {
    /// Where: `targets[1][2]`; empty when it concerns the file as a whole.
    pub path: String,
    /// What: `expected a string or null, found 3`.
    pub message: String,
}

/// Everything that is wrong with an `.info` file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", joined(problems))]
pub struct InfoError {
    /// The problems, in the order of the file.
    pub problems: Vec<InfoProblem>,
    /// What the plugin claims, if that much could be read.
    pub targets: Option<Targets>,
}

impl PluginInfo {
    /// Reads and validates the text of an `.info` file.
    ///
    /// # Errors
    /// All problems at once, when the text is no JSON object or a field has a wrong type or value.
    pub fn from_json(text: &[u8]) -> Result<Self, InfoError> {
        read::plugin_info(text)
    }

    /// `os` or `cloud`.
    pub fn kind(&self) -> &'static str {
        match self.targets {
            Targets::Os(_) => "os",
            Targets::Cloud(_) => "cloud",
        }
    }

    /// The field `name` of the file when this version does not know it.
    pub fn unknown(&self, path: &str) -> Option<&Value> {
        self.unknown.get(path)
    }
}

impl OsTarget {
    /// A claim on these elements; `None` means any.
    pub fn new(name: Option<&str>, version: Option<&str>, arch: Option<&str>) -> Self {
        Self([name, version, arch].map(|element| element.map(str::to_owned)))
    }

    /// Name, version and architecture.
    pub fn elements(&self) -> [Option<&str>; 3] {
        let [name, version, arch] = &self.0;
        [name.as_deref(), version.as_deref(), arch.as_deref()]
    }

    /// How many elements are not `None`: more of them win.
    pub fn specificity(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// Whether every element that is not `None` is equal.
    pub fn matches(&self, name: &str, version: &str, arch: &str) -> bool {
        self.elements()
            .into_iter()
            .zip([name, version, arch])
            .all(|(claimed, asked)| claimed.is_none_or(|claimed| claimed == asked))
    }
}

impl fmt::Display for OsTarget {
    /// `Debian 12 *`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [name, version, arch] = self.elements().map(|element| element.unwrap_or("*"));
        write!(f, "{name} {version} {arch}")
    }
}

impl Serialize for OsTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl fmt::Display for InfoProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

fn joined(problems: &[InfoProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests;
