//! What the address of a request says: where it was sent, and the images that it names.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use plugin_api::Tier;

use super::PREFIX;
use super::documents::collection;
use crate::daemon::Daemon;
use crate::daemon::problem::Problem;
use crate::factory::Surroundings;
use crate::failures::Exit;
use crate::images::{ImageId, ImageRecord, Store, StoreError};

/// The address of a request.
#[derive(Debug)]
pub(super) struct Place {
    /// Scheme, host and port by which the client reached us.
    origin: String,
    /// The path as the client wrote it.
    path: String,
    /// Tier and identifier of each image in the path, from the outside in.
    images: Vec<(Tier, String)>,
}

impl FromRequestParts<Arc<Daemon>> for Place {
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut Parts,
        daemon: &Arc<Daemon>,
    ) -> Result<Self, Self::Rejection> {
        let Path(names) = Path::<Vec<(String, String)>>::from_request_parts(parts, daemon).await?;
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or(parts.uri.authority().map(Authority::as_str));
        let listen = || daemon.site.settings().serve.listen.to_string();
        let host = host.map_or_else(listen, str::to_owned);
        // A proxy in front may have taken the encryption away, and says so.
        let forwarded = parts.headers.get("x-forwarded-proto");
        let is_tls = daemon.tls.is_some() || forwarded.is_some_and(|scheme| scheme == "https");
        let scheme = if is_tls { "https" } else { "http" };
        let images = names.into_iter().filter_map(|(name, id)| {
            let tier = [Tier::Base, Tier::Target, Tier::Provider];
            Some((tier.into_iter().find(|tier| tier.to_string() == name)?, id))
        });
        Ok(Self {
            origin: format!("{scheme}://{host}"),
            // The router has taken its own part away.
            path: format!("{PREFIX}{}", parts.uri.path().trim_end_matches('/')),
            images: images.collect(),
        })
    }
}

impl Place {
    /// The address itself.
    pub(super) fn href(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// The address of something below this one.
    pub(super) fn below(&self, id: impl std::fmt::Display) -> String {
        format!("{}/{id}", self.href())
    }

    /// The shortest address of an image.
    pub(super) fn of_image(&self, tier: Tier, id: ImageId) -> String {
        format!("{}{PREFIX}/{}/{id}", self.origin, collection(tier))
    }

    /// The innermost image of the path, if it names one.
    ///
    /// # Errors
    /// Not found: one of them is not there, of another tier, or not made from the one before it.
    pub(super) fn image(&self, store: &Store) -> Result<Option<ImageRecord>, Problem> {
        let mut outer: Option<ImageRecord> = None;
        for (tier, id) in &self.images {
            let image = find(store, *tier, id)?;
            if outer.is_some_and(|outer| parent_of(&image) != Some(outer.id)) {
                return Err(no_image(*tier, id));
            }
            outer = Some(image);
        }
        Ok(outer)
    }

    /// As [`Place::image`], for a path that ends in one.
    ///
    /// # Errors
    /// As there.
    pub(super) fn last_image(&self, store: &Store) -> Result<ImageRecord, Problem> {
        let missing = || Problem::new(Exit::NotFound, format!("there is no `{}` here", self.path));
        self.image(store)?.ok_or_else(missing)
    }
}

/// The image `id` of `tier`.
///
/// # Errors
/// Not found.
pub(super) fn find(store: &Store, tier: Tier, id: &str) -> Result<ImageRecord, Problem> {
    let known: ImageId = id.parse().map_err(|_| no_image(tier, id))?;
    match store.get(known) {
        Ok(record) if record.tier == tier => Ok(record),
        Ok(_) | Err(StoreError::NotFound { .. }) => Err(no_image(tier, id)),
        Err(error) => Err(error.into()),
    }
}

/// What an image was made from.
fn parent_of(image: &ImageRecord) -> Option<ImageId> {
    match image.tier {
        Tier::Base => None,
        Tier::Target => image.base_image_id,
        Tier::Provider => image.target_image_id,
    }
}

fn no_image(tier: Tier, id: &str) -> Problem {
    Problem::new(Exit::NotFound, format!("there is no {tier} image `{id}` here"))
}
