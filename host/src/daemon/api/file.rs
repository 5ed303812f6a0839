//! Files as answers: whole, or a range.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use camino::Utf8PathBuf;
use tower_http::services::ServeFile;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, RefOr, Response as ResponseDocument, ResponseBuilder, Type,
};

use crate::daemon::problem::Problem;
use crate::failures::{Exit, Failure};

/// What `Range` means.
pub(in crate::daemon) const RANGE: &str = "Which bytes of it: `bytes=FIRST-LAST`.";

/// A file, whole or in a range; its digest is its entity tag.
pub(super) async fn serve(
    path: Utf8PathBuf,
    media_type: &str,
    name: &str,
    sha256: Option<&str>,
    mut request: Request,
) -> Result<Response, Problem> {
    let range = request.headers().get(header::RANGE).map(HeaderValue::as_bytes);
    if range.is_some_and(|range| !range.starts_with(b"bytes=")) {
        // RFC 9110, 14.2: a unit that a server does not know counts as not there.
        request.headers_mut().remove(header::RANGE);
    }
    let failed = |error: std::io::Error| Problem::from(Failure::from_error(Exit::Internal, &error));
    let served = ServeFile::new(path).try_call(request).await.map_err(failed)?;
    let status = served.status();
    if status.is_client_error() {
        let message = match status {
            StatusCode::RANGE_NOT_SATISFIABLE => "there is no such range",
            _ => "the file is not as the request wants it",
        };
        let mut response =
            Problem::new(Exit::InvalidInput, message).with_status(status).into_response();
        if let Some(range) = served.headers().get(header::CONTENT_RANGE) {
            response.headers_mut().insert(header::CONTENT_RANGE, range.clone());
        }
        return Ok(response);
    }
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

/// The answers of [`serve`], for the document.
pub(in crate::daemon) enum File {}

impl utoipa::IntoResponses for File {
    fn responses() -> BTreeMap<String, RefOr<ResponseDocument>> {
        let header = |meaning: &str| {
            let text = ObjectBuilder::new().schema_type(Type::String);
            HeaderBuilder::new().schema(Some(text)).description(Some(meaning)).build()
        };
        let answer = |meaning: &str| {
            ResponseBuilder::new()
                .description(meaning)
                .header("ETag", header("Its SHA-256 in hex, in quotes."))
                .header("Content-Disposition", header("Its name."))
        };
        // Of any media type: that of the file.
        let body = || ContentBuilder::new().build();
        let whole = answer("All of it.").content("*/*", body());
        let part = answer("A range of it.").content("*/*", body());
        let part = part.header("Content-Range", header("Which bytes, and of how many."));
        let unchanged = ResponseBuilder::new().description("It has not changed since then.");
        let all = [
            ("200", whole.build()),
            ("206", part.build()),
            ("304", unchanged.build()),
            ("412", ResponseDocument::default()),
            ("416", ResponseDocument::default()),
        ];
        all.map(|(status, response)| (status.to_owned(), RefOr::T(response))).into()
    }
}
