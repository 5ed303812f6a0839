//! What is known about an image.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use plugin_api::{Artifact, DelegateError, DelegateErrorKind, Image, Tier};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ImageId, Status};
use crate::schemas;

/// Everything that is known about an image, as `--format json` and REST show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImageRecord {
    /// Its identifier.
    pub id: ImageId,
    /// Its tier.
    #[schema(schema_with = schemas::tier)]
    pub tier: Tier,
    /// Its name for people, not necessarily unique.
    pub name: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its state.
    pub status: Status,
    /// What it is doing, or why it ended.
    #[serde(default)]
    pub status_detail: StatusDetail,
    /// How far its build is, from 0 to 100.
    #[serde(default)]
    #[schema(maximum = 100)]
    pub percent_complete: u8,
    /// What it was made from.
    #[serde(default)]
    pub template: Option<TemplateRecord>,
    /// The target, for target and provider images.
    #[serde(default)]
    pub target: Option<String>,
    /// The base image that it was made from.
    #[serde(default)]
    pub base_image_id: Option<ImageId>,
    /// The target image that it was made from.
    #[serde(default)]
    pub target_image_id: Option<ImageId>,
    /// The provider, for provider images. Credentials are never recorded.
    #[serde(default)]
    pub provider: Option<String>,
    /// How the provider calls it.
    #[serde(default)]
    pub identifier_on_provider: Option<String>,
    /// The account that it was registered under.
    #[serde(default)]
    pub provider_account_identifier: Option<String>,
    /// The parameters of the build; whoever creates the record has masked the secret ones.
    #[serde(default)]
    pub parameters: Map<String, Value>,
    /// What its plugins recorded.
    #[serde(default)]
    pub properties: Map<String, Value>,
    /// The plugin that built it.
    #[serde(default)]
    pub plugin: Option<BuiltBy>,
    /// Images with equal keys are equal; missing when it is not to be used again.
    #[serde(default)]
    pub reuse_key: Option<String>,
    /// When it was recorded.
    pub created: Timestamp,
    /// When its build began.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// When its build ended.
    #[serde(default)]
    pub finished: Option<Timestamp>,
    /// Disk space that is promised to its build; missing once that has ended.
    #[serde(default)]
    pub reserved_bytes: Option<u64>,
    /// Its body. Known to the store that the record was read from, and not recorded.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub path: Option<Utf8PathBuf>,
    /// Length of the body in bytes.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// SHA-256 of the body, in hex.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Media type of the body.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Files beside the body.
    #[serde(default)]
    pub artifacts: Vec<StoredArtifact>,
}

/// What an image is doing, or why it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct StatusDetail {
    /// What it is doing, in a few words.
    pub activity: Option<String>,
    /// Why it ended, without causes and hints. For a skipped image, the plugin's reason.
    pub error: Option<String>,
    /// Whose fault that was; exit code and HTTP status follow from it.
    #[schema(schema_with = schemas::error_kind)]
    pub kind: Option<DelegateErrorKind>,
    /// What caused the error, outermost first.
    pub causes: Vec<String>,
    /// What the reader can do about it.
    pub hints: Vec<String>,
}

/// Why an image ended, as [`super::Update`] records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose fault it was; missing for a skip.
    pub kind: Option<DelegateErrorKind>,
    /// What is so: a lowercase sentence.
    pub error: String,
    /// What caused it, outermost first.
    pub causes: Vec<String>,
    /// What the reader can do about it.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure without causes and hints.
    pub fn new(kind: DelegateErrorKind, error: impl Into<String>) -> Self {
        Self { kind: Some(kind), error: error.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// The reason of a skip.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self { kind: None, error: reason.into(), causes: Vec::new(), hints: Vec::new() }
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl From<&DelegateError> for Failure {
    fn from(error: &DelegateError) -> Self {
        Self {
            kind: Some(error.kind()),
            error: error.message().to_owned(),
            causes: error.causes().to_vec(),
            hints: error.hints().to_vec(),
        }
    }
}

/// The template of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TemplateRecord {
    /// The document as it was given, in its own syntax.
    pub source: String,
    /// What was understood: [`plugin_api::Template`] as JSON.
    pub canonical: Value,
}

/// A plugin, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuiltBy {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its library, in hex.
    pub library_digest: String,
}

/// A file beside the body, kept by the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredArtifact {
    /// Its name, unique within the image, and its file name in the store.
    pub name: String,
    /// Where it is. Known to the store that the record was read from, and not recorded.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub path: Option<Utf8PathBuf>,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its SHA-256, in hex.
    pub sha256: String,
}

/// What the name of an artifact begins with that was left by trying out an image that was made already.
pub const BOOT_ARTIFACTS: &str = "boot-";

impl StoredArtifact {
    /// Whether it was recorded while the image was made, and is as true of an image with the same content.
    pub fn is_of_content(&self) -> bool {
        !self.name.starts_with(BOOT_ARTIFACTS)
    }
}

/// What is known of an image before it is built.
#[derive(Clone, Debug, PartialEq)]
pub struct NewImage {
    /// Its tier.
    pub tier: Tier,
    /// Its name for people.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it is made from.
    pub template: Option<TemplateRecord>,
    /// The target, for target and provider images.
    pub target: Option<String>,
    /// The base image that it is made from; must be in the store.
    pub base_image_id: Option<ImageId>,
    /// The target image that it is made from; must be in the store.
    pub target_image_id: Option<ImageId>,
    /// The provider, for provider images.
    pub provider: Option<String>,
    /// The parameters, secrets masked.
    pub parameters: Map<String, Value>,
    /// The plugin that builds it.
    pub plugin: Option<BuiltBy>,
    /// Images with equal keys are equal.
    pub reuse_key: Option<String>,
    /// Disk space that is promised to its build.
    pub reserved_bytes: Option<u64>,
}

impl NewImage {
    /// An image of which nothing but tier and name is known.
    pub fn new(tier: Tier, name: impl Into<String>) -> Self {
        Self {
            tier,
            name: name.into(),
            labels: BTreeMap::new(),
            template: None,
            target: None,
            base_image_id: None,
            target_image_id: None,
            provider: None,
            parameters: Map::new(),
            plugin: None,
            reuse_key: None,
            reserved_bytes: None,
        }
    }

    pub(crate) fn into_record(self, id: ImageId) -> ImageRecord {
        ImageRecord {
            id,
            tier: self.tier,
            name: self.name,
            labels: self.labels,
            status: Status::New,
            status_detail: StatusDetail::default(),
            percent_complete: 0,
            template: self.template,
            target: self.target,
            base_image_id: self.base_image_id,
            target_image_id: self.target_image_id,
            provider: self.provider,
            identifier_on_provider: None,
            provider_account_identifier: None,
            parameters: self.parameters,
            properties: Map::new(),
            plugin: self.plugin,
            reuse_key: self.reuse_key,
            reserved_bytes: self.reserved_bytes.filter(|bytes| *bytes > 0),
            created: Timestamp::now(),
            started: None,
            finished: None,
            path: None,
            size_bytes: None,
            sha256: None,
            media_type: None,
            artifacts: Vec::new(),
        }
    }
}

impl ImageRecord {
    /// Whether it has a body, wherever that is.
    pub fn has_body(&self) -> bool {
        self.size_bytes.is_some()
            && matches!(self.status, Status::Complete | Status::Deleting | Status::DeleteFailed)
    }

    /// The artifact called `name`.
    pub fn artifact(&self, name: &str) -> Option<&StoredArtifact> {
        self.artifacts.iter().find(|artifact| artifact.name == name)
    }

    /// The image as a delegate sees it; `None` while it has no body.
    pub fn to_image(&self) -> Option<Image> {
        let mut image = Image::new(self.id.to_string(), self.tier, self.path.clone()?);
        image.size_bytes = self.size_bytes?;
        image.sha256 = self.sha256.clone().unwrap_or_default();
        image.media_type = self.media_type.clone().unwrap_or_default();
        image.properties.clone_from(&self.properties);
        Some(image)
    }

    /// The artifacts of its content, as a delegate sees them.
    pub fn to_artifacts(&self) -> Vec<Artifact> {
        let seen = |artifact: &StoredArtifact| {
            let StoredArtifact { name, path, media_type, .. } = artifact;
            let (name, media_type) = (name.clone(), media_type.clone());
            Some(Artifact { name, path: path.clone()?, media_type })
        };
        self.artifacts.iter().filter(|artifact| artifact.is_of_content()).filter_map(seen).collect()
    }
}
