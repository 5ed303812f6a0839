//! The images that delegates receive, and the tiers that they belong to.

use std::fmt;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One of the three kinds of image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// A disk with the operating system installed, before any change for a target.
    Base,
    /// A base image changed to boot on one target.
    Target,
    /// A target image registered with a provider.
    Provider,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Target => "target",
            Self::Provider => "provider",
        })
    }
}

/// A finished image of a lower tier, as a delegate sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Image {
    /// Its identifier.
    pub id: String,
    /// Its tier.
    pub tier: Tier,
    /// Its body. A delegate reads it and never changes it.
    pub path: Utf8PathBuf,
    /// Length of the body in bytes.
    #[serde(default)]
    pub size_bytes: u64,
    /// SHA-256 of the body, in hex.
    #[serde(default)]
    pub sha256: String,
    /// Media type of the body.
    #[serde(default)]
    pub media_type: String,
    /// What its plugin recorded with [`crate::Builder::set_property`].
    #[serde(default)]
    pub properties: Map<String, Value>,
}

impl Image {
    /// An image of `tier` whose body is at `path`.
    pub fn new(id: impl Into<String>, tier: Tier, path: impl Into<Utf8PathBuf>) -> Self {
        Self {
            id: id.into(),
            tier,
            path: path.into(),
            size_bytes: 0,
            sha256: String::new(),
            media_type: String::new(),
            properties: Map::new(),
        }
    }
}

/// A file beside the body of an image: a log, a package manifest, a screenshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name, unique within the image.
    pub name: String,
    /// Where it is.
    pub path: Utf8PathBuf,
    /// Its media type.
    pub media_type: String,
}

/// Whether a tier is to be built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Build it.
    Proceed,
    /// Do not build it, nor the tiers above it; both end as `SKIPPED` with this reason.
    Skip(String),
}

/// How a provider knows an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ProviderIdentity {
    /// The provider's own identifier of the image.
    pub identifier_on_provider: String,
    /// The account that it was registered under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_account_identifier: Option<String>,
}

impl ProviderIdentity {
    /// The image that the provider calls `identifier`.
    pub fn new(identifier: impl Into<String>) -> Self {
        Self { identifier_on_provider: identifier.into(), provider_account_identifier: None }
    }
}
