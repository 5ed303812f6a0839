//! `POST /v1/builds`: a request, planned and accepted.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::images::public;
use super::{App, blocking};
use crate::daemon::access::{Caller, Subjects};
use crate::daemon::problem::Problem;
use crate::factory::request::BuildRequest;
use crate::failures::Exit;
use crate::images::ImageId;

/// Longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// What else is asked of a build.
#[derive(Debug, Deserialize)]
pub(super) struct Options {
    /// Answer the plan, and build nothing.
    #[serde(default)]
    dry_run: bool,
}

/// `POST /v1/builds`: 202 with job and images, or 200 with the plan of a dry run.
pub(super) async fn create(
    State(daemon): App,
    caller: Caller,
    options: Result<Query<Options>, QueryRejection>,
    headers: HeaderMap,
    request: Result<Json<BuildRequest>, JsonRejection>,
) -> Result<Response, Problem> {
    let Query(options) = options?;
    let Json(request) = request?;
    let key = idempotency_key(&headers)?;
    blocking(move || {
        if options.dry_run {
            return Ok(Json(daemon.queue.plan(&request)?).into_response());
        }
        let submission = daemon.queue.submit(&caller.user, &request, key.as_deref())?;
        let images = submission
            .images
            .iter()
            .filter_map(|id| daemon.reader.get(*id).ok().map(public))
            .collect::<Vec<_>>();
        let made = match submission.job {
            Some(job) => daemon.reader.job(job)?.made,
            None => Vec::new(),
        };
        let reused: Vec<ImageId> =
            submission.images.iter().copied().filter(|id| !made.contains(id)).collect();
        let document = json!({ "job": submission.job, "images": images, "reused": reused });
        let mut response = (StatusCode::ACCEPTED, Json(document)).into_response();
        if let Some(job) = submission.job
            && let Ok(location) = format!("/v1/jobs/{job}").parse()
        {
            response.headers_mut().insert(header::LOCATION, location);
        }
        let subjects = Subjects { job: submission.job, images: submission.images };
        response.extensions_mut().insert(subjects);
        Ok(response)
    })
    .await
}

/// The header `Idempotency-Key`.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && key.len() <= MAX_KEY_BYTES => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            Exit::Usage,
            "`Idempotency-Key` must be 1 to 255 printable ASCII characters",
        )),
    }
}
