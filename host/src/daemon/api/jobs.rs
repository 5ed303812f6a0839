//! `/v1/jobs`: accepted requests, and their place in the queue.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{App, blocking};
use crate::daemon::problem::Problem;
use crate::failures::{Exit, Failure};
use crate::images::{Job, JobId, JobState};

/// Which jobs are wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    /// Only in this state.
    state: Option<JobState>,
}

/// `GET /v1/jobs`
pub(super) async fn list(
    State(daemon): App,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(wanted) = wanted?;
    blocking(move || {
        let states = match wanted.state {
            Some(state) => vec![state],
            None => vec![JobState::Running, JobState::Queued],
        };
        let waiting = daemon.queue.waiting();
        let mut jobs = Vec::new();
        for state in states {
            let found = daemon.reader.jobs(state)?;
            jobs.extend(found.iter().map(|job| document(job, &waiting)));
        }
        Ok(Json(json!({ "jobs": jobs })))
    })
    .await
}

/// `GET /v1/jobs/{id}`: also how far its callbacks are.
pub(super) async fn show(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let Path(id) = id?;
    blocking(move || {
        let id: JobId = id.parse().map_err(|error| Failure::from_error(Exit::NotFound, &error))?;
        let job = daemon.reader.job(id)?;
        let mut document = document(&job, &daemon.queue.waiting());
        document["callbacks"] = json!(daemon.reader.callbacks_of(id)?);
        Ok(Json(document))
    })
    .await
}

/// A job; `position` is 1 for the one that starts next.
fn document(job: &Job, waiting: &[JobId]) -> Value {
    let position = waiting.iter().position(|waiting| *waiting == job.id).map(|index| index + 1);
    json!({
        "id": job.id,
        "user": job.user,
        "state": job.state,
        "position": position,
        "images": job.images,
        "created": job.created,
    })
}
