//! Where images go: what a user may write as provider.
//!
//! `layout` and `saved` are on this machine, `registry` is not. Each pushes a [`Bundle`], answers how the
//! image is known there, and deletes by that.

mod files;
mod layout;
mod saved;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::{Builder, DelegateError, ProviderIdentity};
use serde::Deserialize;

use crate::bundle::{Bundle, Types};
use crate::settings::{Settings, check_tag};

/// One place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    /// A folder with an OCI image layout, made when it is missing.
    Layout { path: Utf8PathBuf, tag: Option<String> },
    /// A file as `docker save` writes it, replaced when it is there.
    Saved { path: Utf8PathBuf },
}

/// The same, as an object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    layout: Option<Utf8PathBuf>,
    docker_archive: Option<Utf8PathBuf>,
    tag: Option<String>,
}

const FORMS: &str = "write `registry.example/team/name[:tag]`, `oci:/folder[:tag]`, `docker-archive:/file.tar`, or an object with `registry`, `layout` or `docker_archive`";

impl Provider {
    /// Reads one of the forms.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn parse(text: &str) -> Result<Self, DelegateError> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::of_object(text);
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
                _ => (rest, None),
            };
            return Self::layout(path.into(), tag);
        }
        if let Some(path) = text.strip_prefix("docker-archive:") {
            return Ok(Self::Saved { path: absolute(path.into())? });
        }
        Err(DelegateError::invalid_input(format!("provider `{text}` is no place for images"))
            .hint(FORMS))
    }

    fn of_object(text: &str) -> Result<Self, DelegateError> {
        let written: Written = serde_json::from_str(text).map_err(|error| {
            DelegateError::invalid_input("the provider cannot be read").caused_by(error).hint(FORMS)
        })?;
        match written {
            Written { layout: Some(path), docker_archive: None, tag } => Self::layout(path, tag),
            Written { layout: None, docker_archive: Some(path), tag: None } => {
                Ok(Self::Saved { path: absolute(path)? })
            },
            _ => {
                Err(DelegateError::invalid_input("the provider names no place, or several")
                    .hint(FORMS))
            },
        }
    }

    fn layout(path: Utf8PathBuf, tag: Option<String>) -> Result<Self, DelegateError> {
        tag.as_deref().map_or(Ok(()), check_tag)?;
        Ok(Self::Layout { path: absolute(path)?, tag })
    }

    /// Whether images can go there.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, _builder: &Builder) -> Result<(), DelegateError> {
        match self {
            Self::Layout { path, .. } => layout::check(path),
            Self::Saved { path } => files::check_writable(folder_of(path)),
        }
    }

    /// Delivers the target image.
    ///
    /// # Errors
    /// Nothing half-delivered is left then.
    pub(crate) fn push(&self, builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
        let settings = Settings::read(builder)?;
        let identifier = match self {
            Self::Layout { path, tag } => {
                let bundle = Bundle::open(builder, &settings, Types::Oci)?;
                let tag = tag.as_ref().unwrap_or(&settings.tag);
                layout::push(builder, path, tag, &bundle)?
            },
            Self::Saved { path } => {
                let bundle = Bundle::open(builder, &settings, Types::Oci)?;
                saved::push(builder, path, &settings, &bundle)?
            },
        };
        Ok(ProviderIdentity::new(identifier))
    }

    /// Takes the image away that `builder.identifier_on_provider()` names.
    ///
    /// # Errors
    /// It is still there.
    pub(crate) fn delete(&self, builder: &Builder) -> Result<(), DelegateError> {
        match self {
            Self::Layout { path, .. } => layout::delete(builder, path),
            Self::Saved { path } => saved::delete(builder, path),
        }
    }

    /// Takes back what an interrupted push left.
    pub(crate) fn clean_up(&self, builder: &Builder) {
        match self {
            Self::Layout { path, .. } => files::remove_partial(&layout::blobs(path), builder.id()),
            Self::Saved { path } => files::remove_partial(folder_of(path), builder.id()),
        }
    }
}

fn folder_of(path: &Utf8Path) -> &Utf8Path {
    path.parent().unwrap_or(path)
}

/// The build does not run where the user is.
fn absolute(path: Utf8PathBuf) -> Result<Utf8PathBuf, DelegateError> {
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(path);
    }
    Err(DelegateError::invalid_input(format!(
        "provider `{path}`: expected a path from the root on"
    )))
}

/// The digest in `identifier`, when it is one of the place `place`.
fn digest_on<'a>(identifier: &'a str, place: &str) -> Result<&'a str, DelegateError> {
    identifier
        .strip_prefix(place)
        .and_then(|rest| rest.strip_prefix('@'))
        .filter(|digest| !crate::documents::hex_of(digest).is_empty())
        .ok_or_else(|| {
            DelegateError::invalid_input(format!("`{identifier}` is no image of `{place}`"))
        })
}
