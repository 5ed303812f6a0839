//! The three collections: base, target and provider images.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use plugin_api::Tier;
use serde_json::Value;

use super::documents;
use super::fields::{Fields, Wrapper};
use super::place::{Place, find};
use crate::daemon::access::{Caller, Subjects};
use crate::daemon::api::{File, RANGE, blocking, image_body, planning};
use crate::daemon::deletion::{self, ProviderAccess};
use crate::daemon::problem::Problem;
use crate::daemon::{App, Daemon};
use crate::failures::Exit;
use crate::images::{DeleteMode, Filter};

/// A collection, the newest first.
#[utoipa::path(
    get,
    path = "/",
    responses((status = 200, description = "Where each image is.")),
)]
pub(super) async fn list(
    State(daemon): App,
    Extension(tier): Extension<Tier>,
    place: Place,
) -> Result<Json<Value>, Problem> {
    blocking(move || {
        let images = match place.image(&daemon.reader)? {
            Some(outer) => daemon.reader.dependents(outer.id)?,
            None => daemon.reader.list(&Filter { tier: Some(tier), ..Filter::default() })?,
        };
        Ok(Json(documents::list(tier, &images, |image| place.below(image.id))))
    })
    .await
}

/// Asks for an image. What it is made from is built as well if need be.
#[utoipa::path(
    post,
    path = "/",
    responses(
        (status = 202, description = "Accepted."),
        (status = 404, description = "The image that it is made from is not there."),
        (status = 409, description = "The image that it is made from cannot be used, or there is no room."),
        (status = 503, description = "A provider is unavailable or refuses the credentials, or the daemon is stopping."),
    ),
)]
pub(super) async fn create(
    State(daemon): App,
    Extension(tier): Extension<Tier>,
    caller: Caller,
    place: Place,
    request: Request,
) -> Result<(StatusCode, Extension<Subjects>, Json<Value>), Problem> {
    let fields = Fields::read(tier, Wrapper::Needed, request).await?;
    let accept = move |daemon: &Arc<_>| accept(daemon, &caller.user, tier, &place, &fields);
    let (subjects, document) = planning(daemon, accept).await.map_err(known)?;
    Ok((StatusCode::ACCEPTED, Extension(subjects), Json(document)))
}

fn accept(
    daemon: &Daemon,
    user: &str,
    tier: Tier,
    place: &Place,
    fields: &Fields,
) -> Result<(Subjects, Value), Problem> {
    let outer = place.image(&daemon.reader)?.map(|image| image.id.to_string());
    let mut request = fields.to_request(tier)?;
    // What the body says counts more than the path.
    let source = match tier {
        Tier::Base => None,
        Tier::Target => Some((&mut request.base_image, Tier::Base, "base_image_id")),
        Tier::Provider => Some((&mut request.target_image, Tier::Target, "target_image_id")),
    };
    if let Some((image, tier, name)) = source {
        if image.is_none() {
            *image = outer;
        }
        match image {
            Some(id) => drop(find(&daemon.reader, tier, id)?),
            None if request.template.is_none() => {
                let message = format!("the request lacks `template` or `{name}`");
                return Err(Problem::new(Exit::InvalidInput, message));
            },
            None => {},
        }
    }
    let submission = daemon.queue.submit(user, &request, None)?;
    for id in submission.images.iter().rev() {
        let image = daemon.store.get(*id)?;
        if image.tier == tier {
            let subjects = Subjects { job: submission.job, images: submission.images };
            return Ok((subjects, documents::accepted(&image, place)));
        }
    }
    Err(Problem::new(Exit::Internal, "a request was accepted without its image"))
}

/// Clients of ImageFactory know 400 for whatever is wrong with a request.
fn known(problem: Problem) -> Problem {
    if problem.status() == StatusCode::UNPROCESSABLE_ENTITY {
        return problem.with_status(StatusCode::BAD_REQUEST);
    }
    problem
}

/// An image.
#[utoipa::path(get, path = "/", responses((status = 200, description = "The image.")))]
pub(super) async fn show(State(daemon): App, place: Place) -> Result<Json<Value>, Problem> {
    blocking(move || {
        let image = place.last_image(&daemon.reader)?;
        Ok(Json(documents::image(&daemon.reader, &image, &place)?))
    })
    .await
}

/// The body of an image, or a range of it.
#[utoipa::path(
    get,
    path = "/",
    params(("Range" = Option<String>, Header, description = RANGE)),
    responses(File),
)]
pub(super) async fn raw_image(
    State(daemon): App,
    place: Place,
    request: Request,
) -> Result<Response, Problem> {
    let image = blocking(move || place.last_image(&daemon.reader)).await?;
    if image.path.is_none() {
        let message = format!("image `{}` is {} and has no body", image.id, image.status);
        return Err(Problem::new(Exit::NotFound, message));
    }
    image_body(image, request).await
}

/// Deletes an image. A provider image is gone when its provider has done its part.
#[utoipa::path(
    delete,
    path = "/",
    responses(
        (status = 204, description = "It is gone, or its provider is being asked."),
        (status = 409, description = "Others were made from it, or it is being built."),
        (status = 413), (status = 415),
        (status = 422, description = "Its plugin cannot be used."),
        (status = 503, description = "The daemon is stopping."),
    ),
)]
pub(super) async fn delete(
    State(daemon): App,
    Extension(tier): Extension<Tier>,
    place: Place,
    request: Request,
) -> Result<(StatusCode, Extension<Subjects>), Problem> {
    let fields = Fields::read(tier, Wrapper::Optional, request).await?;
    blocking(move || {
        let image = place.last_image(&daemon.store)?;
        let mut access = ProviderAccess::default();
        if tier == Tier::Provider {
            fields.need(&["provider", "credentials", "target"])?;
            if fields.text("target")? != image.target {
                let message = format!("`target` is not the one of image `{}`", image.id);
                return Err(Problem::new(Exit::InvalidInput, message));
            }
            access.provider = fields.text("provider")?;
            access.credentials = fields.text("credentials")?;
        }
        deletion::delete(&daemon, image.id, DeleteMode::Refuse, access)?;
        Ok((StatusCode::NO_CONTENT, Extension(Subjects::of(image.id))))
    })
    .await
}
