//! `/v1/images`: records, logs, bodies; cancel and delete.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use camino::Utf8PathBuf;
use plugin_api::Tier;
use serde::Deserialize;
use serde_json::{Value, json};
use tower_http::services::ServeFile;

use super::{App, blocking};
use crate::daemon::Daemon;
use crate::daemon::access::Subjects;
use crate::daemon::deletion::{self, ProviderAccess};
use crate::daemon::problem::Problem;
use crate::failures::{Exit, Failure};
use crate::images::{DeleteMode, Filter, ImageRecord, Status};

/// Most images that one answer holds.
const MAX_PAGE: u32 = 1000;
/// Images that one answer holds when nobody says otherwise.
const PAGE: u32 = 100;

/// Which images are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    tier: Option<Tier>,
    status: Option<String>,
    target: Option<String>,
    name: Option<String>,
    /// `KEY=VALUE`, several separated by commas.
    labels: Option<String>,
    limit: Option<u32>,
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

/// `GET /v1/images`: newest first.
pub(super) async fn list(
    State(daemon): App,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = wanted?;
    let filter = wanted.filter()?;
    blocking(move || {
        let images: Vec<ImageRecord> =
            daemon.reader.list(&filter)?.into_iter().map(public).collect();
        Ok(Json(json!({ "images": images, "offset": filter.offset })))
    })
    .await
}

/// `GET /v1/images/{id}`
pub(super) async fn show(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ImageRecord>, Problem> {
    let Path(id) = id?;
    blocking(move || Ok(Json(public(daemon.reader.find(&id)?)))).await
}

/// `POST /v1/images/{id}/cancel`: 202; the image becomes `CANCELLED` soon.
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
#[derive(Debug, Default, Deserialize)]
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

/// `DELETE /v1/images/{id}`: 204, when it is gone or its provider is being asked; 200 with the images, in
/// order, that would be deleted.
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
            return Ok(Json(json!({ "images": images })).into_response());
        }
        deletion::delete(&daemon, record.id, mode, access)?;
        Ok((StatusCode::NO_CONTENT, Extension(Subjects::of(record.id))).into_response())
    })
    .await
}

/// `GET /v1/images/{id}/log`: the build log as text.
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

/// `GET /v1/images/{id}/body`: the image itself, or ranges of it.
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
    file(path, &media_type, &format!("{}.body", record.id), record.sha256.as_deref(), request).await
}

/// `GET /v1/images/{id}/artifacts/{name}`: a file beside the body.
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
    file(path, &artifact.media_type, &name, Some(&artifact.sha256), request).await
}

async fn find(daemon: &Arc<Daemon>, id: String) -> Result<ImageRecord, Problem> {
    let reader = Arc::clone(&daemon.reader);
    blocking(move || Ok(reader.find(&id)?)).await
}

/// A file, whole or in ranges; its digest is its entity tag.
async fn file(
    path: Utf8PathBuf,
    media_type: &str,
    name: &str,
    sha256: Option<&str>,
    request: Request,
) -> Result<Response, Problem> {
    let failed = |error: std::io::Error| Problem::from(Failure::from_error(Exit::Internal, &error));
    let served = ServeFile::new(path).try_call(request).await.map_err(failed)?;
    let mut response = served.map(Body::new);
    let headers = response.headers_mut();
    let mut set = |name, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, media_type.to_owned());
    set(header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""));
    if let Some(sha256) = sha256 {
        set(header::ETAG, format!("\"{sha256}\""));
    }
    Ok(response)
}

/// A record without the paths of this machine.
pub(super) fn public(mut record: ImageRecord) -> ImageRecord {
    record.path = None;
    for artifact in &mut record.artifacts {
        artifact.path = None;
    }
    record
}
