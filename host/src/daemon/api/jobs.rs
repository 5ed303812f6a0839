//! `/v1/jobs`: accepted requests, and their place in the queue.

use std::collections::HashMap;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, blocking};
use crate::daemon::Daemon;
use crate::daemon::problem::Problem;
use crate::failures::{Exit, Failure};
use crate::images::{self, CallbackState, ImageId, JobId, JobState};

/// Which jobs are wanted.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only in this state.
    state: Option<JobState>,
}

/// An accepted request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Job {
    id: JobId,
    /// Who asked for it.
    user: String,
    state: JobState,
    /// 1 for the one that starts next; missing for one that has begun.
    position: Option<usize>,
    /// Its images, lowest tier first.
    images: Vec<ImageId>,
    /// When it was accepted.
    created: Timestamp,
    /// What became of its callbacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    callbacks: Option<Vec<CallbackState>>,
}

impl Job {
    fn new(job: images::Job, positions: &HashMap<JobId, usize>) -> Self {
        let position = positions.get(&job.id).copied();
        Self {
            id: job.id,
            user: job.user,
            state: job.state,
            position,
            images: job.images,
            created: job.created,
            callbacks: None,
        }
    }
}

/// Several of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
}

/// Jobs that are running or queued, or those of one state.
#[utoipa::path(
    get,
    path = "/jobs",
    operation_id = "list_jobs",
    tag = "builds",
    params(Wanted),
    responses((status = 200, description = "The jobs.", body = Jobs)),
)]
pub(super) async fn list(
    State(daemon): App,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Jobs>, Problem> {
    let Query(wanted) = wanted?;
    blocking(move || {
        let states = match wanted.state {
            Some(state) => vec![state],
            None => vec![JobState::Running, JobState::Queued],
        };
        let positions = positions(&daemon);
        let mut jobs = Vec::new();
        for state in states {
            let found = daemon.reader.jobs(state)?;
            jobs.extend(found.into_iter().map(|job| Job::new(job, &positions)));
        }
        Ok(Json(Jobs { jobs }))
    })
    .await
}

/// A job, and how far its callbacks are.
#[utoipa::path(
    get,
    path = "/jobs/{id}",
    operation_id = "show_job",
    tag = "builds",
    params(("id" = JobId, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = Job)),
)]
pub(super) async fn show(
    State(daemon): App,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Job>, Problem> {
    let Path(id) = id?;
    blocking(move || {
        let id: JobId = id.parse().map_err(|error| Failure::from_error(Exit::NotFound, &error))?;
        let job = daemon.reader.job(id)?;
        let callbacks = Some(daemon.reader.callbacks_of(id)?);
        Ok(Json(Job { callbacks, ..Job::new(job, &positions(&daemon)) }))
    })
    .await
}

/// The places of jobs in the queue; 1 is that of the one that starts next.
fn positions(daemon: &Daemon) -> HashMap<JobId, usize> {
    daemon.queue.waiting().into_iter().zip(1..).collect()
}
