//! The body of a target image: the root file system of the disk as an archive of a container image.
//!
//! Target `oci` is an OCI image layout, as `skopeo` reads it as `oci-archive:`; target `docker` is what
//! `docker save` writes. The layer flows from the disk into the archive; nothing else is on disk meanwhile.

use fs_err::File;
use plugin_api::{Artifact, Builder, DelegateError};
use plugin_kit::delegate::{disk_of, with_control};
use plugin_kit::disk::root_tree;
use plugin_kit::layer::{
    self, Compression, Compressor, Digested, LayerError, LayerOptions, Written,
};
use plugin_kit::sparse::{Control, ReadAt};

use crate::archive::Writer;
use crate::bundle::copy;
use crate::config::{self, Layer};
use crate::contents;
use crate::documents::{
    CONFIG, Descriptor, EMPTY_JSON, Index, LAYER, MANIFEST, Manifest, REF_NAME, SavedImage, digest,
    hex_of, json,
};
use crate::settings::Settings;

/// Media types of software bills of material.
const SBOM_TYPES: [&str; 2] = ["application/spdx+json", "application/vnd.cyclonedx+json"];

/// Writes the body for the builder's target.
pub(crate) fn write(builder: &Builder) -> Result<(), DelegateError> {
    let settings = Settings::read(builder)?;
    let disk = disk_of(builder)?;
    let disk_bytes = disk.size_bytes();
    builder.activity("reading the root file system");
    let mut tree = root_tree(disk, |path| contents::wanted(&settings, path))?;
    contents::clear_identity(&mut tree);
    let options = LayerOptions { latest: builder.source_date_epoch(), max_bytes: Some(disk_bytes) };
    builder.activity("writing the layer");
    let layer = |archive: Writer, compression| {
        with_control(builder, |control| put_layer(&tree, &options, archive, compression, control))
    };
    if builder.target() == "docker" {
        let whole = settings.archive != Compression::None;
        let plain =
            if whole { builder.work_dir().join("image.tar") } else { builder.image_path().into() };
        let (archive, layer) = layer(Writer::create(&plain)?, Compression::None)?;
        saved(builder, &settings, archive, &layer)?;
        if whole {
            builder.activity("packing the archive");
            pack(builder, &plain, settings.archive)?;
        }
        describe(builder, &settings, "application/x-tar", &layer)
    } else {
        let (archive, layer) = layer(Writer::create(builder.image_path())?, settings.layer)?;
        layout(builder, &settings, archive, &layer)?;
        describe(builder, &settings, "application/vnd.oci.image.layout.v1+tar", &layer)
    }
}

/// A layer that was written.
struct Put {
    /// Of the blob.
    digest: String,
    bytes: u64,
    media_type: String,
    /// Of the archive in it.
    diff_id: String,
    written: Written,
    /// Where its header belongs.
    at: u64,
}

fn put_layer(
    tree: &ext4::Tree,
    options: &LayerOptions,
    mut archive: Writer,
    compression: Compression,
    control: &Control<'_>,
) -> Result<(Writer, Put), LayerError> {
    let at = archive.begin().map_err(LayerError::Write)?;
    let compressor = Compressor::new(Digested::new(archive), compression);
    let mut plain = Digested::new(compressor.map_err(LayerError::Write)?);
    let written = layer::write(tree, options, &mut plain, control)?;
    let (compressor, diff_id) = plain.finish();
    let packed = compressor.finish().map_err(LayerError::Write)?;
    let bytes = packed.bytes();
    let (mut archive, digest) = packed.finish();
    archive.time = u64::try_from(written.latest).unwrap_or_default();
    let media_type = format!("{LAYER}{}", suffix(compression));
    Ok((archive, Put { digest, bytes, media_type, diff_id, written, at }))
}

/// How the media type of a layer says its compression.
pub(crate) fn suffix(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip { .. } => "+gzip",
        Compression::Zstd { .. } => "+zstd",
        // The specification knows no layers in xz or bzip2, and none are written.
        Compression::None | Compression::Xz { .. } | Compression::Bzip2 { .. } => "",
    }
}

/// Completes an OCI image layout.
fn layout(
    builder: &Builder,
    settings: &Settings,
    mut archive: Writer,
    layer: &Put,
) -> Result<(), DelegateError> {
    archive.end(layer.at, &blob(&layer.digest))?;
    let config = config(builder, settings, layer);
    archive.put(&blob(&digest(&config)), &config)?;
    let blobs = vec![Descriptor::new(&layer.media_type, &layer.digest, layer.bytes)];
    let mut manifest = Manifest::new(MANIFEST, Descriptor::of(CONFIG, &config), blobs);
    let template = builder.template();
    manifest.annotations = config::about(template, &config::time(layer.written.latest));
    manifest.annotations.extend(settings.annotations.clone());
    let manifest = json(&manifest);
    archive.put(&blob(&digest(&manifest)), &manifest)?;

    let mut image = Descriptor::of(MANIFEST, &manifest);
    let subject = image.clone();
    image.annotations.insert(REF_NAME.to_owned(), settings.tag.clone());
    image.platform = Some(config::platform(settings, template));
    let mut index = Index::new(vec![image]);
    let mut empty = false;
    for (media_type, bytes) in sboms(builder, settings)? {
        if !empty {
            archive.put(&blob(&digest(EMPTY_JSON)), EMPTY_JSON)?;
            empty = true;
        }
        archive.put(&blob(&digest(&bytes)), &bytes)?;
        let about = Descriptor::of(&media_type, &bytes);
        let referrer = json(&Manifest::referrer(subject.clone(), about));
        archive.put(&blob(&digest(&referrer)), &referrer)?;
        let mut entry = Descriptor::of(MANIFEST, &referrer);
        entry.artifact_type = Some(media_type);
        index.manifests.push(entry);
    }
    archive.put("index.json", &json(&index))?;
    archive.put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.finish()?;
    builder.set_property("digest", subject.digest)
}

/// Completes what `docker save` writes.
fn saved(
    builder: &Builder,
    settings: &Settings,
    mut archive: Writer,
    layer: &Put,
) -> Result<(), DelegateError> {
    let layer_name = format!("{}.tar", hex_of(&layer.digest));
    archive.end(layer.at, &layer_name)?;
    let config = config(builder, settings, layer);
    let config_digest = digest(&config);
    let config_name = format!("{}.json", hex_of(&config_digest));
    archive.put(&config_name, &config)?;
    let image = SavedImage {
        config: config_name,
        repo_tags: vec![format!("{}:{}", settings.repository, settings.tag)],
        layers: vec![layer_name],
    };
    archive.put("manifest.json", &json(&[image]))?;
    archive.finish()?;
    // What docker calls the identifier of an image.
    builder.set_property("digest", config_digest)
}

fn config(builder: &Builder, settings: &Settings, layer: &Put) -> Vec<u8> {
    let layer = Layer { diff_id: &layer.diff_id, created: layer.written.latest };
    json(&config::config(settings, builder.template(), &layer))
}

fn describe(
    builder: &Builder,
    settings: &Settings,
    media_type: &str,
    layer: &Put,
) -> Result<(), DelegateError> {
    tracing::info!(members = layer.written.members, bytes = layer.bytes, "the layer is written");
    if layer.written.sockets > 0 {
        tracing::info!(sockets = layer.written.sockets, "sockets are left out");
    }
    let media_type = match settings.archive {
        Compression::None => media_type,
        Compression::Gzip { .. } => "application/gzip",
        Compression::Xz { .. } => "application/x-xz",
        Compression::Bzip2 { .. } => "application/x-bzip2",
        Compression::Zstd { .. } => "application/zstd",
    };
    builder.set_property("media_type", media_type)?;
    builder.set_property("repository", settings.repository.as_str())?;
    builder.set_property("tag", settings.tag.as_str())?;
    builder.set_property("diff_id", layer.diff_id.as_str())
}

/// The software bills of material of the disk, with their media types.
pub(crate) fn sboms(
    builder: &Builder,
    settings: &Settings,
) -> Result<Vec<(String, Vec<u8>)>, DelegateError> {
    if !settings.sbom {
        return Ok(Vec::new());
    }
    let mut artifacts = builder.disk_artifacts()?;
    artifacts.retain(|artifact| SBOM_TYPES.contains(&artifact.media_type.as_str()));
    let read = |artifact: Artifact| Ok((artifact.media_type, fs_err::read(artifact.path)?));
    artifacts.into_iter().map(read).collect()
}

/// The name of a blob in a layout.
pub(crate) fn blob(digest: &str) -> String {
    format!("blobs/sha256/{}", hex_of(digest))
}

/// Packs the archive as a whole into the body.
fn pack(
    builder: &Builder,
    plain: &camino::Utf8Path,
    compression: Compression,
) -> Result<(), DelegateError> {
    let mut input = File::open(plain)?;
    let mut output = Compressor::new(File::create(builder.image_path())?, compression)?;
    copy(builder, &mut input, &mut output)?;
    output.finish()?;
    Ok(fs_err::remove_file(plain)?)
}
