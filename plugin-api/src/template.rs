//! The template: what image is wanted.
//!
//! The model of TDL 1.0, whatever syntax it was written in. The host parses and validates; a
//! delegate reads. Crosses the boundary as JSON, so a field may be added within a major version.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// What image is wanted: operating system, packages, files, commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Template {
    /// The name, used for host names, file names and provider names.
    pub name: String,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The operating system.
    pub os: Os,
    /// Packages to install, in the order of the document.
    pub packages: Vec<Package>,
    /// Package repositories to add.
    pub repositories: Vec<Repository>,
    /// Files to write into the image.
    pub files: Vec<File>,
    /// Commands to run in the image before packages are installed, in order.
    pub precommands: Vec<Command>,
    /// Commands to run in the image after everything else, in order.
    pub commands: Vec<Command>,
    /// Size of the disk in bytes; the plugin's default when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_size_bytes: Option<u64>,
}

/// The operating system of a [`Template`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Os {
    /// For example `Debian`.
    pub name: String,
    /// For example `12`.
    pub version: String,
    /// TDL's name of the architecture: `x86_64`, `aarch64`, …
    pub arch: String,
    /// Where it is installed from.
    pub install: Install,
    /// Password of root in clear, or a crypt(3) hash that starts with `$`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_password: Option<String>,
    /// Installation key, for systems that want one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Kernel parameters to add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_parameters: Option<String>,
    /// Command whose output describes a package further (`icicle/extra_command`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icicle_extra_command: Option<String>,
}

/// Where an operating system is installed from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Install {
    /// A package archive or installation tree. `mirror:debian` stands for the archive that the
    /// build machine itself uses.
    Url {
        /// The address.
        url: String,
    },
    /// An installation medium.
    Iso {
        /// The address of the image.
        iso: String,
        /// Address of a checksum list, with its algorithm.
        #[serde(skip_serializing_if = "Option::is_none")]
        checksum: Option<Checksum>,
        /// Files and directories to take from elsewhere on the medium.
        #[serde(default)]
        extras: Vec<Extra>,
    },
}

impl Default for Install {
    fn default() -> Self {
        Self::Url { url: String::new() }
    }
}

/// A checksum list of an installation medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// `md5sum`, `sha1sum` or `sha256sum`.
    pub algorithm: String,
    /// Address of the list.
    pub url: String,
}

/// A file or directory to take from the medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extra {
    /// True for a directory.
    pub directory: bool,
    /// Path on the medium.
    pub source: String,
    /// Path where it goes.
    pub destination: String,
}

/// A package to install.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Package {
    /// Its name.
    pub name: String,
    /// The repository that it must come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// A package file to install instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Arguments for the package manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
}

impl Package {
    /// The package `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// A package repository to add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Repository {
    /// Its name.
    pub name: String,
    /// Its address, or a `deb` line.
    pub url: String,
    /// Whether its packages must be signed.
    pub signed: bool,
    /// Whether it stays configured in the image.
    pub persisted: bool,
    /// Whether its certificate is verified.
    pub ssl_verify: bool,
    /// The key that signs it, armoured (TOML templates only; TDL has no place for it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A file to write into the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct File {
    /// Absolute path in the image.
    pub name: String,
    /// What is written.
    #[serde(flatten)]
    pub source: Source,
    /// Permission bits; `0o644` when missing (TOML templates only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

impl File {
    /// A file at `name` with `source` as its content.
    pub fn new(name: impl Into<String>, source: Source) -> Self {
        Self { name: name.into(), source, mode: None }
    }
}

/// A command to run in the image. The content is a script; without `#!` a shell runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Command {
    /// Its name, for people and logs.
    pub name: String,
    /// The script.
    #[serde(flatten)]
    pub source: Source,
}

impl Command {
    /// The command `name` with `source` as its script.
    pub fn new(name: impl Into<String>, source: Source) -> Self {
        Self { name: name.into(), source }
    }
}

/// Content as a template carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Source {
    /// The text itself.
    Raw(String),
    /// Bytes in standard base64; the host has checked that they decode.
    Base64(String),
    /// An address to fetch from when the image is built.
    Url(String),
}

impl Source {
    /// The bytes that the template itself carries; `None` for [`Source::Url`], and for base64 that
    /// does not decode.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Raw(text) => Some(text.clone().into_bytes()),
            Self::Base64(text) => {
                let packed: String = text.split_whitespace().collect();
                STANDARD.decode(packed).ok()
            },
            Self::Url(_) => None,
        }
    }
}
