//! What is noted of every request: an identifier, a line in the log, and its share in the figures.
//!
//! A client may bring an identifier, `X-Request-Id`, and gets it back, or else a new one. The log holds the
//! path, never the query or a header: they may be secret.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::Daemon;
use super::access::Caller;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest identifier that is taken from a client, in bytes.
const MAX_ID_BYTES: usize = 128;

/// The identifier of a request: an extension of it.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// Passes a request on, and notes what became of it.
pub(super) async fn note(
    State(daemon): State<Arc<Daemon>>,
    mut request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let id = identifier(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = method(request.method());
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    let mut response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), start.elapsed());
    daemon.requests.answered(method, &route, status, took.as_secs_f64());
    let user = response.extensions().get::<Caller>().map(|caller| caller.user.clone());
    let milliseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) / 1000;
    tracing::info!(
        target: "imageforge::access",
        request_id = id,
        user,
        method,
        path,
        status,
        milliseconds,
        "answered"
    );
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The client's own identifier, if it is a harmless word.
fn identifier(request: &Request) -> String {
    let is_harmless = |id: &&str| {
        let of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        !id.is_empty() && id.len() <= MAX_ID_BYTES && id.chars().all(of_word)
    };
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    given.filter(is_harmless).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// The method, if it is one of those that everybody knows: a client may make up others.
pub(super) fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
