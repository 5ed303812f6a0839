//! A file as `docker save` writes it.

use camino::Utf8Path;
use plugin_api::{Builder, DelegateError};
use plugin_kit::layer::Digested;

use super::{digest_on, files, folder_of};
use crate::archive::{Reader, Writer};
use crate::bundle::{Bundle, copy};
use crate::documents::{SavedImage, digest, hex_of, json};
use crate::settings::Settings;

const MANIFEST_FILE: &str = "manifest.json";

pub(super) fn check(path: &Utf8Path) -> Result<(), DelegateError> {
    if path.is_dir() {
        return Err(DelegateError::conflict(format!("`{path}` is a folder"))
            .hint("name a file in it, or `oci:` before a folder"));
    }
    files::check_writable(folder_of(path))
}

pub(super) fn push(
    builder: &Builder,
    path: &Utf8Path,
    settings: &Settings,
    bundle: &Bundle,
) -> Result<String, DelegateError> {
    check(path)?;
    // Nobody of this data directory writes the same file.
    let name = digest(path.as_str().as_bytes());
    let _alone = builder.lock(format!("oci-archive-{}", hex_of(&name)))?;
    files::remove_partials_of(path);
    builder.activity(format!("writing `{path}`"));
    let config = &bundle.manifest.manifest.config.digest;
    files::write(builder, path, |partial| {
        let mut archive = Writer::create(partial)?;
        let mut image = SavedImage {
            config: format!("{}.json", hex_of(config)),
            repo_tags: vec![format!("{}:{}", settings.repository, settings.tag)],
            layers: Vec::new(),
        };
        let layers = &bundle.manifest.manifest.layers;
        for blob in &bundle.blobs {
            if blob.descriptor.digest == *config {
                let mut bytes = Vec::new();
                copy(builder, &mut blob.open()?, &mut bytes)?;
                archive.put(&image.config, &bytes)?;
            } else if layers.iter().any(|layer| layer.digest == blob.descriptor.digest) {
                let at = archive.begin()?;
                let mut output = Digested::new(archive);
                copy(builder, &mut blob.open_unpacked()?, &mut output)?;
                let digest;
                (archive, digest) = output.finish();
                let name = format!("{}.tar", hex_of(&digest));
                archive.end(at, &name)?;
                image.layers.push(name);
            }
        }
        archive.put(MANIFEST_FILE, &json(&[image]))?;
        Ok(archive.finish()?)
    })?;
    builder.progress(100);
    Ok(format!("docker-archive:{path}@{config}"))
}

/// Deletes the file, unless it has been replaced by another image since.
pub(super) fn delete(builder: &Builder, path: &Utf8Path) -> Result<(), DelegateError> {
    let place = format!("docker-archive:{path}");
    let digest = digest_on(builder.identifier_on_provider(), &place)?;
    if !path.exists() {
        return Ok(());
    }
    let found: Option<Vec<SavedImage>> = Reader::open(path)
        .and_then(|archive| archive.bytes(MANIFEST_FILE))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let config = format!("{}.json", hex_of(digest));
    if found.is_some_and(|images| images.iter().any(|image| image.config == config)) {
        files::remove(path)?;
    } else {
        tracing::info!("`{path}` holds another image by now and stays");
    }
    Ok(())
}
