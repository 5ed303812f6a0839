//! Delivering a target image to Glance.
//!
//! An image is made with an identifier of our own, its data is sent, and what arrived is compared with
//! what was sent. Each try makes a new image: Glance takes data once, and what became of half of it
//! depends on its store. What a try leaves is removed, and so is what a killed worker left of the same
//! target image, known by its property.

use std::time::{Duration, Instant};

use plugin_api::{Builder, DelegateError, Image, ProviderIdentity};
use plugin_kit::transfer::{Algorithm, Client, TransferError, Upload};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::debris::Debris;
use crate::format;
use crate::glance::Glance;
use crate::provider::ImageOptions;
use crate::session::Session;

/// Property with the identifier of the target image; of a snapshot, of the provider image.
pub(crate) const IMAGE_ID: &str = "imageforge_image_id";
/// Property with the SHA-256 of its body.
const SHA256: &str = "imageforge_sha256";
/// Property of the record: what was compared with what arrived.
const VERIFIED_BY: &str = "verified_by";
/// Digests that Glance may be set to (`hashing_algorithm`), which are names of Python's hashlib. It takes SHA-512 unless
/// it is told otherwise, which is taken on the way; the file is read once more for others.
const DIGESTS: [(&str, &str, Algorithm); 3] = [
    ("sha512", "SHA-512", Algorithm::Sha512),
    ("sha384", "SHA-384", Algorithm::Sha384),
    ("sha256", "SHA-256", Algorithm::Sha256),
];
/// How long an image may take to become active, and how often is looked.
const ACTIVE: Duration = Duration::from_mins(30);
const LOOK: Duration = Duration::from_millis(500);
/// How long Glance is given to finish what it was sent, when its answer is lost.
const SETTLE: Duration = Duration::from_secs(5);
const GIB: u64 = 1 << 30;

/// Who receives what.
#[derive(Debug)]
pub(crate) struct Push<'s, 'a> {
    pub(crate) session: &'s Session<'a>,
    pub(crate) debris: &'s Debris,
    pub(crate) image: ImageOptions,
}

impl Push<'_, '_> {
    /// Delivers the target image of `builder`.
    pub(crate) fn push(&self, builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
        let image = builder.target_image().ok_or_else(|| {
            DelegateError::bug_in_plugin("asked to push before there is a target image")
        })?;
        let glance = Glance::new(self.session)?;
        // Nobody of this data directory is sending the same image there.
        let place = Uuid::new_v5(&Uuid::NAMESPACE_URL, glance.url(&image.id).as_bytes());
        let _alone = builder.lock(format!("openstack-{place}"))?;
        remove_leftovers(&glance, image)?;
        if let Some(warning) = small_disk(self.image.min_disk, virtual_bytes(image)) {
            tracing::warn!("{warning}");
        }
        let tried = self.tries(builder, &glance, image);
        // Also what a try left before the one that succeeded.
        self.debris.remove_patiently(self.session);
        let id = tried.map_err(|error| self.debris.told(builder, self.session.explained(error)))?;
        builder.progress(100);
        let mut identity = ProviderIdentity::new(id);
        identity.provider_account_identifier = self.session.known().account;
        Ok(identity)
    }

    /// Delivers until it succeeds, and answers the identifier.
    fn tries(
        &self,
        builder: &Builder,
        glance: &Glance<'_, '_>,
        image: &Image,
    ) -> Result<String, DelegateError> {
        let mut retry = self.session.client().retry();
        loop {
            let id = Uuid::new_v4().to_string();
            let url = glance.url(&id);
            self.debris.expect(self.session, url.clone());
            match self.deliver(builder, glance, image, &id) {
                Ok(()) => {
                    self.debris.forget(&url);
                    return Ok(id);
                },
                Err(Failure::Upload(error)) => retry.wait(error)?,
                Err(Failure::Final(error)) => return Err(error),
            }
            self.debris.remove(self.session);
        }
    }

    fn deliver(
        &self,
        builder: &Builder,
        glance: &Glance<'_, '_>,
        image: &Image,
        id: &str,
    ) -> Result<(), Failure> {
        builder.activity("registering the image");
        let created = glance.create(&self.document(builder, id));
        if may_be_there(&created) {
            self.debris.note(self.session, glance.url(id));
        }
        created?;
        let mut upload = Upload::of_file(image.path.clone())
            .map_err(DelegateError::from)?
            .digest_by(Algorithm::Sha512);
        if let Err(error) = glance.upload(id, &mut upload)
            && !self.has_arrived(glance, id, &upload, &error)?
        {
            return Err(Failure::Upload(error));
        }
        builder.activity("waiting for the image to become active");
        let arrived = wait_until_active(self.session, glance, id)?;
        builder.activity("comparing what arrived");
        let verified_by = verify(self.session.client(), &arrived, &upload)?;
        builder.set_property(VERIFIED_BY, verified_by)?;
        if self.image.protected == Some(true) {
            let protected = json!({ "op": "replace", "path": "/protected", "value": true });
            glance.change(id, &json!([protected]))?;
        }
        Ok(())
    }

    /// Whether everything was sent and only the answer was lost.
    fn has_arrived(
        &self,
        glance: &Glance<'_, '_>,
        id: &str,
        upload: &Upload,
        error: &TransferError,
    ) -> Result<bool, TransferError> {
        if !error.is_passing() || upload.digest(Algorithm::Sha512).is_none() {
            return Ok(false);
        }
        let start = Instant::now();
        loop {
            let image = glance.show(id)?.unwrap_or_default();
            match image["status"].as_str() {
                Some("active") => return Ok(true),
                Some("saving") if start.elapsed() < SETTLE => {
                    self.session.client().sleep(LOOK)?;
                },
                _ => return Ok(false),
            }
        }
    }

    /// What is registered. `protected` comes last: what is protected cannot be taken back.
    pub(crate) fn document(&self, builder: &Builder, id: &str) -> Value {
        let template = builder.template();
        let image = builder.target_image();
        let options = &self.image;
        let mut document = properties(builder);
        document.extend(options.properties.clone());
        if let Some(image) = image {
            document.insert(IMAGE_ID.to_owned(), image.id.as_str().into());
            if !image.sha256.is_empty() {
                document.insert(SHA256.to_owned(), image.sha256.as_str().into());
            }
        }
        let virtual_bytes = image.map_or(0, virtual_bytes);
        let fixed = json!({
            "id": id,
            "name": options.name.as_ref().unwrap_or(&template.name),
            "disk_format": format::delivered(builder),
            "container_format": options.container_format.as_deref().unwrap_or("bare"),
            "visibility": options.visibility.as_deref().unwrap_or("private"),
            "min_disk": options.min_disk.unwrap_or_else(|| virtual_bytes.div_ceil(GIB)),
            "min_ram": options.min_ram.unwrap_or(0),
            "tags": options.tags.clone().unwrap_or_default(),
        });
        if let Value::Object(fixed) = fixed {
            document.extend(fixed);
        }
        Value::Object(document)
    }
}

/// What is to be said of a `min_disk` that is smaller than the disk itself.
fn small_disk(min_disk: Option<u64>, virtual_bytes: u64) -> Option<String> {
    let size = virtual_bytes.div_ceil(GIB);
    let min_disk = min_disk.filter(|min_disk| *min_disk < size)?;
    Some(format!(
        "`min_disk` is {min_disk} GiB, but no server starts on less than the {size} GiB of the disk"
    ))
}

/// Whether Glance has the image for all that is known: it has not refused it, and was reached.
fn may_be_there(created: &Result<(), TransferError>) -> bool {
    match created {
        Ok(()) => true,
        Err(error) => !error.is_unsent() && !matches!(error.status(), Some(400..=499)),
    }
}

/// Why a try did not succeed.
#[derive(Debug)]
enum Failure {
    /// The data did not arrive, for which another image may be tried.
    Upload(TransferError),
    /// Something that was tried often enough, or that will not pass.
    Final(DelegateError),
}

impl<E: Into<DelegateError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// What is known of the operating system, in the words that Nova and libosinfo use.
fn properties(builder: &Builder) -> Map<String, Value> {
    let os = &builder.template().os;
    let arch = match os.arch.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "i386" => "i686",
        arch => arch,
    };
    let known = [
        ("os_distro", os.name.to_lowercase()),
        ("os_version", os.version.clone()),
        ("architecture", arch.to_owned()),
    ];
    let known = known.into_iter().filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// Size of the disk in an image; 0 when nobody knows it.
fn virtual_bytes(image: &Image) -> u64 {
    image.properties.get("virtual_size_bytes").and_then(Value::as_u64).unwrap_or(0)
}

/// Removes what a worker that was killed left of the same image.
fn remove_leftovers(glance: &Glance<'_, '_>, image: &Image) -> Result<(), TransferError> {
    for status in ["queued", "saving"] {
        for leftover in glance.find(IMAGE_ID, &image.id, status)? {
            // A server that does not know the filter answers with everything.
            let id = leftover["id"].as_str().unwrap_or_default();
            if id.is_empty() || leftover[IMAGE_ID] != *image.id || leftover["status"] != *status {
                continue;
            }
            tracing::info!(image = id, status, "removing what an interrupted delivery left");
            glance.delete(id)?;
        }
    }
    Ok(())
}

/// Waits until the image can be used, and answers what Glance knows of it.
pub(crate) fn wait_until_active(
    session: &Session<'_>,
    glance: &Glance<'_, '_>,
    id: &str,
) -> Result<Value, DelegateError> {
    let client = session.client();
    let start = Instant::now();
    while start.elapsed() < ACTIVE {
        let Some(image) = glance.show(id)? else {
            let gone = format!("image `{id}` was deleted while it was made");
            return Err(DelegateError::failed(gone));
        };
        match image["status"].as_str().unwrap_or_default() {
            "active" => return Ok(image),
            status @ ("killed" | "deleted" | "pending_delete" | "deactivated") => {
                let message = format!("the image service gave up image `{id}`: it is `{status}`");
                return Err(
                    DelegateError::failed(message).hint("the log of the image service tells why")
                );
            },
            _ => client.sleep(LOOK)?,
        }
    }
    let minutes = ACTIVE.as_secs() / 60;
    let message = format!("image `{id}` did not become active within {minutes} minutes");
    Err(DelegateError::unavailable(message))
}

/// Compares what arrived with what was sent, and answers by what.
fn verify(
    client: &Client<'_>,
    arrived: &Value,
    upload: &Upload,
) -> Result<&'static str, DelegateError> {
    let text = |name: &str| arrived[name].as_str().unwrap_or_default().to_ascii_lowercase();
    let (size, sent) = (arrived["size"].as_u64(), upload.size_bytes());
    if let Some(size) = size.filter(|size| *size != sent) {
        return Err(damaged(&format!("{sent} bytes were sent, {size} arrived")));
    }
    let named = text("os_hash_algo");
    let known = DIGESTS.into_iter().find(|(word, ..)| *word == named);
    let known = known.map(|digest| (digest, text("os_hash_value")));
    let ((word, name, algorithm), found) = known
        .filter(|(_, found)| !found.is_empty())
        .unwrap_or_else(|| (("md5", "MD5", Algorithm::Md5), text("checksum")));
    if found.is_empty() {
        let told = match client.shown(&named) {
            named if named.is_empty() => "the image service tells no digest".to_owned(),
            named => format!(
                "the image service knows the image by `{named}` alone, which is not known here"
            ),
        };
        if size.is_some() {
            tracing::warn!("{told}: only the size was compared");
            return Ok("size");
        }
        tracing::warn!("{told}, and no size: nothing tells whether the image arrived whole");
        return Ok("nothing");
    }
    let expected = match upload.digest(algorithm) {
        Some(expected) => expected.to_owned(),
        None => upload.read_digest(algorithm, client)?,
    };
    if expected == found {
        return Ok(word);
    }
    let found = client.shown(&found);
    Err(damaged(&format!("{name} of what was sent is {expected}, of what arrived {found}")))
}

fn damaged(reason: &str) -> DelegateError {
    DelegateError::unavailable("the image arrived damaged")
        .because(reason)
        .hint("try again; if it happens again, look at what stands between")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_disk_than_the_image_s_own_is_told() {
        assert!(small_disk(Some(1), GIB + 1).is_some_and(|warning| warning.contains("2 GiB")));
        for (min_disk, virtual_bytes) in [(None, GIB), (Some(1), GIB), (Some(1), 0), (Some(0), 0)] {
            assert_eq!(small_disk(min_disk, virtual_bytes), None);
        }
    }
}
