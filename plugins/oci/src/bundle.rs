//! A target image as what is delivered: documents and blobs, whatever archive they came in.
//!
//! The blobs stay where they are, in the body; only the layers of a `docker save` archive are packed first,
//! because a registry keeps them packed.

use std::io::{self, Read, Seek, SeekFrom, Write};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use plugin_api::{Builder, DelegateError, DelegateErrorKind, ResultExt};
use plugin_kit::layer::{Compression, Compressor, Digested};
use serde::de::DeserializeOwned;

use crate::archive::Reader;
use crate::documents::{
    CONFIG, DOCKER_CONFIG, DOCKER_GZIP_LAYER, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, EMPTY,
    EMPTY_JSON, Index, LAYER, MANIFEST, Manifest, SavedImage, json,
};
use crate::settings::Settings;
use crate::target::{blob, sboms, suffix};

/// An image, ready to be delivered.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Configuration, layers and what the referrers hold: each once.
    pub(crate) blobs: Vec<Blob>,
    /// The image.
    pub(crate) manifest: Document,
    /// What is said about the image.
    pub(crate) referrers: Vec<Document>,
}

/// A manifest and what refers to it.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) descriptor: Descriptor,
    pub(crate) manifest: Manifest,
    pub(crate) bytes: Vec<u8>,
}

/// Bytes that a manifest refers to.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) descriptor: Descriptor,
    pub(crate) source: Source,
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Bytes(Vec<u8>),
    /// From `offset` on, as many as the descriptor says.
    File {
        path: Utf8PathBuf,
        offset: u64,
    },
}

/// Which media types a `docker save` archive gets: those of the OCI or those of Docker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Types {
    Oci,
    Docker,
}

impl Bundle {
    /// Reads the body of the target image.
    ///
    /// # Errors
    /// `InvalidInput` when it is no archive of an image.
    pub(crate) fn open(
        builder: &Builder,
        settings: &Settings,
        types: Types,
    ) -> Result<Self, DelegateError> {
        let image = builder.target_image().ok_or_else(|| {
            DelegateError::bug_in_plugin("asked to push before there is a target image")
        })?;
        if builder.target() == "docker" {
            let plain = unpacked(builder, &image.path)?;
            Self::of_saved(builder, settings, &Reader::open(&plain)?, types)
        } else {
            Self::of_layout(&Reader::open(&image.path)?)
        }
    }

    fn of_layout(archive: &Reader) -> Result<Self, DelegateError> {
        let index: Index = document(archive, "index.json")?;
        let mut documents = Vec::new();
        for descriptor in index.manifests {
            let bytes = archive.bytes(&blob(&descriptor.digest))?;
            let manifest: Manifest = document(archive, &blob(&descriptor.digest))?;
            documents.push(Document { descriptor, manifest, bytes });
        }
        let (mut images, referrers): (Vec<_>, Vec<_>) =
            documents.into_iter().partition(|document| document.manifest.subject.is_none());
        let (Some(manifest), true) = (images.pop(), images.is_empty()) else {
            let path = archive.path();
            return Err(DelegateError::invalid_input(format!("`{path}` does not hold one image")));
        };
        let mut blobs: Vec<Blob> = Vec::new();
        for document in std::iter::once(&manifest).chain(&referrers) {
            let parts = std::iter::once(&document.manifest.config);
            for descriptor in parts.chain(&document.manifest.layers) {
                if blobs.iter().all(|known| known.descriptor.digest != descriptor.digest) {
                    let source = source(archive, &blob(&descriptor.digest))?;
                    blobs.push(Blob { descriptor: descriptor.clone(), source });
                }
            }
        }
        Ok(Self { blobs, manifest, referrers })
    }

    fn of_saved(
        builder: &Builder,
        settings: &Settings,
        archive: &Reader,
        types: Types,
    ) -> Result<Self, DelegateError> {
        let images: Vec<SavedImage> = document(archive, "manifest.json")?;
        let [image] = images.as_slice() else {
            let path = archive.path();
            return Err(DelegateError::invalid_input(format!("`{path}` does not hold one image")));
        };
        // Docker has no type for a layer in zstd.
        let zstd = matches!(settings.layer, Compression::Zstd { .. });
        let docker = types == Types::Docker && !zstd;
        let config = archive.bytes(&image.config)?;
        let config_type = if docker { DOCKER_CONFIG } else { CONFIG };
        let mut blobs = vec![Blob::of(config_type, config)];
        let layer_type = match settings.layer {
            Compression::None if docker => DOCKER_LAYER.to_owned(),
            _ if docker => DOCKER_GZIP_LAYER.to_owned(),
            packed => format!("{LAYER}{}", suffix(packed)),
        };
        for (number, name) in image.layers.iter().enumerate() {
            let part = archive.part(name)?;
            let mut file = File::open(archive.path())?;
            file.seek(SeekFrom::Start(part.offset))?;
            builder.activity("packing the layer");
            let path = builder.work_dir().join(format!("layer-{number}"));
            blobs.push(packed(builder, file.take(part.bytes), &path, settings, &layer_type)?);
        }
        let mut descriptors = blobs.iter().map(|blob| blob.descriptor.clone());
        let manifest_type = if docker { DOCKER_MANIFEST } else { MANIFEST };
        let Some(config) = descriptors.next() else {
            return Err(DelegateError::bug_in_plugin("an image without a configuration"));
        };
        let manifest = Manifest::new(manifest_type, config, descriptors.collect());
        let manifest = Document::new(manifest);
        let mut referrers = Vec::new();
        for (media_type, bytes) in sboms(builder, settings)? {
            let about = Blob::of(&media_type, bytes);
            let mut subject = manifest.descriptor.clone();
            subject.artifact_type = None;
            referrers.push(Document::new(Manifest::referrer(subject, about.descriptor.clone())));
            blobs.push(about);
        }
        if !referrers.is_empty() {
            blobs.push(Blob::of(EMPTY, EMPTY_JSON.to_vec()));
        }
        Ok(Self { blobs, manifest, referrers })
    }

    /// Bytes of all blobs.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.descriptor.size).sum()
    }
}

impl Document {
    pub(crate) fn new(manifest: Manifest) -> Self {
        let bytes = json(&manifest);
        let mut descriptor = Descriptor::of(&manifest.media_type, &bytes);
        descriptor.artifact_type.clone_from(&manifest.artifact_type);
        Self { descriptor, manifest, bytes }
    }
}

impl Blob {
    fn of(media_type: &str, bytes: Vec<u8>) -> Self {
        let descriptor = Descriptor::of(media_type, &bytes);
        Self { descriptor, source: Source::Bytes(bytes) }
    }

    /// Opens the bytes.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &self.source {
            Source::Bytes(bytes) => Box::new(bytes.as_slice()),
            Source::File { path, offset } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(*offset))?;
                Box::new(file.take(self.descriptor.size))
            },
        })
    }

    /// Opens the archive that is packed in it.
    pub(crate) fn open_unpacked(&self) -> io::Result<Box<dyn Read + '_>> {
        let packed = self.open()?;
        let media_type = &self.descriptor.media_type;
        Ok(if media_type.ends_with("gzip") {
            Box::new(flate2::read::MultiGzDecoder::new(packed))
        } else if media_type.ends_with("zstd") {
            Box::new(zstd::Decoder::new(packed)?)
        } else {
            packed
        })
    }
}

/// What is small is read at once.
fn source(archive: &Reader, name: &str) -> Result<Source, DelegateError> {
    const SMALL_BYTES: u64 = 1 << 20;
    let part = archive.part(name)?;
    Ok(if part.bytes <= SMALL_BYTES {
        Source::Bytes(archive.bytes(name)?)
    } else {
        Source::File { path: archive.path().to_owned(), offset: part.offset }
    })
}

fn document<T: DeserializeOwned>(archive: &Reader, name: &str) -> Result<T, DelegateError> {
    let path = archive.path();
    serde_json::from_slice(&archive.bytes(name)?).or_delegate_error(
        DelegateErrorKind::InvalidInput,
        format!("`{name}` in `{path}` cannot be read"),
    )
}

/// Packs a layer into the file `path`.
fn packed(
    builder: &Builder,
    mut input: impl Read,
    path: &Utf8Path,
    settings: &Settings,
    media_type: &str,
) -> Result<Blob, DelegateError> {
    let output = Digested::new(File::create(path)?);
    let mut output = Compressor::new(output, settings.layer)?;
    copy(builder, &mut input, &mut output)?;
    let output = output.finish()?;
    let bytes = output.bytes();
    let (_, digest) = output.finish();
    let descriptor = Descriptor::new(media_type, digest, bytes);
    Ok(Blob { descriptor, source: Source::File { path: path.to_owned(), offset: 0 } })
}

/// The archive itself, out of a body that may be packed as a whole.
fn unpacked(builder: &Builder, body: &Utf8Path) -> Result<Utf8PathBuf, DelegateError> {
    let mut magic = [0; 6];
    let mut file = File::open(body)?;
    let known = file.read(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let mut reader: Box<dyn Read> = match &magic[..known] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(file)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(file, true)),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Box::new(bzip2::read::MultiBzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(file)?),
        _ => return Ok(body.to_owned()),
    };
    builder.activity("unpacking the archive");
    let plain = builder.work_dir().join("image.tar");
    copy(builder, &mut reader, &mut File::create(&plain)?)?;
    Ok(plain)
}

/// Copies everything, unless the build is cancelled; answers how many bytes it was.
pub(crate) fn copy(
    builder: &Builder,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<u64, DelegateError> {
    let mut buffer = vec![0; 1 << 20];
    let mut copied = 0;
    loop {
        builder.check_cancelled()?;
        let count = input.read(&mut buffer)?;
        if count == 0 {
            return Ok(copied);
        }
        output.write_all(&buffer[..count])?;
        copied += count as u64;
    }
}
