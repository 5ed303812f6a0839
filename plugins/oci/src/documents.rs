//! The documents of a container image: OCI image specification 1.1, and what Docker had before it.
//!
//! Only what is written and read here; fields are in the order of the specification, so that equal values
//! are equal bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Sorted, so that the order of parameters does not show.
pub(crate) type Annotations = BTreeMap<String, String>;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub(crate) const DOCKER_GZIP_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// The tag of a manifest in an index.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What stands where there is nothing to say.
pub(crate) const EMPTY_JSON: &[u8] = b"{}";

/// Refers to a blob or a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: Annotations,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    /// What else somebody wrote into it: it is copied from one index to the next.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, Value>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: impl Into<String>, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            artifact_type: None,
            digest: digest.into(),
            size,
            annotations: Annotations::new(),
            platform: None,
            other: BTreeMap::new(),
        }
    }

    /// That of `bytes`.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, digest(bytes), bytes.len() as u64)
    }

    /// The tag that an index gives it.
    pub(crate) fn ref_name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: Annotations,
}

impl Manifest {
    pub(crate) fn new(media_type: &str, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type.to_owned(),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    /// The manifest that says: `blob` is about `subject`.
    pub(crate) fn referrer(subject: Descriptor, blob: Descriptor) -> Self {
        let mut manifest = Self::new(MANIFEST, Descriptor::of(EMPTY, EMPTY_JSON), Vec::new());
        manifest.artifact_type = Some(blob.media_type.clone());
        manifest.layers.push(blob);
        manifest.subject = Some(subject);
        manifest
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
    /// What else somebody wrote into it.
    #[serde(flatten)]
    pub(crate) other: BTreeMap<String, Value>,
}

impl Index {
    pub(crate) fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: INDEX.to_owned(), manifests, other: BTreeMap::new() }
    }
}

/// One image of a `docker save` archive.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SavedImage {
    pub(crate) config: String,
    #[serde(default)]
    pub(crate) repo_tags: Vec<String>,
    pub(crate) layers: Vec<String>,
}

/// `value` as JSON; the documents of this module can always be written.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The hex of a digest; empty unless it is a SHA-256.
pub(crate) fn hex_of(digest: &str) -> &str {
    digest
        .strip_prefix("sha256:")
        .filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_descriptor_is_that_of_the_specification() {
        let empty = Descriptor::of(EMPTY, EMPTY_JSON);
        let known = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!((empty.digest.as_str(), empty.size), (known, 2));
    }

    #[test]
    fn what_others_wrote_into_an_index_stays() {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{MANIFEST}","digest":"{}","size":1,"platform":{{"architecture":"amd64","os":"windows","os.version":"10.0"}},"urls":["https://a.example"],"data":"eA=="}}],"subject":{{}}}}"#,
            digest(b"x")
        );
        let index: Index = serde_json::from_str(&text).unwrap();
        assert_eq!(String::from_utf8(json(&index)).unwrap(), {
            // What is not known comes last, sorted.
            text.replace(
                r#""urls":["https://a.example"],"data":"eA==""#,
                r#""data":"eA==","urls":["https://a.example"]"#,
            )
        });
    }

    #[test]
    fn only_a_sha256_has_a_file_name() {
        assert_eq!(hex_of(&digest(b"x")).len(), 64);
        assert_eq!(hex_of("sha256:../../etc/passwd"), "");
        assert_eq!(hex_of("sha512:00"), "");
    }
}
