//! Manifests: the last to come, the first to go.
//!
//! The image comes before what refers to it, and its tags come last, so that nobody pulls half of it. A
//! registry without the referrers API keeps referrers in an index under a tag made of the digest (OCI
//! distribution specification 1.1, "Referrers Tag Schema").

use plugin_api::DelegateError;
use plugin_kit::transfer::{Answer, Request, TransferError};

use super::session::Session;
use crate::bundle::{Bundle, Document};
use crate::documents::{Descriptor, INDEX, Index, digest, json};

/// Whether the registry has this manifest.
pub(super) fn is_there(
    session: &Session<'_>,
    manifest: &Descriptor,
) -> Result<bool, TransferError> {
    let url = session.url(&format!("manifests/{}", manifest.digest));
    let request = Request::head(&url).header("accept", &manifest.media_type).accept(404);
    Ok(session.send(&request, &url)?.status() != 404)
}

/// Brings the image and what refers to it there, without a tag.
pub(super) fn push(session: &Session<'_>, bundle: &Bundle) -> Result<(), DelegateError> {
    let image = &bundle.manifest;
    put(session, image, &image.descriptor.digest)?;
    let mut unlisted = Vec::new();
    for referrer in &bundle.referrers {
        let answer = put(session, referrer, &referrer.descriptor.digest)?;
        if answer.header("oci-subject").is_none() {
            unlisted.push(referrer.descriptor.clone());
        }
    }
    if !unlisted.is_empty() {
        list(session, &image.descriptor.digest, unlisted)?;
    }
    Ok(())
}

/// Gives the image its tags.
pub(super) fn tag(
    session: &Session<'_>,
    bundle: &Bundle,
    tags: &[String],
) -> Result<(), DelegateError> {
    tags.iter().try_for_each(|tag| put(session, &bundle.manifest, tag).map(drop))
}

/// Puts a manifest under `reference`, and compares what the registry made of it.
fn put(
    session: &Session<'_>,
    document: &Document,
    reference: &str,
) -> Result<Answer, DelegateError> {
    let Descriptor { media_type, digest, .. } = &document.descriptor;
    put_bytes(session, media_type, digest, &document.bytes, reference)
}

fn put_bytes(
    session: &Session<'_>,
    media_type: &str,
    digest: &str,
    bytes: &[u8],
    reference: &str,
) -> Result<Answer, DelegateError> {
    let url = session.url(&format!("manifests/{reference}"));
    let answer = session.send(&Request::put(&url).body(media_type, bytes), &url)?;
    let found = if let Some(found) = answer.header("docker-content-digest") {
        found.to_owned()
    } else {
        let head = session.send(&Request::head(&url).header("accept", media_type), &url)?;
        head.header("docker-content-digest").unwrap_or(digest).to_owned()
    };
    if found != digest {
        return Err(DelegateError::failed(format!(
            "`{}` has manifest `{found}` where `{digest}` was sent",
            session.address.host
        )));
    }
    Ok(answer)
}

/// Adds referrers to the index that stands for the referrers API.
fn list(
    session: &Session<'_>,
    subject: &str,
    referrers: Vec<Descriptor>,
) -> Result<(), DelegateError> {
    let tag = tag_of(subject);
    let mut index = listed(session, &tag)?.unwrap_or_else(|| Index::new(Vec::new()));
    for referrer in referrers {
        if index.manifests.iter().all(|known| known.digest != referrer.digest) {
            index.manifests.push(referrer);
        }
    }
    let bytes = json(&index);
    put_bytes(session, INDEX, &digest(&bytes), &bytes, &tag)?;
    Ok(())
}

fn listed(session: &Session<'_>, tag: &str) -> Result<Option<Index>, TransferError> {
    let url = session.url(&format!("manifests/{tag}"));
    let answer = session.send(&Request::get(&url).header("accept", INDEX).accept(404), &url)?;
    if answer.status() == 404 { Ok(None) } else { answer.json().map(Some) }
}

/// Tags have no colons.
fn tag_of(digest: &str) -> String {
    digest.replace(':', "-")
}

pub(super) fn delete(session: &Session<'_>, digest: &str) -> Result<(), DelegateError> {
    session.client.builder().activity("deleting the image");
    let referrers = referrers(session, digest)?;
    remove(session, digest)?;
    for referrer in referrers {
        remove(session, &referrer)?;
    }
    Ok(())
}

/// Digests of what refers to `subject`, and of the index that lists it.
fn referrers(session: &Session<'_>, subject: &str) -> Result<Vec<String>, DelegateError> {
    let url = session.url(&format!("referrers/{subject}"));
    let request =
        [404, 405].into_iter().fold(Request::get(&url).header("accept", INDEX), Request::accept);
    let answer = session.send(&request, &url)?;
    let mut found = Vec::new();
    if answer.status() == 200 {
        let index: Index = answer.json()?;
        found.extend(index.manifests.into_iter().map(|referrer| referrer.digest));
    }
    let tag = tag_of(subject);
    let url = session.url(&format!("manifests/{tag}"));
    let request = Request::get(&url).header("accept", INDEX).accept(404);
    let answer = session.send(&request, &url)?;
    if answer.status() == 200 {
        let index: Index = answer.json()?;
        found.extend(index.manifests.into_iter().map(|referrer| referrer.digest));
        found.push(digest(answer.body()));
    }
    found.dedup();
    Ok(found)
}

/// Removes a manifest; one that is gone is removed.
fn remove(session: &Session<'_>, digest: &str) -> Result<(), DelegateError> {
    let url = session.url(&format!("manifests/{digest}"));
    let request = [404, 405].into_iter().fold(Request::delete(&url), Request::accept);
    let answer = session.send(&request, &url)?;
    if answer.status() != 405 {
        return Ok(());
    }
    let host = &session.address.host;
    Err(DelegateError::unsupported(format!("`{host}` does not let images be deleted"))
        .hint("allow it there (`storage.delete.enabled` of a registry of the distribution project), or delete it by its own means"))
}
