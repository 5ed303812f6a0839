//! Server-sent events: what happens to images, as it happens.
//!
//! The identifier of an event is its sequence number. A client that comes back with `Last-Event-ID` goes
//! on where it was; one that names `after` starts there; anybody else starts with what comes next.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use utoipa::ToSchema;

use super::images::IMAGE;
use super::{App, blocking};
use crate::daemon::feed::Listener;
use crate::daemon::problem::Problem;
use crate::failures::{Exit, Failure};
use crate::images::ImageId;

/// Time after which a silent stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events are gathered up to about so much, in bytes, before they are sent.
const CHUNK_BYTES: usize = 32 << 10;

const LAST_EVENT_ID: &str = "The last event that the client has; counts more than `after`.";
const STREAM: &str =
    "Server-sent events: `id` is the sequence number, `event` the kind, `data` an event.";

/// From where, and how long.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// Start after this sequence number; 0 is the beginning.
    after: Option<u64>,
    /// End the stream when the image has reached its end.
    #[serde(default)]
    until_end: bool,
    /// Wait for what comes; otherwise the stream ends with what is there.
    follow: Option<bool>,
}

/// Of which images, and from where.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    /// Start after this sequence number; 0 is the beginning.
    after: Option<u64>,
    /// Identifiers, separated by commas; all images when missing.
    #[param(
        pattern = "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(,[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})*$"
    )]
    images: Option<String>,
    /// Wait for what comes; otherwise the stream ends with what is there.
    follow: Option<bool>,
}

/// An event on its way.
#[derive(ToSchema)]
#[expect(dead_code, reason = "axum writes them")]
struct ServerSentEvent {
    /// Its sequence number; missing for what is not kept.
    id: Option<String>,
    /// Its kind.
    event: String,
    /// `Event` as JSON; for the kind `plugin`, the plugin and what became of it.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// Everything that happens, as it happens.
#[utoipa::path(
    get,
    path = "/events",
    operation_id = "events",
    tag = "events",
    params(Chosen, ("Last-Event-ID" = Option<u64>, Header, description = LAST_EVENT_ID)),
    responses((
        status = 200, description = STREAM, body = ServerSentEvent, content_type = "text/event-stream",
    )),
)]
pub(super) async fn of_all(
    State(daemon): App,
    headers: HeaderMap,
    chosen: Result<Query<Chosen>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(chosen) = chosen?;
    let after = last_event_id(&headers)?.or(chosen.after).unwrap_or_else(|| daemon.feed.position());
    let images = chosen.images.iter().flat_map(|images| images.split(','));
    let images = images
        .map(str::parse)
        .collect::<Result<Vec<ImageId>, _>>()
        .map_err(|error| Failure::from_error(Exit::Usage, &error))?;
    let mut listener = daemon.feed.listen(images, after);
    if chosen.follow == Some(false) {
        listener.stop_following();
    }
    Ok(told(listener, false))
}

/// What happens to an image, from the beginning unless the client says otherwise.
#[utoipa::path(
    get,
    path = "/images/{id}/events",
    operation_id = "image_events",
    tag = "events",
    params(
        ("id" = String, Path, description = IMAGE), Range,
        ("Last-Event-ID" = Option<u64>, Header, description = LAST_EVENT_ID),
    ),
    responses((
        status = 200, description = STREAM, body = ServerSentEvent, content_type = "text/event-stream",
    )),
)]
pub(super) async fn of_image(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Response, Problem> {
    let (Path(id), Query(range)) = (id?, range?);
    let reader = Arc::clone(&daemon.reader);
    let image = blocking(move || Ok(reader.find(&id)?)).await?;
    let after = last_event_id(&headers)?.or(range.after).unwrap_or(0);
    let mut listener = daemon.feed.listen(vec![image.id], after);
    // A client that comes back may have heard of the end already.
    let has_ended = range.until_end && image.status.is_terminal();
    if has_ended || range.follow == Some(false) {
        listener.stop_following();
    }
    Ok(told(listener, range.until_end))
}

/// Who names an event that cannot be would miss others without knowing.
fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let number = id.to_str().ok().and_then(|id| id.parse().ok());
    let wrong = || Problem::new(Exit::Usage, "`Last-Event-ID` is no sequence number");
    number.map(Some).ok_or_else(wrong)
}

/// A stream of what `listener` hears. What is there at once is sent at once.
fn told(listener: Listener, until_end: bool) -> Response {
    let chunks = stream::unfold(Some(listener), move |listener| async move {
        let mut listener = listener?;
        let chunk = next_chunk(&mut listener, until_end).await?;
        Some((Ok::<_, Infallible>(chunk), Some(listener)))
    });
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(chunks)).into_response()
}

/// What is to be sent next; `None` when there is nothing more.
async fn next_chunk(listener: &mut Listener, until_end: bool) -> Option<String> {
    let told = match tokio::time::timeout(KEEP_ALIVE, listener.next()).await {
        // A comment.
        Err(_) => return Some(":\n\n".to_owned()),
        Ok(Ok(told)) => told?,
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "a stream of events ends");
            return None;
        },
    };
    let mut chunk = String::new();
    let mut next = Some(told);
    while let Some(told) = next {
        chunk.push_str(&told.frame);
        if until_end && told.ends {
            // Something may have been added since.
            listener.stop_following();
        }
        next = if chunk.len() < CHUNK_BYTES { listener.at_once() } else { None };
    }
    Some(chunk)
}
