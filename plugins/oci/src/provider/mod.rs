//! Where images go.
//!
//! `parse` reads what a user wrote. `layout` and `saved` are on this machine, `registry` is not; each pushes
//! a [`Bundle`], answers how the image is known there, and deletes by that.

mod files;
mod layout;
mod parse;
mod registry;
mod remote;
mod saved;

use std::sync::{Arc, Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::{Builder, DelegateError, ProviderIdentity};
use registry::{Address, OpenUpload};

use crate::bundle::{Bundle, Types};
use crate::documents::hex_of;
use crate::settings::Settings;

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// A repository of a registry.
    Registry(Box<Address>),
    /// A folder with an OCI image layout, made when it is missing.
    Layout { path: Utf8PathBuf, tag: Option<String> },
    /// A file as `docker save` writes it, replaced when it is there.
    Saved { path: Utf8PathBuf },
}

/// The upload that a push has open, for whoever has to end it.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<Option<Arc<OpenUpload>>>);

impl UnderWay {
    fn set(&self, upload: Option<Arc<OpenUpload>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = upload;
    }

    fn get(&self) -> Option<Arc<OpenUpload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Provider {
    /// That of a request.
    ///
    /// # Errors
    /// `InvalidInput`: it cannot be read, or is not for whoever asks.
    pub(crate) fn of(builder: &Builder) -> Result<Self, DelegateError> {
        let provider = Self::parse(builder.provider())?;
        provider.check_remote(builder)?;
        Ok(provider)
    }

    /// Whether the credentials can be read, and what they name may be used.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_credentials(&self, builder: &Builder) -> Result<(), DelegateError> {
        match self {
            Self::Registry(address) => registry::check_credentials(builder, address),
            Self::Layout { .. } | Self::Saved { .. } => Ok(()),
        }
    }

    /// Whether images can go there.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, builder: &Builder) -> Result<(), DelegateError> {
        match self {
            Self::Registry(address) => registry::check(builder, address),
            Self::Layout { path, .. } => layout::check(path),
            Self::Saved { path } => saved::check(path),
        }
    }

    /// Delivers the target image.
    ///
    /// # Errors
    /// Nothing half-delivered is left then.
    pub(crate) fn push(
        &self,
        builder: &Builder,
        under_way: &UnderWay,
    ) -> Result<ProviderIdentity, DelegateError> {
        let settings = Settings::read(builder)?;
        let types = match self {
            Self::Registry(_) => Types::Docker,
            Self::Layout { .. } | Self::Saved { .. } => Types::Oci,
        };
        let bundle = Bundle::open(builder, &settings, types)?;
        match self {
            Self::Registry(address) => {
                registry::push(builder, address, &settings, &bundle, under_way)
            },
            Self::Layout { path, tag } => {
                let tag = tag.as_ref().unwrap_or(&settings.tag);
                layout::push(builder, path, tag, &bundle).map(ProviderIdentity::new)
            },
            Self::Saved { path } => {
                saved::push(builder, path, &settings, &bundle).map(ProviderIdentity::new)
            },
        }
    }

    /// Takes the image away that `builder.identifier_on_provider()` names.
    ///
    /// # Errors
    /// It is still there.
    pub(crate) fn delete(&self, builder: &Builder) -> Result<(), DelegateError> {
        match self {
            Self::Registry(address) => registry::delete(builder, address),
            Self::Layout { path, .. } => layout::delete(builder, path),
            Self::Saved { path } => saved::delete(builder, path),
        }
    }

    /// Takes back what an interrupted push left.
    pub(crate) fn clean_up(&self, builder: &Builder, under_way: &UnderWay) {
        match self {
            Self::Registry(address) => registry::abort(builder, address, under_way),
            Self::Layout { path, .. } => {
                for folder in [&layout::blobs(path), path] {
                    files::remove_partial(folder, builder.id());
                }
            },
            Self::Saved { path } => files::remove_partial(folder_of(path), builder.id()),
        }
    }
}

/// What helps whoever has an image deleted from another place than where it is.
const ITS_OWN: &str = "name the provider that it was delivered to";

fn folder_of(path: &Utf8Path) -> &Utf8Path {
    path.parent().unwrap_or(path)
}

/// The digest in `identifier`, when it is one of the place `place`.
fn digest_on<'a>(identifier: &'a str, place: &str) -> Result<&'a str, DelegateError> {
    identifier
        .strip_prefix(place)
        .and_then(|rest| rest.strip_prefix('@'))
        .filter(|digest| !hex_of(digest).is_empty())
        .ok_or_else(|| {
            DelegateError::invalid_input(format!("`{identifier}` is no image of `{place}`"))
                .hint(ITS_OWN)
        })
}
