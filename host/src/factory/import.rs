//! Disks from elsewhere that become base images.
//!
//! Whatever its format, the disk is stored raw: every cloud's plugin reads base images as such.

use std::collections::BTreeMap;

use camino::Utf8Path;
use plugin_api::Tier;
use plugin_kit::formats::{self, FormatError, ImageFormat};
use plugin_kit::sparse::{Control, StreamError};

use super::request::check_name;
use crate::failures::{Exit, Failure};
use crate::images::{ImageRecord, NewImage, Store, StoreError, TemplateRecord, Temporary};
use crate::template::LoadedTemplate;

const MEDIA_TYPE: &str = "application/x-raw-disk-image";

/// Where the disk is.
#[derive(Debug)]
pub enum Disk<'d> {
    /// A file that stays as it is.
    File(&'d Utf8Path),
    /// A file that was received, and what its sender calls it.
    Received(Temporary, &'d str),
}

/// What is known of a disk.
#[derive(Debug)]
pub struct Import {
    /// What describes it.
    pub template: LoadedTemplate,
    /// Name of the image; the template's when missing.
    pub name: Option<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Most bytes that a guest may see: a small file can describe petabytes of zeros.
    pub max_bytes: u64,
}

/// Why a disk is not taken in. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The name is none.
    #[error("`name` {0}")]
    Name(&'static str),
    /// It is no disk, or one that is not read here.
    #[error("`{disk}` cannot be taken in as a disk")]
    Disk {
        /// What its owner calls it.
        disk: String,
        /// What is wrong with it.
        fault: String,
    },
    /// It is larger than what is taken in.
    #[error("`{disk}` is a disk of {size_bytes} bytes, and {max_bytes} are the most")]
    TooLarge {
        /// What its owner calls it.
        disk: String,
        /// Bytes that a guest sees.
        size_bytes: u64,
        /// What is allowed.
        max_bytes: u64,
    },
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<&ImportError> for Failure {
    fn from(error: &ImportError) -> Self {
        let failure = Self::from_error(Exit::InvalidInput, error);
        match error {
            ImportError::Store(error) => error.into(),
            ImportError::Disk { fault, .. } => {
                failure.because(fault).hint("give a raw or qcow2 disk without a backing file")
            },
            ImportError::Name(_) | ImportError::TooLarge { .. } => failure,
        }
    }
}

/// Takes a disk in as a base image.
///
/// # Errors
/// [`ImportError`]; there is no record then.
pub fn import(
    store: &Store,
    disk: Disk<'_>,
    import: Import,
    control: &Control<'_>,
) -> Result<ImageRecord, ImportError> {
    if let Some(name) = &import.name {
        check_name(name).map_err(ImportError::Name)?;
    }
    let raw = to_raw(store, disk, import.max_bytes, control)?;
    let LoadedTemplate { template, source, .. } = import.template;
    let name = import.name.unwrap_or_else(|| template.name.clone());
    let mut image = NewImage::new(Tier::Base, name);
    image.labels = import.labels;
    let canonical = serde_json::to_value(&template).unwrap_or_default();
    image.template = Some(TemplateRecord { source, canonical });
    Ok(store.import(&raw, image, MEDIA_TYPE, control)?)
}

/// A file of the store that holds the disk as a guest sees it.
fn to_raw(
    store: &Store,
    disk: Disk<'_>,
    max_bytes: u64,
    control: &Control<'_>,
) -> Result<Temporary, ImportError> {
    let (path, called) = match &disk {
        Disk::File(path) => (*path, path.as_str()),
        Disk::Received(file, name) => (file.path(), *name),
    };
    let refused = |error: FormatError| match error {
        FormatError::Stream(error @ (StreamError::Write { .. } | StreamError::Cancelled)) => {
            StoreError::from(error).within(store.data_dir()).into()
        },
        error => {
            let fault = error.to_string().replace(path.as_str(), called);
            ImportError::Disk { disk: called.to_owned(), fault }
        },
    };
    let (format, content) = formats::open(path).map_err(refused)?;
    let size_bytes = content.size_bytes();
    if size_bytes > max_bytes {
        return Err(ImportError::TooLarge { disk: called.to_owned(), size_bytes, max_bytes });
    }
    match disk {
        Disk::Received(file, _) if format == ImageFormat::Raw => Ok(file),
        Disk::File(path) if format == ImageFormat::Raw => Ok(store.copy_in(path, control)?),
        Disk::File(_) | Disk::Received(..) => {
            let raw = store.temporary()?;
            formats::raw::write(content.as_ref(), raw.path(), control).map_err(refused)?;
            Ok(raw)
        },
    }
}
