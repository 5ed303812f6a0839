//! An OCI image layout in a folder (OCI image specification 1.1, `image-layout.md`).
//!
//! The mark of a layout comes first, then blobs, and the index last, under a lock, so that a reader sees the
//! image whole or not at all.
//! What a tag named before stays, without its tag, until it is deleted.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use plugin_api::{Builder, DelegateError, DelegateErrorKind, ResultExt};
use plugin_kit::layer::Digested;

use super::{digest_on, files, folder_of};
use crate::bundle::{Blob, Bundle, Document, copy};
use crate::documents::{Descriptor, Index, Manifest, REF_NAME, hex_of, json};
use crate::target::blob;

const MARK: &str = "oci-layout";
const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_FILE: &str = "index.json";

/// Where the blobs of a layout are.
pub(super) fn blobs(layout: &Utf8Path) -> Utf8PathBuf {
    layout.join("blobs/sha256")
}

pub(super) fn check(layout: &Utf8Path) -> Result<(), DelegateError> {
    if !layout.is_dir() {
        if layout.exists() {
            return Err(DelegateError::conflict(format!("`{layout}` is no folder"))
                .hint("name a folder for the image layout, or `docker-archive:` before a file"));
        }
        return files::check_writable(folder_of(layout));
    }
    // What was left half-written is nobody's.
    let mut entries = layout.read_dir_utf8()?;
    let is_empty = entries.all(|entry| entry.is_ok_and(|entry| files::is_partial(entry.path())));
    if !is_empty && !layout.join(MARK).is_file() {
        return Err(DelegateError::conflict(format!(
            "`{layout}` is no image layout, and not empty"
        ))
        .hint("name an empty folder, or one that is missing"));
    }
    index(layout)?;
    files::check_writable(layout)
}

pub(super) fn push(
    builder: &Builder,
    layout: &Utf8Path,
    tag: &str,
    bundle: &Bundle,
) -> Result<String, DelegateError> {
    check(layout)?;
    fs_err::create_dir_all(layout)?;
    builder.activity(format!("waiting for `{layout}`"));
    let _lock = files::lock(builder, layout)?;
    builder.activity(format!("writing to `{layout}`"));
    // Whoever writes holds the lock: these are of workers that were killed.
    for folder in [&blobs(layout), layout] {
        files::remove_partial(folder, "");
    }
    // What has no mark, and holds something, would be refused the next time.
    if !layout.join(MARK).is_file() {
        files::write_bytes(builder, &layout.join(MARK), VERSION.as_bytes())?;
    }
    fs_err::create_dir_all(blobs(layout))?;
    let mut new = Vec::new();
    let put = put(builder, layout, tag, bundle, &mut new);
    if put.is_err() {
        for path in &new {
            files::discard(path);
        }
    }
    put?;
    Ok(format!("oci:{layout}@{}", bundle.manifest.descriptor.digest))
}

/// Adds to `new` what was not there before.
fn put(
    builder: &Builder,
    layout: &Utf8Path,
    tag: &str,
    bundle: &Bundle,
    new: &mut Vec<Utf8PathBuf>,
) -> Result<(), DelegateError> {
    let total = bundle.total_bytes().max(1);
    let mut done = 0;
    for blob in &bundle.blobs {
        put_blob(builder, layout, blob, new)?;
        done += blob.descriptor.size;
        builder.progress(u8::try_from(done * 100 / total).unwrap_or(100));
    }
    for document in bundle.referrers.iter().chain([&bundle.manifest]) {
        let path = layout.join(blob(&document.descriptor.digest));
        if !path.exists() {
            files::write_bytes(builder, &path, &document.bytes)?;
            new.push(path);
        }
    }
    let mut index = index(layout)?;
    merge(&mut index, tag, bundle);
    files::write_bytes(builder, &layout.join(INDEX_FILE), &json(&index))
}

/// Copies a blob, and compares its digest.
fn put_blob(
    builder: &Builder,
    layout: &Utf8Path,
    from: &Blob,
    new: &mut Vec<Utf8PathBuf>,
) -> Result<(), DelegateError> {
    let Descriptor { digest, size, .. } = &from.descriptor;
    let path = layout.join(blob(digest));
    if fs_err::metadata(&path).is_ok_and(|known| known.len() == *size) {
        return Ok(());
    }
    files::write(builder, &path, |partial| {
        let mut output = Digested::new(File::create(partial)?);
        copy(builder, &mut from.open()?, &mut output)?;
        let (_, found) = output.finish();
        if found == *digest {
            return Ok(());
        }
        Err(DelegateError::failed(format!("the body is damaged: `{digest}` has digest `{found}`")))
    })?;
    new.push(path);
    Ok(())
}

fn merge(index: &mut Index, tag: &str, bundle: &Bundle) {
    for other in &mut index.manifests {
        if other.ref_name() == Some(tag) {
            other.annotations.remove(REF_NAME);
        }
    }
    let mut image = bundle.manifest.descriptor.clone();
    image.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
    // An entry without a tag is the same image before.
    index.manifests.retain(|other| other.digest != image.digest || other.ref_name().is_some());
    index.manifests.push(image);
    for Document { descriptor, .. } in &bundle.referrers {
        if index.manifests.iter().all(|other| other.digest != descriptor.digest) {
            index.manifests.push(descriptor.clone());
        }
    }
}

pub(super) fn delete(builder: &Builder, layout: &Utf8Path) -> Result<(), DelegateError> {
    let place = format!("oci:{layout}");
    let digest = digest_on(builder.identifier_on_provider(), &place)?;
    if !layout.join(INDEX_FILE).is_file() {
        return Ok(());
    }
    let _lock = files::lock(builder, layout)?;
    let mut index = index(layout)?;
    let gone = |descriptor: &Descriptor| {
        let subject = manifest(layout, descriptor).and_then(|manifest| manifest.subject);
        descriptor.digest == digest || subject.is_some_and(|subject| subject.digest == digest)
    };
    let (deleted, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut index.manifests).into_iter().partition(gone);
    index.manifests = kept;
    files::write_bytes(builder, &layout.join(INDEX_FILE), &json(&index))?;
    let mut needed = BTreeSet::new();
    for descriptor in &index.manifests {
        // Without knowing what an index of indexes needs, nothing of it is taken away.
        let Some(manifest) = manifest(layout, descriptor) else { return Ok(()) };
        needed.extend(reached(descriptor, &manifest));
    }
    for descriptor in &deleted {
        let parts = manifest(layout, descriptor).map(|manifest| reached(descriptor, &manifest));
        for digest in parts.into_iter().flatten().filter(|digest| !needed.contains(digest)) {
            if !hex_of(&digest).is_empty() {
                files::remove(&layout.join(blob(&digest)))?;
            }
        }
    }
    Ok(())
}

/// Digests of a manifest and of everything that it refers to.
fn reached(descriptor: &Descriptor, manifest: &Manifest) -> BTreeSet<String> {
    let parts = std::iter::once(&manifest.config).chain(&manifest.layers);
    parts.chain([descriptor]).map(|part| part.digest.clone()).collect()
}

fn manifest(layout: &Utf8Path, descriptor: &Descriptor) -> Option<Manifest> {
    let bytes = fs_err::read(layout.join(blob(&descriptor.digest))).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The index of the layout; an empty one where there is none yet.
fn index(layout: &Utf8Path) -> Result<Index, DelegateError> {
    let path = layout.join(INDEX_FILE);
    if !path.is_file() {
        return Ok(Index::new(Vec::new()));
    }
    serde_json::from_slice(&fs_err::read(&path)?)
        .or_delegate_error(DelegateErrorKind::Conflict, format!("`{path}` cannot be read"))
}
