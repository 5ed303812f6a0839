//! `POST /v1/builds`: a request, planned and accepted.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::images::public;
use super::{App, planning};
use crate::daemon::access::{Caller, Subjects};
use crate::daemon::problem::Problem;
use crate::factory::plan::Plan;
use crate::factory::request::BuildRequest;
use crate::failures::Exit;
use crate::images::{ImageId, ImageRecord, JobId};

/// Longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// What else is asked of a build.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// Answer the plan, and build nothing.
    #[serde(default)]
    dry_run: bool,
}

/// What was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// The job; missing when everything was there already.
    job: Option<JobId>,
    /// The images, lowest tier first.
    images: Vec<ImageRecord>,
    /// Those of them that were there already.
    reused: Vec<ImageId>,
}

/// Plans a build, and accepts it unless it is a dry run.
///
/// A request that cannot work is refused with every reason, before any record exists.
#[utoipa::path(
    post,
    path = "/builds",
    operation_id = "build",
    tag = "builds",
    params(
        Options,
        (
            "Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            pattern = "^[!-~]([ -~]*[!-~])?$",
            description = "A request that was sent before with this key is answered as then, for 30 days at least.",
        ),
    ),
    request_body = BuildRequest,
    responses(
        (status = 200, description = "The plan of a dry run.", body = Plan),
        (
            status = 202, description = "Accepted.", body = Accepted,
            headers(("Location" = String, description = "The job.")),
        ),
        (status = 404, description = "An image that it names is not there."),
        (status = 409, description = "An image that it names cannot be built from, or there is no room."),
        (status = 422, description = "No plugin can do it, or a plugin says that it cannot work."),
        (status = 503, description = "A provider is unavailable or refuses the credentials, or the daemon is stopping."),
    ),
)]
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
    planning(daemon, move |daemon| {
        if options.dry_run {
            return Ok(Json(daemon.queue.plan(&request)?).into_response());
        }
        let submission = daemon.queue.submit(&caller.user, &request, key.as_deref())?;
        let images = submission
            .images
            .iter()
            .filter_map(|id| daemon.reader.get(*id).ok().map(public))
            .collect::<Vec<_>>();
        let job = submission.job;
        let made = match job {
            Some(job) => daemon.reader.job(job)?.made,
            None => Vec::new(),
        };
        let reused = submission.images.iter().copied().filter(|id| !made.contains(id)).collect();
        let accepted = Accepted { job, images, reused };
        let mut response = (StatusCode::ACCEPTED, Json(accepted)).into_response();
        if let Some(job) = job
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
