//! `/v1/images`: records, logs, bodies; cancel and delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use plugin_api::Tier;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::file::{self, File, RANGE};
use super::{App, blocking};
use crate::daemon::Daemon;
use crate::daemon::access::Subjects;
use crate::daemon::deletion::{self, ProviderAccess};
use crate::daemon::problem::Problem;
use crate::failures::{Exit, Failure};
use crate::images::{DeleteMode, Filter, ImageRecord, Status};
use crate::schemas;

/// What an image is named by.
pub(super) const IMAGE: &str = "Its identifier, the beginning of it, or a name.";
const AMBIGUOUS: &str = "The text is the beginning of several.";

/// Most images that one answer holds.
const MAX_PAGE: u32 = 1000;
/// Images that one answer holds when nobody says otherwise.
const PAGE: u32 = 100;

/// Which images are wanted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[param(schema_with = schemas::tier)]
    tier: Option<Tier>,
    /// States, separated by commas.
    #[param(pattern = "^[A-Za-z]+(,[A-Za-z]+)*$")]
    status: Option<String>,
    target: Option<String>,
    name: Option<String>,
    /// `KEY=VALUE`, several separated by commas.
    #[param(pattern = "^[^,=]*=[^,]*(,[^,=]*=[^,]*)*$")]
    labels: Option<String>,
    /// At most so many, and never more than 1000.
    limit: Option<u32>,
    /// Without so many of the newest.
    #[serde(default)]
    offset: u32,
}

impl Wanted {
    fn filter(self) -> Result<Filter, Failure> {
        let mut filter = Filter {
            tier: self.tier,
            target: self.target,
            name: self.name,
            limit: Some(self.limit.unwrap_or(PAGE).min(MAX_PAGE)),
            offset: self.offset,
            ..Filter::default()
        };
        for status in self.status.iter().flat_map(|status| status.split(',')) {
            let status: Status =
                status.parse().map_err(|error| Failure::from_error(Exit::Usage, &error))?;
            filter.status.push(status);
        }
        for label in self.labels.iter().flat_map(|labels| labels.split(',')) {
            let Some((key, value)) = label.split_once('=') else {
                return Err(Failure::new(Exit::Usage, format!("label `{label}` is no pair"))
                    .hint("write `labels=KEY=VALUE`"));
            };
            filter.labels.insert(key.to_owned(), value.to_owned());
        }
        Ok(filter)
    }
}

/// A page of images.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Images {
    images: Vec<ImageRecord>,
    offset: u32,
}

/// Images, the newest first.
#[utoipa::path(
    get,
    path = "/images",
    operation_id = "list_images",
    tag = "images",
    params(Wanted),
    responses((status = 200, description = "The images.", body = Images)),
)]
pub(super) async fn list(
    State(daemon): App,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Images>, Problem> {
    let Query(wanted) = wanted?;
    let filter = wanted.filter()?;
    blocking(move || {
        let images = daemon.reader.list(&filter)?.into_iter().map(public).collect();
        Ok(Json(Images { images, offset: filter.offset }))
    })
    .await
}

/// An image.
#[utoipa::path(
    get,
    path = "/images/{id}",
    operation_id = "show_image",
    tag = "images",
    params(("id" = String, Path, description = IMAGE)),
    responses(
        (status = 200, description = "Its record.", body = ImageRecord),
        (status = 409, description = AMBIGUOUS),
    ),
)]
pub(super) async fn show(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ImageRecord>, Problem> {
    let Path(id) = id?;
    blocking(move || Ok(Json(public(daemon.reader.find(&id)?)))).await
}

/// Cancels the build of an image, which becomes `CANCELLED` soon.
#[utoipa::path(
    post,
    path = "/images/{id}/cancel",
    operation_id = "cancel_image",
    tag = "images",
    params(("id" = String, Path, description = IMAGE)),
    responses(
        (status = 202, description = "It is asked to stop.", body = ImageRecord),
        (status = 409, description = "It is not being built. Or: the text is the beginning of several."),
    ),
)]
pub(super) async fn cancel(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
) -> Result<(StatusCode, Extension<Subjects>, Json<ImageRecord>), Problem> {
    let Path(id) = id?;
    blocking(move || {
        let record = daemon.store.find(&id)?;
        daemon.store.request_cancel(record.id)?;
        let subjects = Extension(Subjects::of(record.id));
        Ok((StatusCode::ACCEPTED, subjects, Json(public(daemon.store.get(record.id)?))))
    })
    .await
}

/// How an image is deleted.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    /// Also images that were made from it.
    #[serde(default)]
    cascade: bool,
    /// Also when others were made from it.
    #[serde(default)]
    force: bool,
    /// Answer what would be deleted, and delete nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Images that would be deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Doomed {
    images: Vec<ImageRecord>,
}

/// Deletes an image. A provider image is `DELETING` until its provider has answered.
#[utoipa::path(
    delete,
    path = "/images/{id}",
    operation_id = "delete_image",
    tag = "images",
    params(("id" = String, Path, description = IMAGE), Deletion),
    request_body(content = Option<ProviderAccess>, description = "For provider images."),
    responses(
        (status = 200, description = "What a dry run would delete, in order.", body = Doomed),
        (status = 204, description = "It is gone, or its provider is being asked."),
        (status = 409, description = "Others were made from it, or it is being built."),
        (status = 422, description = "Its plugin cannot be used."),
        (status = 503, description = "The daemon is stopping."),
    ),
)]
pub(super) async fn delete(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
    how: Result<Query<Deletion>, QueryRejection>,
    access: Result<Option<Json<ProviderAccess>>, JsonRejection>,
) -> Result<Response, Problem> {
    let (Path(id), Query(how)) = (id?, how?);
    let access = access?.map(|Json(access)| access).unwrap_or_default();
    let mode = match (how.cascade, how.force) {
        (true, true) => {
            return Err(Problem::new(Exit::Usage, "`cascade` and `force` exclude each other"));
        },
        (true, false) => DeleteMode::Cascade,
        (false, true) => DeleteMode::Force,
        (false, false) => DeleteMode::Refuse,
    };
    blocking(move || {
        let record = daemon.store.find(&id)?;
        if how.dry_run {
            let order = daemon.store.deletion_order(record.id, mode)?;
            let images: Vec<ImageRecord> = order.into_iter().map(public).collect();
            return Ok(Json(Doomed { images }).into_response());
        }
        deletion::delete(&daemon, record.id, mode, access)?;
        Ok((StatusCode::NO_CONTENT, Extension(Subjects::of(record.id))).into_response())
    })
    .await
}

/// The build log of an image, for people.
#[utoipa::path(
    get,
    path = "/images/{id}/log",
    operation_id = "image_log",
    tag = "images",
    params(("id" = String, Path, description = IMAGE)),
    responses(
        (status = 200, description = "The log so far.", body = String, content_type = "text/plain"),
        (status = 409, description = AMBIGUOUS),
    ),
)]
pub(super) async fn log(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let text = blocking(move || {
        let id = daemon.reader.find(&id)?.id;
        let (mut text, mut after) = (String::new(), 0);
        loop {
            let events = daemon.reader.events_since(&[id], after, usize::MAX)?;
            let Some(last) = events.last() else { return Ok(text) };
            after = last.sequence;
            for event in &events {
                text.push_str(&event.to_string());
                text.push('\n');
            }
        }
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// The body of an image, or a range of it.
#[utoipa::path(
    get,
    path = "/images/{id}/body",
    operation_id = "image_body",
    tag = "images",
    params(("id" = String, Path, description = IMAGE),
        ("Range" = Option<String>, Header, description = RANGE)),
    responses(
        File,
        (status = 409, description = "It has no body."),
    ),
)]
pub(super) async fn body(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    image_body(find(&daemon, id).await?, request).await
}

/// The body of an image, whole or in ranges.
pub(in crate::daemon) async fn image_body(
    record: ImageRecord,
    request: Request,
) -> Result<Response, Problem> {
    let Some(path) = record.path else {
        let message = format!("image `{}` is {} and has no body", record.id, record.status);
        return Err(Problem::new(Exit::Conflict, message));
    };
    let media_type = record.media_type.unwrap_or_default();
    file::serve(
        path,
        &media_type,
        &format!("{}.body", record.id),
        record.sha256.as_deref(),
        request,
    )
    .await
}

/// A file beside the body of an image, or a range of it.
#[utoipa::path(
    get,
    path = "/images/{id}/artifacts/{name}",
    operation_id = "image_artifact",
    tag = "images",
    params(
        ("id" = String, Path, description = IMAGE),
        ("name" = String, Path, description = "The name of the artifact."),
        ("Range" = Option<String>, Header, description = RANGE),
    ),
    responses(File, (status = 409, description = AMBIGUOUS)),
)]
pub(super) async fn artifact(
    State(daemon): App,
    names: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path((id, name)) = names?;
    let record = find(&daemon, id).await?;
    let artifact = record.artifact(&name).cloned();
    let Some((artifact, path)) =
        artifact.as_ref().and_then(|artifact| Some((artifact, artifact.path.clone()?)))
    else {
        let message = format!("image `{}` has no artifact `{name}`", record.id);
        return Err(Problem::new(Exit::NotFound, message));
    };
    file::serve(path, &artifact.media_type, &name, Some(&artifact.sha256), request).await
}

async fn find(daemon: &Arc<Daemon>, id: String) -> Result<ImageRecord, Problem> {
    let reader = Arc::clone(&daemon.reader);
    blocking(move || Ok(reader.find(&id)?)).await
}

/// A record without the paths of this machine.
pub(super) fn public(mut record: ImageRecord) -> ImageRecord {
    record.path = None;
    for artifact in &mut record.artifacts {
        artifact.path = None;
    }
    record
}
